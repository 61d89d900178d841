"""Flower's row: its simulation engine (Ray) with its own FedAvg and the same local steps in plain PyTorch.

Flower starts a run of its own at every call, so a round is timed from the end of one round to the end of the next,
inside the run; starting Ray and its actors is outside. A client finds its rows in a cache of its process: making
them anew in every task would time the generator of random numbers.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain import summed_loss, train_rows
from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload


def flower_row(workload: Workload) -> Row | None:
    """Return the row, or None where Flower is not installed."""
    try:
        import flwr  # noqa: F401
        import ray  # noqa: F401
    except ImportError:
        return None
    note = "Ray, one core a client, two messages a round: train, evaluate"
    return Row("flower", "Flower's simulation engine", lambda rounds: _run(workload, rounds), note=note)


@cache
def _rows(workload_key: tuple[int, int, int], client: int) -> tuple[Tensor, Tensor]:
    num_rows, num_features, seed = workload_key
    features, labels = Workload(1, num_rows, num_features, seed=seed).rows(client)
    return torch.from_numpy(features), torch.from_numpy(labels)


@cache
def _network() -> nn.Module:
    torch.set_num_threads(1)  # one core is what Ray gives a client
    return Workload(1).network()


def _client_app(workload: Workload) -> Any:
    """Return a ClientApp as Flower's documentation writes it."""
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()
    key = (workload.num_rows, workload.num_features, workload.seed)

    def loaded(message: Message, context: Context) -> tuple[nn.Module, Tensor, Tensor, int]:
        client, network = int(context.node_config["partition-id"]), _network()
        network.load_state_dict(message.content["arrays"].to_torch_state_dict())
        return network, *_rows(key, client), client

    @app.train()
    def train(message: Message, context: Context) -> Message:
        network, x, y, client = loaded(message, context)
        round = int(message.content["config"]["server-round"])
        order = torch.from_numpy(workload.orders(round, np.array([client]))[0])
        train_rows(network, x, y, order, workload)
        arrays, metrics = ArrayRecord(network.state_dict()), MetricRecord({"num-examples": len(y)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        network, x, y, _ = loaded(message, context)
        metrics = MetricRecord({"num-examples": len(y), "loss": summed_loss(network, x, y) / len(y)})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def _run(workload: Workload, num_rounds: int) -> Outcome:
    os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS="0")
    os.environ.setdefault("FLWR_HOME", tempfile.mkdtemp(prefix="flwr-"))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    from flwr.app import ArrayRecord, Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    ended: list[float] = []
    losses: list[float] = []
    server = ServerApp()

    class Timed(FedAvg):  # type: ignore[misc]
        """Note when a round is over."""

        def aggregate_evaluate(self, server_round: int, replies: Any) -> Any:
            """Aggregate as FedAvg does."""
            metrics = super().aggregate_evaluate(server_round, replies)
            ended.append(time.perf_counter())
            losses.append(float(metrics["loss"]) if metrics else float("nan"))
            return metrics

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        everyone = workload.num_clients
        strategy = Timed(min_train_nodes=everyone, min_evaluate_nodes=everyone, min_available_nodes=everyone)
        network = workload.network()
        strategy.start(grid=grid, initial_arrays=ArrayRecord(network.state_dict()), num_rounds=num_rounds + 1)

    run_simulation(
        server_app=server,
        client_app=_client_app(workload),
        num_supernodes=workload.num_clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"include_dashboard": False},
        },
    )
    if len(ended) != num_rounds + 1:
        raise RuntimeError(f"Flower ended after {len(ended)} of {num_rounds + 1} rounds")
    # The first round starts the actors; it is one more round of training, so the loss is that of the last but one.
    return Outcome(tuple(np.diff(ended).tolist()), losses[-2])
