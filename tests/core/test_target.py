"""A number as target: risks and back, the worked examples of its errors, and sums that add up to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import ERROR_NAMES, FAILURE, NumberTarget, is_failure, loss_of, nasa_scores, target_from_json

LIFE = NumberTarget(horizon=30.0, cap=125.0, unit="cycles")


def test_a_row_is_a_failure_exactly_up_to_the_horizon() -> None:
    numbers = np.array([0.0, 29.999, 30.0, np.nextafter(30.0, 31.0), 31.0, 1e9])
    assert is_failure(LIFE.risks(numbers)).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_risks_lead_back_to_the_numbers_below_the_cap() -> None:
    numbers = np.linspace(0.0, 200.0, 401)
    assert LIFE.numbers(LIFE.risks(numbers)) == pytest.approx(np.minimum(numbers, 125.0), abs=1e-12)
    assert LIFE.risks(125.0) == -8.0
    assert LIFE.numbers([99.0, -99.0]).tolist() == [0.0, 125.0]


def test_the_nasa_score_of_the_published_example() -> None:
    scores = nasa_scores([-10.0, 5.0, 20.0])
    assert scores == pytest.approx([1.158106, 0.648721, 6.389056], abs=1e-6)
    assert scores.sum() == pytest.approx(8.195883, abs=1e-6)


def test_the_errors_of_the_same_example() -> None:
    true = np.array([50.0, 30.0, 40.0])
    wrong = LIFE.risks(true + np.array([-10, 5, 20]))
    sums = dict(zip(ERROR_NAMES, LIFE.errors(wrong, LIFE.risks(true), np.array([0, 3]))[0], strict=True))
    assert np.sqrt(sums["squared"] / sums["rows"]) == pytest.approx(13.228757, abs=1e-6)
    assert sums["absolute"] / sums["rows"] == pytest.approx(11.6667, abs=1e-4)
    assert sums["nasa"] == pytest.approx(8.195883, abs=3 * 2.0**-13)
    assert (sums["over"], sums["close"]) == (25.0, 2.0)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), min_size=1, max_size=60), st.randoms())
def test_sums_of_errors_have_the_same_bits_however_rows_are_grouped(
    pairs: list[tuple[float, float]], chance: object
) -> None:
    foretold, true = (LIFE.risks(column) for column in np.array(pairs).T)
    whole = LIFE.errors(foretold, true, np.array([0, len(pairs)]))[0]
    cuts = np.unique([0, len(pairs) // 3, len(pairs) // 2, len(pairs)])
    apart = LIFE.errors(foretold, true, cuts)
    order = np.random.default_rng(len(pairs)).permutation(len(pairs))
    assert apart.sum(axis=0).tolist() == whole.tolist()
    assert LIFE.errors(foretold[order], true[order], np.array([0, len(pairs)]))[0].tolist() == whole.tolist()
    assert (whole >= 0).all()


def test_a_client_without_rows_has_sums_of_zero() -> None:
    assert LIFE.errors([0.0], [0.0], np.array([0, 0, 1])).tolist()[0] == [0.0] * 6


@pytest.mark.parametrize("numbers", [[np.nan], [-1.0], [3.0, -0.5]])
def test_a_life_that_is_missing_or_negative_is_refused(numbers: list[float]) -> None:
    with pytest.raises(DataError, match="must be a number of at least 0"):
        LIFE.risks(numbers)


@pytest.mark.parametrize(("horizon", "cap"), [(0.0, 5.0), (5.0, 5.0), (6.0, 5.0), (1.0, np.inf), (np.nan, 5.0)])
def test_a_horizon_must_lie_between_0_and_the_cap(horizon: float, cap: float) -> None:
    with pytest.raises(ConfigError, match=r"data.horizon must be above 0 and below data.cap"):
        NumberTarget(horizon, cap)


def test_targets_survive_being_written() -> None:
    assert [target_from_json(target.to_json()) for target in (FAILURE, LIFE)] == [FAILURE, LIFE]
    assert (loss_of(FAILURE), loss_of(LIFE)) == ("logistic", "squared")
    for wrong in ({}, {"kind": "unknown"}, {"kind": "number", "horizon": 9, "cap": 3, "unit": ""}):
        with pytest.raises(DataError, match="a target's description"):
            target_from_json(wrong)
