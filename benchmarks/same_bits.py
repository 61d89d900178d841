"""Show that a change of the code changes no bit of a result: small federations of every kind, and digests of each.

python -m benchmarks.same_bits record before.json
python -m benchmarks.same_bits check before.json --only selection

Digests hold for one machine with one set of libraries; what a clock says is not in them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn, set_num_threads

import werkbund

Keys = dict[str, Any]
"""Keys of a configuration, such as `federation.rounds`, with their values."""
Digests = dict[str, str]
Way = Callable[[werkbund.Config, Path], Path]
"""Runs a configuration below a folder, and returns the run's own folder."""

ERROR = "error"
CLOCKS = {"seconds", "training_seconds"}
LIBRARIES = ("numpy", "numba", "torch", "scikit-learn", "polars")

ROWS: Keys = {"data.source": "generator", "data.rows": 1200, "data.plants": 6}
BASE: Keys = {**ROWS, "federation.rounds": 5, "federation.seed": 3, "training.epochs": 2}
PLAIN: Keys = {"training.batched": False, "training.compiled": False}
SHORT: Keys = {"federation.rounds": 3, "training.epochs": 1}
LOOPS: dict[str, Keys] = {
    "": {},
    ", not compiled": {"training.compiled": False, **SHORT},
    ", plain loop": {**PLAIN, **SHORT},
}
FLEET: Keys = {"world.preset": "factory-fleet", "world.start_h": 3.0, "world.pause_s": 7200.0}
MACHINES: Keys = {"world.preset": "mobile-machines", "world.start_h": 12.0, "world.pause_s": 900.0}

