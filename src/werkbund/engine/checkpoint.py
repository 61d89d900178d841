"""A run's state on disk: one file, written whole or not at all, that nothing unpickles.

Named arrays and one JSON text lie in an uncompressed zip (NumPy's own format), whose checksums tell a file that was
cut short.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.core.errors import CheckpointError
from werkbund.core.weights import FloatArray
from werkbund.engine.state import RunState

_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """Hold what a resumed run needs.

    Parameters
    ----------
    state
        After the last round.
    best
        (parameters,), weights of the best round so far; None before anything was scored.
    progress
        JSON values: which round was best, its score, rounds without improvement, seconds spent.
    """

    state: RunState
    best: FloatArray | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a part."""
    state = checkpoint.state
    arrays: dict[str, Any] = {"weights": state.weights}
    arrays |= {f"carry.{name}": array for name, array in state.carry.items()}
    selector_values, selector_arrays = _parted("selector.", state.selector_state)
    world_values, world_arrays = _parted("world.", state.world)
    arrays |= selector_arrays | world_arrays
    if checkpoint.best is not None:
        arrays["best"] = checkpoint.best
    meta = {
        "version": _VERSION,
        "round": state.round,
        "selector_state": selector_values,
        "world": world_values,
        "progress": dict(checkpoint.progress),
        "arrays": sorted(arrays),  # the zip's checksums cover contents, not names
    }
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
            f"{path} cannot be read ({error}): it was cut short or changed after it was written; "
            "restore it from a copy, or start the run anew"
        ) from error


def _checkpoint_of(arrays: dict[str, Any], path: Path) -> Checkpoint:
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta["version"] != _VERSION:
        raise CheckpointError(f"{path} has version {meta['version']}, this Werkbund reads {_VERSION}")
    if sorted(arrays) != meta["arrays"]:
        raise ValueError(f"its arrays are {sorted(arrays)}, not {meta['arrays']}")
    selector_state = {**meta["selector_state"], **_under("selector.", arrays)}
    world = {**meta.get("world", {}), **_under("world.", arrays)}
    state = RunState(meta["round"], arrays["weights"], _under("carry.", arrays), selector_state, world)
    return Checkpoint(state, arrays.get("best"), meta["progress"])


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole under its name, and is on disk when this returns."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    if os.name == "posix":  # the new name is on disk only when its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _parted(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a state's JSON values, and its arrays under their names in the file."""
    arrays = {f"{prefix}{name}": value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}, arrays


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
