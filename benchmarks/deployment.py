"""The floor of a round over the network, side by side: stock Flower and Werkbund, with nothing to train.

What is the same: machine, loopback, number of clients, version of Flower, and number of parameters, which go down and
up as float32. The first three rows share even the processes: one `flower-superlink` and the same `flower-supernode`s,
all with their defaults and without TLS. What differs in the last row is Werkbund's deployment:
SuperNodes that poll every half second and hand a message to a worker that stays, where Flower's defaults start a
process; and what costs it time and the others none: TLS, registered keys, a database, and a whole round with
evaluation, checkpoint and one step of training. The stock client imports no more than Flower and sends back what came.

A round is timed at the server, from the end of one round to the end of the next; the first of a run is left out. Rows
run in turn, repetition after repetition, so that what disturbs the machine disturbs all; Flower's processes stay up
meanwhile, and ask for work as they do.

    python -m benchmarks.deployment
    python -m benchmarks.deployment --clients 2 --repetitions 1 --without flower-one message --json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.deployment_flower import Stack, flower_rounds, stock_stack
from benchmarks.deployment_processes import environment
from benchmarks.deployment_werkbund import kits_for, message_rounds, werkbund_rounds
from werkbund.flower.trial.trial import LocalFederation

Rounds = tuple[float, ...]


@dataclass(frozen=True)
class FloorRow:
    """Name one way of doing a round.

    Parameters
    ----------
    key
        For programs.
    title
        For people.
    note
        What a reader must know about it.
    run
        Does this many rounds of this many parameters; returns the seconds of each.
    """

    key: str
    title: str
    note: str
    run: Callable[[int, int], Rounds]


def rows_on(stack: Stack, trial: LocalFederation) -> list[FloorRow]:
    """Return the rows that run on stock SuperNodes, which know the kits of a trial."""
    return [
        FloorRow(
            "flower",
            "stock Flower: train, evaluate",
            "FedAvg.start; two messages a round, a process for each; polls every 3 s",
            lambda rounds, parameters: flower_rounds(stack, rounds, parameters, evaluate=True),
        ),
        FloorRow(
            "flower-one",
            "stock Flower: train alone",
            "as above with fraction_evaluate = 0: one message a round",
            lambda rounds, parameters: flower_rounds(stack, rounds, parameters, evaluate=False),
        ),
        FloorRow(
            "message",
            "Werkbund's round, stock SuperNodes",
            "one message a round, a process for each, which imports PyTorch and reads the rows; polls every 3 s",
            lambda rounds, parameters: message_rounds(stack, trial, rounds, parameters),
        ),
    ]


def own_row(folder: Path, clients: int) -> FloorRow:
    """Return the row of Werkbund's deployment as it comes, started anew each time it runs."""
    numbers = count(1)

    def run(rounds: int, parameters: int) -> Rounds:
        return werkbund_rounds(folder / f"werkbund-{next(numbers)}", clients, rounds, parameters)

    note = "one message a round, a worker that stays at the plant; TLS, registered keys, database"
    return FloorRow("werkbund", "Werkbund", note, run)


@contextmanager
def all_rows(clients: int, rounds: int) -> Iterator[list[FloorRow]]:
    """Start what the rows need, and stop every process in the end."""
    with tempfile.TemporaryDirectory(prefix="werkbund-floor-") as name:
        folder = Path(name)
        trial = kits_for(folder / "message", clients, rounds)
        with stock_stack(folder, list(trial.clients.values())) as stack:
            yield [*rows_on(stack, trial), own_row(folder, clients)]


def measure(
    rows: Sequence[FloorRow], repetitions: int, rounds: int, parameters: int, console: Console
) -> dict[str, Any]:
    """Return the seconds of each row's rounds, and how busy the machine was."""
    seconds: dict[str, list[float]] = {row.key: [] for row in rows}
    load: dict[str, list[float]] = {row.key: [] for row in rows}
    for repetition in range(repetitions):
        for row in rows:
            console.print(f"repetition {repetition + 1} of {repetitions}: {row.title}", highlight=False)
            done = row.run(rounds, parameters)
            if len(done) != rounds:
                raise RuntimeError(f"{row.title} must give {rounds} rounds, got {len(done)}")
            seconds[row.key] += done
            load[row.key].append(os.getloadavg()[0])
    return {row.key: _summary(row, seconds[row.key]) | {"load": load[row.key]} for row in rows}


def _summary(row: FloorRow, seconds: Sequence[float]) -> dict[str, Any]:
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [*seconds] * 3
    return {
        "title": row.title,
        "note": row.note,
        "s": statistics.median(seconds),
        "s_quartiles": [low, high],
        "seconds": [*seconds],
    }


def default_parameters() -> int:
    """Return the number of parameters of Werkbund's default model, as `werkbund run` says it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["werkbund", "run", "--no-compare", "--json", "--set", "federation.rounds=1"]
        done = subprocess.run(
            [*command, "--out", f"{folder}/run"], env=environment(Path(folder)), capture_output=True, check=True
        )
    return int(json.loads(done.stdout)["parameters"])


def table_of(result: dict[str, Any]) -> Table:
    """Return the rows for people, with the ratio to stock Flower."""
    title = f"{result['clients']} clients, {result['parameters']} parameters: seconds a round"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("row", "rounds", "median", "quartiles", "least .. most", "of stock"):
        table.add_column(name, justify="left" if name == "row" else "right")
    stock = result["rows"].get("flower", {}).get("s")
    for one in result["rows"].values():
        low, high = one["s_quartiles"]
        spread = f"{min(one['seconds']):.2f} .. {max(one['seconds']):.2f}"
        share = f"{one['s'] / stock:.3f}" if stock else "-"
        table.add_row(
            one["title"], str(len(one["seconds"])), f"{one['s']:.2f}", f"{low:.2f}, {high:.2f}", spread, share
        )
    return table


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare rounds over the network, with nothing to train.")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="of each row and repetition, after one that is left out")
    parser.add_argument("--without", nargs="*", default=[], help="rows to leave out, such as message")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    parameters = default_parameters()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # as Ctrl-C does, it ends what was started
    with all_rows(arguments.clients, arguments.rounds) as rows:
        chosen = [row for row in rows if row.key not in arguments.without]
        measured = measure(chosen, arguments.repetitions, arguments.rounds, parameters, Console(stderr=True))
    result = {
        "clients": arguments.clients,
        "parameters": parameters,
        "flower": importlib.metadata.version("flwr"),
        "cores": os.cpu_count(),
        "rows": measured,
    }
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    output = Console()
    output.print(table_of(result))
    for one in measured.values():
        output.print(f"{one['title']}: {one['note']}", highlight=False)


if __name__ == "__main__":
    main()
