from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable

import numpy as np
import polars as pl
import pytest

from tests.flower.marked import NUMBERS, Marked, expected_lone, in_array, leaks, lone, marked_table, texts_in
from werkbund.core.arrays import Float64Array
from werkbund.data.ai4i import AI4I_SCHEMA, generated_table
from werkbund.data.features import clean, number_matrix

Writer = Callable[[Float64Array], bytes]

SURE: dict[str, Writer] = {
    "float64 <": lambda values: values.astype("<f8").tobytes(),
    "float64 >": lambda values: values.astype(">f8").tobytes(),
    "repr": lambda values: ", ".join(map(repr, values.tolist())).encode(),
    "exponent": lambda values: ";".join(f"{value:.15e}" for value in values).encode(),
    "twelve digits": lambda values: ";".join(f"{value:#.12g}" for value in values).encode(),
    "json": lambda values: json.dumps({"values": values.tolist()}).encode(),
    "zlib": lambda values: zlib.compress(values.astype("<f8").tobytes()),
    "gzip": lambda values: gzip.compress(json.dumps(values.tolist()).encode()),
    "zlib in gzip": lambda values: gzip.compress(b"before" + zlib.compress(values.tobytes() * 4)),
}
"""Ways to write values of which one alone is found."""

SHORT: dict[str, Writer] = {
    "float32 <": lambda values: values.astype("<f4").tobytes(),
    "float32 >": lambda values: values.astype(">f4").tobytes(),
    "six digits": lambda values: "\t".join(f"{value:#.6g}" for value in values).encode(),
    "eight digits": lambda values: "\t".join(f"{value:.8g}" for value in values).encode(),
    "float32 text": lambda values: ",".join(str(value) for value in values.astype(np.float32)).encode(),
    "zlib float32": lambda values: zlib.compress(values.astype("<f4").tobytes()),
}
"""Ways to write values of which two are found side by side."""


@pytest.fixture(scope="module")
def marked() -> Marked:
    return marked_table(1000, seed=1)


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def written(values: Iterable[float], way: str) -> set[str]:
    """Return how values look in the capture: with six digits two may look alike, and either may be found."""
    return {f"{value:.6g}" if way == "six digits" else repr(float(value)) for value in values}


def test_the_numbers_of_a_marked_table_are_all_different_and_have_all_digits(marked: Marked) -> None:
    assert marked.values.shape == (1000, len(NUMBERS))
    assert np.unique(marked.values.astype(np.float32)).size == marked.values.size
    assert np.median([len(repr(value)) for value in marked.values.ravel().tolist()]) >= 17
    assert len(set(marked.products)) == 1000


def test_a_marked_table_is_read_as_ai4is(marked: Marked) -> None:
    numbers = [column.name for column in AI4I_SCHEMA.features if column.kind == "number"]
    assert numbers == list(NUMBERS)
    matrix = number_matrix(clean(marked.frame, NUMBERS, ()), NUMBERS, AI4I_SCHEMA.derived)
    assert np.array_equal(matrix, np.hstack([marked.values, marked.derived]))
    drawn = generated_table(rows=1000, plants=1, seed=1).frame
    for column in AI4I_SCHEMA.features:
        if column.kind == "number":
            assert marked.frame[column.name].is_between(column.low, column.high).all()
    assert marked.frame.select(AI4I_SCHEMA.label).equals(drawn.select(AI4I_SCHEMA.label))
    wear = "Tool wear [min]"
    assert ((marked.frame[wear].diff() < 0) == (drawn[wear].diff() < 0)).all()


def test_a_marked_table_comes_back_from_csv_unchanged(marked: Marked) -> None:
    back = pl.read_csv(marked.frame.write_csv().encode())
    assert np.array_equal(back.select(NUMBERS).to_numpy(), marked.values)


def test_the_same_seed_marks_alike() -> None:
    assert np.array_equal(marked_table(50, 3).values, marked_table(50, 3).values)
    assert not np.array_equal(marked_table(50, 3).values, marked_table(50, 4).values)


@pytest.mark.parametrize("offset", [1000, 1003])
@pytest.mark.parametrize("way", SURE)
def test_one_value_is_found(marked: Marked, way: str, offset: int) -> None:
    value = marked.values[500, 2:3]
    captured = noise(offset) + b" " + SURE[way](value) + b" " + noise(1000)
    assert {leak.value for leak in leaks(captured, marked.values)} == {value[0]}


@pytest.mark.parametrize("way", [*SURE, *SHORT])
def test_a_row_is_found(marked: Marked, way: str) -> None:
    row = marked.values[17]
    captured = noise(2001) + b" " + (SURE | SHORT)[way](row) + b" " + noise(2000)
    found = {leak.value for leak in leaks(captured, marked.values)}
    assert written(found, way) == written(row, way)


