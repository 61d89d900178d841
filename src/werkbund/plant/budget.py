"""What a plant was asked and what it answered, by its own count: a server's numbers of rounds decide nothing here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, NonNegativeInt

from werkbund.core.kinds import Kind
from werkbund.core.stored import read_stored, write_stored
from werkbund.core.types import Tasks

STAGES = 64
"""Questions that a round of several stages may have; the next one is another round's."""

ANSWERED, REFUSED = "answered", "refused"

_FILE = "budget.json"
_MOST_DAYS, _MOST_VERSIONS = 31, 16

Tally = dict[str, dict[str, NonNegativeInt]]
"""By kind of task: how many were answered, and how many refused."""


def _is_round(value: dict[str, Any]) -> dict[str, Any]:
    numbers = [value.get("round"), value.get("stages")]
    if value and not (isinstance(value.get("run"), str) and all(type(one) is int and one >= 0 for one in numbers)):
        raise ValueError("must name a run, its round and the number of stages")
    return value


class Entries(BaseModel):
    """Hold what is counted; it is written as JSON.

    Parameters
    ----------
    days, versions
        What was asked on each day, by local date in ISO 8601, and about each version of the rows.
    round
        The run and round of several stages that is under way, and how many were asked of it.
    once
        By version: digests of the questions that are answered in one form alone, by kind.
    """

    days: dict[str, Tally]
    versions: dict[str, Tally]
    round: Annotated[dict[str, Any], AfterValidator(_is_round)]
    once: dict[str, dict[str, str]]


class AnswerBudget:
    """Count what a plant answers.

    Parameters
    ----------
    state
        Folder of what the plant keeps.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / _FILE
        self._entries: Entries | None = None

    def answered(self, day: date) -> Mapping[str, int]:
        """Return how many questions of each kind were answered on a day."""
        return _answered(self._read().days.get(_iso(day), {}))

    def answered_about(self, version: str) -> Mapping[str, int]:
        """Return how many questions of each kind were answered about these rows."""
        return _answered(self._read().versions.get(version, {}))

    def days(self) -> Mapping[str, Tally]:
        """Return what was asked on each of the last days."""
        return self._read().days

    def is_under_way(self, run: str, round: int) -> bool:
        """Say whether a round of several stages is counted already and may have another one."""
        known = self._read().round
        return known.get("run") == run and known.get("round") == round and known.get("stages", 0) < STAGES

    def is_another(self, tasks: Tasks, version: str) -> bool:
        """Say whether a question was answered in another form already, where its kind allows but one."""
        known = self._read().once.get(version, {}).get(tasks.kind.name)
        return tasks.kind.once and known is not None and known != _form(tasks)

    def count(self, tasks: Tasks, run: str, version: str, day: date) -> None:
        """Count a question as answered, on disk before it is."""
        entries, kind = self._read(), tasks.kind
        _add(entries.days, _iso(day), kind, ANSWERED)
        _add(entries.versions, version, kind, ANSWERED)
        if kind.once:
            entries.once.setdefault(version, {})[kind.name] = _form(tasks)
        if kind.staged:
            under_way = self.is_under_way(run, tasks.round)
            stages = entries.round["stages"] + 1 if under_way else 1
            entries.round = {"run": run, "round": tasks.round, "stages": stages}
        self._write(entries)

    def count_refusal(self, kind: Kind, day: date) -> None:
        """Count a question as refused; it is written with the next one that is answered."""
        _add(self._read().days, _iso(day), kind, REFUSED)

    def _read(self) -> Entries:
        if self._entries is None:
            self._entries = _entries_in(self._path)
        return self._entries

    def _write(self, entries: Entries) -> None:
        entries.days = dict(sorted(entries.days.items())[-_MOST_DAYS:])
        entries.versions = dict(list(entries.versions.items())[-_MOST_VERSIONS:])
        entries.once = {version: forms for version, forms in entries.once.items() if version in entries.versions}
        try:
            write_stored(self._path, entries.model_dump())
        except BaseException:
            self._entries = None  # what could not be written was not counted
            raise


def _answered(tally: Tally) -> dict[str, int]:
    return {kind: numbers.get(ANSWERED, 0) for kind, numbers in tally.items()}


def _add(pages: dict[str, Tally], name: str, kind: Kind, what: str) -> None:
    tally = pages.pop(name, {})
    pages[name] = tally  # the newest last
    numbers = tally.setdefault(kind.name, {})
    numbers[what] = numbers.get(what, 0) + 1


def _form(tasks: Tasks) -> str:
    """Return a digest of what all clients of a task are sent alike."""
    digest = hashlib.sha256()
    for name, array in sorted(tasks.shared.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _iso(day: date) -> str:
    return day.isoformat()[:10]


def _entries_in(path: Path) -> Entries:
    """Return what a budget's file holds.

    Raises
    ------
    CheckpointError
        If it was damaged: a limit that cannot be checked is not lifted.
    """
    none: dict[str, Any] = {name: {} for name in Entries.model_fields}
    return Entries(**(read_stored(path, Entries, _REMEDY) if path.exists() else none))


_REMEDY = "restore it from a backup, or remove it to begin counting anew"
