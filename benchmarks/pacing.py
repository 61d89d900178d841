"""Does a round that closes early reach a score sooner? Simulated seconds to a validation score, side by side.

python -m benchmarks.pacing
python -m benchmarks.pacing --data ai4i.csv --seeds 5 --target 0.6

The world is the named preset, in which some plants are many times slower than others. Each seed draws another fleet and
another division of the rows. A run that does not reach the target counts with all the time that it took. Means are
geometric, and times are of the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from werkbund.config import check_config
from werkbund.evaluation import paired_difference
from werkbund.federation import run

WINDOW = 3
"""Rounds over which the validation score is averaged."""


def paces(updates: int) -> dict[str, Mapping[str, Any]]:
    """Return the ways to close a round that are compared."""
    return {
        "all have answered": {},
        f"the first {updates}": {"close": "first", "updates": updates},
        f"a buffer of {updates}": {"close": "buffer", "updates": updates},
    }


def seconds_to(lines: Sequence[Mapping[str, Any]], target: float) -> tuple[float, bool]:
    """Return the simulated seconds until the mean score of a few rounds reaches a target, and whether it does."""
    clock, recent = 0.0, list[float]()
    for line in lines:
        # A line scores the weights before its round.
        recent = [*recent, line["metrics"]["validation"]["average_precision"] or 0.0][-WINDOW:]
        if len(recent) == WINDOW and math.fsum(recent) / WINDOW >= target:
            return clock, True
        clock += line.get("simulated_seconds", 0.0)
    return clock, False


def tried(pace: Mapping[str, Any], seed: int, given: argparse.Namespace) -> tuple[float, bool]:
    """Run a federation at a pace, and return the simulated seconds to the target and whether it was reached."""
    data = {"path": str(given.data)} if given.data else {"source": "generator"}
    full = not pace
    config = check_config(
        {
            "federation": {"rounds": given.rounds if full else given.rounds * given.more, "seed": seed},
            "data": data,
            "clients": {"count": given.clients},
            "world": {"preset": given.world},
            "strategy": {"pace": pace, "aggregation": {"momentum": given.momentum}},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        done = run(config, out=Path(folder) / "run", compare=False)
        lines = (done.folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    return seconds_to([json.loads(line) for line in lines], given.target)


def main() -> None:
    """Compare the ways to close a round over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--world", default="factory-fleet")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--more", type=int, default=3, help="times as many rounds where a round closes early")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    results = {
        name: [tried(pace, seed, given) for seed in range(given.first, given.first + given.seeds)]
        for name, pace in paces(given.updates).items()
    }
    title = f"Simulated seconds to a validation score of {given.target}, {given.seeds} seeds"
    table = Table(box=None, title=title, title_justify="left")
    for head in ("a round closes when", "reached", "seconds", "times waiting for all", "95 % interval"):
        table.add_column(head)
    waited = np.log([seconds for seconds, _ in results["all have answered"]])
    for name, outcomes in results.items():
        seconds, reached = np.array([one for one, _ in outcomes]), sum(is_there for _, is_there in outcomes)
        times = paired_difference(np.log(seconds).tolist(), waited.tolist())
        mean, low, high = (f"{math.exp(value):.2f}" for value in (times.mean, times.low, times.high))
        row = (name, f"{reached} of {len(outcomes)}", f"{np.exp(np.log(seconds).mean()):.1f}")
        table.add_row(*row, *(("1", "") if name == "all have answered" else (mean, f"{low} to {high}")))
    Console().print(table)


if __name__ == "__main__":
    main()
