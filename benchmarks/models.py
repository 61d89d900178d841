"""Other networks: a user's own convolution by import path and a larger MLP, Werkbund's way against the plain loop.

python -m benchmarks.models
python -m benchmarks.models --clients 20 --repetitions 5 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.federation import Federation
from benchmarks.plain import sequential_row
from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload
from werkbund.learner import CohortTrainer, ModelSpec

TOLERANCE = 1e-4


class Convolution(nn.Module):
    """Score a row as a short signal: two 1-D convolutions over the features, the mean over places, a linear layer.

    Parameters
    ----------
    num_features
        Length of the signal.
    channels
        Of both convolutions.
    """

    def __init__(self, num_features: int, channels: int = 16) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, channels, 3, padding=1), nn.ReLU(), nn.Conv1d(channels, channels, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(channels * num_features, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (rows, features) to (rows, 1)."""
        logits: Tensor = self.head(self.convolutions(rows[:, None]).flatten(1))
        return logits


SPECS = {
    "convolution": ("1-D convolution of one's own", ModelSpec("benchmarks.models:Convolution")),
    "mlp": ("MLP 8-256-256-128-1", ModelSpec("mlp", {"hidden": [256, 256, 128]})),
}


def rows_of(workload: Workload) -> list[Row]:
    """Return Werkbund's way with this network, and the plain loop."""
    trainer = CohortTrainer(workload.network(), workload.plan, workload.num_features)
    werkbund = Row("werkbund", "Werkbund", Federation.build(workload).run, note=trainer.way)
    return [werkbund, sequential_row(workload)]


def measure(workload: Workload, repetitions: int, rounds: int) -> dict[str, Any]:
    """Return the microseconds per client and round of both rows, and whether their losses are equal."""
    rows = rows_of(workload)
    for row in rows:
        row.run(1)
    outcomes: dict[str, list[Outcome]] = {row.key: [] for row in rows}
    for _ in range(repetitions):
        for row in rows:
            outcomes[row.key].append(row.run(rounds))
    own, plain = (
        statistics.median(second for outcome in some for second in outcome.seconds) * 1e6 / workload.num_clients
        for some in (outcomes["werkbund"], outcomes["plain"])
    )
    losses = {key: some[-1].loss for key, some in outcomes.items()}
    return {
        "parameters": len(workload.start()),
        "way": rows[0].note,
        "werkbund_us": own,
        "plain_us": plain,
        "ratio": plain / own,
        "werkbund_loss": losses["werkbund"],
        "plain_loss": losses["plain"],
        "valid": abs(losses["werkbund"] - losses["plain"]) <= TOLERANCE,
    }


def table_of(measured: dict[str, Any], clients: int) -> Table:
    """Return the figures for people."""
    title = f"{clients} clients: median microseconds per client and round"
    table = Table(title=title, title_justify="left")
    for name in ("network", "parameters", "way", "Werkbund", "plain loop", "times faster", "losses"):
        table.add_column(name, justify="left" if name in ("network", "way") else "right")
    for key, one in measured.items():
        losses = f"{one['werkbund_loss']:.5f} {one['plain_loss']:.5f}"
        times = [f"{one['werkbund_us']:,.0f}", f"{one['plain_us']:,.0f}", f"{one['ratio']:.1f}"]
        shown = losses if one["valid"] else f"[red]{losses} INVALID"
        table.add_row(SPECS[key][0], f"{one['parameters']:,}", one["way"], *times, shown)
    return table


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare other networks with the plain loop.")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = {
        key: measure(Workload(arguments.clients, spec=spec), arguments.repetitions, arguments.rounds)
        for key, (_, spec) in SPECS.items()
    }
    if arguments.json:
        sys.stdout.write(json.dumps({"clients": arguments.clients, "rows": measured}) + "\n")
        return
    Console().print(table_of(measured, arguments.clients))


if __name__ == "__main__":
    main()
