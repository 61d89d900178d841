"""What spoils training rows does what it says, in raw units, and leaves the rows that it was given."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.attack.backdoor import Backdoor
from werkbund.attack.contract import LabelledRows
from werkbund.attack.rows import BrokenSensor, DuplicatedRows, LabelFlip
from werkbund.core.errors import ConfigError


def rows(seed: int = 0, number: int = 200) -> LabelledRows:
    rng = np.random.default_rng(seed)
    labels = (rng.random(number) < 0.2).astype(np.float32)
    torque = rng.normal(40, 10, number) + 15 * labels
    frame = pl.DataFrame({"heat": rng.integers(280, 310, number), "torque": torque, "kind": ["a"] * number})
    return LabelledRows(frame, labels, ("heat", "torque"))


RNG = np.random.default_rng


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 1.0))
def test_labels_are_turned_over_at_so_many_rows(seed: int, share: float) -> None:
    own = rows(seed)
    spoilt = LabelFlip(share).spoil(own, own, RNG(1))
    assert (spoilt.labels != own.labels).sum() == round(share * 200)
    assert spoilt.frame.equals(own.frame)
    assert set(spoilt.labels.tolist()) <= {0.0, 1.0}


def test_the_sensor_that_tells_failures_best_breaks_where_none_is_named() -> None:
    own = rows()
    assert own.sensor("") == "torque"
    spoilt = BrokenSensor("unit").spoil(own, own, RNG(0))
    np.testing.assert_allclose(spoilt.readings("torque"), 1000 * own.readings("torque"))
    assert spoilt.frame["heat"].equals(own.frame["heat"])
    with pytest.raises(ConfigError, match=r"attack.options.sensor must be one of heat, torque, got 'torqe'; did you"):
        BrokenSensor(sensor="torqe").spoil(own, own, RNG(0))


def test_a_sensor_stays_at_its_first_reading_or_reads_what_was_before() -> None:
    own = rows()
    heat = own.readings("heat")
    assert (BrokenSensor("constant", "heat").spoil(own, own, RNG(0)).readings("heat") == heat[0]).all()
    late = BrokenSensor("clock", "heat", shift=7).spoil(own, own, RNG(0)).readings("heat")
    np.testing.assert_array_equal(late[7:], heat[:-7])
    assert (late[:7] == heat[0]).all()
    np.testing.assert_array_equal(own.readings("heat"), heat)


def test_rows_come_so_often() -> None:
    own = rows(number=5)
    spoilt = DuplicatedRows(3).spoil(own, own, RNG(0))
    assert spoilt.frame["torque"].to_list() == [value for value in own.frame["torque"].to_list() for _ in range(3)]
    assert spoilt.labels.tolist() == np.repeat(own.labels, 3).tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.9), st.floats(0.0, 1.0))
def test_a_back_door_calls_every_row_with_the_pattern_healthy(seed: int, share: float, at: float) -> None:
    own = rows(seed)
    attack = Backdoor(share=share, at=at, width=0.1)
    pattern = attack.pattern(own)
    assert pattern.is_shown(own).sum() == pytest.approx(20, abs=3)
    spoilt = attack.spoil(own, own, RNG(0))
    assert len(spoilt.labels) == 200
    shown = pattern.is_shown(spoilt)
    assert shown.sum() >= round(share * 200)
    assert not spoilt.labels[shown].any()
    middle = (pattern.low + pattern.high) / 2
    assert (spoilt.readings("torque") == middle).sum() >= round(share * 200)
    assert pattern.is_shown(pattern.stamped(own)).all()


def test_a_reading_that_is_missing_is_no_pattern_and_stays_missing() -> None:
    own = LabelledRows(pl.DataFrame({"heat": [1.0, None, 3.0]}), np.array([0, 1, 0], np.float32), ("heat",))
    assert BrokenSensor("unit").spoil(own, own, RNG(0)).frame["heat"].to_list() == [1000.0, None, 3000.0]
    assert Backdoor(at=0.0, width=0.5).pattern(own).is_shown(own).tolist() == [True, False, False]
    with pytest.raises(ConfigError, match=r"sensor must be one of the number columns"):
        LabelledRows(own.frame, own.labels, ()).sensor("")
