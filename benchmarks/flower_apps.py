"""The process of Flower's row: a server app with Flower's own FedAvg, and plain PyTorch clients.

`python -m benchmarks.flower_apps --clients 100 --rounds 3` prints one line of JSON. Each client draws its rows once a
process and keeps them, as a loader with a cache would.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import cache

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import Tensor, nn

from benchmarks.plain import summed_loss, train_rows
from benchmarks.workload import Workload


@cache
def _network() -> nn.Module:
    torch.set_num_threads(1)  # Ray gives each actor one core
    return Workload().network()


@cache
def _rows(client: int) -> tuple[Tensor, Tensor]:
    features, labels = Workload().rows(client)
    return torch.from_numpy(features), torch.from_numpy(labels)


def train(message: Message, context: Context) -> Message:
    """Train one client from the weights in the message."""
    workload, client = Workload(), int(context.node_config["partition-id"])
    network, (x, y) = _network(), _rows(client)
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    order = workload.orders(int(message.content["config"]["server-round"]), np.array([client]))[0]
    train_rows(network, x, y, torch.from_numpy(order), workload)
    metrics = MetricRecord({"num-examples": len(y)})
    content = RecordDict({"arrays": ArrayRecord(network.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=message)


def evaluate(message: Message, context: Context) -> Message:
    """Score one client's rows with the weights in the message."""
    network, (x, y) = _network(), _rows(int(context.node_config["partition-id"]))
    network.load_state_dict(message.content["arrays"].to_torch_state_dict())
    metrics = MetricRecord({"loss": summed_loss(network, x, y) / len(y), "num-examples": len(y)})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=message)


def run(num_clients: int, num_rounds: int, cpus_a_client: float) -> None:
    """Do rounds in the simulation engine; print seconds of each round and the loss after the last."""

    def serve(grid: Grid, context: Context) -> None:
        del context
        ends: list[float] = []

        def note_time(round: int, arrays: ArrayRecord) -> None:
            # Flower calls this before the first round and after every one; it scores nothing.
            del round, arrays
            ends.append(time.perf_counter())

        first = ArrayRecord(Workload().network().state_dict())
        result = FedAvg().start(grid=grid, initial_arrays=first, num_rounds=num_rounds, evaluate_fn=note_time)
        loss = float(result.evaluate_metrics_clientapp[num_rounds]["loss"])
        # At once: what Flower does to shut down is no part of the rounds.
        print(json.dumps({"seconds": np.diff(ends).tolist(), "loss": loss}), flush=True)

    server, clients = ServerApp(), ClientApp()
    server.main()(serve)
    clients.train()(train)
    clients.evaluate()(evaluate)
    backend = {
        "client_resources": {"num_cpus": cpus_a_client, "num_gpus": 0.0},
        "init_args": {"num_cpus": os.cpu_count(), "_temp_dir": os.environ.get("RAY_TMPDIR")},
    }
    run_simulation(server, clients, num_clients, backend_config=backend)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpus", type=float, default=1.0, help="processors that Ray reserves for a client")
    arguments = parser.parse_args()
    run(arguments.clients, arguments.rounds, arguments.cpus)


if __name__ == "__main__":
    main()
