"""What a plant keeps from task to task of a run: its client store, on disk.

    notes/<digest of run>/<round>.npz   what was kept after a task of that round

A server that was stopped goes on from a checkpoint and asks for rounds again that the plant has done already. So the
last few rounds are kept, and a task that begins a round's work begins from what was kept before that round.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Int64Array
from werkbund.core.errors import CheckpointError
from werkbund.engine import write_atomically
from werkbund.plant.shelf import digest

_RUNS, _ROUNDS = 4, 8
_PASSING = "passing."


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
            If a file was damaged: what a plant kept must not be forgotten silently.
        """
        folder = self.path / digest(run)
        rounds = sorted(int(file.stem) for file in folder.glob("[0-9]*.npz"))
        before = [number for number in rounds if number < round or (number == round and not begins)]
        if not before:
            return NoteStore(folder, round)
        arrays = _read(folder / f"{before[-1]}.npz")
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

    def save(self) -> None:
        """Write what is kept, if it changed; what belongs to later rounds, which did not happen, is removed."""
        if not self._changed:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        buffer = io.BytesIO()
        named: dict[str, Any] = {f"row.{name}": row for name, row in self._kept.items()}
        np.savez(buffer, **named)
        write_atomically(self.folder / f"{self.round}.npz", buffer.getvalue())
        rounds = sorted(int(file.stem) for file in self.folder.glob("[0-9]*.npz"))
        known = [number for number in rounds if number <= self.round]
        for number in {*rounds} - {*known[-_ROUNDS:]}:
            (self.folder / f"{number}.npz").unlink(missing_ok=True)
        _remove_old_runs(self.folder.parent)

    def _find(self, name: str) -> AnyArray | None:
        return self._kept.get(name, self._kept.get(f"{_PASSING}{name}"))


def _read(file: Path) -> dict[str, AnyArray]:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
            return {name.removeprefix("row."): stored[name] for name in stored.files}
    except Exception as error:  # zip and array readers each have their own errors for damaged bytes
        raise CheckpointError(f"{file} cannot be read: {error}; restore it, or remove its folder") from error


def _remove_old_runs(path: Path) -> None:
    runs = sorted(path.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    for folder in runs[:-_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)
