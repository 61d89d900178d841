"""Rules of aggregation side by side where plants differ in their failure modes, over seeds with intervals.

python -m benchmarks.rules --data ai4i.csv --seeds 5
python -m benchmarks.rules --data ai4i.csv --alpha 0.1 --epochs 5 --rounds 60

Rows are dealt out so that each failure mode gathers at few plants (Dirichlet over modes); the smaller alpha, the fewer.
All rules have the same rows, first weights, batches and number of rounds; the last weights are scored on everybody's
test rows. An interval is over seeds, which draw other divisions of one table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from werkbund.config import check_config
from werkbund.core.errors import FederationError
from werkbund.evaluation import Interval, mean_interval, paired_difference
from werkbund.federation import run

RULES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "fedavg": ({"name": "fedavg", "momentum": 0.0}, {}),
    "fedavg, momentum 0.9": ({"name": "fedavg"}, {}),
    "fedprox, mu 0.01": ({"name": "fedavg", "momentum": 0.0}, {"proximal": 0.01}),
    "fednova": ({"name": "fednova", "momentum": 0.0}, {}),
    "scaffold": ({"name": "scaffold"}, {}),
    "feddyn, alpha 0.01": ({"name": "feddyn"}, {}),
    "feddyn, alpha 0.1": ({"name": "feddyn", "alpha": 0.1}, {}),
}
"""Aggregation and training of each, by a name for people; the first is what the others are set against."""


def score(rule: str, seed: int, given: argparse.Namespace) -> float:
    """Return the average precision on everybody's test rows after training by a rule; 0 where the run breaks off."""
    aggregation, training = RULES[rule]
    partition = {"partition": "dirichlet", "options": {"alpha": given.alpha, "over": "mode"}}
    config = check_config(
        {
            "federation": {"rounds": given.rounds, "seed": seed},
            "data": {"path": str(given.data)} if given.data else {"source": "generator"},
            "clients": {"count": given.clients, **partition},
            "training": {"epochs": given.epochs, **training},
            "strategy": {"aggregation": aggregation},
            "evaluation": {"keep_best": False},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = run(config, out=Path(folder) / "run", compare=False)
        except FederationError:
            return 0.0
    return float(done.summary["metrics"]["federated"]["average_precision"])


def table_of(scores: Mapping[str, Sequence[float]], title: str) -> Table:
    """Return each rule's mean with its interval, and how far it is ahead of the first."""
    table = Table(box=None, title=title, title_justify="left")
    for head in ("rule", "average precision", "95 % interval", "minus the first"):
        table.add_column(head)
    first = next(iter(scores))
    for rule, values in scores.items():
        mean = mean_interval(values)
        ahead = "" if rule == first else _shown(paired_difference(values, scores[first]), "+.3f")
        table.add_row(rule, f"{mean.mean:.3f}", f"{mean.low:.3f} to {mean.high:.3f}", ahead)
    return table


def _shown(interval: Interval, form: str) -> str:
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def main() -> None:
    """Train by every rule over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    jobs = [(rule, seed) for rule in RULES for seed in range(given.seeds)]
    found = {job: score(*job, given) for job in track(jobs, "training", transient=True)}
    scores = {rule: [found[rule, seed] for seed in range(given.seeds)] for rule in RULES}
    epochs = f"{given.epochs} epoch{'s' if given.epochs > 1 else ''} a round"
    Console().print(table_of(scores, f"Dirichlet {given.alpha} over failure modes, {given.rounds} rounds, {epochs}"))


if __name__ == "__main__":
    main()
