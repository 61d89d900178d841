from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    with pytest.raises(CheckpointError, match="has version 99, this Werkbund reads 2"):
        load_checkpoint(path)


@pytest.mark.parametrize("meta", [[], 3, None, {"version": 2}, {"version": 2, "arrays": ["weights"]}])
def test_a_file_without_its_description_is_refused(meta: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"c\.npz cannot be used: .*restore it from a copy"):
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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=80)
@given(value=VALUES, data=st.data())
def test_whatever_else_stands_in_the_description_is_refused_by_name(
    value: Any, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("described") / "checkpoint.npz"
    save_checkpoint(path, FULL)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    key = data.draw(st.sampled_from([None, *meta]))
    written = value if key is None else {**meta, key: value}
    if json.dumps(written, sort_keys=True) != json.dumps(meta, sort_keys=True):
        with pytest.raises(CheckpointError, match=r"checkpoint\.npz"):
            load_checkpoint(_stored(path, written, **arrays))


@pytest.mark.parametrize("name", ["weights", "best", "carry.momentum", "selector.norms"])
def test_an_array_that_was_exchanged_is_noticed(name: str, written: Path) -> None:
    with np.load(written) as stored:
        arrays = {each: stored[each] for each in stored.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    for other in (arrays[name] + 1, arrays[name][:-1], arrays[name].astype(np.int64), arrays[name][None]):
        with pytest.raises(CheckpointError, match="is not what was written"):
            load_checkpoint(_stored(written, meta, **{**arrays, name: other}))
