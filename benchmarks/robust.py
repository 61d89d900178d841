"""Rules of aggregation that see each update, beside the plain mean of the same updates, in one run.

All updates are there; `fold` and `finish` are timed, so what counts is arithmetic. The mean and the rules take turns,
repetition after repetition, and each rule is compared with the mean of its own repetition. Time is that of the process
in all its threads, so that others on the machine count less; where rules share work out, the wait is shorter. A rule
that judges updates scores the sum of the weights: its forward passes depend on network and rows, and are not in it.

    python -m benchmarks.robust
    python -m benchmarks.robust --clients 20 --parameters 200000 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from werkbund.aggregation import AGGREGATORS, Aggregator, Closing, FedAvg, build_aggregator
from werkbund.core.arrays import Float32Array

MEAN = "mean"

OF_DISTANCES = ("krum", "multi-krum", "bulyan", "geometric-median")
"""Rules whose work grows with the square of the number of clients."""


def rules() -> dict[str, Aggregator]:
    """Return the mean and the rules that see each update, by name, without momentum."""
    seeing = {
        name: build_aggregator(name, momentum=0.0) for name in AGGREGATORS if build_aggregator(name).sees == "each"
    }
    return {MEAN: FedAvg(weighting="equal", momentum=0.0), **seeing}


def aggregated(rule: Aggregator, updates: Float32Array, weights: Float32Array) -> Float32Array:
    """Return the next weights after one round of updates, (clients, parameters), that all came with weight 1."""
    folded = rule.fold(rule.begin(len(weights)), {"update": updates}, np.ones(len(updates)))
    return rule.finish(folded, weights, rule.init(len(weights)), Closing(score=_score))[0]


def measure(num_clients: int, num_parameters: int, repetitions: int) -> dict[str, Any]:
    """Return each rule's seconds, and how many times the mean's they are."""
    rng = np.random.default_rng(0)
    updates = rng.standard_normal((num_clients, num_parameters), dtype=np.float32)
    weights, seconds = np.zeros(num_parameters, np.float32), dict[str, list[float]]()
    for repetition in range(repetitions + 1):
        for name, rule in rules().items():
            began = time.process_time()
            aggregated(rule, updates, weights)
            if repetition:  # the first one warms up
                seconds.setdefault(name, []).append(time.process_time() - began)
    ratios = {name: [a / b for a, b in zip(own, seconds[MEAN], strict=True)] for name, own in seconds.items()}
    return {
        name: {
            "seconds": statistics.median(own),
            "ratio": statistics.median(ratios[name]),
            "ratio_least": min(ratios[name]),
            "ratio_most": max(ratios[name]),
            "peak": peak(rules()[name], updates, weights),
            "grows": "clients squared" if name in OF_DISTANCES else "clients",
        }
        for name, own in seconds.items()
    }


def peak(rule: Aggregator, updates: Float32Array, weights: Float32Array) -> float:
    """Return the peak memory of a rule beside the updates, in sizes of all updates."""
    tracemalloc.start()
    try:
        aggregated(rule, updates, weights)
        return tracemalloc.get_traced_memory()[1] / updates.nbytes
    finally:
        tracemalloc.stop()


def table_of(measured: dict[str, Any], num_clients: int, num_parameters: int) -> Table:
    """Return the figures for people."""
    title = f"{num_clients} updates of {num_parameters:,} float32 parameters: median (least .. most)"
    table = Table(title=title, title_justify="left")
    for name in ("rule", "ms", "times the mean", "memory, updates", "grows with"):
        table.add_column(name, justify="left" if name in ("rule", "grows with") else "right")
    for name, one in measured.items():
        ratio = f"{one['ratio']:.1f} ({one['ratio_least']:.1f} .. {one['ratio_most']:.1f})"
        table.add_row(name, f"{one['seconds'] * 1e3:.1f}", ratio, f"{one['peak']:.2f}", one["grows"])
    return table


def _score(weights: Float32Array) -> float:
    return float(weights.sum())


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Time rules that see each update against the mean.")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = measure(arguments.clients, arguments.parameters, arguments.repetitions)
    if arguments.json:
        sizes = {"clients": arguments.clients, "parameters": arguments.parameters}
        sys.stdout.write(json.dumps({**sizes, "rules": measured}) + "\n")
        return
    Console().print(table_of(measured, arguments.clients, arguments.parameters))


if __name__ == "__main__":
    main()
