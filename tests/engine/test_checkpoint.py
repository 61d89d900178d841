from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.core import CheckpointError
from werkbund.core.files import write_atomically
from werkbund.engine import Checkpoint, RunState, load_checkpoint, save_checkpoint

WEIGHTS = np.linspace(-1, 1, 6, dtype=np.float32)
STATE = RunState(
    3,
    WEIGHTS,
    {"momentum": WEIGHTS[::-1].copy()},
    {"used": {"0": 2, "1": 1}, "text": "Jänner", "norms": np.arange(4, dtype=np.float64)},
)
FULL = Checkpoint.of(STATE, WEIGHTS * 2, {"best_round": 2, "best_score": 0.25, "seconds": 1.5})


def _same(first: Checkpoint, second: Checkpoint) -> bool:
    def plain(checkpoint: Checkpoint) -> Any:
        state = RunState.of_checkpoint(checkpoint)
        named = {**state.carry, **state.selector_state, "weights": state.weights, "best": checkpoint.best}
        values = {k: (v.dtype.str, v.tolist()) if isinstance(v, np.ndarray) else v for k, v in named.items()}
        return state.round, sorted(state.carry), sorted(state.selector_state), values, dict(checkpoint.progress)

    return bool(plain(first) == plain(second))


def _places(content: bytes) -> list[int]:
    """Return places all over a file: its first and last bytes, and every seventh between."""
    return sorted({*range(40), *range(0, len(content), 7), *range(len(content) - 40, len(content))})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, FULL)
    return path


@pytest.mark.parametrize("checkpoint", [FULL, Checkpoint.of(RunState(0, WEIGHTS, {}))])
def test_what_is_written_is_what_is_read(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, checkpoint)
    assert _same(load_checkpoint(path), checkpoint)


def test_every_float_survives_to_the_last_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    save_checkpoint(tmp_path / "c", Checkpoint.of(RunState(1, bits.view(np.float32), {})))
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c").arrays["weights"].view(np.uint32), bits)


def test_a_file_cut_short_anywhere_is_a_checkpoint_error(written: Path) -> None:
    whole = written.read_bytes()
    for length in _places(whole):
        written.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="restore it from a copy"):
            load_checkpoint(written)


def test_a_damaged_byte_is_noticed_wherever_it_matters(written: Path) -> None:
    whole = written.read_bytes()
    for place in _places(whole):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        written.write_bytes(damaged)
        try:
            assert _same(load_checkpoint(written), FULL)
        except CheckpointError:
            continue


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"{}", b"\x80\x04N.", b"\0" * 1000])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)


def _stored(path: Path, meta: Any, **arrays: Any) -> Path:
    np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    return path


def test_another_version_is_named(tmp_path: Path) -> None:
    path = _stored(tmp_path / "c.npz", {"version": 99}, weights=WEIGHTS)
    with pytest.raises(CheckpointError, match="has version 99, this Werkbund reads 1"):
        load_checkpoint(path)


@pytest.mark.parametrize("meta", [[], 3, None, {"version": 1}, {"version": 1, "arrays": ["weights"]}])
def test_a_file_without_its_description_is_refused(meta: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(_stored(tmp_path / "c.npz", meta, weights=WEIGHTS))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = _stored(tmp_path / "c.npz", {"version": 1}, weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["missing.npz", "."])
def test_a_missing_file_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is missing: .*start it anew"):
        load_checkpoint(tmp_path / name)


def test_a_writer_that_dies_leaves_the_old_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(number: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(written, Checkpoint.of(RunState(4, WEIGHTS, {})))
    assert _same(load_checkpoint(written), FULL)


def test_writing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_atomically(tmp_path / "a.json", content)
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
        assert (tmp_path / "a.json").read_bytes() == content
