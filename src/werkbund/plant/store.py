"""What a plant keeps between its processes: one folder, in which whatever was accepted survives a kill at any moment.

    counters.json   rounds trained in, by day
    spending.json   what training told under a promise of privacy, over all runs: see `plant/spending.py`
    replies/        answers of the last two rounds, so that a task that comes again is not done again
    briefings/      what the last runs were about
    notes/          what the plant keeps from task to task of a run
    models/         delivered models, one folder each; models/current.json says which are in use
    events.jsonl    errors in their own words, and what was found damaged
    ledger.jsonl    what was asked, answered and refused, chained and signed: see `plant/ledger.py`

Every file appears whole under its name. Names that a server chose never become names of files.

The notes are the plant's client store, `notes/<digest of run>/<round>.npz`: what was kept after a task of that round. A
server that was stopped goes on from a checkpoint and asks for rounds again that the plant has done already; so the last
few rounds are kept, and a task that begins a round's work begins from what was kept before that round.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, NonNegativeInt

from werkbund.core.arrays import AnyArray, BoolArray, Int64Array, plain
from werkbund.core.errors import CheckpointError, ModelError
from werkbund.core.files import make_private, open_private, to_disk, write_privately
from werkbund.core.stored import read_stored, stored_value, write_stored
from werkbund.plant.shelf import Shelf, digest

_DAYS = 31
_REPLIES, _ROUNDS, _BRIEFINGS, _MODELS = 8, 2, 4, 5


class Counted(BaseModel):
    """Hold what counters.json says."""

    rounds: dict[str, NonNegativeInt] = {}


class Accepted(BaseModel):
    """Hold what models/current.json says: numbers of the accepted models, the current one last."""

    versions: list[NonNegativeInt] = []


@dataclass(frozen=True)
class PlantFolder:
    """Write and read a plant's state.

    Parameters
    ----------
    path
        The folder; it is made when something is first written.
    """

    path: Path

    def counters(self) -> dict[str, int]:
        """Return in how many rounds the plant trained, by local date in ISO 8601.

        Raises
        ------
        CheckpointError
            If the file was damaged: a limit that cannot be checked is not lifted.
        """
        rounds: dict[str, int] = self._read("counters.json", Counted).get("rounds", {})
        return rounds

    def count_round(self, day: date) -> None:
        """Count one more round; only the last days are remembered."""
        today = (day.date() if isinstance(day, datetime) else day).isoformat()
        rounds = self.counters()
        rounds[today] = rounds.get(today, 0) + 1
        self._write("counters.json", {"rounds": dict(sorted(rounds.items())[-_DAYS:])})

    def remember_reply(self, task_id: str, reply: bytes, round: int = 0) -> None:
        """Keep an answer until two other rounds were answered, or eight other tasks.

        Parameters
        ----------
        task_id
            Of the task that was answered; the same task has the same id when it comes again.
        reply
            The answer as it was sent.
        round
            Of the task.
        """
        self._replies.put(task_id, reply, str(round))

    def recorded_reply(self, task_id: str) -> bytes | None:
        """Return the answer that was given to this task; None if it is not remembered, or was damaged since."""
        return self._undamaged(self._replies, task_id)

    def save_briefing(self, fingerprint: str, content: bytes) -> None:
        """Keep what a run is about; the last few are."""
        self._briefings.put(fingerprint, content, fingerprint)

    def briefing(self, fingerprint: str) -> bytes | None:
        """Return what was kept under this fingerprint; None if nothing is, or it was damaged since."""
        return self._undamaged(self._briefings, fingerprint)

    @property
    def notes(self) -> Notes:
        """What the plant keeps from task to task of a run."""
        return Notes(self.path / "notes")

    def new_model_folder(self) -> Path:
        """Make an empty folder for a model that was delivered.

        It is used once `accept` was called; a model that was not accepted lies there until the next but one comes.
        """
        self._remove_refused(but=1)
        folder = make_private(self.path / "models") / str(max(self._numbers(), default=0) + 1)
        folder.mkdir(mode=0o700)
        return folder

    def accept(self, folder: Path) -> None:
        """Make a model the current one; the four accepted before it are kept, all others are removed.

        Raises
        ------
        ModelError
            If the folder is none of `new_model_folder`.
        """
        models = self.path / "models"
        if folder.parent != models or not folder.name.isdigit() or not folder.is_dir():
            raise ModelError(f"a model to accept must lie in a folder of {models}, got {folder}")
        _all_to_disk(folder)
        number = int(folder.name)
        versions = [*(version for version in self._versions() if version != number), number]
        self._write_versions(versions[-_MODELS:])
        self._remove_refused()

    def current(self) -> Path | None:
        """Return the folder of the model in use; None if no model was accepted yet."""
        versions = self._versions()
        return self.path / "models" / str(versions[-1]) if versions else None

    def rollback(self) -> Path:
        """Put the previous model into use again, and return its folder; the one that was in use is given up.

        Raises
        ------
        ModelError
            If there is no previous model.
        """
        versions = self._versions()
        if len(versions) < 2:
            has = "the only model that was accepted" if versions else "no accepted model"
            raise ModelError(f"a rollback needs a previous model, but {self.path / 'models'} holds {has}")
        self._write_versions(versions[:-1])
        return self.path / "models" / str(versions[-2])

    def event(self, kind: str, **facts: Any) -> None:
        """Add a line to the plant's record: its time with zone, its kind, and facts that JSON can hold."""
        entry = {"time": datetime.now().astimezone().isoformat(timespec="milliseconds"), "kind": kind, **facts}
        line = json.dumps(plain(entry), default=str).encode() + b"\n"
        with open_private(make_private(self.path) / "events.jsonl", "ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the last line was cut short
                    line = b"\n" + line
            file.write(line)

    def events(self) -> list[dict[str, Any]]:
        """Return the plant's record, without lines that were cut short or are no facts."""
        path = self.path / "events.jsonl"
        entries: list[dict[str, Any]] = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            with suppress(CheckpointError):
                entries.append(stored_value(line, dict[str, Any], path.name, "leave it out"))
        return entries

    @property
    def _replies(self) -> Shelf:
        return Shelf(self.path / "replies", most=_REPLIES, groups=_ROUNDS)

    @property
    def _briefings(self) -> Shelf:
        return Shelf(self.path / "briefings", most=_BRIEFINGS, groups=_BRIEFINGS)

    def _versions(self) -> list[int]:
        """Return the numbers of the accepted models that are there, the current one last."""
        there = self._numbers()
        versions = self._read("models/current.json", Accepted).get("versions", [])
        return [number for number in versions if number in there]

    def _numbers(self) -> set[int]:
        return {int(entry.name) for entry in (self.path / "models").glob("[0-9]*") if entry.name.isdigit()}

    def _remove_refused(self, but: int = 0) -> None:
        """Remove the models that are not among the accepted ones, but for the newest few."""
        refused = sorted(self._numbers() - set(self._versions()))
        for number in refused[: len(refused) - but]:
            shutil.rmtree(self.path / "models" / str(number), ignore_errors=True)

    def _write_versions(self, versions: list[int]) -> None:
        self._write("models/current.json", {"versions": versions})

    def _undamaged(self, shelf: Shelf, key: str) -> bytes | None:
        """Return a content; one that was damaged counts as lost, because it can be made again."""
        try:
            return shelf.get(key)
        except CheckpointError as error:
            self.event("damaged", error=str(error))
            return None

    def _read(self, name: str, form: type[BaseModel]) -> dict[str, Any]:
        path = self.path / name
        content: dict[str, Any] = read_stored(path, form, "restore it or remove it") if path.exists() else {}
        return content

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_stored(self.path / name, content)


def _all_to_disk(folder: Path) -> None:
    """Return when all that is below is on disk, so that what is pointed to is there even after a power cut."""
    for path in (*folder.rglob("*"), folder):
        to_disk(path)


_NOTED_RUNS, _NOTED_ROUNDS = 4, 8
_PASSING = "passing."
_REMOVED = "removed"
"""File that names the last round whose rows were removed."""


@dataclass(frozen=True)
class Notes:
    """Open what a plant keeps for a run.

    Parameters
    ----------
    path
        The folder of all runs.
    """

    path: Path

    def open(self, run: str, round: int, begins: bool) -> NoteStore:
        """Return the client store for a task.

        Parameters
        ----------
        run
            Names the run.
        round
            Of the task.
        begins
            Whether the task begins the round's work: then what an earlier try of this round kept does not count.

        Raises
        ------
        CheckpointError
            If a file was damaged, or what was kept then is no longer there because the server goes back too far: what a
            plant kept must not be forgotten silently.
        """
        folder = self.path / digest(run)
        rounds = _rounds_in(folder)
        before = [number for number in rounds if number < round or (number == round and not begins)]
        if not before:
            _check_nothing_was_removed(folder, round)
            return NoteStore(folder, round)
        arrays = _rows_in(folder / f"{before[-1]}.npz")
        passed = before[-1] < round
        kept = {name: row for name, row in arrays.items() if not (passed and name.startswith(_PASSING))}
        return NoteStore(folder, round, kept)


@dataclass
class NoteStore:
    """Keep rows of the one client that a plant is; `save` writes them if any changed.

    Parameters
    ----------
    folder
        Of the run.
    round
        Under which they are written.
    """

    folder: Path
    round: int
    _kept: dict[str, AnyArray] = field(default_factory=dict)
    _changed: bool = False

    def knows(self, name: str, clients: Int64Array) -> BoolArray:
        """Say whether the plant keeps a row under a name: (1,)."""
        return np.full(len(clients), self._find(name) is not None)

    def rows(self, name: str, clients: Int64Array, missing: AnyArray) -> AnyArray:
        """Return the plant's row, (1, ...); `missing` if it keeps none."""
        row = self._find(name)
        return np.stack([missing if row is None else row] * len(clients))

    def put(self, name: str, clients: Int64Array, rows: AnyArray, lasting: bool = True) -> None:
        """Keep a row, (1, ...); one that does not last is for this round alone."""
        self.forget(name, clients)
        self._kept[name if lasting else f"{_PASSING}{name}"] = np.array(rows[0])
        self._changed = True

    def forget(self, name: str, clients: Int64Array) -> None:
        """Keep the row under a name no longer."""
        for key in (name, f"{_PASSING}{name}"):
            self._changed |= self._kept.pop(key, None) is not None

    def move(self, name: str, to: str, clients: Int64Array) -> None:
        """Keep the row under a name, if there is one, under another one."""
        for prefix in ("", _PASSING):
            if f"{prefix}{name}" in self._kept and len(clients):
                row = self._kept.pop(f"{prefix}{name}")
                self.put(to, clients, row[None], lasting=not prefix)

    def names(self) -> tuple[str, ...]:
        """Return the names under which the plant keeps a row."""
        return tuple(name.removeprefix(_PASSING) for name in self._kept)

    def save(self) -> None:
        """Write what is kept, if it changed; what belongs to later rounds, which did not happen, is removed."""
        if not self._changed:
            return
        make_private(self.folder)
        buffer = io.BytesIO()
        named: dict[str, Any] = {f"row.{name}": row for name, row in self._kept.items()}
        np.savez(buffer, **named)
        write_privately(self.folder / f"{self.round}.npz", buffer.getvalue())
        rounds = _rounds_in(self.folder)
        known = [number for number in rounds if number <= self.round]
        for number in known[:-_NOTED_ROUNDS]:
            write_privately(self.folder / _REMOVED, str(number).encode())
        for number in {*rounds} - {*known[-_NOTED_ROUNDS:]}:
            (self.folder / f"{number}.npz").unlink(missing_ok=True)
        _remove_old_runs(self.folder.parent)

    def _find(self, name: str) -> AnyArray | None:
        return self._kept.get(name, self._kept.get(f"{_PASSING}{name}"))


def _rounds_in(folder: Path) -> list[int]:
    """Return the rounds after which something was kept, in order."""
    return sorted(int(file.stem) for file in folder.glob("[0-9]*.npz") if file.stem.isdigit())


def _check_nothing_was_removed(folder: Path, round: int) -> None:
    """Raise if something was kept before a round, and removed since because it was too old."""
    file = folder / _REMOVED
    if file.is_file():
        raise CheckpointError(
            f"the server goes back to round {round}, and what was kept before it here was removed after "
            f"{_NOTED_ROUNDS} more rounds; lower federation.checkpoint_every, or begin the run anew"
        )


def _rows_in(file: Path) -> dict[str, AnyArray]:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
            return {name.removeprefix("row."): stored[name] for name in stored.files}
    except Exception as error:  # zip and array readers each have their own errors for damaged bytes
        raise CheckpointError(f"{file} cannot be read: {error}; restore it, or remove its folder") from error


def _remove_old_runs(path: Path) -> None:
    runs = sorted(path.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    for folder in runs[:-_NOTED_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
