"""Populations of growing size: time per round and peak memory against the number of clients, the cohort kept.

Every population runs in a process of its own, so that its peak memory is its own.

    python -m benchmarks.scale
    python -m benchmarks.scale --clients 1000 10000 --rounds 10 --json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from werkbund.config import check_config
from werkbund.evaluation.watch import RoundNews
from werkbund.federation.families.networks import simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import Outlets, train

_ROWS = 100
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Scaled:
    """Hold what a population cost.

    Parameters
    ----------
    clients
        Their number.
    rounds
        Rounds that were timed: all but the first, which also compiles and is `first_s`.
    round_s, least_s, most_s
        Median, shortest and longest round, from the news of one round to the news of the next.
    first_s
        The first round.
    set_up_s
        Generating the rows, dividing and preparing them.
    close_s
        Scoring the final weights, once by everybody.
    peak_mib
        Largest resident memory of the process.
    loss
        Mean training loss of the last cohort.
    """

    clients: int
    rounds: int
    round_s: float
    least_s: float
    most_s: float
    first_s: float
    set_up_s: float
    close_s: float
    peak_mib: float
    loss: float


@dataclass
class Stopwatch:
    """Note the time at which each round's news comes."""

    times: list[float] = field(default_factory=list)
    loss: float = float("nan")

    def stage(self, what: str) -> None:
        """Do nothing."""

    def round(self, news: RoundNews) -> None:
        """Note the time; the news after the last round is of a scoring alone and has no loss."""
        if news.record.loss is not None:
            self.times.append(time.perf_counter())
            self.loss = news.record.loss


def scaled(clients: int, cohort: int, rounds: int) -> Scaled:
    """Run generated clients of 100 rows each, of which a cohort drawn at random trains in a round."""
    config = check_config(
        {
            "data": {"source": "generator", "rows": clients * _ROWS, "plants": clients},
            "federation": {"rounds": rounds},
            "strategy": {"selection": {"name": "uniform", "count": cohort}},
        }
    )
    began = time.perf_counter()
    setup = simulate_network(config, divide(read_table(config), config).population)
    ready, watch = time.perf_counter(), Stopwatch()
    train(setup, outlets=Outlets(watcher=watch))
    ended = time.perf_counter()
    first, *times = watch.times
    spent = [after - before for before, after in zip(watch.times, times, strict=False)]
    costs = (statistics.median(spent), min(spent), max(spent), first - ready, ready - began, ended - watch.times[-1])
    return Scaled(clients, len(spent), *costs, _peak_mib(), watch.loss)


def scaled_apart(clients: int, cohort: int, rounds: int) -> Scaled:
    """Return the same from a process of its own."""
    options = ["--clients", str(clients), "--cohort", str(cohort), "--rounds", str(rounds), "--here"]
    command = [sys.executable, "-m", "benchmarks.scale", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Scaled(**json.loads(done.stdout))


def ratio(results: Sequence[Scaled]) -> float | None:
    """Return the median round time of the largest population in units of the next smaller one's."""
    ordered = sorted(results, key=lambda one: one.clients)
    return ordered[-1].round_s / ordered[-2].round_s if len(ordered) > 1 else None


def table_of(results: Sequence[Scaled], cohort: int) -> Table:
    """Return the results for people."""
    table = Table(
        title=f"{_ROWS} rows a client, cohort of {cohort}: median round (least .. most)", title_justify="left"
    )
    for name in ("clients", "round, ms", "first round, s", "set-up, s", "last scoring, s", "peak, MiB", "loss"):
        table.add_column(name, justify="right")
    for one in results:
        spread = f"{one.round_s * 1e3:,.1f} ({one.least_s * 1e3:,.1f} .. {one.most_s * 1e3:,.1f})"
        costs = [f"{seconds:.1f}" for seconds in (one.first_s, one.set_up_s, one.close_s)]
        table.add_row(f"{one.clients:,}", spread, *costs, f"{one.peak_mib:,.0f}", f"{one.loss:.4f}")
    return table


def _peak_mib() -> float:
    """Return the largest resident memory of this process; on Linux without what it was forked from."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Run the populations one after the other."""
    parser = argparse.ArgumentParser(description="Time rounds and measure memory against the number of clients.")
    parser.add_argument("--clients", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--cohort", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds must be >= 2: the first round is not counted")
    if arguments.here:
        one = scaled(arguments.clients[0], arguments.cohort, arguments.rounds)
        sys.stdout.write(json.dumps(asdict(one)) + "\n")
        return
    results, console = [], Console(stderr=True)
    for clients in arguments.clients:
        console.print(f"{clients} clients", highlight=False)
        results.append(scaled_apart(clients, arguments.cohort, arguments.rounds))
    if arguments.json:
        rows = [asdict(one) for one in results]
        sys.stdout.write(json.dumps({"cohort": arguments.cohort, "rows": rows, "ratio": ratio(results)}) + "\n")
        return
    output, larger = Console(), ratio(results)
    output.print(table_of(results, arguments.cohort))
    if larger is not None:
        output.print(f"largest population to the next smaller one: {larger:.2f} times the time of a round")


if __name__ == "__main__":
    main()
