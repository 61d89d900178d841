"""A server that means ill: it may send any task with any briefing, and draws both from all that is declared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from tests.deployed import Deployment
from tests.wire import KNOWN, kind_of
from werkbund.config import Config, check_config
from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.errors import FederationError
from werkbund.core.kinds import Field, Kind
from werkbund.core.types import Tasks
from werkbund.data import Derived, Preparation, Schema
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.codec import Answer, Ask, decode_answer, encode_ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant.briefing import Briefing, for_clients

FEATURES = ("air", "speed", "torque", "wear")
CONFIG: dict[str, Any] = {
    "federation": {"name": "it", "rounds": 3, "seed": 1},
    "data": {"label": "failed", "columns": {name: {"kind": "number"} for name in FEATURES}},
    "model": {"kind": "logistic"},
    "training": {"batched": False, "compiled": False},
}
ROWS = 400


def marked_rows(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Return a table in which each value is in one row alone."""
    rng = np.random.default_rng(seed)
    values = {
        name: scale * (1.0 + rng.random(rows)) for name, scale in zip(FEATURES, (300, 1500, 40, 100), strict=True)
    }
    return pl.DataFrame({**values, "failed": (rng.random(rows) < 0.1).astype(int)})


def marked_plant(folder: Path, **policy: Any) -> Deployment:
    """Return one plant whose rows are marked, with its own draws and bins as a kit has them."""
    config = check_config(CONFIG)
    kit = folder / "plant-1"
    kit.mkdir(parents=True)
    marked_rows().write_csv(kit / "rows.csv")
    deployment = Deployment(folder, config, {"plant-1": kit})
    deployment.write("plant-1", policy={"draws": "own", "minimum_bin_rows": 20, **policy})
    return deployment


def preparation(**changes: Any) -> Preparation:
    """Return the preparation that an honest server tells, changed."""
    values: dict[str, Any] = {"numeric": FEATURES, "derived": (), "mean": (450.0, 2250.0, 60.0, 150.0)}
    values |= {"scale": (90.0, 430.0, 12.0, 30.0), "units": ("",) * len(FEATURES)}
    return Preparation(**{**values, **changes})


@dataclass
class Server:
    """Ask one plant, and keep what it answered.

    Parameters
    ----------
    desk
        The plant's end.
    answers
        What came, with what was asked.
    """

    desk: Desk
    answers: list[tuple[Ask, Answer]] = field(default_factory=list)

    def ask(self, briefing: Briefing, tasks: Tasks) -> Answer:
        """Return the answer to a task."""
        ask = Ask(briefing.run, "plant-1", tasks, briefing.fingerprint, briefing.to_json())
        return self.send(ask, encode_ask(ask))

    def send(self, ask: Ask, parcel: Parcel) -> Answer:
        """Return the answer to a parcel."""
        answer = decode_answer(self.desk.answer(parcel), ask.tasks.kind)
        self.answers.append((ask, answer))
        return answer


def honest(config: Config | None = None, **changes: Any) -> Briefing:
    """Return the briefing of an honest server, changed."""
    told = for_clients(config or check_config(CONFIG))
    return replace(Briefing("run", told, 0, (), None, preparation(), (300, 30)), **changes)


def numbers_in(answer: Answer) -> Float64Array:
    """Return all numbers of an answer."""
    if answer.replies is None:
        return np.empty(0)
    halves = (answer.replies.sums, answer.replies.clear)
    arrays = [array.ravel() for half in halves for array in half.values() if array.dtype.kind in "iuf"]
    return np.concatenate([np.empty(0), *(array.astype(np.float64) for array in arrays)])


_PATHS = ("/etc/passwd", "/dev/stdin", "rows.csv", "../client.toml", "mine.py:Mine", "this:X", "pdb:Pdb", "x" * 999)
_EDITS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("federation", "seed", (0, 7, 2**40)),
    ("federation", "rounds", (1, 500, 10**9)),
    ("federation", "round_timeout_s", (1e-3, 1e12)),
    ("federation", "purpose", ("any",)),
    ("data", "label", ("air", "failed", "none")),
    ("data", "machine", ("air", None)),
    ("data", "path", _PATHS),
    ("data", "time", ("wear",)),
    ("data", "modes", (["air"], [])),
    ("data", "columns", ({"air": {"kind": "number"}}, {"failed": {"kind": "number"}}, {"air": {"kind": "category"}})),
    ("features", "derived", ({"spy": "air * 2"}, {"spy": "CASE WHEN air > 400 THEN 1 ELSE 0 END"})),
    ("clients", "test", (0.2501, 0.2, 0.5)),
    ("clients", "validation", (0.1501, 1e-6)),
    ("clients", "noisy", (1,)),
    ("model", "kind", ("mlp", "residual-mlp", "trees", "forest", *_PATHS)),
    ("model", "hidden", ([1], [4, 4], [10**7], [3] * 200)),
    ("model", "initial", ("client", *_PATHS)),
    ("training", "learning_rate", (1e-9, 0.5, 50.0, 1e30)),
    ("training", "weight_decay", (0.0, 0.01, 10.0)),
    ("training", "proximal", (0.0, 0.05, 100.0)),
    ("training", "momentum", (0.9,)),
    ("training", "optimizer", ("adam", "adamw")),
    ("training", "epochs", (1, 3, 10**6)),
    ("training", "steps", (1, 2, 5, None, 10**9)),
    ("training", "batch_size", (1, 2, 7, 20, 21, 40, 10**6)),
    ("training", "clip_norm", (1e-9, 1.0)),
    ("training", "positive_weight", (1e9, 10.0, "balanced")),
    ("training", "schedule", ("constant",)),
    ("strategy", "selection", tuple({"name": path} for path in (*_PATHS, "pow-d"))),
    ("strategy", "aggregation", ({"name": "mine.py:Mine"}, {"momentum": 0.9})),
    ("evaluation", "server_rows", _PATHS),
    ("evaluation", "metric", ("brier",)),
    ("world", "path", _PATHS),
    ("trees", "max_depth", (1, 30)),
)
"""What a hostile server may write into a configuration: section, key, values."""

_NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 200.0, -450.0, 1e9, 1e30, float("nan"), float("inf")])
_WHOLE = st.sampled_from([0, 1, 2, 3, 19, 20, 21, 50, 399, 2**31, 2**62])
_EXPRESSIONS = ("air * 2", "CASE WHEN air > 450 AND speed < 2000 THEN wear ELSE 0 END", "failed * 1000", "1 / wear")


def _config(edits: list[tuple[tuple[str, str, tuple[Any, ...]], int]]) -> Config | None:
    values = {section: dict(keys) for section, keys in CONFIG.items()}
    for (section, key, choices), number in edits:
        values.setdefault(section, {})[key] = choices[number % len(choices)]
    try:
        return check_config(values)
    except FederationError:
        return None  # nothing that a server of this version can put into words


_CONFIGS = st.lists(st.tuples(st.sampled_from(_EDITS), st.integers(0, 20)), max_size=2).map(_config)


@st.composite
def _preparations(draw: st.DrawFn) -> Preparation | None:
    how = draw(st.sampled_from(["honest"] * 6 + ["none", "derived", "columns", "steep", "levels"]))
    if how == "none":
        return None
    changes: dict[str, Any] = {}
    if how == "derived":
        spy = Derived("spy", draw(st.sampled_from(_EXPRESSIONS)))
        changes = {"derived": (spy,), "mean": (0.0,) * 5, "scale": (1.0,) * 5}
    elif how == "columns":
        changes = {"numeric": (*FEATURES[:3], "failed")}
    elif how == "steep":
        changes = {"mean": tuple(draw(st.floats(0, 3000)) for _ in FEATURES), "scale": (1e-9, 1.0, 1e9, 1e-3)}
    elif how == "levels":
        changes = {"categories": (("failed", ("0", "1")),)}
    return preparation(**changes)


@st.composite
def briefings(draw: st.DrawFn, own: Schema) -> Briefing:
    """Draw what a hostile server says about a run; often much of it is as it should be."""
    config = draw(_CONFIGS) or check_config(CONFIG)
    config = for_clients(config) if draw(st.booleans()) else config
    other = Schema(own.label, own.features[:2])
    return Briefing(
        draw(st.sampled_from(["run", "run", "another", "", "../../x", "y" * 300])),
        config,
        draw(st.sampled_from([0, 0, 1, 5, 2**40])),
        draw(st.sampled_from([(), (), ("heat",), ("a", "a"), tuple(map(str, range(1500)))])),
        draw(st.sampled_from([None, None, own, other])),
        draw(_preparations()),
        draw(st.sampled_from([(300, 30), (0, 0), (10**12, 1), (-5, 2)])),
    )


def _array(draw: st.DrawFn, field: Field, own: bool) -> AnyArray:
    """Draw an array for a field: mostly of the declared form."""
    fits = draw(st.integers(0, 9)) < 9
    dtype = (field.dtype or "f")[0] if fits else draw(st.sampled_from("fiubU"))
    sizes = {"parameters": 5, "features": 4, "signals": 3, "prepared features": 4}
    shape = tuple(sizes.get(size, 3) if isinstance(size, str) else size for size in field.shape)
    shape = shape if fits else draw(st.sampled_from([(), (1,), (5, 5), (300, 4), (0,)]))
    shape = (1, *shape) if own else shape
    count = int(np.prod(shape))
    if dtype == "U":
        names = ["loss", "loss_std", "norm", "train_loss", "rows", "air"]
        return np.array([draw(st.sampled_from(names)) for _ in range(count)], np.str_).reshape(shape)
    if dtype == "f":
        usual = draw(st.booleans())
        values = [0.5] * count if usual and not field.shape else [draw(_NUMBERS) for _ in range(count)]
        return np.array(values, np.float32 if field.vector else np.float64).reshape(shape)
    if dtype == "b":
        return np.array([draw(st.booleans()) for _ in range(count)], np.bool_).reshape(shape)
    return np.array([draw(_WHOLE) for _ in range(count)], np.uint64 if dtype == "u" else np.int64).reshape(shape)


@st.composite
def tasks(draw: st.DrawFn) -> Tasks:
    """Draw a task of any kind, its arrays mostly as declared."""
    kind = kind_of(draw(st.sampled_from([*KNOWN, "train", "evaluate", "loss", "survey", "squares", "dance", ""])))
    shared, own = _arrays(draw, kind, "shared"), _arrays(draw, kind, "own")
    if draw(st.integers(0, 19)) == 0:
        shared["spy"] = np.arange(4)
    round = draw(st.sampled_from([0, 1, 1, 2, 3, 99, 2**40]))
    return Tasks(kind, round, np.array([0]), shared, own, draw(st.integers(0, 3)))


def _arrays(draw: st.DrawFn, kind: Kind, half: str) -> dict[str, AnyArray]:
    fields = [one for one in kind.request if one.half == half and draw(st.integers(0, 9)) < 8]
    names = {one.name: one.name.replace("*", draw(st.sampled_from(["mark", "base", "feature"]))) for one in fields}
    return {names[one.name]: _array(draw, one, half == "own") for one in fields}
