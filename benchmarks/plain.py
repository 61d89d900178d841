"""Plain PyTorch: one client's work as anybody would write it, the sequential loop over clients, one central pass."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.rows import Outcome, Row
from benchmarks.workload import Workload

_HUGE_BATCH = 8192


def train_rows(network: nn.Module, x: Tensor, y: Tensor, order: Tensor, workload: Workload) -> None:
    """Take one epoch of SGD in place: x (rows, features), y (rows,), order (rows,)."""
    optimizer = torch.optim.SGD(network.parameters(), lr=workload.learning_rate)
    for batch in order.split(workload.batch_size):
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(network(x[batch]).reshape(-1), y[batch]).backward()
        optimizer.step()


def summed_loss(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the log loss summed over rows."""
    with torch.inference_mode():
        logits = network(x).reshape(-1)
        return float(binary_cross_entropy_with_logits(logits, y, reduction="sum"))


def sequential_row(workload: Workload) -> Row:
    """Return the loop over clients, one after the other."""
    table = workload.table
    x = torch.from_numpy(table.features).split(workload.num_rows)
    y = torch.from_numpy(table.labels).split(workload.num_rows)

    def run(num_rounds: int) -> Outcome:
        server, client = workload.network(), workload.network()
        seconds, loss = [], 0.0
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # operations this small only lose by a second thread
        for round in range(1, num_rounds + 1):
            began = time.perf_counter()
            orders = torch.from_numpy(workload.orders(round, np.arange(workload.num_clients)))
            start = server.state_dict()
            total = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
            for own_x, own_y, order in zip(x, y, orders, strict=True):
                client.load_state_dict(start)
                train_rows(client, own_x, own_y, order, workload)
                for name, tensor in client.state_dict().items():
                    total[name].add_(tensor, alpha=len(own_y))
            server.load_state_dict({name: tensor / len(table.labels) for name, tensor in total.items()})
            loss = sum(summed_loss(server, *own) for own in zip(x, y, strict=True)) / len(table.labels)
            seconds.append(time.perf_counter() - began)
        torch.set_num_threads(threads)
        return Outcome(tuple(seconds), loss)

    return Row("plain", "plain PyTorch loop", run, note="one client after the other")


def central_row(workload: Workload) -> Row:
    """Return one pass of central SGD in huge batches, and one scoring, over the same rows."""
    x, y = torch.from_numpy(workload.table.features), torch.from_numpy(workload.table.labels)
    batches = list(zip(x.split(_HUGE_BATCH), y.split(_HUGE_BATCH), strict=True))

    def run(num_rounds: int) -> Outcome:
        network, seconds, loss = workload.network(), [], 0.0
        for _ in range(num_rounds):
            began = time.perf_counter()
            optimizer = torch.optim.SGD(network.parameters(), lr=workload.learning_rate)
            for some_x, some_y in batches:
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(network(some_x).reshape(-1), some_y).backward()
                optimizer.step()
            loss = sum(summed_loss(network, *batch) for batch in batches) / len(y)
            seconds.append(time.perf_counter() - began)
        return Outcome(tuple(seconds), loss)

    note = f"PyTorch, batches of {_HUGE_BATCH} rows; not federated, so another loss"
    return Row("central", "one central pass", run, same_work=False, note=note)
