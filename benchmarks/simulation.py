"""One round of a simulated federation, side by side: Werkbund, Flower's simulation engine, plain loops, and the floor.

Every row trains the same clients with the same batches from the same weights. Rows run in turn, repetition after
repetition, so that what disturbs the machine disturbs all; a row whose loss differs is invalid.

    python -m benchmarks.simulation --clients 1000
    python -m benchmarks.simulation --clients 100 --without flower --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.federation import Federation, scaffold_row, werkbund_rows
from benchmarks.floor import floor_row
from benchmarks.flower import flower_row
from benchmarks.plain import central_row, sequential_row
from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload

TOLERANCE = 1e-4
_STARTUP_ROUNDS = 10
_SHORT_S, _MOST_RUNS = 1.0, 10


def rows_of(workload: Workload, without: Sequence[str] = ()) -> list[Row]:
    """Return the rows that this machine can run."""
    rows = [*werkbund_rows(workload), flower_row(workload), sequential_row(workload), central_row(workload)]
    rows += [scaffold_row(workload), floor_row(workload)]
    return [row for row in rows if row is not None and row.key not in without]


def measure(workload: Workload, rows: Sequence[Row], repetitions: int, rounds: int, console: Console) -> dict[str, Any]:
    """Return each row's microseconds per client and round, and whether its loss is the others'."""
    warm_up = {}
    for row in rows:
        console.print(f"warm-up: {row.title}", highlight=False)
        began = time.perf_counter()
        row.run(1)
        warm_up[row.key] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {row.key: [] for row in rows}
    losses: dict[str, float] = {}
    for repetition in range(repetitions):
        console.print(f"repetition {repetition + 1} of {repetitions}", highlight=False)
        for row in rows:
            for outcome in _runs(row, rounds):
                seconds[row.key] += outcome.seconds
                losses[row.key] = outcome.loss
    unit = 1e6 / workload.num_clients
    expected = losses.get("plain", losses["werkbund"])
    return {
        row.key: {
            "title": row.title,
            "note": row.note,
            "warm_up_s": warm_up[row.key],
            "us": statistics.median(seconds[row.key]) * unit,
            "us_least": min(seconds[row.key]) * unit,
            "us_most": max(seconds[row.key]) * unit,
            "loss": losses[row.key],
            "valid": not row.same_work or abs(losses[row.key] - expected) <= TOLERANCE,
        }
        for row in rows
    }


def _runs(row: Row, rounds: int) -> Iterator[Outcome]:
    """Yield one run from the first weights, and more of them where a run is short."""
    began = time.perf_counter()
    yield row.run(rounds)
    for _ in range(min(int(_SHORT_S / (time.perf_counter() - began)), _MOST_RUNS)):
        yield row.run(rounds)


def start_up(key: str, clients: int) -> float:
    """Return the seconds from the start of a process to the end of ten rounds."""
    command = [sys.executable, "-m", "benchmarks.simulation", "--clients", str(clients), "--only", key]
    began = time.perf_counter()
    subprocess.run([*command, "--once", str(_STARTUP_ROUNDS)], check=True, capture_output=True)
    return time.perf_counter() - began


def table_of(measured: dict[str, Any], clients: int) -> Table:
    """Return the rows for people, with the ratio to Werkbund."""
    title = f"{clients} clients: microseconds per client and round, median (least .. most)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("row", "microseconds", "times Werkbund", "loss", "first run, s"):
        table.add_column(name, justify="left" if name == "row" else "right")
    own = measured["werkbund"]["us"]
    for one in measured.values():
        spread = f"{one['us']:,.1f} ({one['us_least']:,.1f} .. {one['us_most']:,.1f})"
        loss = f"{one['loss']:.5f}" if one["valid"] else f"[red]{one['loss']:.5f} INVALID"
        table.add_row(one["title"], spread, f"{one['us'] / own:,.2f}", loss, f"{one['warm_up_s']:.2f}")
    return table


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare simulated rounds side by side.")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="rows to leave out, such as flower")
    parser.add_argument("--startup", action="store_true", help="also time whole processes of ten rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    workload, console = Workload(arguments.clients), Console(stderr=True)
    if arguments.once:
        row = flower_row(workload) if arguments.only == "flower" else None
        (row.run if row else Federation.build(workload).run)(arguments.once)
        return
    rows = rows_of(workload, arguments.without)
    measured = measure(workload, rows, arguments.repetitions, arguments.rounds, console)
    result: dict[str, Any] = {"clients": arguments.clients, "rows": measured}
    if arguments.startup:
        timed = [key for key in ("werkbund", "flower") if key in measured]
        result["start_up_s"] = {key: start_up(key, arguments.clients) for key in timed}
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    output = Console()
    output.print(table_of(measured, arguments.clients))
    for key, seconds in result.get("start_up_s", {}).items():
        output.print(
            f"{measured[key]['title']}: {seconds:.1f} s from process start to the end of {_STARTUP_ROUNDS} rounds"
        )


if __name__ == "__main__":
    main()