MODELS: dict[str, Keys] = {
    "logistic": {"model.kind": "logistic"},
    "mlp": {},
    "mlp gelu": {"model.hidden": [7], "model.activation": "gelu"},
    "mlp tanh": {"model.hidden": [16, 8, 4], "model.activation": "tanh"},
    "mlp silu": {"model.hidden": [16], "model.activation": "silu"},
    "mlp dropout": {"model.dropout": 0.3},
    "residual-mlp": {"model.kind": "residual-mlp", "model.width": 8, "model.depth": 2},
    "residual-mlp dropout": {"model.kind": "residual-mlp", "model.width": 8, "model.dropout": 0.2},
    "own": {"model.kind": "benchmarks.same_bits:Signal"},
    "own dropout": {"model.kind": "benchmarks.same_bits:Signal", "model.options": {"channels": 3, "dropout": 0.2}},
}
TRAINING: dict[str, Keys] = {
    "momentum": {"training.momentum": 0.9, "training.learning_rate": 0.05},
    "adam": {"training.optimizer": "adam", "training.learning_rate": 0.01},
    "adamw": {"training.optimizer": "adamw", "training.learning_rate": 0.01, "training.weight_decay": 0.1},
    "proximal": {"training.proximal": 0.1},
    "clip-norm": {"training.clip_norm": 0.1},
    "steps": {"training.steps": 3, "training.batch_size": 20},
    "constant": {"training.schedule": "constant", "training.weight_decay": 0.0},
    "large batch": {"training.batch_size": 100_000},
    "weight sqrt": {"training.positive_weight": "sqrt"},
    "weight balanced": {"training.positive_weight": "balanced"},
    "weight 3": {"training.positive_weight": 3.0, "training.clip_norm": 1.0, "training.proximal": 0.01},
}
SELECTORS = (
    *("uniform", "uniform-unbiased", "all", "round-robin", "md", "active", "pow-d", "cpow-d", "rpow-d", "ocs", "aocs"),
    *("clustered-size", "clustered-similarity", "k-fed", "divfl", "fedcor", "hics", "fedcs", "tifl", "oort"),
    *("oort-energy", "battery", "rbcs-f", "e3cs", "ucb-cs", "s-fedavg", "greedyfed", "fmore", "lag"),
)
OPTIONS = {"fedcor": {"warmup": 2, "every": 2, "first_steps": 5, "steps": 5, "dimension": 2}, "fedcs": {"share": 0.9}}
"""Options by which a method does in a few rounds all that it can do."""
PARTITIONS: dict[str, tuple[str, int | None, Keys]] = {
    "by-column": ("by-column", None, {}),
    "tool-blocks": ("tool-blocks", 5, {}),
    "iid": ("iid", 5, {}),
    "iid machines": ("iid", 3, {"unit": "machines"}),
    "dirichlet": ("dirichlet", 5, {"alpha": 0.3}),
    "dirichlet mode": ("dirichlet", 5, {"over": "mode"}),
    "quantity": ("quantity", 5, {}),
    "quantity drawn": ("quantity", 5, {"law": "dirichlet"}),
    "regime": ("regime", 5, {"column": "Torque [Nm]"}),
    "regime derived": ("regime", 5, {"column": "power"}),
    "hot-mode": ("hot-mode", 5, {}),
    "hot-mode iid": ("hot-mode", 5, {"base": "iid"}),
}
SERVER: dict[str, Keys] = {
    "not batched, compiled": {"training.batched": False},
    "other shares, noise": {"clients.noisy": 2, "clients.test": 0.3, "clients.validation": 0.25},
    "features derived": {"features.preset": False, "features.derived": {"load": '"Torque [Nm]" * "Tool wear [min]"'}},
    "weighting equal": {"strategy.aggregation.weighting": "equal"},
    "server step": {"strategy.aggregation.step": 0.5, "strategy.aggregation.momentum": 0.5},
    "server without momentum": {"strategy.aggregation.momentum": 0.0},
    "initial client": {"model.initial": "client", "model.initial_rounds": 2},
    "initial client by name": {"model.initial": "client:plant-2"},
    "initial client unknown": {"model.initial": "client:plant-99"},
    "keep best": {"federation.rounds": 9, "training.learning_rate": 1.0},
    "keep last": {"federation.rounds": 9, "training.learning_rate": 1.0, "evaluation.keep_best": False},
    **{f"metric {name}": {"evaluation.metric": name} for name in ("roc_auc", "brier", "log_loss")},
    "costs": {"evaluation.missed_failure": 50.0, "evaluation.needless_inspection": 0.5},
    "few evaluate": {"evaluation.clients": 3},
    "patience": {"federation.rounds": 15, "federation.patience": 2, "training.learning_rate": 1.0},
    "stop target": {"stop.target": 0.03},
    "stop bytes": {"stop.bytes": 5e5},
    "stop joules": {"stop.joules": 9.0, **FLEET},
    "stop simulated seconds": {"stop.simulated_seconds": 1.0, **MACHINES},
    "stop reward": {"stop.reward": 1.0, "strategy.selection.name": "fmore", "strategy.selection.count": 3, **FLEET},
    "world uniform": {"world.preset": "uniform"},
    "world uniform, deadline": {"world.preset": "uniform", "world.deadline_s": 0.3, "clients.partition": "quantity"},
    "world factory-fleet": FLEET,
    "world factory-fleet, deadline": {**FLEET, "world.deadline_s": 0.12},
    "world mobile-machines": MACHINES,
    "world mobile-machines, deadline": {**MACHINES, "world.deadline_s": 1.0},
    "quorum of all in a world": {"federation.quorum": 1.0, "federation.rounds": 12, **MACHINES},
    "quorum of a tenth in a world": {"federation.quorum": 0.1, "federation.rounds": 12, **MACHINES},
}
_BOOSTED, _BAGGED = {"model.kind": "trees"}, {"model.kind": "trees", "trees.combine": "bagging"}
_FOREST: Keys = {"model.kind": "forest", "trees.count": 12, "trees.together": 2}
_THREE: Keys = {"strategy.selection.name": "uniform", "strategy.selection.count": 3}
TREES: dict[str, Keys] = {
    "trees": _BOOSTED,
    "trees small": {**_BOOSTED, "trees.max_leaves": 5, "trees.min_child_rows": 9, "trees.l2": 3.0},
    "trees balanced": {**_BOOSTED, "trees.positive_weight": "balanced", "trees.learning_rate": 0.3},
    "trees of samples": {**_BOOSTED, "trees.row_share": 0.7, "trees.tree_features": 0.6, "trees.node_features": 0.8},
    "trees of few bins": {**_BOOSTED, "trees.num_bins": 16, "trees.rank_error": 0.02},
    "trees monotone": {**_BOOSTED, "trees.monotone": {"Tool wear [min]": -1, "power": -1}},
    "trees min-cell-rows": {**_BOOSTED, "trees.min_cell_rows": 5},
    "trees keep last": {**_BOOSTED, **_THREE, "evaluation.keep_best": False},
    "trees uniform": {**_BOOSTED, **_THREE},
    "trees by another selection": {**_BOOSTED, "strategy.selection.name": "oort"},
    "trees in a world": {**_BOOSTED, **FLEET},
    "trees bagging": _BAGGED,
    "trees bagging uniform": {**_BAGGED, **_THREE, "trees.min_cell_rows": 5},
    "forest": _FOREST,
    "forest uniform": {**_FOREST, **_THREE},
    "forest bagging": {**_FOREST, "trees.combine": "bagging"},
    "extra-trees": {**_FOREST, "model.kind": "extra-trees", "trees.max_depth": 6},
}


