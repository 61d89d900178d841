"""Plants of opposed kinds: one model for all, models for groups, and models of each plant, on the plants' own rows.

python -m benchmarks.kinds
python -m benchmarks.kinds --seeds 5 --model logistic

Six plants are drawn anew for each seed, of which one half fails where the other is well: readings alone do not tell the
kinds apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.verdicts import CASES, judged

WAYS: Mapping[str, Mapping[str, object]] = {
    "one model": {},
    "clusters, ifca with 2": {"clusters": {"name": "ifca", "count": 2}},
    "clusters, cfl": {"clusters": {"name": "cfl"}},
    "personal, fine-tuning": {"personal": {"name": "fine-tuning", "epochs": 10}},
    "personal, ditto": {"personal": {"name": "ditto"}},
    "personal, fedper": {"personal": {"name": "fedper"}},
}
"""The strategy of each, by a name for people."""


def main() -> None:
    """Train in every way over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="mlp")
    given = parser.parse_args()
    case = replace(next(case for case in CASES if case.name == "opposed"), kind=given.model)
    table = Table(box=None, title="Plants of two opposed kinds, average precision on own rows", title_justify="left")
    for head in ("way", "average precision", "minus the same model alone", "plants clearly worse off"):
        table.add_column(head)
    for way, strategy in track(WAYS.items(), "training", transient=True):
        contests = [judged(case, seed, strategy=strategy) for seed in range(given.seeds)]
        own = [contest.figures["federated"]["average_precision"].by_rows.mean for _, contest in contests]
        ahead = [contest.minus["local_mean"]["average_precision"].by_rows.mean for _, contest in contests]
        worse = sum(
            line.minus["local_mean"]["average_precision"].high < 0 for _, contest in contests for line in contest.plants
        )
        plants = sum(len(contest.plants) for _, contest in contests)
        each = f"{np.mean(own):.3f} ({', '.join(f'{value:.2f}' for value in own)})"
        table.add_row(way, each, f"{np.mean(ahead):+.3f}", f"{worse} of {plants}")
    Console().print(table)


if __name__ == "__main__":
    main()
