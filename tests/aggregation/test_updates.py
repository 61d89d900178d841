"""What rules share that see each update: how many hostile clients they bear, and that they do."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aggregation.golden import TWO_OUTLIERS, moved_by, sent
from werkbund.aggregation import AGGREGATORS, Closing, build_aggregator
from werkbund.aggregation.updates import EachRule, Updates
from werkbund.core import ConfigError
from werkbund.core.arrays import Float32Array, Float64Array

ROBUST: tuple[type[EachRule], ...] = tuple(rule for rule in AGGREGATORS.values() if issubclass(rule, EachRule))
ADMISSIBLE = {
    "median": lambda n, f: n >= 2 * f + 1,
    "trimmed-mean": lambda n, f: n >= 2 * f + 1,
    "krum": lambda n, f: n >= 2 * f + 3,
    "multi-krum": lambda n, f: n >= 2 * f + 3,
    "bulyan": lambda n, f: n >= 4 * f + 3,
    "geometric-median": lambda n, f: 2 * f < n,
    "centred-clipping": lambda n, f: 2 * f < n,
    "norm-bounding": lambda n, f: 2 * f < n,
    "sybil-filter": lambda n, f: 2 * f < n,
    "validation-weights": lambda n, f: f * np.log(10) < n,
}
"""Whether n updates are enough for f hostile ones, as the papers have it."""

WITHIN = ("median", "trimmed-mean", "krum", "multi-krum", "bulyan", "validation-weights")
"""Rules whose result stays within the honest updates, coordinate by coordinate."""

every_rule = pytest.mark.parametrize("rule", ROBUST, ids=lambda rule: rule.name)


def _score(weights: Float32Array) -> float:
    return -float(np.abs(weights.astype(np.float64)).sum())


CLOSING = Closing(score=_score)


def test_every_rule_that_sees_each_update_is_among_them() -> None:
    assert {rule.name for rule in ROBUST} == set(ADMISSIBLE)
    assert {name for name in AGGREGATORS if build_aggregator(name).sees == "each"} == set(ADMISSIBLE)


@every_rule
def test_it_refuses_what_is_not_admissible_and_bears_what_is(rule: type[EachRule]) -> None:
    rng = np.random.default_rng(0)
    for hostile in range(4):
        made = rule(hostile=hostile)
        for number in range(1, 17):
            rows = rng.normal(size=(number, 3))
            if ADMISSIBLE[rule.name](number, hostile):
                assert not made.refusal(number, number)
                moved_by(made, rows, closing=CLOSING)
            else:
                with pytest.raises(ConfigError, match=f"'{rule.name}' (bears|takes)"):
                    moved_by(made, rows, closing=CLOSING)
        assert made.least(99) == min(n for n in range(1, 99) if ADMISSIBLE[rule.name](n, hostile))


@every_rule
def test_the_largest_that_it_names_fits(rule: type[EachRule]) -> None:
    for number in range(3, 30):
        most = rule().most_hostile(number)
        assert not rule(hostile=most).refusal(number, number)
        assert f"lower it to {most}," in rule(hostile=most + 1).refusal(number, number)


@every_rule
def test_a_share_is_of_those_that_were_asked(rule: type[EachRule]) -> None:
    """Hostile clients answer; where honest ones do not, the hostile are more of those that did."""
    made = rule(hostile=0.2)
    assert made.expected(20) == 4
    assert made.least(20) == rule(hostile=4).least(20)
    rows = np.random.default_rng(0).normal(size=(made.least(20) - 1, 3))
    with pytest.raises(ConfigError, match=r"bears \d hostile among \d+ updates at most, got hostile = 0.2, 4 of 20"):
        moved_by(made, rows, closing=Closing(num_asked=20, score=_score))


@pytest.mark.parametrize("hostile", [0.5, 1.0, 2.0])
@every_rule
def test_half_and_more_is_refused_by_name(rule: type[EachRule], hostile: float) -> None:
    with pytest.raises(ConfigError, match=rf"hostile must be a whole number .* share below 0\.5, got {hostile}"):
        rule(hostile=hostile)


@pytest.mark.parametrize("hostile", [-1, -0.1, float("nan"), "two", True])
def test_what_is_no_number_of_clients_is_refused(hostile: Any) -> None:
    for rule in ROBUST:
        with pytest.raises(ConfigError, match=r"strategy\.aggregation\.hostile must be >= 0, got"):
            rule(hostile=hostile)


@pytest.mark.parametrize("name", WITHIN)
@settings(max_examples=40)
@given(st.integers(0, 2), st.sampled_from(["same", "apart", "opposed"]), st.integers(0, 99))
def test_with_as_many_hostile_as_it_bears_it_stays_among_the_honest(name: str, more: int, how: str, seed: int) -> None:
    rng, number = np.random.default_rng(seed), 11 + more
    rule = build_aggregator(name, momentum=0.0)
    assert isinstance(rule, EachRule)
    hostile = rule.most_hostile(number)
    rule = build_aggregator(name, momentum=0.0, hostile=hostile)
    rows, honest = _with_hostile(rng, number, hostile, how)
    moved = moved_by(rule, rows, closing=CLOSING)
    assert (moved >= honest.min(axis=0) - 1e-6).all()
    assert (moved <= honest.max(axis=0) + 1e-6).all()


@pytest.mark.parametrize("name", [name for name in ADMISSIBLE if name not in WITHIN])
@pytest.mark.parametrize("how", ["same", "apart", "opposed"])
def test_the_other_rules_move_no_further_than_a_bound_that_hostile_clients_do_not_set(name: str, how: str) -> None:
    rng, number, hostile = np.random.default_rng(1), 11, 4
    rows, honest = _with_hostile(rng, number, hostile, how)
    moved = moved_by(build_aggregator(name, momentum=0.0, hostile=hostile), rows)
    longest = float(np.linalg.norm(honest, axis=1).max())
    assert np.linalg.norm(moved) <= 2 * (number - hostile) / (number - 2 * hostile) * longest


def test_one_hostile_client_moves_the_mean_anywhere() -> None:
    rows, honest = _with_hostile(np.random.default_rng(0), 11, 1, "same")
    moved = moved_by(build_aggregator("fedavg", momentum=0.0), rows)
    assert (moved > honest.max(axis=0)).all()


def _with_hostile(rng: np.random.Generator, number: int, hostile: int, how: str) -> tuple[Float64Array, Float64Array]:
    """Return updates of which some are 1e6 in each coordinate, and the honest among them."""
    rows = rng.normal(size=(number, 5))
    liars = rng.permutation(number)[:hostile]
    apart, opposed = rng.choice([-1.0, 1.0], (hostile, 5)), (-1.0) ** np.arange(hostile)[:, None]
    rows[liars] = 1e6 * {"same": np.ones(5), "apart": apart, "opposed": opposed}[how]
    return rows, np.delete(rows, liars, axis=0)


@every_rule
def test_declared_rows_do_not_count(rule: type[EachRule]) -> None:
    made, claimed = rule(momentum=0.0), np.array([1.0, 1, 1, 1, 1, 1000, 1000])
    plain = moved_by(made, TWO_OUTLIERS, closing=CLOSING)
    np.testing.assert_allclose(moved_by(made, TWO_OUTLIERS, claimed, closing=CLOSING), plain, rtol=1e-5, atol=1e-6)


@every_rule
def test_a_client_without_weight_takes_no_part(rule: type[EachRule]) -> None:
    made = rule(momentum=0.0)
    weights = np.array([1.0, 1, 1, 1, 1, 1, 1, 0])
    rows = np.vstack([TWO_OUTLIERS, [(7.0, 7, 7)]])
    folded = made.fold(made.begin(3), sent(rows, weights), weights)
    moved, _ = made.finish(folded, np.zeros(3, np.float32), made.init(3), CLOSING)
    np.testing.assert_array_equal(moved, moved_by(made, TWO_OUTLIERS, closing=CLOSING).astype(np.float32))


@every_rule
def test_step_and_momentum_are_those_of_federated_averaging(rule: type[EachRule]) -> None:
    plain, heavy = rule(momentum=0.0), rule(momentum=0.5, step=2.0)
    first = moved_by(plain, TWO_OUTLIERS, closing=CLOSING)
    np.testing.assert_allclose(moved_by(heavy, TWO_OUTLIERS, closing=CLOSING), 2 * first, rtol=1e-6)
    carry = {**heavy.init(3), "momentum": np.array([1, 0, -1], np.float32)}
    again = moved_by(heavy, TWO_OUTLIERS, carry=carry, closing=CLOSING)
    np.testing.assert_allclose(again, 2 * (first + np.array([0.5, 0, -0.5])), rtol=1e-6)


def test_updates_that_come_one_by_one_are_never_held_twice() -> None:
    number, size = 20, 200_000
    accumulator = Updates()
    for _ in range(number):
        accumulator.add(np.ones((1, size), np.float32), np.array([2.0]))
    tracemalloc.start()
    rows = accumulator.rows()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (number, size)
    assert not accumulator.blocks
    assert peak <= 1.1 * rows.nbytes