@pytest.mark.parametrize("way", [*SURE, *SHORT])
def test_a_column_is_found(marked: Marked, way: str) -> None:
    column = marked.values[:, 3]
    found = {leak.value for leak in leaks((SURE | SHORT)[way](column), marked.values)}
    assert written(found, way) == written(column, way)


def test_every_value_is_found_wherever_it_lies(marked: Marked) -> None:
    captured = b"".join(noise(7, number) + value.tobytes() for number, value in enumerate(marked.values.ravel()))
    assert {leak.value for leak in leaks(captured, marked.values)} == set(marked.values.ravel().tolist())


def test_a_find_says_what_where_and_how(marked: Marked) -> None:
    value = marked.values[3, 1]
    (leak,) = leaks(b"\0" * 13 + np.float64(value).tobytes() + b"\0" * 9, marked.values)
    assert (leak.value, leak.encoding, leak.offset, leak.stream, leak.sure) == (value, "float64 <", 13, 0, True)
    (leak,) = leaks(zlib.compress(b"\0" * 30 + np.array([value], ">f8").tobytes()), marked.values)
    assert (leak.encoding, leak.offset, leak.stream) == ("float64 >", 30, 1)


def test_other_values_of_the_same_kind_are_not_found(marked: Marked) -> None:
    other = marked_table(1000, seed=2).values.ravel()
    other = other[~np.isin(other.astype(np.float32), marked.values.astype(np.float32))]
    assert len(other) > 4900
    for writer in (*SURE.values(), SHORT["float32 <"], SHORT["float32 >"], SHORT["zlib float32"]):
        assert leaks(writer(other), marked.values) == []


def test_what_a_client_may_send_is_no_leak(marked: Marked) -> None:
    rng = np.random.default_rng(5)
    weights = (rng.standard_normal(100_000) * 0.1).astype("<f4").tobytes()
    counts = rng.integers(0, 1000, 10_000).astype("<u2").tobytes()
    sums = {"sum": marked.values.sum(axis=0).tolist(), "squares": (marked.values**2).sum(axis=0).tolist()}
    captured = b"POST /v1/fleet HTTP/1.1\r\n\r\n" + weights + zlib.compress(counts) + json.dumps(sums).encode()
    everything = np.hstack([marked.values, marked.derived])
    assert leaks(captured, everything) == []
    assert lone(captured, everything) == []


def test_five_megabytes_of_noise_hold_no_leak_and_as_many_lone_finds_as_chance_makes(marked: Marked) -> None:
    captured = noise(5_000_000)
    assert leaks(captured, marked.values) == []
    by_chance = 2 * marked.values.size * len(captured) / 2**32
    few, many = by_chance - 4 * by_chance**0.5, by_chance + 4 * by_chance**0.5
    assert few < len(lone(captured, marked.values)) < many
    assert few < expected_lone(captured, marked.values, draws=2) < many


def test_a_lone_float32_is_reported_as_such(marked: Marked) -> None:
    captured = b"\0" * 100 + marked.values[0, :1].astype("<f4").tobytes() + b"\0" * 100
    assert leaks(captured, marked.values) == []
    (find,) = lone(captured, marked.values)
    assert (find.value, find.sure) == (marked.values[0, 0], False)
    assert expected_lone(captured, marked.values) == 0.0


def test_one_value_twice_is_no_neighbour(marked: Marked) -> None:
    twice = np.repeat(marked.values[0, :1], 2).astype("<f4").tobytes()
    assert leaks(twice, marked.values) == []
    assert len(lone(twice, marked.values)) == 2


def test_an_array_is_compared_number_by_number(marked: Marked) -> None:
    array = np.zeros((10, 3), np.float32)
    assert in_array(array, marked.values) == []
    array[4, 1] = marked.values[7, 2]
    assert in_array(array, marked.values) == [marked.values[7, 2]]
    assert in_array(np.arange(3000), marked.values) == []


def test_texts_are_found_also_where_they_are_compressed(marked: Marked) -> None:
    captured = noise(100) + marked.products[5].encode() + zlib.compress(f"text: {marked.products[6]}".encode())
    assert texts_in(captured, marked.products) == [marked.products[5], marked.products[6]]


@pytest.mark.parametrize("values", [[0.0], [300.5], [1500.0], [float("nan")], [float("inf")], []])
def test_values_that_are_found_everywhere_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"values? (must|to search)"):
        leaks(b"", np.array(values))


@pytest.mark.parametrize(
    "captured", [b"", b"1", b"x\x9c", b"1" * 100, b"9e99 1e400 6e924 1.5.7 0.0000000", b"x\x9c" * 9]
)
def test_any_capture_can_be_searched(marked: Marked, captured: bytes) -> None:
    assert leaks(captured, marked.values) == []
