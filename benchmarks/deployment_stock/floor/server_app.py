"""The server: stock FedAvg and its stock loop, which note when each round is over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):  # type: ignore[misc]  # Flower is not there in every check
    """Note, after each round, when it ended and how many answers it had.

    Parameters
    ----------
    report
        JSON file, written anew after each round.
    options
        Of `FedAvg`.
    """

    def __init__(self, report: Path, **options: Any) -> None:
        super().__init__(**options)
        self._report = report
        self._ended: list[float] = []
        self._answers: list[int] = []
        self._count = 0

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Aggregate as FedAvg does."""
        replies = list(replies)
        self._count = _good(replies)
        return super().aggregate_train(server_round, replies)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Aggregate as FedAvg does; this is the last that happens in a round."""
        replies = list(replies)
        metrics = super().aggregate_evaluate(server_round, replies)
        self._ended.append(time.perf_counter())
        self._answers.append(self._count + _good(replies))
        text = json.dumps({"ended_s": self._ended, "answers": self._answers})
        written = self._report.with_suffix(".new")
        written.write_text(text, encoding="utf-8")
        os.replace(written, self._report)
        return metrics


def _good(replies: Iterable[Message]) -> int:
    return sum(not reply.has_error() for reply in replies)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    config = context.run_config
    everyone, evaluate = int(config["clients"]), bool(config["evaluate"])
    strategy = Timed(
        Path(str(config["report"])),
        min_train_nodes=everyone,
        min_evaluate_nodes=everyone,
        min_available_nodes=everyone,
        fraction_evaluate=float(evaluate),
    )
    weights = np.zeros(int(config["parameters"]), dtype=np.float32)
    strategy.start(grid, ArrayRecord({"weights": Array(weights)}), num_rounds=int(config["rounds"]))
