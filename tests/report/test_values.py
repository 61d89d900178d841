from __future__ import annotations

import math

import pytest

from werkbund.core import DataError
from werkbund.report.values import ClientLine, ClientSkew, Curves, RoundLine, Scores, number


def test_null_reads_as_nan() -> None:
    assert math.isnan(number(None, "loss"))


@pytest.mark.parametrize("value", ["0.5", True, [1]])
def test_what_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(DataError, match="loss must be a number or null"):
        number(value, "loss")


def test_an_unknown_metric_is_nan_and_not_known() -> None:
    scores = Scores.parse({"f1": 0.5, "roc_auc": None})
    assert math.isnan(scores["roc_auc"])
    assert math.isnan(scores["never written"])
    assert [scores.known(key) for key in ("f1", "roc_auc", "never written")] == [True, False, False]


def test_other_entries_of_a_metrics_object_are_left_alone() -> None:
    scores = Scores.parse({"name": "Plant 1", "f1": 0.5, "local": {"f1": 0.1}, "recall_by_mode": {"HDF": None}})
    assert dict(scores.values) == {"f1": 0.5}
    assert math.isnan(scores.recall_by_mode["HDF"])


@pytest.mark.parametrize("written", [{"name": "A", "f1": 0.5}, {"name": "A", "federated": {"f1": 0.5}}])
def test_a_clients_metrics_may_lie_beside_its_name_or_under_federated(written: dict[str, object]) -> None:
    line = ClientLine.parse(written)
    assert (line.name, line.federated["f1"], line.local) == ("A", 0.5, None)


def test_a_round_needs_its_number_alone() -> None:
    line = RoundLine.parse({"round": 3})
    assert (line.round, line.scored, line.cohort, line.failures, dict(line.scores)) == (3, 3, (), (), {})
    assert math.isnan(line.loss)


def test_classes_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match="two rows of one length"):
        Curves.parse({"histogram": [[1, 2], [3]]})


def test_a_mode_that_a_client_lacks_counts_zero() -> None:
    clients = [{"name": "A", "rows": 5, "positives": 1, "modes": {"HDF": 1}}, {"name": "B", "rows": 4, "positives": 0}]
    skew = ClientSkew.parse({"clients": clients})
    assert skew.modes == {"HDF": (1.0, 0.0)}
    assert skew.label_distance == ()


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.40, 0.87, "0.44, bins allow 0.40 to 0.87"),
        (0.4385, 0.4415, "0.44"),
        (0.4375, 0.44, "0.44, bins allow 0.44 to 0.44"),
        (None, None, "0.44"),
    ],
)
def test_a_figure_says_what_bins_allow_where_that_is_more_than_a_little(
    low: float | None, high: float | None, shown: str
) -> None:
    written = {"average_precision": 0.44, "average_precision_low": low, "average_precision_high": high}
    assert Scores.parse(written).text("average_precision", 2) == shown
