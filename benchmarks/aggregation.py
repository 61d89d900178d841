"""Aggregation alone: large updates that arrive one at a time, against plain copies of the same bytes in memory.

An update is made outside the timed part, in a buffer that is used again. `fold` is the ordered fold of the engine with
federated averaging; `collect` is the engine's whole path, which also checks every answer and that it is finite. Copies
and both ways take turns, repetition after repetition.

    python -m benchmarks.aggregation
    python -m benchmarks.aggregation --updates 20 --repetitions 9 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from werkbund.aggregation import FedAvg, Sums
from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import Form, ask
from werkbund.engine.folding import OrderedFold, fold_answers
from werkbund.engine.kinds import TRAIN

TITLES = {
    "copy": "copies in memory",
    "fold": "OrderedFold and FedAvg",
    "collect": "collect: checks and fold",
}


@dataclass
class Arrivals:
    """Make updates one after the other, and keep count of the time that making them takes.

    Parameters
    ----------
    base
        (parameters,), what every update is a multiple of.
    number
        How many there are.
    reuse
        Make all in one buffer; else each is an array of its own, as from a network.
    seconds
        Spent so far on making them.
    """

    base: Float32Array
    number: int
    reuse: bool = True
    seconds: float = 0.0

    def updates(self) -> Iterator[Float32Array]:
        """Yield updates, (1, parameters) each; none is kept here."""
        buffer = np.empty_like(self.base) if self.reuse else None
        for client in range(self.number):
            began = time.perf_counter()
            made = [np.multiply(self.base, np.float32(client + 1), out=buffer)[None]]
            self.seconds += time.perf_counter() - began
            yield made.pop()

    def replies(self) -> Iterator[Replies]:
        """Yield the same as answers of clients."""
        for client, update in enumerate(self.updates()):
            held: list[Arrays] = [{"update": update, "weight": np.ones(1), "loss": np.ones(1), "rows": np.ones(1)}]
            del update
            yield Replies(TRAIN, 1, np.array([client]), held.pop(), {}, "same")


def copies(arrivals: Arrivals, weights: Float32Array) -> Float32Array:
    """Copy every update to one target of the same size."""
    target = np.empty_like(weights)
    for update in arrivals.updates():
        np.copyto(target, update[0])
    return target


def folded(arrivals: Arrivals, weights: Float32Array) -> Float32Array:
    """Return the next weights through the ordered fold."""
    aggregator, one = FedAvg(momentum=0.0), np.ones(1)
    fold = OrderedFold(aggregator, np.arange(arrivals.number), len(weights))
    numbers = iter(range(arrivals.number))
    for update in arrivals.updates():
        fold.add(np.array([next(numbers)]), {"update": update}, one)
        del update
    return _finished(aggregator, fold.close(), weights)


@dataclass(frozen=True)
class _Arrived:
    """Be a grid to which all answers have come."""

    arrivals: Arrivals

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names."""
        return tuple(map(str, range(self.arrivals.number)))

    def send(self, tasks: Tasks) -> None:
        """Do nothing: the answers are there."""

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield the answers."""
        yield from self.arrivals.replies()


def collected(arrivals: Arrivals, weights: Float32Array) -> Float32Array:
    """Return the next weights through the engine's whole path."""
    aggregator = FedAvg(momentum=0.0)
    cohort = np.arange(arrivals.number)
    usable = ask(_Arrived(arrivals), [Tasks(TRAIN, 1, cohort)], 1.0, Form(len(weights), "same"))
    return _finished(aggregator, fold_answers(usable, aggregator, cohort, len(weights)).accumulator, weights)


WAYS: dict[str, Callable[[Arrivals, Float32Array], Float32Array]] = {
    "copy": copies,
    "fold": folded,
    "collect": collected,
}


def measure(num_parameters: int, num_updates: int, repetitions: int) -> dict[str, Any]:
    """Return each way's seconds, their ratio to the copies', and its peak memory in models."""
    base = np.random.default_rng(0).standard_normal(num_parameters, dtype=np.float32)
    weights = np.zeros_like(base)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for repetition in range(repetitions + 1):
        for name, way in WAYS.items():
            spent = _seconds(way, Arrivals(base, num_updates), weights)
            if repetition:  # the first one warms up
                seconds[name].append(spent)
    ratios = {
        name: [own / copy for own, copy in zip(spent, seconds["copy"], strict=True)] for name, spent in seconds.items()
    }
    return {
        name: {
            "seconds": statistics.median(seconds[name]),
            "ratio": statistics.median(ratios[name]),
            "ratio_least": min(ratios[name]),
            "ratio_most": max(ratios[name]),
            "peak_models": peak_models(name, base, reuse=True),
            "peak_models_own_arrays": peak_models(name, base, reuse=False),
        }
        for name in WAYS
    }


def peak_models(name: str, base: Float32Array, reuse: bool, num_updates: int = 5) -> float:
    """Return the peak memory of a way beside the weights, in sizes of the weights.

    The update that arrives counts, and so do the next weights. Memory is what was asked for, touched or not.
    """
    weights = np.zeros_like(base)
    tracemalloc.start()
    try:
        WAYS[name](Arrivals(base, num_updates, reuse), weights)
        return tracemalloc.get_traced_memory()[1] / weights.nbytes
    finally:
        tracemalloc.stop()


def table_of(measured: dict[str, Any], num_parameters: int, num_updates: int) -> Table:
    """Return the figures for people."""
    title = f"{num_updates} updates of {num_parameters:,} float32 parameters, one at a time: median (least .. most)"
    table = Table(title=title, title_justify="left")
    for name in ("way", "ms an update", "times the copies", "peak, models", "peak, each in an array of its own"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, one in measured.items():
        ratio = f"{one['ratio']:.2f} ({one['ratio_least']:.2f} .. {one['ratio_most']:.2f})"
        peaks = [f"{one[key]:.2f}" for key in ("peak_models", "peak_models_own_arrays")]
        table.add_row(TITLES[name], f"{one['seconds'] / num_updates * 1e3:.2f}", ratio, *peaks)
    return table


def _seconds(way: Callable[[Arrivals, Float32Array], Float32Array], arrivals: Arrivals, weights: Float32Array) -> float:
    began = time.perf_counter()
    way(arrivals, weights)
    return time.perf_counter() - began - arrivals.seconds


def _finished(aggregator: FedAvg, sums: Sums, weights: Float32Array) -> Float32Array:
    return aggregator.finish(sums, weights, aggregator.init(len(weights)))[0]


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Time aggregation against copies of the same bytes.")
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = measure(arguments.parameters, arguments.updates, arguments.repetitions)
    if arguments.json:
        sizes = {"parameters": arguments.parameters, "updates": arguments.updates}
        sys.stdout.write(json.dumps({**sizes, "rows": measured}) + "\n")
        return
    Console().print(table_of(measured, arguments.parameters, arguments.updates))


if __name__ == "__main__":
    main()
