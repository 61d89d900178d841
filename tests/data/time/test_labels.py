"""Labels from a log of events: the table that was worked by hand, its edges, and rows about one stop."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.data.time.clock import TICKS, Clock
from werkbund.data.time.events import EventLog, LogColumns, read_events
from werkbund.data.time.labels import COVERAGE, LabelRule, label_points, never_foretold

RULE = LabelRule(24 * TICKS, 2 * TICKS, 6 * TICKS)
COLUMNS = LogColumns("machine", "start", "back", kind="kind", planned=("planned",), mode="mode")
GOLDEN = [(50, 56, "failure", "bearing"), (63, 64, "failure", "tool"), (110, 112, "planned", None)]


def _log(rows: Sequence[tuple[int, int | None, str, str | None]], merge: str = "4") -> EventLog:
    frame = pl.DataFrame(rows, schema=["start", "back", "kind", "mode"], orient="row")
    return read_events(frame.with_columns(machine=pl.lit("A")), COLUMNS, Clock(), merge)


def _points(end: int, coverage: float = 1.0) -> pl.DataFrame:
    ticks = [t * TICKS for t in range(end + 1)]
    return pl.DataFrame({"machine": "A", "tick": ticks, COVERAGE: coverage, "end": end * TICKS})


def _labelled(rule: LabelRule = RULE, end: int = 150) -> pl.DataFrame:
    points = _points(end)
    return label_points(points, _log(GOLDEN).closed(points), rule)


def test_the_worked_example() -> None:
    stretches = (
        (0, 24, "none"), (24, 48, "failure"), (48, 50, "gap"), (50, 56, "down"), (56, 62, "grace"), (62, 63, "gap"),
        (63, 64, "down"), (64, 70, "grace"), (70, 84, "none"), (84, 110, "intervened"), (110, 112, "down"),
        (112, 118, "grace"), (118, 125, "none"), (125, 151, "censored"),
    )  # fmt: skip
    expected = [name for first, end, name in stretches for _ in range(first, end)]
    labelled = _labelled()
    assert labelled["outcome"].to_list() == expected
    assert labelled["label"].drop_nulls().sum() == 24
    assert labelled.filter(pl.col("label") == 1)["cause"].unique().to_list() == ["bearing"]


def test_a_failure_that_no_point_foretells_is_named() -> None:
    points = _points(150)
    log = _log(GOLDEN).closed(points)
    missed = never_foretold(label_points(points, log, RULE), log)
    assert missed.select("start", "mode").rows() == [(63 * TICKS, "tool")]


def test_life_and_censoring_are_told_of_every_point() -> None:
    labelled = _labelled()
    assert labelled["life"][24] == 26 * TICKS
    assert labelled["censored"][24] is None
    assert labelled["censored"][84] == 26 * TICKS  # until the planned stop
    assert labelled["censored"][124] == 26 * TICKS  # until the end
    assert (labelled["life"].is_null() != labelled["censored"].is_null()).all()


def test_planned_stops_may_count_as_none() -> None:
    rule = LabelRule(24 * TICKS, 2 * TICKS, 6 * TICKS, intervened=False)
    assert _labelled(rule)["outcome"].to_list().count("intervened") == 0
    assert _labelled(rule)["outcome"][84] == "none"


def test_thin_points_have_no_label() -> None:
    points = _points(150, coverage=0.4)
    outcomes = label_points(points, _log(GOLDEN).closed(points), RULE)["outcome"].value_counts()
    assert dict(outcomes.iter_rows()) == {"thin": 151 - 9 - 18, "down": 9, "grace": 18}


def test_a_log_of_days_widens_the_dead_time() -> None:
    log = read_events(pl.DataFrame({"m": ["A"], "day": ["2024-03-04"]}), LogColumns("m", "day"), Clock())
    assert log.resolution == 24 * 3600 * TICKS
    exact = read_events(pl.DataFrame({"m": ["A"], "day": ["2024-03-04 06:01"]}), LogColumns("m", "day"), Clock())
    assert exact.resolution == 0


def test_two_rows_of_one_stop_are_one() -> None:
    log = _log([(50, 52, "failure", "tool"), (53, 60, "failure", "bearing"), (58, 61, "planned", None)])
    assert log.frame.drop("machine").rows() == [(50 * TICKS, 61 * TICKS, False, "tool, bearing")]
    assert log.merged == 2


def test_a_failure_soon_after_a_planned_stop_is_its_own() -> None:
    log = _log([(50, 51, "planned", None), (52, 60, "failure", "tool")])
    assert log.frame["planned"].to_list() == [True, False]


def test_a_stop_without_an_end_lasts_until_the_next_reading() -> None:
    points = pl.DataFrame({"machine": ["A"] * 3, "tick": [0, 10 * TICKS, 30 * TICKS]})
    log = _log([(12, None, "failure", None), (40, None, "failure", None)]).closed(points)
    assert log.frame["back"][0] == 30 * TICKS
    assert log.frame["back"][1] > 10**18


def test_a_machine_that_is_back_before_it_stopped_is_refused() -> None:
    with pytest.raises(ConfigError, match="back after it stopped"):
        _log([(50, 49, "failure", None)])


def test_kind_and_planned_go_together() -> None:
    with pytest.raises(ConfigError, match="kind"):
        LogColumns("m", "s", kind="kind")


_STOPS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.booleans()), max_size=5)


@settings(max_examples=30)
@given(stops=_STOPS, horizon=st.integers(1, 12), dead=st.integers(0, 3), grace=st.integers(0, 4))
def test_labels_are_those_of_the_definition(
    stops: list[tuple[int, int, bool]], horizon: int, dead: int, grace: int
) -> None:
    rows = [(start, start + length, "planned" if planned else "failure", None) for start, length, planned in stops]
    points = _points(60)
    log = _log(rows, "0").closed(points) if rows else EventLog(_log(GOLDEN).frame.clear())
    rule = LabelRule(horizon * TICKS, dead * TICKS, grace * TICKS)
    found = label_points(points, log, rule)["outcome"].to_list()
    events = [(s // TICKS, b // TICKS, p) for s, b, p in log.frame.select("start", "back", "planned").iter_rows()]
    assert found == [_by_hand(t, events, horizon, dead, grace) for t in range(61)]


def _by_hand(t: int, events: list[tuple[int, int, bool]], horizon: int, dead: int, grace: int) -> str:
    """Return the outcome by the words of the definition, one event after the other."""
    if any(start <= t < back for start, back, _ in events):
        return "down"
    if any(back <= t < back + grace for start, back, _ in events if start <= t) and _latest(t, events) + grace > t:
        return "grace"
    coming = sorted(event for event in events if event[0] > t)
    ahead = coming[0][0] - t if coming else None
    fails = bool(coming) and not coming[0][2]
    if ahead is not None and fails and ahead <= dead:
        return "gap"
    if ahead is not None and fails and ahead <= dead + horizon:
        return "failure"
    if ahead is not None and not fails and ahead <= dead + horizon:
        return "intervened"
    return "censored" if t + dead + horizon > 60 else "none"


def _latest(t: int, events: list[tuple[int, int, bool]]) -> int:
    return max(back for start, back, _ in events if start <= t)
