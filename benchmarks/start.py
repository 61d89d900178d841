"""Time the start of commands, side by side with others of the field.

python -m benchmarks.start
python -m benchmarks.start --repetitions 9

Each command is a process of its own, all in turn, so that what else the machine does meets all of them; the median of
the repetitions is shown. `predict` scores ten rows by a model of a small run that is made first.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

SMALL = ["data.source=generator", "data.rows=1500", "federation.rounds=1", "model.hidden=[8]"]
STARTS: Mapping[str, Sequence[str]] = {
    "werkbund --version": ["werkbund", "--version"],
    "werkbund --help": ["werkbund", "--help"],
    "werkbund strategies": ["werkbund", "strategies"],
    "werkbund with a typo": ["werkbund", "strtegies"],
    "flwr --version": ["flwr", "--version"],
    "mlflow --version": ["mlflow", "--version"],
}


def program(name: str) -> str | None:
    """Return where a command lies: beside this Python, or else on the path; None if it is not installed."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def seconds(command: Sequence[str], folder: Path) -> float:
    """Return how long a command takes from its start to its end."""
    found = str(program(command[0]))
    before = time.perf_counter()
    subprocess.run([found, *command[1:]], cwd=folder, capture_output=True, check=False)
    return time.perf_counter() - before


def ten_rows(folder: Path) -> Sequence[str]:
    """Make a model and ten rows in a folder, and return the command that scores them."""
    from werkbund.config import load_config
    from werkbund.data import generate
    from werkbund.federation import run

    run(load_config(None, SMALL), out=folder / "run", compare=False)
    generate(rows=10, plants=1, seed=3).write_csv(folder / "ten.csv")
    return ["werkbund", "predict", "run", "ten.csv", "--out", "scores.csv"]


def main() -> None:
    """Time all commands that are installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        commands = {**STARTS, "werkbund predict, ten rows": ten_rows(folder)}
        tried = {name: command for name, command in commands.items() if program(command[0])}
        times: dict[str, list[float]] = {name: [] for name in tried}
        for repetition in range(given.repetitions + 1):
            for name, command in tried.items():
                taken = seconds(command, folder)
                if repetition:  # the first one finds files that are not yet in memory
                    times[name].append(taken)
    table = Table(box=None, title="Seconds from start to end, median", title_justify="left")
    table.add_column("command")
    table.add_column("s", justify="right")
    for name in commands:
        table.add_row(name, f"{statistics.median(times[name]):.2f}" if name in times else "not installed")
    Console().print(table)


if __name__ == "__main__":
    main()
