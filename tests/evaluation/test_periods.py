"""The change from one period to the next, and how sure it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from werkbund.evaluation import ClientPeriods, change_of_roc_auc, compare_periods


def _figures(rng: np.random.Generator, shift: float, rows: int = 300, share: float = 0.1) -> dict[str, Any]:
    """Return figures of scores of which those of failures are higher by `shift` standard deviations."""
    labels = np.zeros(rows, np.int64)
    labels[: max(round(share * rows), 1)] = 1
    area = roc_auc_score(labels, rng.normal(size=rows) + shift * labels)
    return {"rows": rows, "positives": int(labels.sum()), "roc_auc": float(area), "cost": 100.0}


@pytest.mark.parametrize("clients", [1, 4, 10])
@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_where_nothing_changes_the_interval_holds_zero_about_as_often_as_it_says(clients: int, shift: float) -> None:
    rng, held = np.random.default_rng(1), []
    for _ in range(60):
        pairs = [(_figures(rng, shift), _figures(rng, shift)) for _ in range(clients)]
        interval = change_of_roc_auc(pairs)
        held.append(interval.low <= 0 <= interval.high)
    assert np.mean(held) >= 0.9


def test_a_loss_is_found_as_large_as_it_is() -> None:
    rng = np.random.default_rng(0)
    changes = [change_of_roc_auc([(_figures(rng, 1.5), _figures(rng, 0.5)) for _ in range(5)]) for _ in range(40)]
    true = math.erf(0.5 / 2) / 2 - math.erf(1.5 / 2) / 2  # areas of two normal distributions
    assert np.mean([change.mean for change in changes]) == pytest.approx(true, abs=0.02)
    assert np.mean([change.high < 0 for change in changes]) > 0.9


def test_clients_whose_changes_differ_widen_the_interval() -> None:
    same = {"rows": 1000, "positives": 100, "roc_auc": 0.8}
    alike = change_of_roc_auc([(same, same | {"roc_auc": 0.75})] * 4)
    unlike = change_of_roc_auc([(same, same | {"roc_auc": area}) for area in (0.95, 0.95, 0.55, 0.55)])
    assert alike.mean == pytest.approx(unlike.mean)
    assert alike.high < 0 < unlike.high


def test_a_perfect_ranking_of_few_failures_is_no_certainty() -> None:
    perfect = {"rows": 50, "positives": 1, "roc_auc": 1.0}
    assert change_of_roc_auc([(perfect, perfect | {"roc_auc": 0.9})]).high > 0


def test_the_mean_follows_the_failures_and_nothing_known_is_nothing_said() -> None:
    before = {"rows": 100, "positives": 10, "roc_auc": 0.8, "cost": 50.0}
    clients = [
        ClientPeriods("a", before, {**before, "positives": 30, "roc_auc": 0.9, "rows": 300, "cost": 80.0}),
        ClientPeriods("b", before, {**before, "roc_auc": 0.5}),
        ClientPeriods("c", before, None),
        ClientPeriods("d", None, {**before, "positives": 0, "roc_auc": None}),
    ]
    figures = compare_periods(clients)
    assert (figures["clients"], figures["rows"], figures["positives"]) == (3, 500, 40)
    assert figures["roc_auc"] == {"earlier": pytest.approx(0.8), "later": pytest.approx(0.8)}
    assert figures["cost"]["later"] == pytest.approx((300 * 80 + 100 * 50) / 400)
    assert figures["alone_roc_auc"] == {"earlier": None, "later": None}
    assert compare_periods([])["change"]["mean"] is None


_ANY = st.none() | st.floats(-1e15, 1e15) | st.integers(-10, 10)
_SAID = st.dictionaries(st.sampled_from(["rows", "positives", "roc_auc", "cost"]), _ANY)


@given(st.lists(st.tuples(_SAID | st.none(), _SAID | st.none()), max_size=4))
def test_whatever_plants_say_figures_are_finite_or_not_there(said: list[tuple[Any, Any]]) -> None:
    figures = compare_periods([ClientPeriods(str(number), *pair) for number, pair in enumerate(said)])
    change = figures["change"]
    assert change["mean"] is None or -1 <= change["low"] <= change["mean"] <= change["high"] <= 1
    areas = [value for value in figures["roc_auc"].values() if value is not None]
    assert all(0 <= value <= 1 for value in areas)
