"""The runs of a bench: done in several processes, and each written down when it ends.

A bench that was stopped is gone on with in its folder: what was done is not done again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from werkbund.config.sections import Config
from werkbund.core.arrays import plain
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.files import write_atomically
from werkbund.federation.folder import Folder

_OUTCOMES, _PLAN = "outcomes.jsonl", "plan.json"


class EndedRun(Protocol):
    """Be the outcome of one run."""

    @property
    def case(self) -> Any:
        """Which run, a value that can be looked up."""

    @property
    def title(self) -> str:
        """Which run, for people."""

    @property
    def error(self) -> str:
        """Why it ended before its time; empty if it did not."""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can hold."""


End = TypeVar("End", bound=EndedRun)


class Runner(Protocol):
    """Do runs, and keep between them what neighbours share."""

    def run(self, case: Any) -> Any:
        """Return the outcome of a run; one that fails is an outcome too."""


class Listener(Protocol):
    """Be told how a bench goes."""

    def stage(self, what: str, runs: int, done: int) -> None:
        """Hear that a stage of so many runs begins, of which some were done before."""

    def ended(self, outcome: EndedRun) -> None:
        """Hear of a run that is done."""


class Journal(Generic[End]):
    """Hold the outcomes of a bench, each in a line of a file of its folder.

    Parameters
    ----------
    folder
        Of the bench; what lies there is read, but for a line that was cut short.
    read
        Makes an outcome of what `to_json` gave.
    """

    def __init__(self, folder: Path, read: Callable[[Mapping[str, Any]], End]) -> None:
        self._path, self._read = folder / _OUTCOMES, read
        self.outcomes = list(self._known())
        write_atomically(self._path, "".join(map(_line, self.outcomes)).encode())  # without a line that was cut short

    def add(self, outcome: End) -> None:
        """Write an outcome down, and keep what one would read: a bench that is gone on with has the same figures."""
        line = _line(outcome)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self.outcomes.append(self._read(json.loads(line)))

    def _known(self) -> Iterator[End]:
        path = self._path
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n") if path.is_file() else ("", "", "")
        for line in whole.splitlines():
            try:
                yield self._read(json.loads(line))
            except (json.JSONDecodeError, KeyError, TypeError):
                continue


def _line(outcome: EndedRun) -> str:
    return json.dumps(plain(outcome.to_json())) + "\n"


def bench_folder(base: Config, kind: str, plan: Mapping[str, Any], out: Path | None) -> Folder:
    """Return a new folder, or one in which this very bench was begun.

    Parameters
    ----------
    base
        The configuration that all runs share.
    kind
        Of bench, at the end of the name of a fresh folder.
    plan
        What a folder must share with this bench to be gone on with.
    out
        The folder; None is a fresh one under `runs/`.

    Raises
    ------
    CheckpointError
        If the folder holds something else.
    """
    wanted = json.loads(json.dumps(plain(plan)))
    if out is not None and (out / _PLAN).is_file():
        folder = Folder(out)
        begun = folder.read_json(_PLAN)
        if begun != wanted:
            differing = sorted(key for key in {*wanted, *begun} if wanted.get(key) != begun.get(key))
            raise CheckpointError(
                f"{out} holds another bench: {', '.join(differing)} differ; give the same to go on with it, or choose "
                "another folder"
            )
        return folder
    folder = Folder.create(f"{base.federation.name}-{kind}", out)
    folder.write_config(base)
    folder.write_json(_PLAN, wanted)
    return folder


def usable_workers(workers: int | None) -> int:
    """Return how many processes work: as many as are asked for, or as many as this process may use cores.

    Raises
    ------
    ConfigError
        If it is less than one.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be >= 1, got {workers}")
    return workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def work_off(
    stages: Iterable[tuple[str, Sequence[Any]]],
    journal: Journal[Any],
    make: Callable[[], Runner],
    workers: int,
    listener: Listener | None = None,
) -> None:
    """Do the runs of each stage that are not done yet, and write them down.

    Parameters
    ----------
    stages
        What each is and its cases; a stage is asked for when the one before is done.
    journal
        Of the bench.
    make
        Makes what does the runs; can be pickled.
    workers
        How many processes; 1 works in this one.
    listener
        Who is told how it goes.
    """
    for what, cases in stages:
        known = {outcome.case for outcome in journal.outcomes}
        todo = [case for case in cases if case not in known]
        if listener:
            listener.stage(what, len(cases), len(cases) - len(todo))
        for outcome in _run_all(make, todo, workers) if todo else ():
            journal.add(outcome)
            if listener:
                listener.ended(outcome)


def _run_all(make: Callable[[], Runner], cases: Sequence[Any], workers: int) -> Iterator[Any]:
    """Yield the outcome of each run, in the order in which they end."""
    if workers == 1 or len(cases) < 2:
        yield from map(make().run, cases)
        return
    context = multiprocessing.get_context("spawn")  # threads of a parent do not survive a fork
    with ProcessPoolExecutor(workers, context, _begin, (make,)) as pool:
        waiting: set[Future[Any]] = {pool.submit(_run, case) for case in cases}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


_own: list[Runner] = []
"""What a worker process keeps between runs."""


def _begin(make: Callable[[], Runner]) -> None:
    """Prepare a process: one core is its own."""
    torch.set_num_threads(1)
    _own.append(make())


def _run(case: Any) -> Any:
    return _own[-1].run(case)
