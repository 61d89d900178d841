"""Spans and moments: units, zones, the hour that a clock shows twice, and the one that it skips."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.time.clock import TICKS, Clock, span

BERLIN = Clock("Europe/Berlin")


def _ticks(texts: list[str], clock: Clock = BERLIN, machine: str = "A") -> list[int | None]:
    return clock.ticks(pl.Series(texts), pl.Series([machine] * len(texts))).to_list()


def _utc(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp()) * TICKS  # type: ignore[misc, arg-type]


def test_a_clock_that_falls_back_shows_an_hour_twice_in_the_order_of_its_rows() -> None:
    found = _ticks(["2026-10-25 02:10", "2026-10-25 02:50", "2026-10-25 02:10", "2026-10-25 02:50"])
    assert found == [_utc(2026, 10, 25, h, m) for h, m in ((0, 10), (0, 50), (1, 10), (1, 50))]


def test_an_hour_shown_twice_is_the_earlier_one_where_no_row_falls_back() -> None:
    assert _ticks(["2026-10-25 02:30"]) == [_utc(2026, 10, 25, 0, 30)]


def test_machines_fall_back_each_for_itself() -> None:
    clock, texts = BERLIN, pl.Series(["2026-10-25 02:50", "2026-10-25 02:10"])
    found = clock.ticks(texts, pl.Series(["A", "B"])).to_list()
    assert found == [_utc(2026, 10, 25, 0, 50), _utc(2026, 10, 25, 0, 10)]


def test_a_skipped_hour_is_no_moment() -> None:
    assert _ticks(["2026-03-29 02:30", "2026-03-29 03:00"]) == [None, _utc(2026, 3, 29, 1, 0)]


def test_an_offset_counts_more_than_the_zone() -> None:
    assert _ticks(["2026-07-01T12:00:00Z", "2026-07-01 12:00"]) == [_utc(2026, 7, 1, 12), _utc(2026, 7, 1, 10)]


def test_a_date_is_the_start_of_that_day_in_local_time() -> None:
    days = pl.Series(["2026-07-01"]).str.to_date()
    assert BERLIN.ticks(days, pl.Series(["A"])).to_list() == [_utc(2026, 6, 30, 22)]


def test_a_day_of_the_change_has_25_hours_and_one_23() -> None:
    first, second, third, fourth = _ticks(["2026-10-25", "2026-10-26", "2026-03-29", "2026-03-30"])
    assert second - first == span("25h")  # type: ignore[operator]
    assert fourth - third == span("23h")  # type: ignore[operator]


def test_numbers_count_units() -> None:
    assert Clock().ticks(pl.Series([1, 2]), pl.Series(["A", "A"])).to_list() == [TICKS, 2 * TICKS]


def test_spans_have_units() -> None:
    assert [span(text) // TICKS for text in ("90s", "30m", "30min", "6h", "3d", "20", "1.5h")] == [
        90, 1800, 1800, 21_600, 259_200, 20, 5400,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "h", "6 weeks", "-3h"])
def test_other_texts_are_no_spans(text: str) -> None:
    with pytest.raises(ConfigError, match="a span must be"):
        span(text)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="Berlinn"):
        Clock("Europe/Berlinn")


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(DataError, match="must hold dates"):
        BERLIN.ticks(pl.Series([True]), pl.Series(["A"]))
