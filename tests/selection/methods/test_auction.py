import itertools

import numpy as np
import pytest

from werkbund.core import ConfigError, Failure
from werkbund.core.arrays import Arrays
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, View
from werkbund.selection.methods.auction import Auction, payments, winners, worth

FACTS: Arrays = {"rows": np.array([100.0, 80.0, 100.0, 20.0]), "price": np.array([1.0, 0.0, 4.0, 0.5])}


def _choose(selector: Auction, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def test_the_three_scoring_rules() -> None:
    quality, importance = np.array([[0.25, 1.0], [1.0, 1.0]]), np.array([0.5, 0.5])
    np.testing.assert_allclose(worth(quality, importance, "additive"), [0.625, 1.0])
    np.testing.assert_allclose(worth(quality, importance, "cobb-douglas"), [0.5, 1.0])
    np.testing.assert_allclose(worth(quality, importance, "complementary"), [0.125, 0.5])


def test_as_many_win_as_are_wanted() -> None:
    """A port lets only one win."""
    for number in range(1, 5):
        won = winners(np.array([0.1, 0.9, 0.5, 0.4]), number, 1.0, np.random.default_rng(0))
        assert won.tolist() == [1, 2, 3, 0][:number]


def test_with_exploration_the_best_win_more_often_and_the_number_is_reached() -> None:
    rng, counts = np.random.default_rng(0), np.zeros(6)
    for _ in range(2000):
        won = winners(np.arange(6.0), 2, 0.5, rng)
        assert len(set(won.tolist())) == 2
        counts[won] += 1
    assert (np.diff(counts) > 0).all()
    assert counts[5] / 2000 == pytest.approx(0.5 + 7 / 64, abs=5 * np.sqrt(0.25 / 2000))


def test_the_price_of_the_best_loser() -> None:
    scores, prices = np.array([0.6, 0.5, 0.3]), np.array([2.0, 1.0, 4.0])
    np.testing.assert_allclose(payments(scores, prices, np.array([0, 1]), 10.0, "second-price"), [5.0, 3.0])
    assert payments(scores, prices, np.array([0, 1]), 10.0, "first-price").tolist() == [2.0, 1.0]


@pytest.mark.parametrize("rule", ["first-price", "second-price"])
def test_nobody_is_paid_less_than_it_asked(rule: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, prices = rng.random(6), rng.random(6)
        won = winners(scores, 3, 0.6, rng)
        assert (payments(scores, prices, won, 2.0, rule) >= prices[won]).all()


def test_if_all_win_the_price_is_what_was_asked() -> None:
    paid = payments(np.array([0.6, 0.5]), np.array([2.0, 1.0]), np.array([0, 1]), 1.0, "second-price")
    assert paid.tolist() == [2.0, 1.0]


def test_asking_more_than_its_cost_gains_nothing_at_second_price() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        value, cost = rng.random(5), rng.random(5)
        gains = []
        for asked in (cost[0], *rng.random(6)):
            prices = np.array([asked, *cost[1:]])
            scores = value - prices
            won = np.argsort(-scores)[:2]
            paid = dict(zip(won.tolist(), payments(scores, prices, won, 1.0, "second-price").tolist(), strict=True))
            gains.append(paid[0] - cost[0] if 0 in paid else 0.0)
        assert gains[0] >= max(gains) - 1e-12


def test_the_best_offers_for_the_money_win() -> None:
    choice = _choose(Auction(CohortSize(count=2), unit=10.0), View(1, np.arange(4), FACTS))
    scores = np.array([0.5 + 0.5 - 0.1, 0.4 + 0.5, 0.5 + 0.5 - 0.4, 0.1 + 0.5 - 0.05])
    best = max(itertools.combinations(range(4), 2), key=lambda pair: scores[list(pair)].sum())
    assert choice.cohort.tolist() == list(best)


def test_speed_counts() -> None:
    facts = {"rows": np.ones(3), "price": np.ones(3), "seconds_compute": np.array([4.0, 1.0, 2.0])}
    assert _choose(Auction(CohortSize(count=1)), View(1, np.arange(3), facts)).cohort.tolist() == [1]
    choice = _choose(
        Auction(CohortSize(count=1), rows_importance=0.0, speed_importance=0.0), View(1, np.arange(3), facts)
    )
    assert len(choice.cohort) == 1


def test_payments_are_kept_and_only_made_for_delivery() -> None:
    selector, view = Auction(CohortSize(count=3), unit=10.0), View(1, np.arange(4), FACTS)
    choice = _choose(selector, view)
    assert choice.cohort.tolist() == [0, 1, 2]
    reports = Reports(1, np.array([0, 2]), {}, (Failure(1, 1, "late"),), choice=choice)
    state = selector.observe(selector.observe({}, reports), reports)
    assert np.asarray(state["paid"]).tolist() == [2.0, 0.0, 8.0]
    assert (state["spent"], state["deals"]) == (10.0, 4)


def test_where_nobody_asks_for_money_nobody_is_paid() -> None:
    choice = _choose(
        Auction(CohortSize(count=2), payment="second-price"), View(1, np.arange(4), {"rows": FACTS["rows"]})
    )
    assert all(reason.endswith("is paid 0") for reason in choice.reasons)


def test_no_prices_no_rows_and_no_times_are_fine() -> None:
    assert _choose(Auction(), View(1, np.array([3, 8]))).cohort.tolist() == [3, 8]
    assert len(_choose(Auction(), View(1, np.empty(0, np.int64))).cohort) == 0
    facts = {"rows": np.zeros(2), "price": np.array([np.nan, 1.0]), "seconds_up": np.array([np.nan, 1.0])}
    assert _choose(Auction(CohortSize(count=1)), View(1, np.arange(2), facts)).cohort.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("rule", "other"), ("payment", "none"), ("acceptance", 0.0), ("unit", -1.0), ("rows_importance", np.inf)],
)
def test_a_wrong_parameter_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        Auction(**{name: value})  # type: ignore[arg-type]
