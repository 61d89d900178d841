"""A run's state on disk: one file, written whole or not at all, that nothing unpickles.

Named arrays and one JSON text lie in an uncompressed zip (NumPy's own format), whose checksums tell a file that was
cut short.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, NonNegativeInt

from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.errors import CheckpointError
from werkbund.core.files import write_atomically
from werkbund.core.stored import stored_value

_VERSION = 2
_REMEDY = "restore it from a copy, or start the run anew"


class CheckpointHead(BaseModel):
    """Say what the JSON text of a checkpoint holds at least."""

    version: int
    kind: str
    round: NonNegativeInt
    progress: dict[str, Any]
    arrays: list[str]
    digest: str


class StoredState(Protocol):
    """Be what the next round depends on, whatever is learnt; each kind of run has its own."""

    @property
    def kind(self) -> str:
        """Names the kind of run, in the file."""

    @property
    def round(self) -> int:
        """Number of rounds done."""

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return JSON values and named arrays, from which the kind of run makes the state again."""


@dataclass(frozen=True)
class Checkpoint:
    """Hold what a resumed run needs; the kind of run alone knows what its values and arrays mean.

    Parameters
    ----------
    kind
        Of run.
    round
        Number of rounds done.
    values, arrays
        The state after that round: JSON values and named arrays.
    best
        What is kept of the best round so far, such as a network's weights (parameters,); None before anything was
        scored, and where the state holds it anyway.
    progress
        JSON values: which round was best, its score, rounds without improvement, seconds spent.
    """

    kind: str
    round: int
    values: Mapping[str, Any]
    arrays: Arrays
    best: Float32Array | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, state: StoredState, best: Float32Array | None = None, progress: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        """Return the checkpoint of a state; `best` and `progress` as above."""
        values, arrays = state.parts()
        return cls(state.kind, state.round, values, arrays, best, progress or {})

    def check_kind(self, kind: str) -> None:
        """Refuse a checkpoint of another kind of run.

        Raises
        ------
        CheckpointError
            If `kind` is not the checkpoint's.
        """
        if self.kind != kind:
            raise CheckpointError(
                f"the checkpoint is of another kind of run: it must hold {kind}, got {self.kind}; restore the file "
                "that belongs to this run, or start a new one"
            )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a part."""
    arrays: dict[str, Any] = dict(checkpoint.arrays)
    if checkpoint.best is not None:
        arrays["best"] = checkpoint.best
    meta = {
        "version": _VERSION,
        "kind": checkpoint.kind,
        "round": checkpoint.round,
        **checkpoint.values,
        "progress": dict(checkpoint.progress),
        "arrays": sorted(arrays),  # the zip's checksums cover contents, not names
    }
    meta["digest"] = _digest(meta, arrays)
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, cut short, changed or of another version.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: the run did not reach its first checkpoint; start it anew")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _checkpoint_of(arrays, path)
    except CheckpointError:
        raise
    except Exception as error:  # zip, array and JSON readers each have their own errors for damaged bytes
        raise CheckpointError(
            f"{path} cannot be read ({error}): it was cut short or changed after it was written; {_REMEDY}"
        ) from error


def _checkpoint_of(arrays: dict[str, Any], path: Path) -> Checkpoint:
    written = arrays.pop("meta").tobytes()
    version = stored_value(written, dict[str, Any], str(path), _REMEDY).get("version")
    if version != _VERSION:
        raise CheckpointError(f"{path} has version {version}, this Werkbund reads {_VERSION}; {_REMEDY}")
    meta: dict[str, Any] = stored_value(written, CheckpointHead, str(path), _REMEDY)
    if sorted(arrays) != meta["arrays"]:
        raise ValueError(f"its arrays are {sorted(arrays)}, not {meta['arrays']}")
    if meta.pop("digest") != _digest(meta, arrays):
        raise ValueError("its content is not what was written")
    best = arrays.pop("best", None)
    values = {name: value for name, value in meta.items() if name not in CheckpointHead.model_fields}
    return Checkpoint(meta["kind"], meta["round"], values, arrays, best, meta["progress"])


def _digest(meta: Mapping[str, Any], arrays: Arrays) -> str:
    """Return a digest of all that a checkpoint holds; the zip's checksums cover single arrays."""
    as_read = json.loads(json.dumps(meta))
    digest = hashlib.sha256(json.dumps(as_read, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
