"""Plants that differ: one model for all, models for groups, and models of each plant, on the plants' own rows.

python -m benchmarks.kinds
python -m benchmarks.kinds --case shifted --model logistic --seeds 5
python -m benchmarks.kinds --config federation.toml --set clients.partition=hot-mode

Without a configuration six plants are drawn anew for each seed, of which one half fails where the other is well:
readings alone do not tell the kinds apart. With one its table is divided by each seed. Each way is set against the same
network that each plant trains alone, with as many passes; a plant is worse off if the interval of the difference on its
own held-out rows lies below 0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.verdicts import CASES, frame_of, settings_of
from werkbund.baselines.rows import OwnRows
from werkbund.config import Config, changed, check_config, load_config
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.evaluation import Contest, Showing, hold_contest
from werkbund.evaluation.ruling import FEWEST_AT_A_PLANT
from werkbund.federation.families.networks import NetworkSimulation, simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.federation.wiring import costs_of

WAYS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "one model": {},
    "clusters, ifca with 2": {"clusters": {"name": "ifca", "count": 2}},
    "clusters, cfl": {"clusters": {"name": "cfl"}},
    "personal, fine-tuning": {"personal": {"name": "fine-tuning"}},
    "personal, ditto": {"personal": {"name": "ditto"}},
    "personal, fedper": {"personal": {"name": "fedper"}},
    "personal, fedrep": {"personal": {"name": "fedrep"}},
    "personal, fedbn": {"personal": {"name": "fedbn"}},
}
"""The strategy of each, by a name for people."""


class Ground:
    """Hold a federation's rows, and what each plant learns of them alone.

    Parameters
    ----------
    config
        The federation's, without clusters and personal parts.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._population = divide(read_table(config), config).population

    @cached_property
    def _alone(self) -> list[Showing | None]:
        setup, showings = self._setup({}), list[Showing | None]()
        for client in range(len(self._population.names)):
            trained = train(setup.alone(client))
            logits = setup.logits(trained.learnt)[setup.splits.test.rows(client)]
            showings.append(Showing(logits >= trained.threshold.logit, logits))
        return showings

    def contest(self, strategy: Mapping[str, Mapping[str, object]]) -> Contest:
        """Return how the plants do on their own rows with a strategy, and alone."""
        setup, seed = self._setup(strategy), self._config.federation.seed
        trained, showings = train(setup), list[Showing | None]()
        clients = range(len(self._population.names))
        for client in clients:
            learnt, threshold = trained.of_client(client)
            logits = setup.alone(client).logits(learnt)
            showings.append(Showing(logits >= threshold.logit, logits))
        rows = OwnRows(self._population, setup.splits)
        held_out = [rows.held_out(client) for client in clients]
        rngs = [generator(seed, "bootstrap", client=client) for client in clients]
        return hold_contest(held_out, {"federated": showings, "local_mean": self._alone}, costs_of(self._config), rngs)

    def _setup(self, strategy: Mapping[str, Mapping[str, object]]) -> NetworkSimulation:
        return simulate_network(changed(self._config, strategy=strategy), self._population)


def worse_off(contest: Contest) -> list[str]:
    """Return the plants whose own rows are ranked clearly worse than by what each learns alone."""
    return [
        line.name
        for line in contest.plants
        if line.failures >= FEWEST_AT_A_PLANT and line.minus["local_mean"]["average_precision"].high < 0
    ]


def ground_of(given: argparse.Namespace, seed: int) -> Ground:
    """Return the rows of a seed: a configured table divided by it, or plants drawn by it."""
    if given.config is not None:
        return Ground(changed(load_config(given.config, given.set), federation={"seed": seed}))
    case = next(case for case in CASES if case.name == given.case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        frame: pl.DataFrame = frame_of(case.draw(np.random.default_rng(seed)), seed)
        frame.write_csv(path)
        model = {"kind": given.model, **({"hidden": [16]} if given.model == "mlp" else {})}
        return Ground(check_config({**settings_of(case, path, seed), "model": model}))


def main() -> None:
    """Train in every way over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--case", default="opposed", choices=[case.name for case in CASES])
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    contests: dict[str, list[Contest]] = {way: [] for way in given.only}
    left_out = dict[str, str]()
    for seed in track(seeds, "training", transient=True):
        ground = ground_of(given, seed)
        for way in given.only:
            try:
                contests[way].append(ground.contest(WAYS[way]))
            except ConfigError as error:
                left_out[way] = str(error)
    Console().print(table_of({way: held for way, held in contests.items() if held}))
    for way, why in left_out.items():
        Console().print(f"{way}: {why}", soft_wrap=True)


def table_of(contests: Mapping[str, list[Contest]]) -> Table:
    """Return each way's figures, the plants' own rows each weighted by their number."""
    table = Table(box=None, title="Each plant on its own rows, average precision", title_justify="left")
    for head in ("way", "federated (each seed)", "alone", "minus alone, worst plant", "plants clearly worse off"):
        table.add_column(head)
    for way, held in contests.items():
        own, alone = (
            [contest.figures[who]["average_precision"].by_rows.mean for contest in held]
            for who in ("federated", "local_mean")
        )
        lines = [line for contest in held for line in contest.plants]
        lowest = min(line.minus["local_mean"]["average_precision"].mean for line in lines if line.failures)
        worse = sum(len(worse_off(contest)) for contest in held)
        each = f"{np.mean(own):.3f} ({', '.join(f'{value:.2f}' for value in own)})"
        table.add_row(way, each, f"{np.mean(alone):.3f}", f"{lowest:+.2f}", f"{worse} of {len(lines)}")
    return table


if __name__ == "__main__":
    main()
