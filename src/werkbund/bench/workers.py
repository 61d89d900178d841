"""Runs of a bench over processes: each works through its share, and every outcome comes as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import torch

from werkbund.bench.plan import Trial
from werkbund.bench.trial import Bench, Outcome
from werkbund.config.sections import Config

_own: list[Bench] = []
"""What a worker process keeps between runs."""


def outcomes(base: Config, trials: Sequence[Trial], workers: int) -> Iterator[Outcome]:
    """Yield the outcome of each run, in the order in which they end.

    Parameters
    ----------
    base
        The configuration that all runs share.
    trials
        Which runs.
    workers
        How many processes; 1 works in this one.
    """
    if workers == 1 or len(trials) < 2:
        bench = Bench(base)
        yield from map(bench.run, trials)
        return
    context = multiprocessing.get_context("spawn")  # threads of a parent do not survive a fork
    with ProcessPoolExecutor(workers, context, _begin, (base.model_dump(mode="json"),)) as pool:
        waiting: set[Future[Outcome]] = {pool.submit(_run, trial) for trial in trials}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        finally:
            for one in waiting:
                one.cancel()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(base: dict[str, object]) -> None:
    """Prepare a process: one core is its own."""
    torch.set_num_threads(1)
    _own.append(Bench(Config.model_validate(base)))


def _run(trial: Trial) -> Outcome:
    return _own[-1].run(trial)
