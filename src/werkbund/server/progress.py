"""How a run goes, written to its folder line by line, so that another process can show it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from werkbund.core.arrays import plain
from werkbund.core.errors import CheckpointError
from werkbund.core.stored import stored_value, understood
from werkbund.core.types import Failure, RoundRecord
from werkbund.evaluation import Metrics
from werkbund.evaluation.watch import RoundNews, Watcher
from werkbund.federation.folder import Folder

FILE_NAME = "progress.jsonl"
_PAUSE_S, _QUIET = 0.2, 10
"""Pause between two looks at the file, and after how many without news the other process is asked after."""


class ProgressFile:
    """Be a watcher that writes down what it hears.

    Parameters
    ----------
    folder
        The run's.
    """

    def __init__(self, folder: Folder) -> None:
        self._path = folder.path / FILE_NAME

    def stage(self, what: str) -> None:
        """Write that a new stage begins."""
        self._write({"stage": what})

    def round(self, news: RoundNews) -> None:
        """Write what is new after a round."""
        record = news.record
        fields = (
            "round",
            "scored",
            "cohort",
            "loss",
            "update_norm",
            "weights_norm",
            "bytes_down",
            "bytes_up",
            "seconds",
        )
        failures = [vars(failure) for failure in record.failures]
        line = {name: getattr(record, name) for name in fields} | {"failures": failures}
        scores = {split: metrics.to_json() for split, metrics in news.scores.items()}
        told = {"last": news.last, "best_round": news.best_round, "failed": news.failed, "remarks": news.remarks}
        self._write({"round": line, "scores": scores, **told})

    def checks(self, checks: list[dict[str, Any]]) -> None:
        """Write what clients said about themselves."""
        self._write({"checks": checks})

    def end(self, error: str = "") -> None:
        """Write that the run is over, and why if it failed."""
        self._write({"end": error})

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(plain(line)).encode() + b"\n"
        with self._path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else b"\n" + text  # the last line of an earlier attempt was cut
            file.write(text)


def follow(
    path: Path,
    watcher: Watcher,
    seen: Callable[[list[dict[str, Any]]], None],
    ended: Callable[[], str | None],
    first_line: int = 0,
) -> str:
    """Pass on what another process writes about a run, until that is over.

    Parameters
    ----------
    path
        The run's folder.
    watcher
        Who is told of stages and rounds.
    seen
        Who is shown what clients said about themselves.
    ended
        Says why the other process ended without saying so itself; None while it goes on. Asked when there has been
        nothing new for a while.
    first_line
        Lines before this one are of an earlier attempt.

    Returns
    -------
    error
        Why the run failed; empty if it did not.
    """
    for line in _lines(path / FILE_NAME, first_line, ended):
        if "end" in line:
            return str(line["end"])
        with understood(path / FILE_NAME, "install the version that wrote it, or restore it"):
            _tell(line, watcher, seen)
    return "the run's process is gone; `werkbund server resume` goes on where it was"


def _tell(line: dict[str, Any], watcher: Watcher, seen: Callable[[list[dict[str, Any]]], None]) -> None:
    if "stage" in line:
        watcher.stage(line["stage"])
    elif "checks" in line:
        seen(line["checks"])
    elif "round" in line:
        watcher.round(_news(line))


def num_lines(path: Path) -> int:
    """Return how many lines a run's folder has of earlier attempts."""
    return len(_written(path))


def num_lines_before(path: Path) -> int:
    """Return how many lines a run's folder has of attempts before the present one, as far as these told their end."""
    return max((number for number, line in enumerate(_written(path), 1) if line.startswith('{"end": ')), default=0)


def _written(path: Path) -> list[str]:
    file = path / FILE_NAME
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []


def _lines(path: Path, first: int, ended: Callable[[], str | None]) -> Iterator[dict[str, Any]]:
    """Yield lines as they are written; after the end of the other process, a last error if it left none."""
    number, quiet, reason = first, 0, None
    while True:
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        for line in lines[number:]:
            with contextlib.suppress(CheckpointError):  # a line that was cut short
                yield stored_value(line, dict[str, Any], FILE_NAME, "leave it out")
        if len(lines) > number:
            number, quiet = len(lines), 0
            continue
        if reason is not None:
            yield {"end": reason}
            return
        quiet += 1
        reason = ended() if quiet % _QUIET == 0 else None
        time.sleep(_PAUSE_S)


def _news(line: dict[str, Any]) -> RoundNews:
    values = dict(line["round"])
    failures = tuple(Failure(**failure) for failure in values.pop("failures"))
    cohort = tuple(values.pop("cohort"))
    record = RoundRecord(**values, cohort=cohort, failures=failures, counts={}, evaluated={})
    scores = {split: _metrics(values) for split, values in line["scores"].items()}
    return RoundNews(record, line["last"], scores, line["best_round"], line.get("failed", {}), line.get("remarks", {}))


def _metrics(values: dict[str, Any]) -> Metrics:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return Metrics(**known)
