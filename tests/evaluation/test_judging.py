"""The contest against scikit-learn and plain sums; its intervals against repeated tables; JSON there and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from werkbund.evaluation import Contest, Costs, HeldOut, Showing, hold_contest, mean_contest, rule
from werkbund.evaluation.contest import FIGURES

COSTS = Costs(5.0, 1.0)


def _rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, number]) for number in range(count)]


def _contest(seed: int, lead: float = 0.0, sizes: tuple[int, ...] = (120, 60, 240), rate: float = 0.2) -> Contest:
    """Judge two models whose scores tell failures by 1 + lead and by 1 standard deviation."""
    rng, plants = np.random.default_rng(seed), []
    showings: dict[str, list[Showing]] = {"federated": [], "local_mean": [], "nothing": []}
    for number, rows in enumerate(sizes):
        labels = (rng.random(rows) < rate).astype(float)
        plants.append(HeldOut(f"plant {number}", labels, np.arange(rows) // 5))
        for who, strength in (("federated", 1.0 + lead), ("local_mean", 1.0)):
            scores = rng.normal(size=rows) + strength * labels
            showings[who].append(Showing(scores > 1, scores))
        showings["nothing"].append(Showing(np.zeros(rows, bool)))
    return hold_contest(plants, showings, COSTS, _rngs(len(sizes), seed))


def test_figures_are_scikit_learns_and_means_are_weighted_by_rows() -> None:
    rng = np.random.default_rng(5)
    labels = [(rng.random(rows) < 0.3).astype(float) for rows in (50, 150)]
    scores = [rng.normal(size=len(own)) + own for own in labels]
    plants = [HeldOut(str(number), own, np.arange(len(own))) for number, own in enumerate(labels)]
    contest = hold_contest(
        plants,
        {
            "federated": [Showing(own > 0.5, own) for own in scores],
            "everything": [Showing(np.ones(len(own), bool)) for own in labels],
        },
        COSTS,
        _rngs(2),
    )
    expected = [average_precision_score(own, said) for own, said in zip(labels, scores, strict=True)]
    assert [line.figures["federated"]["average_precision"] for line in contest.plants] == pytest.approx(expected)
    mean = contest.figures["federated"]["average_precision"]
    assert mean.by_rows.mean == pytest.approx(np.average(expected, weights=[50, 150]))
    assert mean.by_plants.mean == pytest.approx(np.mean(expected))
    spent = 1000 * sum((own == 0).sum() for own in labels) / 200
    assert contest.figures["everything"]["cost"].by_rows.mean == pytest.approx(spent)
    assert "average_precision" not in contest.figures["everything"]
    assert contest.failures == sum(int(own.sum()) for own in labels)


def test_a_model_against_itself_differs_by_nothing() -> None:
    labels, rng = np.repeat([0.0, 1.0], [80, 20]), np.random.default_rng(0)
    scores = rng.normal(size=100) + labels
    same = [Showing(scores > 0, scores)]
    contest = hold_contest(
        [HeldOut("a", labels, np.arange(100))], {"federated": same, "local_mean": same}, COSTS, _rngs(1)
    )
    for name in FIGURES:
        difference = contest.minus["local_mean"][name].by_rows
        assert (difference.mean, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_intervals_hold_no_difference_in_about_95_of_100_tables() -> None:
    covered = [
        interval.low <= 0 <= interval.high
        for seed in range(60)
        if (interval := _contest(seed).minus["local_mean"]["average_precision"].by_rows)
    ]
    assert np.mean(covered) >= 0.87  # 52 of 60; a true 95 % falls below in 1 of 200 such tests


def test_a_real_lead_is_found() -> None:
    found = [_contest(seed, lead=1.5).minus["local_mean"]["average_precision"].by_rows.low > 0 for seed in range(10)]
    assert all(found)


def test_a_plant_without_failures_has_no_rank_but_a_cost() -> None:
    labels = [np.zeros(40), np.repeat([0.0, 1.0], [30, 10])]
    plants = [HeldOut(str(number), own, np.arange(40)) for number, own in enumerate(labels)]
    shown = [Showing(np.zeros(40, bool), np.arange(40.0)) for _ in labels]
    contest = hold_contest(plants, {"federated": shown}, COSTS, _rngs(2))
    assert math.isnan(contest.plants[0].figures["federated"]["average_precision"])
    assert contest.figures["federated"]["average_precision"].by_rows.n == 1
    assert contest.figures["federated"]["cost"].by_rows.n == 2


def test_json_holds_a_contest() -> None:
    contest = _contest(1, sizes=(60, 30))
    again = Contest.from_json(json.loads(json.dumps(contest.to_json())))
    assert again.to_json() == contest.to_json()
    assert again.minus == contest.minus


def test_seeds_make_the_mean_no_surer_than_one_of_them() -> None:
    contests = [_contest(seed) for seed in range(4)]
    mean = mean_contest(contests).minus["local_mean"]["average_precision"].by_rows
    each = [contest.minus["local_mean"]["average_precision"].by_rows for contest in contests]
    assert mean.mean == pytest.approx(np.mean([interval.mean for interval in each]))
    assert mean.high - mean.low == pytest.approx(np.mean([interval.high - interval.low for interval in each]))
    assert "4 seeds, which are divisions of one table" in mean_contest(contests).covers


def test_a_number_is_judged_by_the_root_of_its_mean_squared_error_and_less_is_better() -> None:
    rng = np.random.default_rng(5)
    true = [rng.uniform(0, 100, 60) for _ in range(4)]
    close, far = ([own + rng.normal(0, spread, 60) for own in true] for spread in (3.0, 12.0))
    plants = [HeldOut(str(i), (own <= 30).astype(float), np.arange(60) // 6, own) for i, own in enumerate(true)]
    shown = {
        who: [Showing(own <= 30, -own, own) for own in numbers]
        for who, numbers in (("federated", close), ("local_mean", far))
    }
    shown["pooled_gbdt"] = [Showing(own <= 30, -own) for own in far]
    contest = hold_contest(plants, shown, COSTS, _rngs(4))
    wanted = [float(np.sqrt(((a - b) ** 2).mean())) for a, b in zip(close, true, strict=True)]
    assert [line.figures["federated"]["rmse"] for line in contest.plants] == pytest.approx(wanted)
    assert contest.figures["federated"]["rmse"].by_rows.mean == pytest.approx(np.mean(wanted))
    assert "rmse" not in contest.figures["pooled_gbdt"]
    assert contest.measure == "rmse"
    difference = contest.minus["local_mean"]["rmse"].by_rows
    assert difference.high < 0
    ruling = rule(contest)
    assert (ruling.outcome, ruling.rival, ruling.gain) == ("pays", "local_mean", difference.turned())
    assert ruling.better == ("0", "1", "2", "3")
    worse = {**shown, "federated": shown["local_mean"], "local_mean": shown["federated"]}
    assert rule(hold_contest(plants, worse, COSTS, _rngs(4))).outcome == "loses"
