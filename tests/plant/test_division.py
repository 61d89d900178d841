"""Each row keeps its part for good, and no two answers are about sets of rows that differ little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.config import Config
from werkbund.core.errors import CheckpointError
from werkbund.core.rng import generator
from werkbund.data import Column, Origin, Schema, Table
from werkbund.partition.split import LATER, LEFT_OUT, PARTS, TEST, TRAIN, VALIDATION, RowTraits, Split, split_rows
from werkbund.plant.agreed import RefusedError
from werkbund.plant.agreement import Agreement
from werkbund.plant.division import Dealt, KnownRows, deal, row_marks

SCHEMA = Schema("failed", (Column("heat", "number"), Column("area", "category")), machine="tool")
AGREEMENT = Agreement(3, 2, Split(), file="f", stream=77, since="2026-01-01T00:00:00")
NOTHING = KnownRows(np.empty(0, np.uint64), np.empty((0, 0), np.int8))
MINIMUM = 20


def _frame(rows: int, first: int = 0, tools: int = 20) -> pl.DataFrame:
    numbers = np.arange(first, first + rows)
    return pl.DataFrame(
        {
            "failed": (numbers % 9 == 0).astype(int),
            "heat": numbers * 0.5,
            "area": [("hall", "yard")[number % 2] for number in numbers],
            "tool": [f"t{number * tools // 400}" for number in numbers],
        }
    )


def _table(frame: pl.DataFrame) -> Table:
    return Table(frame, SCHEMA, Origin("file"))


def _deal(frame: pl.DataFrame, known: KnownRows = NOTHING, minimum: int = MINIMUM) -> tuple[Dealt, KnownRows]:
    return deal(_table(frame), AGREEMENT, known, minimum)


def test_the_first_division_is_that_of_a_simulation() -> None:
    frame = _frame(400)
    rng = generator(3, "split", 0, 2)
    as_simulated = split_rows(SCHEMA.machines(frame), 0.25, 0.15, rng)
    np.testing.assert_array_equal(_deal(frame)[0].part, as_simulated)


def test_the_order_of_rows_makes_no_difference_to_what_was_dealt() -> None:
    frame = _frame(400)
    first, known = _deal(frame)
    order = np.random.default_rng(0).permutation(400)
    again, after = _deal(frame[order], known)
    np.testing.assert_array_equal(again.part, first.part[order])
    assert again.version == first.version
    assert after is known


def test_new_rows_wait_until_they_are_enough() -> None:
    frame, more = _frame(400), _frame(600)
    first, known = _deal(frame)
    for added in (1, 5, MINIMUM - 1):
        dealt, after = _deal(more[: 400 + added], known)
        assert dealt.num_waiting == added
        np.testing.assert_array_equal(dealt.part[:400], first.part)
        assert dealt.version == first.version
        assert after is known
    dealt, after = _deal(more, known)
    assert dealt.num_waiting == 0
    assert dealt.version != first.version
    assert after.parts.shape[1] == 2


def test_rows_keep_their_part_when_others_come_and_new_ones_follow_their_machine() -> None:
    first, known = _deal(_frame(400))
    dealt, _ = _deal(_frame(800), known)
    np.testing.assert_array_equal(dealt.part[:400], first.part)
    copies = _frame(400).with_columns(pl.col("heat") + 0.25)
    both, _ = _deal(pl.concat([_frame(400), copies]), known)
    np.testing.assert_array_equal(both.part[400:], first.part)


@pytest.mark.parametrize("change", ["removed", "mended", "label", "category", "swapped for a copy", "one and one"])
def test_any_other_small_change_is_refused(change: str) -> None:
    frame = _frame(400)
    _, known = _deal(frame)
    at = pl.int_range(pl.len()) == 17
    changed = {
        "removed": frame[1:],
        "mended": frame.with_columns(pl.when(at).then(0.25).otherwise(pl.col("heat")).alias("heat")),
        "label": frame.with_columns(pl.when(at).then(1 - pl.col("failed")).otherwise(pl.col("failed")).alias("failed")),
        "category": frame.with_columns(pl.when(at).then(pl.lit("roof")).otherwise(pl.col("area")).alias("area")),
        "swapped for a copy": pl.concat([frame[1:], frame[:1].with_columns(pl.lit(9.9).alias("heat"))]),
        "one and one": pl.concat([frame[2:], frame[30:31].with_columns(pl.lit(7.7).alias("heat"))]),
    }[change]
    with pytest.raises(RefusedError, match="client agree --renew"):
        _deal(changed, known)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_parts_of_two_tables_are_equal_or_differ_in_enough_rows(data: st.DataObject) -> None:
    pool = _frame(460)
    known, seen = NOTHING, list[list[set[int]]]()
    for _ in range(4):
        drop = data.draw(st.sets(st.integers(0, 459), max_size=60))
        rows = [row for row in range(data.draw(st.integers(380, 460))) if row not in drop]
        try:
            dealt, known = _deal(pool[rows], known)
        except RefusedError:
            continue
        parts = [{rows[i] for i in np.flatnonzero(dealt.part == part)} for part in range(3)]
        for earlier in seen:
            for before, now in zip(earlier, parts, strict=True):
                assert len(before ^ now) == 0 or len(before ^ now) >= MINIMUM
        seen.append(parts)


def test_equal_rows_are_told_apart_and_missing_values_are_equal() -> None:
    frame = pl.DataFrame({"failed": [0, 0, 0, 0], "heat": [1.0, 1.0, None, None], "area": ["a"] * 4, "tool": ["t"] * 4})
    marks = row_marks(_table(frame), 5)
    assert len(set(marks.tolist())) == 4
    np.testing.assert_array_equal(row_marks(_table(frame.reverse()), 5)[::-1][[1, 0, 3, 2]], marks)
    assert set(row_marks(_table(frame), 6).tolist()).isdisjoint(marks.tolist())


def test_a_column_read_as_whole_numbers_or_as_decimals_marks_alike() -> None:
    frame = _frame(50).with_columns(pl.col("failed").cast(pl.Float64))
    np.testing.assert_array_equal(row_marks(_table(frame), 5), row_marks(_table(_frame(50)), 5))


def test_what_is_kept_is_read_again_and_damage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "state" / "division.npz"
    assert len(KnownRows.read(file).marks) == 0
    _, known = _deal(_frame(100))
    known.write(file)
    again = KnownRows.read(file)
    np.testing.assert_array_equal(again.marks, known.marks)
    np.testing.assert_array_equal(again.parts, known.parts)
    assert file.stat().st_mode & 0o777 == 0o600
    for damage in (b"", b"x", file.read_bytes()[:-30]):
        file.write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"division\.npz"):
            KnownRows.read(file)


def test_versions_beyond_the_last_ones_are_forgotten() -> None:
    known = NOTHING
    for number in range(20):
        _, known = _deal(_frame(400 + 200 * number), known)
    assert known.parts.shape[1] == 16


def test_an_agreement_settles_shares_of_the_file() -> None:
    assert AGREEMENT.name != Agreement(**{**vars(AGREEMENT), "stream": 78}).name
    assert Config().clients.test == 0.25


TIMED = replace(SCHEMA, time="hour")


def _deal_timed(
    frame: pl.DataFrame, split: Split, known: KnownRows = NOTHING, minimum: int = MINIMUM
) -> tuple[Dealt, KnownRows]:
    return deal(Table(frame, TIMED, Origin("file")), replace(AGREEMENT, split=split), known, minimum)


def _timed(rows: int) -> pl.DataFrame:
    """Return rows of twenty machines, each with a reading an hour."""
    numbers = np.arange(rows)
    tools = pl.Series([f"t{number % 20}" for number in numbers])
    return _frame(rows).with_columns(tool=tools, hour=pl.Series(numbers // 20))


BY_TIME, WITH_LATER = Split("time", gap=1.5), Split(later=0.2, gap=1.5)


@pytest.mark.parametrize("split", [BY_TIME, WITH_LATER], ids=["time", "later"])
def test_the_first_division_by_time_is_that_of_a_simulation(split: Split) -> None:
    frame = _timed(400)
    traits = RowTraits.of(Table(frame, TIMED, Origin("file")))
    np.testing.assert_array_equal(_deal_timed(frame, split)[0].part, split.parts(traits, generator(3, "split", 0, 2)))


@pytest.mark.parametrize(("split", "last"), [(BY_TIME, TEST), (WITH_LATER, LATER)], ids=["time", "later"])
def test_rows_keep_their_part_and_new_ones_go_behind_the_border(split: Split, last: int) -> None:
    first, known = _deal_timed(_timed(400), split)
    assert (first.part == LEFT_OUT).sum() in (20, 40)
    assert first.num_waiting == 0
    dealt, after = _deal_timed(_timed(600), split, known)
    np.testing.assert_array_equal(dealt.part[:400], first.part)
    assert (dealt.part[400:] == last).all()
    again, _ = _deal_timed(_timed(600), split, after)
    np.testing.assert_array_equal(again.part, dealt.part)
    assert again.version == dealt.version


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([BY_TIME, WITH_LATER]), st.integers(0, 10_000))
def test_no_row_to_train_on_is_later_than_the_border_whatever_comes_when(split: Split, seed: int) -> None:
    pool, known, rng = _timed(500), NOTHING, np.random.default_rng(seed)
    seen = list[list[set[int]]]()
    begin = VALIDATION if split.by == "time" else LATER
    for _ in range(3):
        there = np.sort(rng.permutation(500)[: rng.integers(250, 501)])
        try:
            dealt, known = _deal_timed(pool[there], split, known)
        except RefusedError:
            continue
        parts = [set(there[dealt.part == part].tolist()) for part in range(len(PARTS))]
        differing = [len(before ^ now) for earlier in seen for before, now in zip(earlier, parts, strict=True)]
        assert all(number == 0 or number >= MINIMUM for number in differing)
        seen.append(parts)
        hours = pool["hour"].to_numpy()[there]
        if (dealt.part == begin).any() and (dealt.part == TRAIN).any():
            assert hours[dealt.part == TRAIN].max() < hours[dealt.part == begin].min()
