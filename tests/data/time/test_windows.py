"""Windows as features: a worked example, plain Python and polars as oracles, and what must not be seen."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError, DataError
from werkbund.data.time.clock import TICKS, Clock
from werkbund.data.time.events import EventLog, LogColumns, read_events
from werkbund.data.time.readings import Readings, read_readings, widened
from werkbund.data.time.windows import OF_MACHINES, STATISTICS, WindowPlan

START = datetime(2024, 3, 4, 6)
ALL = (*STATISTICS, *OF_MACHINES)


def _readings(frame: pl.DataFrame, signals: tuple[str, ...] = ("x",), kept: tuple[str, ...] = ()) -> Readings:
    return read_readings(
        frame, machine="m", time="t", client=None, signals=signals, kept=kept, clock=Clock(), now=2**60
    )  # fmt: skip


def _log(*rows: tuple[str, float, float]) -> EventLog:
    frame = pl.DataFrame(rows, schema=["m", "start", "back"], orient="row")
    return read_events(frame, LogColumns("m", "start", "back"), Clock(), "0")


def _walk(seed: int = 0, machines: int = 3, rows: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "m": np.repeat([f"M{i}" for i in range(machines)], rows),
            "t": np.tile(np.arange(1.0, rows + 1), machines),
            "x": rng.normal(size=machines * rows).cumsum(),
            "y": np.where(rng.random(machines * rows) < 0.2, np.nan, rng.normal(size=machines * rows)),
        }
    )


def test_the_worked_example() -> None:
    times = [START + timedelta(minutes=minutes) for minutes in (0, 10, 20, 30, 40, 90)]
    frame = pl.DataFrame({"m": "A", "t": times, "x": [1.0, 2, 3, 4, 5, 6]})
    points = WindowPlan(("x",), "10m", ("30m",), ("mean", "slope", "coverage")).points(_readings(frame))
    assert (points["coverage"] * 3).round().to_list() == [1, 2, 3, 3, 3, 1]
    assert points["x mean 30m"].to_list() == [1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    assert points["x slope 30m"].to_list() == [None, *[pytest.approx(6.0)] * 4, None]


@settings(max_examples=15)
@given(
    times=st.lists(st.integers(1, 80), min_size=1, max_size=30, unique=True),
    seed=st.integers(0, 1000),
    step=st.integers(1, 5),
    number=st.integers(1, 6),
)
def test_statistics_are_those_of_the_rows_of_each_window(times: list[int], seed: int, step: int, number: int) -> None:
    values = np.round(np.random.default_rng(seed).normal(5, 2, len(times)), 3)
    frame = pl.DataFrame({"m": "A", "t": sorted(times), "x": values})
    width = step * number
    plan = WindowPlan(("x",), str(step), (str(width),), ("mean", "std", "min", "max", "last", "slope"))
    for row in plan.points(_readings(frame)).iter_rows(named=True):
        end = row["tick"] / TICKS
        inside = frame.filter(pl.col("t").is_between(end - width, end, closed="right"))
        x, t = inside["x"].to_numpy(), inside["t"].to_numpy().astype(float)
        told = [row[f"x {name} {width}"] for name in ("mean", "std", "min", "max", "last")]
        assert told == pytest.approx([x.mean(), x.std(), x.min(), x.max(), x[-1]], abs=1e-9)
        slope = np.polyfit(t, x, 1)[0] if len(x) > 1 else None
        assert row[f"x slope {width}"] == (None if slope is None else pytest.approx(slope, abs=1e-7))


def test_dates_are_summed_as_polars_does() -> None:
    rng = np.random.default_rng(3)
    minutes = np.flatnonzero(rng.random(2000) < 0.7)
    frame = pl.DataFrame(
        {"m": "A", "t": [START + timedelta(minutes=int(m)) for m in minutes], "x": rng.normal(60, 1, len(minutes))}
    )
    points = WindowPlan(("x",), "10m", ("1h",), ("mean", "std", "max")).points(_readings(frame))
    windows = frame.group_by_dynamic("t", every="10m", period="60m", offset="-60m", closed="right", label="right").agg(
        pl.col("x").mean().alias("mean"), pl.col("x").std(ddof=0).alias("std"), pl.col("x").max().alias("max")
    )
    both = points.with_columns(pl.from_epoch("tick", "us").alias("t")).join(windows, on="t", how="left")
    assert both.height > 150
    for name in ("mean", "std", "max"):
        assert np.allclose(both[f"x {name} 1h"].to_numpy(), both[name].to_numpy(), atol=1e-9)


def test_what_comes_after_a_point_changes_no_bit_of_it() -> None:
    frame = _walk()
    plan = WindowPlan(("x", "y"), "2", ("6", "12"), ALL, reference="10")
    before = plan.points(_readings(frame.filter(pl.col("t") <= 40), ("x", "y")))
    garbage = frame.with_columns(
        pl.when(pl.col("t") > 40).then(1e9).otherwise("x").alias("x"),
        pl.when(pl.col("t") > 40).then(-1e9).otherwise("y").alias("y"),
    )
    after = plan.points(_readings(garbage, ("x", "y"))).filter(pl.col("tick") <= 40 * TICKS)
    assert before.drop("end").equals(after.drop("end"), null_equal=True)


def test_other_machines_change_no_bit() -> None:
    frame = _walk(machines=4)
    plan = WindowPlan(("x", "y"), "2", ("6",), ALL, reference="10")
    together = plan.points(_readings(frame, ("x", "y"))).filter(pl.col("machine") == "M2")
    alone = plan.points(_readings(frame.filter(pl.col("m") == "M2"), ("x", "y")))
    assert together.equals(alone, null_equal=True)


def test_no_window_crosses_a_repair() -> None:
    frame = pl.DataFrame({"m": "A", "t": np.arange(1.0, 41.0), "x": np.where(np.arange(1, 41) < 21, 0.0, 100.0)})
    plan = WindowPlan(("x",), "1", ("10",), ("mean", "age", "deviation"), reference="5")
    points = plan.points(_readings(frame), _log(("A", 20.5, 21.0)))
    after = points.filter(pl.col("tick") >= 21 * TICKS)
    assert after["x mean 10"].unique().to_list() == [100.0]
    assert after["x deviation 10"].unique().to_list() == [0.0]
    assert after["age"].to_list() == list(range(20))
    assert points.filter(pl.col("tick") < 21 * TICKS)["age"].null_count() == 20


def test_a_machine_that_is_new_where_its_record_begins_has_an_age() -> None:
    frame = pl.DataFrame({"m": "A", "t": np.arange(1.0, 6.0), "x": 0.0})
    assert WindowPlan(("x",), "1", ("2",), ("age",), new=True).points(_readings(frame))["age"].to_list() == list(
        range(5)
    )


def test_the_deviation_is_from_the_first_readings_of_the_regime() -> None:
    load = np.tile([0.0, 1.0], 20)
    frame = pl.DataFrame(
        {"m": "A", "t": np.arange(1.0, 41.0), "x": 10 * load + np.repeat([0.0, 3.0], 20), "load": load}
    )
    plan = WindowPlan(("x",), "1", ("4",), ("mean", "deviation"), reference="8", regime="load", edges=(0.5,))
    points = plan.points(_readings(frame, kept=("load",)))
    assert points["x deviation 4"].to_list()[3:20] == [0.0] * 17
    assert points["x deviation 4"].to_list()[24:] == [3.0] * 16
    words = frame.with_columns(
        pl.when(pl.col("load") > 0.5).then(pl.lit("heavy")).otherwise(pl.lit("idle")).alias("load")
    )
    plain = WindowPlan(("x",), "1", ("4",), ("mean", "deviation"), reference="8", regime="load")
    assert plain.points(_readings(words, kept=("load",))).equals(points)


def test_a_reference_that_is_filling_is_the_mean_so_far() -> None:
    frame = pl.DataFrame({"m": "A", "t": [1.0, 2.0, 3.0, 4.0], "x": [2.0, 4.0, 9.0, 9.0]})
    points = WindowPlan(("x",), "1", ("1",), ("deviation",), reference="2").points(_readings(frame))
    assert points["x deviation 1"].to_list() == [0.0, 1.0, 6.0, 6.0]


def test_a_trend_is_the_short_mean_less_the_long_one() -> None:
    plan = WindowPlan(("x",), "1", ("2", "10"), ("mean", "trend"))
    points = plan.points(_readings(_walk(machines=1)))
    assert "x trend 10" not in points.columns
    assert np.allclose(points["x trend 2"], points["x mean 2"] - points["x mean 10"])


def test_gaps_leave_windows_short() -> None:
    frame = pl.DataFrame({"m": "A", "t": [1.0, 2.0, 100.0], "x": [1.0, 2.0, 3.0]})
    points = WindowPlan(("x",), "1", ("5",), ("mean", "coverage")).points(_readings(frame))
    assert points["x mean 5"].to_list() == [1.0, 1.5, 3.0]
    assert points["coverage"].to_list() == [0.2, 0.4, 0.2]


def test_a_large_level_costs_no_digits() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"m": "A", "t": np.arange(1.0, 1001.0), "x": 1e9 + rng.normal(size=1000)})
    points = WindowPlan(("x",), "10", ("200",), ("std",)).points(_readings(frame))
    exact = frame["x"].to_numpy()[-200:] - 1e9
    assert math.isclose(points["x std 200"][-1], exact.std(), rel_tol=1e-6)


def test_rows_are_brought_into_order_and_counted() -> None:
    frame = _walk(machines=2)
    dirty = pl.concat([frame, frame[[5]], frame[[7]].with_columns(x=pl.lit(77.0))])
    shuffled = dirty[np.random.default_rng(1).permutation(frame.height)]
    found = _readings(dirty, ("x", "y"))
    assert (found.dirt.repeated, found.dirt.contradicted) == (1, 1)
    assert found.frame.filter((pl.col("machine") == "M0") & (pl.col("tick") == 8 * TICKS))["x"].to_list() == [77.0]
    plan = WindowPlan(("x", "y"), "2", ("6",))
    assert plan.points(_readings(shuffled, ("x", "y"))).equals(
        plan.points(_readings(frame, ("x", "y"))), null_equal=True
    )
    assert _readings(shuffled, ("x", "y")).dirt.unordered > 10


def test_rows_at_no_possible_time_are_left_out_and_counted() -> None:
    times = [datetime(1970, 1, 1), START, START + timedelta(hours=1), None, datetime(2100, 1, 1)]
    frame = pl.DataFrame({"m": "A", "t": times, "x": 1.0})
    now = round(START.timestamp()) * TICKS
    found = read_readings(frame, machine="m", time="t", client=None, signals=["x"], clock=Clock(), now=now)
    assert (found.frame.height, found.dirt.impossible, found.dirt.nowhere) == (2, 2, 1)
    with pytest.raises(DataError, match="possible time"):
        read_readings(frame[:1], machine="m", time="t", client=None, signals=["x"], clock=Clock(), now=now)


def test_one_id_at_two_sites_is_two_machines() -> None:
    frame = _walk(machines=1).with_columns(site=pl.lit("Ulm"))
    both = pl.concat([frame, frame.with_columns(site=pl.lit("Kassel"))])
    found = read_readings(both, machine="m", time="t", client="site", signals=["x"], clock=Clock(), now=0)
    assert found.frame["machine"].n_unique() == 2
    assert found.dirt.repeated == 0


def test_long_form_is_brought_into_wide_form() -> None:
    frame = _walk().with_columns(pl.col("y").fill_nan(None))
    long = frame.unpivot(["x", "y"], index=["m", "t"], variable_name="tag", value_name="reading").drop_nulls()
    wide = widened(long, ["m", "t"], "tag", "reading")
    plan = WindowPlan(("x", "y"), "2", ("6",))
    assert plan.points(_readings(wide, ("x", "y"))).equals(plan.points(_readings(frame, ("x", "y"))), null_equal=True)


def test_a_signal_of_text_is_refused() -> None:
    frame = _walk().with_columns(x=pl.lit("on"))
    with pytest.raises(DataError, match="text in x"):
        _readings(frame)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spans": ("5",), "step": "2"}, "whole numbers of steps"),
        ({"spans": ("6h",)}, "alike"),
        ({"statistics": ("median",)}, "median"),
        ({"edges": (2.0, 1.0), "regime": "load"}, "must rise"),
        ({"edges": (1.0,)}, "belong to a regime"),
        ({"signals": ()}, "at least one signal"),
    ],
)
def test_plans_check_themselves(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WindowPlan(**{"signals": ("x",), "step": "2", "spans": ("6",), "reference": "10", **changes})  # type: ignore[arg-type]


def test_dates_need_spans_with_units() -> None:
    with pytest.raises(ConfigError, match="bare numbers"):
        WindowPlan(("x",), "2h", ("6h",)).points(_readings(_walk()))