class Signal(nn.Module):
    """Score a row as a short signal, by a network of one's own: a convolution, dropout if any, a linear layer."""

    def __init__(self, num_features: int, channels: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, channels, 3, padding=1)
        self.between = nn.Sequential(nn.ReLU(), nn.Flatten(), *([nn.Dropout(dropout)] if dropout else []))
        self.head = nn.Linear(channels * num_features, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (rows, features) to (rows, 1)."""
        logits: Tensor = self.head(self.between(self.convolution(rows[:, None])))
        return logits


class StopAt:
    """Interrupt a run when it tells of a round, as a user would."""

    def __init__(self, last: int) -> None:
        self.last = last

    def stage(self, what: str) -> None:
        """Hear nothing."""

    def round(self, news: Any) -> None:
        """Stop at the round."""
        if news.record.round == self.last:
            raise KeyboardInterrupt


def whole(config: werkbund.Config, folder: Path) -> Path:
    """Run it in this process."""
    return werkbund.run(config, out=folder / "run", compare=False).folder


def compared(config: werkbund.Config, folder: Path) -> Path:
    """Run it with all that it is compared with."""
    return werkbund.run(config, out=folder / "run").folder


def resumed(config: werkbund.Config, folder: Path) -> Path:
    """Stop it at its fourth round, and go on from its last checkpoint."""
    with suppress(KeyboardInterrupt):
        werkbund.run(config, out=folder / "run", compare=False, watcher=StopAt(4))
        raise RuntimeError("the run was over before it could be stopped")
    return werkbund.resume(folder / "run").folder


def warm(config: werkbund.Config, folder: Path) -> Path:
    """Run it twice, the second time from the weights of the first."""
    first = whole(config, folder / "first")
    return whole(werkbund.changed(config, model={"initial": str(first)}), folder)


def wired(config: werkbund.Config, folder: Path) -> Path:
    """Run it with plants in folders of their own, by the bytes of real messages; only here is more used than is public.

    A plant measures its own times, so a method that chooses by them cannot be run so.
    """
    from tests.deployed import deploy
    from werkbund.plant.settings import SIGNAL_NAMES

    policy = {"signals": list(SIGNAL_NAMES), "minimum_rows": 1}
    policies = {f"plant-{number + 1}": policy for number in range(config.clients.count or 0)}
    return deploy(folder / "plants", policies, **config.model_dump()).run().folder


@dataclass(frozen=True)
class Case:
    """Hold what a federation has beside `base`, and how it is run."""

    keys: Keys
    way: Way = whole
    base: Keys = field(default_factory=BASE.copy)

    def run(self, folder: Path) -> Path:
        """Run it below a folder, and return the run's own."""
        sections: dict[str, Any] = {}
        for key, value in {**self.base, **self.keys}.items():
            *names, last = key.split(".")
            section = sections
            for name in names:
                section = section.setdefault(name, {})
            section[last] = value
        return self.way(werkbund.check_config(sections), folder)


def selection(name: str) -> Keys:
    """Return what a method of selection is tried with."""
    who = {"name": name, "count": 3, "options": OPTIONS.get(name, {})}
    few = {"data.plants": 8, "federation.rounds": 8, "federation.quorum": 0.01, "clients.server": 0.5}
    return {**few, **{f"strategy.selection.{key}": value for key, value in who.items()}}


def cases() -> dict[str, Case]:
    """Return every case by its name."""
    found = {name: Case(keys) for name, keys in (SERVER | TREES).items()}
    for name, (kind, count, options) in PARTITIONS.items():
        found[f"partition {name}"] = Case(
            {"clients.partition": kind, "clients.count": count, "clients.options": options}
        )
    for loop, how in LOOPS.items():
        found |= {f"model {name}{loop}": Case({**keys, **how}) for name, keys in MODELS.items()}
        found |= {f"training {name}{loop}": Case({**keys, **how}) for name, keys in TRAINING.items()}
    for place, world in {"": {}, " in a fleet": FLEET, " on machines": MACHINES}.items():
        found |= {f"selection {name}{place}": Case({**selection(name), **world}) for name in SELECTORS}
    return {**found, **_other_ways(), "built-in": Case({"federation.rounds": 6}, base={})}


def _other_ways() -> dict[str, Case]:
    """Return the cases that are more than a run in this process."""
    some: dict[str, Keys] = {"mlp": {}, **{name: TREES[name] for name in ("trees", "trees bagging", "forest")}}
    some |= {name: selection(name) for name in ("pow-d", "clustered-similarity", "k-fed", "fedcor")}
    more = {name: {**selection(name), **MACHINES} for name in ("oort-energy", "tifl", "e3cs", "ucb-cs")}
    more["own"] = MODELS["own"]
    every = {"federation.rounds": 6, "federation.checkpoint_every": 3}
    plants = {**PLAIN, "data.plants": 6, "clients.count": 6, "federation.deliver_every": 2}
    return {
        **{f"resumed {name}": Case({**keys, **every}, resumed) for name, keys in (some | more).items()},
        **{f"wired {name}": Case({**keys, **plants}, wired) for name, keys in some.items()},
        **{f"compared {name}": Case(some[name], compared) for name in ("mlp", "trees", "forest")},
        "compared few": Case({**MODELS["logistic"], "evaluation.local_models": 2}, compared),
        "from another run": Case({}, warm),
    }


def outcome_of(case: Case) -> Digests:
    """Run a case, and return its digests; or the error that it ended with."""
    with TemporaryDirectory() as folder:
        try:
            return digests_of(case.run(Path(folder)))
        except Exception as error:  # that a configuration is refused is a result, and a defect must not hide the others
            return {ERROR: f"{type(error).__name__}: {error}".replace(folder, "")}


def digests_of(run: Path) -> Digests:
    """Return a digest of each thing that a run's folder holds: arrays, scores, and what happened in its rounds."""
    found = {f"model {path.stem}": _of_array(np.load(path)) for path in sorted((run / "model").glob("*.npy"))}
    found["model onnx"] = hashlib.sha256((run / "model.onnx").read_bytes()).hexdigest()
    with np.load(run / "checkpoint.npz") as stored:
        meta = json.loads(stored["meta"].tobytes())
        found |= {f"checkpoint {name}": _of_array(stored[name]) for name in stored.files if name != "meta"}
    result, about = (json.loads((run / name).read_text(encoding="utf-8")) for name in ("result.json", "run.json"))
    found |= {f"checkpoint meta {name}": _of_value(_timeless(value)) for name, value in meta.items()}
    found |= {f"result {name}": _of_value(_timeless(value)) for name, value in result.items() if name not in CLOCKS}
    told = ("clients", "layout", "preparation", "features", "skew", "limits")
    found |= {f"run {name}": _of_value(about[name]) for name in told if name in about}
    return found | {f"rounds {name}": _of_value(values) for name, values in _columns(run / "rounds.jsonl")}


def _columns(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield what each round has under a name; clients' seconds only where these are those of a simulated world."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [line if "simulated_seconds" in line else _timeless(line) for line in lines]
    for name in sorted({name for line in kept for name in line} - CLOCKS):
        yield name, [line.get(name) for line in kept]


def _timeless(value: Any) -> Any:
    """Return a JSON value without what a clock says."""
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if name not in CLOCKS}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _of_array(array: npt.NDArray[Any]) -> str:
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def _of_value(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_all(wanted: Mapping[str, Case]) -> dict[str, Digests]:
    """Run these cases, telling of each."""
    set_num_threads(1)  # so small are these networks that threads would only wait for one another
    found, console, began = {}, Console(stderr=True, highlight=False, soft_wrap=True), time.perf_counter()
    for name, case in wanted.items():
        start = time.perf_counter()
        found[name] = outcome_of(case)
        console.print(f"{time.perf_counter() - start:6.1f} s  {name}  {found[name].get(ERROR, '')}", markup=False)
    failed = sum(ERROR in one for one in found.values())
    seconds = time.perf_counter() - began
    console.print(f"{len(found) - failed} federations ran, {failed} ended with an error, in {seconds:.0f} s")
    return found


def environment() -> dict[str, str]:
    """Return what digests depend on beside our code."""
    return {"cores": str(os.cpu_count()), **{name: version(name) for name in LIBRARIES}}


def differences(before: Mapping[str, Digests], now: Mapping[str, Digests]) -> dict[str, list[str]]:
    """Return for each case the names of what is not the same, in order; none if all is."""
    found = {name: ["whether it is there"] for name in before.keys() ^ now.keys()}
    for name in before.keys() & now.keys():
        one, other = before[name], now[name]
        found[name] = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return {name: found[name] for name in {**before, **now}}


def table_of(found: Mapping[str, list[str]]) -> Table:
    """Return the cases with what differs in each."""
    table = Table("federation", "result", "what differs", box=None, padding=(0, 2, 0, 0))
    for name, keys in found.items():
        table.add_row(name, "DIFFERS" if keys else "same", ", ".join(keys))
    return table


def check(path: Path, wanted: Mapping[str, Case], only: str) -> int:
    """Compare with what was recorded, show it, and return the exit code."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    before = {name: one for name, one in recorded["cases"].items() if only in name}
    found = differences(before, run_all(wanted))
    number = sum(bool(keys) for keys in found.values())
    console = Console(highlight=False)
    console.print(table_of(found))
    if recorded["environment"] != environment():
        console.print(f"Recorded with {recorded['environment']}, checked with {environment()}.")
    console.print(f"{len(found) - number} are the same, {number} differ.")
    return 1 if number else 0


def main() -> None:
    """Record or check."""
    parser = argparse.ArgumentParser(description="Show that a change of the code changes no bit of a result.")
    parser.add_argument("what", choices=["record", "check"], nargs="?")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="of the names of federations")
    parser.add_argument("--list", action="store_true", help="the names, and run nothing")
    arguments = parser.parse_args()
    wanted = {name: case for name, case in cases().items() if arguments.only in name}
    if arguments.list:
        sys.stdout.write("".join(f"{name}\n" for name in wanted))
    elif arguments.file is None:
        parser.error("say record or check, and a file")
    elif arguments.what == "check":
        sys.exit(check(arguments.file, wanted, arguments.only))
    else:
        content = {"environment": environment(), "cases": run_all(wanted)}
        arguments.file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
