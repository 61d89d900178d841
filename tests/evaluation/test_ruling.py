"""The rule, on intervals written by hand."""

from __future__ import annotations

import math

import pytest

from werkbund.evaluation import Contest, Interval, Mean, PlantLine, rule

Ends = tuple[float, float]


def interval(ends: Ends) -> Interval:
    return Interval(sum(ends) / 2, *ends, 4)


def contest(
    rows: Ends = (0.1, 0.2),
    plants: Ends = (0.1, 0.2),
    trees: Ends = (0.1, 0.2),
    saving: Ends = (-50.0, -20.0),
    each: tuple[Ends, ...] = ((0.05, 0.2),) * 4,
    failures: int = 20,
) -> Contest:
    """Return a contest in which the same model alone is the stronger rival unless the gain over trees is less."""
    lines = tuple(
        PlantLine(
            f"plant {number}",
            100,
            failures,
            10,
            {},
            {who: {"average_precision": interval(ends)} for who in ("local_mean", "local_trees_mean")},
        )
        for number, ends in enumerate(each)
    )
    minus = {
        "local_mean": {"average_precision": Mean(interval(rows), interval(plants))},
        "local_trees_mean": {"average_precision": Mean(interval(trees), interval(trees))},
        "nothing": {"cost": Mean(interval(saving), interval(saving))},
    }
    figures = {
        who: {"average_precision": Mean(Interval(0.8 - sum(ends) / 2, 0, 1, 4), Interval(0.5, 0, 1, 4))}
        for who, ends in (("local_mean", rows), ("local_trees_mean", trees))
    }
    return Contest(lines, figures, minus)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({}, "pays"),
        ({"rows": (-0.01, 0.2)}, "mixed"),
        ({"plants": (-0.01, 0.2)}, "mixed"),
        ({"rows": (-0.01, 0.2), "plants": (-0.01, 0.2)}, "level"),
        ({"trees": (-0.05, 0.1)}, "level"),
        ({"trees": (-0.2, -0.05)}, "loses"),
        ({"trees": (-0.2, -0.005)}, "level"),
        ({"rows": (-0.2, -0.1), "plants": (-0.2, 0.1), "trees": (-0.1, 0.1)}, "loses"),
        ({"each": ((-0.1, 0.05),) * 3 + ((0.4, 0.9),)}, "mixed"),
        ({"each": ((0.1, 0.2),) * 2 + ((-0.2, -0.1),) * 2}, "mixed"),
        ({"failures": 2}, "level"),
        ({"saving": (-1.0, 3.0)}, "level"),
        ({"saving": (0.0, 0.0)}, "level"),
    ],
)
def test_the_outcome_follows_the_intervals(given: dict[str, object], outcome: str) -> None:
    assert rule(contest(**given)).outcome == outcome  # type: ignore[arg-type]


def test_the_stronger_rival_is_the_one_that_is_named() -> None:
    assert rule(contest()).rival == "local_mean"
    assert rule(contest(rows=(0.3, 0.4))).rival == "local_trees_mean"


def test_plants_are_named_by_their_own_intervals_if_they_have_failures() -> None:
    ruling = rule(contest(each=((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1))))
    assert (ruling.better, ruling.worse, ruling.open) == (("plant 0",), ("plant 1",), ("plant 2",))
    few = rule(contest(each=((0.1, 0.2), (-0.2, -0.1)), failures=4))
    assert few.open == ("plant 0", "plant 1")


def test_a_model_is_useful_by_a_saving_and_surely_by_its_interval() -> None:
    assert rule(contest()).surely_useful
    unsure = rule(contest(saving=(-9.0, 2.0)))
    assert (unsure.useful, unsure.surely_useful) == (True, False)
    assert not rule(contest(saving=(-1.0, 2.0))).useful


def test_without_a_model_of_the_plants_own_nothing_is_decided() -> None:
    ruling = rule(Contest((), {}, {}))
    assert ruling.outcome == "unknown"
    assert math.isnan(ruling.gain.mean)
