from __future__ import annotations

import contextlib
import io
import json
import math
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError
from werkbund.flower.wire.parcel import (
    LARGEST,
    LONGEST_TEXTS,
    ArrayEntry,
    Parcel,
    pack,
    read_parcel,
    unpack,
    write_parcel,
)

PARCELS = st.builds(Parcel, st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))


class Slow(io.RawIOBase):
    """A pipe that has little to give at a time, as pipes do."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        some = self._left.read(min(3, len(view)))
        view[: len(some)] = some
        return len(some)


@settings(deadline=None)
@given(st.lists(PARCELS, max_size=4))
def test_what_is_written_to_a_pipe_is_read_from_it_in_order(parcels: list[Parcel]) -> None:
    pipe = io.BytesIO()
    for parcel in parcels:
        write_parcel(pipe, parcel)
    stream = io.BufferedReader(Slow(pipe.getvalue()))
    assert [read_parcel(stream) for _ in parcels] == parcels
    assert read_parcel(stream) is None


@settings(deadline=None)
@given(PARCELS)
def test_a_file_holds_all_of_a_parcel(parcel: Parcel) -> None:
    assert Parcel.from_bytes(parcel.to_bytes()) == parcel
    assert len(parcel.to_bytes()) == parcel.num_bytes + 24


@settings(deadline=None)
@given(PARCELS, st.data())
def test_whatever_is_cut_short_is_refused(parcel: Parcel, data: st.DataObject) -> None:
    whole = parcel.to_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ClientError, match=r"cut short|must not be empty"):
        Parcel.from_bytes(whole[:cut])


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_whatever_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(ClientError):
        Parcel.from_bytes(content)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_length_beyond_all_measure_is_refused_before_it_is_read(place: int) -> None:
    sizes = [0, 0, 0]
    sizes[place] = LARGEST + 1

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.taken += size or 0
            return super().read(size)

    stream = Counting(struct.pack("<QQQ", *sizes))
    with pytest.raises(ClientError, match="at most"):
        read_parcel(stream)
    assert stream.taken == 24


MOST = 2**20

NUMBERS = st.sampled_from(["?", "i1", "<i2", ">i4", "<i8", "u1", "<u2", "<u4", ">u8", "<f4", ">f4", "<f8"])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
LETTERS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@st.composite
def _arrays(draw: st.DrawFn) -> AnyArray:
    shape = draw(SHAPES)
    if draw(st.booleans()):
        return draw(hnp.arrays(np.dtype(draw(NUMBERS)), shape))
    texts = draw(st.lists(LETTERS, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(texts, dtype=np.str_).reshape(shape)


def _unpacked(entries: list[ArrayEntry], body: bytes, most: int = MOST) -> list[tuple[str, str, AnyArray]]:
    return list(
        unpack([ArrayEntry.from_json(json.loads(json.dumps(entry.to_json()))) for entry in entries], body, most)
    )


def _packed(**arrays: Any) -> tuple[list[ArrayEntry], bytes]:
    return pack(("sums", name, np.asarray(array)) for name, array in arrays.items())


def _entry(**how: Any) -> ArrayEntry:
    values = {"half": "sums", "name": "a", "dtype": "<i8", "stored": "<i8", "shape": (1,), "length": 8, **how}
    return ArrayEntry.from_json([list(value) if isinstance(value, tuple) else value for value in values.values()])


@settings(deadline=None)
@given(st.lists(_arrays(), max_size=4))
def test_any_arrays_come_back_as_they_were(arrays: list[AnyArray]) -> None:
    entries, body = pack(("sums", str(number), array) for number, array in enumerate(arrays))
    found = _unpacked(entries, body)
    assert [name for _, name, _ in found] == [str(number) for number in range(len(arrays))]
    for (_, _, after), before in zip(found, arrays, strict=True):
        assert after.shape == before.shape
        if before.dtype.kind == "U":
            assert after.tolist() == before.tolist()
        else:
            assert after.dtype == before.dtype.newbyteorder("=")
            np.testing.assert_array_equal(after, before)  # NaN is NaN here


def test_every_bit_of_a_float_survives() -> None:
    odd = np.array([-0.0, np.nan, 5e-324, 1 + 2**-52, -np.inf], "<f8")
    ((_, _, found),) = _unpacked(*_packed(a=odd))
    assert found.tobytes() == odd.tobytes()


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2, 0), (0, 1, 1, 1)])
@pytest.mark.parametrize("dtype", ["<f4", "<i8", "?", "U3"])
def test_arrays_without_a_value_keep_their_shape(shape: tuple[int, ...], dtype: str) -> None:
    ((_, _, found),) = _unpacked(*_packed(a=np.empty(shape, dtype)))
    assert (found.shape, found.size) == (shape, 0)


@pytest.mark.parametrize(("largest", "stored"), [(255, "|u1"), (256, "<u2"), (65536, "<u4"), (2**32, "<i8")])
def test_whole_numbers_travel_in_the_narrowest_type_and_come_back_in_theirs(largest: int, stored: str) -> None:
    (entry,), body = _packed(a=np.array([0, largest]))
    assert entry.stored == stored
    ((_, _, found),) = _unpacked([entry], body)
    assert found.dtype == np.int64
    assert found.tolist() == [0, largest]


def test_negative_numbers_keep_their_type() -> None:
    (entry,), _ = _packed(a=np.array([-1, 3]))
    assert entry.stored == entry.dtype == "<i8"


def test_arrays_of_other_columns_or_order_are_packed_as_they_are_read() -> None:
    table = np.arange(12).reshape(3, 4)
    found = _unpacked(*_packed(a=table.T, b=table[:, ::2], c=np.asfortranarray(table)))
    for (_, _, after), before in zip(found, (table.T, table[:, ::2], table), strict=True):
        np.testing.assert_array_equal(after, before)


def test_many_equal_numbers_are_short_and_random_ones_are_not_made_longer() -> None:
    _, zeros = _packed(a=np.zeros(10_000))
    _, noise = _packed(a=np.random.default_rng(0).random(1000))
    assert len(zeros) < 200
    assert len(noise) <= 8001


@pytest.mark.parametrize("array", [np.array([1j]), np.array([object()]), np.array(["a"], "S1"), np.array(0, "M8[s]")])
def test_what_is_neither_number_nor_text_is_not_packed(array: AnyArray) -> None:
    with pytest.raises(ClientError, match="plain numbers or texts"):
        _packed(a=array)


# From here on: what somebody else may have written.


@pytest.mark.parametrize(
    "values",
    [
        None,
        7,
        "abcdef",
        {"half": "sums"},
        [],
        ["sums", "a", "<i8", "<i8", [1]],
        ["sums", "a", "<i8", "<i8", [1], 8, 9],
        ["sums", "a", "<i8", "<i8", 1, 8],
        ["sums", "a", "<i8", "<i8", [1.0], 8],
        ["sums", "a", "<i8", "<i8", [True], 8],
        ["sums", "a", "<i8", "<i8", ["1"], 8],
        ["sums", "a", "<i8", "<i8", [float("inf")], 8],
        ["sums", "a", "<i8", "<i8", [1], float("inf")],
        ["sums", "a", "<i8", "<i8", [1], None],
        ["sums", "a", "<i8", "<i8", [[1]], 8],
        ["sums", 1, "<i8", "<i8", [1], 8],
        ["sums", "a" * 101, "<i8", "<i8", [1], 8],
    ],
)
def test_what_describes_no_array_is_refused(values: Any) -> None:
    with pytest.raises(ClientError):
        ArrayEntry.from_json(values)


@pytest.mark.parametrize(
    "how",
    [
        {"dtype": "O", "stored": "O"},
        {"dtype": "<c16", "stored": "<c16", "length": 16},
        {"dtype": "V8", "stored": "V8"},
        {"dtype": "<M8[s]", "stored": "<M8[s]"},
        {"dtype": "int64", "stored": "int64"},
        {"dtype": "<i8,<i8", "stored": "<i8,<i8", "length": 16},
        {"dtype": "<i8", "stored": "text"},
        {"dtype": "|u1", "stored": "<f8"},
        {"dtype": "|i1", "stored": "<u4", "length": 4},
        {"dtype": "<f8", "stored": "|u1", "length": 1},
        {"dtype": "|b1", "stored": "|u1", "length": 1},
        {"dtype": "<u4", "stored": "<u4", "length": 8},
        {"shape": (1, 1, 1, 1, 1)},
        {"shape": (-1,), "length": -8},
        {"shape": (-1, -1)},
        {"length": -1},
        {"length": 7},
        {"shape": (2**62, 4), "length": 0},
    ],
)
def test_an_array_that_cannot_be_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        _entry(**how)


@pytest.mark.parametrize("shape", [(0, 2**63), (0, 2**40, 2**40), (2**70, 0)])
@pytest.mark.parametrize("dtype", ["<f8", "text"])
def test_a_shape_beyond_numpy_is_refused_though_it_holds_nothing(shape: tuple[int, ...], dtype: str) -> None:
    body, length = (b"r[]", 2) if dtype == "text" else (b"r", 0)
    entry = _entry(shape=shape, dtype=dtype, stored=dtype, length=length)
    with pytest.raises(ClientError):
        list(unpack([entry], body, MOST))


@pytest.mark.parametrize("body", [b"", b"r", b"r" + bytes(7), b"r" + bytes(9), b"z", b"zabc", zlib.compress(bytes(8))])
def test_a_body_of_another_length_is_refused(body: bytes) -> None:
    with pytest.raises(ClientError, match="body"):
        list(unpack([_entry()], body, MOST))


@pytest.mark.parametrize(
    "deflated",
    [
        zlib.compress(bytes(8))[:-1],
        zlib.compress(bytes(8)) + b"more",
        zlib.compress(bytes(7)),
        zlib.compress(bytes(9)),
        zlib.compress(bytes(8))[:-1] + b"\xff",
    ],
)
def test_a_deflated_body_must_end_where_its_arrays_do(deflated: bytes) -> None:
    with pytest.raises(ClientError, match="body"):
        list(unpack([_entry()], b"z" + deflated, MOST))


def test_more_than_the_limit_is_refused_whether_stored_or_inflated() -> None:
    stored = [_entry(shape=(1000,), length=8000)]
    widened = [_entry(dtype="<i8", stored="|u1", shape=(1000,), length=1000)]
    for entries in (stored, widened, [*stored, *stored]):
        with pytest.raises(ClientError, match="at most 7999 bytes"):
            list(unpack(entries, b"r", 7999))


def _peak(what: Any) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ClientError):
            what()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = zlib.compress(bytes(2**26), 9)
    assert _peak(lambda: list(unpack([_entry()], b"z" + bomb, MOST))) < 2**20
    announced = [_entry(shape=(2**26,), length=2**29)]
    assert _peak(lambda: list(unpack(announced, b"z" + bomb, MOST))) < 2**20


def _text(texts: list[str], shape: tuple[int, ...] | None = None) -> tuple[ArrayEntry, bytes]:
    content = json.dumps(texts).encode()
    shape = (len(texts),) if shape is None else shape
    return _entry(dtype="text", stored="text", shape=shape, length=len(content)), content


def test_one_long_text_among_many_short_ones_does_not_fill_the_memory() -> None:
    entry, content = _text(["x" * 2000, *[""] * 2000])
    assert len(content) < 11_000
    assert _peak(lambda: list(unpack([entry], b"r" + content, MOST))) < 2**20


def test_many_arrays_of_texts_share_one_limit() -> None:
    entry, content = _text(["x" * 300, *[""] * 300])  # 361,200 bytes as NumPy holds them
    assert len(list(unpack([entry] * 2, b"r" + content * 2, MOST))) == 2
    with pytest.raises(ClientError, match="too much space"):
        list(unpack([entry] * 3, b"r" + content * 3, MOST))


def test_very_long_lists_of_texts_are_not_even_read() -> None:
    for count, length in ((1, LONGEST_TEXTS + 1), (2, LONGEST_TEXTS // 2 + 1), (64, LONGEST_TEXTS // 64 + 1)):
        entry = _entry(dtype="text", stored="text", shape=(1,), length=length)
        with pytest.raises(ClientError, match=f"texts must have at most {LONGEST_TEXTS} bytes"):
            list(unpack([entry] * count, b"r" + b"[" * length * count, 2**30))


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b'"text"', b"[1]", b'{"a": 1}', b"null", b"\xff\xfe", b'["\xff"]', b'["\\ud800"]', b"[" * 5000],
)
def test_what_is_no_list_of_texts_is_refused(content: bytes) -> None:
    entry = _entry(dtype="text", stored="text", shape=(1,), length=len(content))
    with pytest.raises(ClientError, match="list of texts"):
        list(unpack([entry], b"r" + content, MOST))


def test_texts_that_do_not_fill_their_shape_are_refused() -> None:
    entry, content = _text(["a", "b"], (3,))
    with pytest.raises(ClientError, match="list of texts"):
        list(unpack([entry], b"r" + content, MOST))


def test_any_byte_but_zero_is_one_truth() -> None:
    entry = _entry(dtype="|b1", stored="|b1", shape=(3,), length=3)
    ((_, _, found),) = unpack([entry], b"r\x00\x02\xff", MOST)
    assert found.sum() == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["<i8", "text", "|u1", "sums"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        JSON
        | st.tuples(
            st.just("sums"),
            st.text(max_size=3),
            st.sampled_from(["<i8", "<f4", "|b1", "text", "O"]),
            st.sampled_from(["<i8", "<f4", "|u1", "text"]),
            st.lists(st.integers(-1, 2**65), max_size=5),
            st.integers(-1, 30),
        ).map(list),
        max_size=3,
    ),
    st.binary(max_size=40),
    st.sampled_from([b"r", b"z", b""]),
)
def test_nothing_that_is_written_raises_anything_but_our_error(entries: list[Any], body: bytes, form: bytes) -> None:
    with contextlib.suppress(ClientError):
        list(unpack([ArrayEntry.from_json(values) for values in entries], form + body, MOST))
