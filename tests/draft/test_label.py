"""Which of a label's values is the failure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.draft.tables import ROWS, Drafted, machines
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import NumberTarget
from werkbund.draft.label import label_of


@pytest.mark.parametrize(
    ("values", "positive"),
    [(["ok", "bad", "ok"], "bad"), ([1, 2, 1], 2), ([0, 1, 0], None), ([True, False, False], None), ([0.0, 1.0], None)],
)
def test_the_rarer_value_is_the_failure(values: list[Any], positive: Any) -> None:
    label = label_of(pl.DataFrame({"y": values}), "y", None)
    assert label.positive == positive
    assert label.positives == 1


@pytest.mark.parametrize(("values", "asked"), [(["ok", "bad", "ok"], "OK"), ([1, 2, 1], "1"), ([True, False], "true")])
def test_a_positive_value_may_be_given_as_text(values: list[Any], asked: str) -> None:
    label = label_of(pl.DataFrame({"y": values}), "y", asked)
    np.testing.assert_array_equal(label.values, [str(value).lower() == asked.lower() for value in values])


def test_a_commoner_one_is_doubted(drafted: Drafted) -> None:
    text, _ = drafted(machines(failed=[0, 1, 1, 1] * (ROWS // 4)))
    assert "the commoner value; if 0 is the failure" in " ".join(text.split("\n# "))


def test_an_absent_label_names_the_nearest_column(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="did you mean 'failed'"):
        drafted(machines(), label="faild")


def test_a_label_of_many_values_lists_them_with_their_rows(drafted: Drafted) -> None:
    with pytest.raises(DataError, match=r"got 4: 'dust': 100, 'heat': 100, 'ok': 100, 'wear': 100; choose another"):
        drafted(machines(failed=["ok", "heat", "dust", "wear"] * (ROWS // 4)))


def test_kinds_of_failures_beside_one_usual_value_are_failures(drafted: Drafted) -> None:
    _, config = drafted(machines(failed=["ok", "heat", "ok", "wear"] * (ROWS // 4)))
    assert config.data.positive == ["heat", "wear"]


def test_positive_may_be_several_values(drafted: Drafted) -> None:
    _, config = drafted(machines(failed=["ok", "heat", "dust", "wear"] * (ROWS // 4)), positive=["heat", "wear"])
    assert config.data.positive == ["heat", "wear"]


@pytest.mark.parametrize(("mark", "empty"), [("x", "no"), (1, 0)])
def test_a_mark_in_some_rows_and_nothing_in_others_is_a_label(drafted: Drafted, mark: object, empty: object) -> None:
    _, config = drafted(machines(failed=[mark, None, None, None] * (ROWS // 4)))
    assert config.data.empty_label == empty


def test_a_label_of_one_class_says_so(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="all rows with a value have 0: there is nothing to learn"):
        drafted(machines(failed=0))


def test_a_label_that_is_no_number_word_or_truth_is_refused(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="must hold numbers, words or truths, got Duration"):
        drafted(machines(failed=[timedelta(hours=number % 2) for number in range(ROWS)]), name="table.parquet")


def test_rows_without_a_label_are_refused(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="100 of 400 are missing"):
        drafted(machines(failed=[0, 1, 1, None] * (ROWS // 4)))


def test_a_positive_value_that_is_not_there_lists_those_that_are(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="got 'yes'; it has 0: 360, 1: 40"):
        drafted(machines(), positive="yes")


def test_many_numbers_are_a_life_to_be_foretold() -> None:
    lives = pl.DataFrame({"left": np.arange(400.0), "left again": np.arange(400) % 15})
    label = label_of(lives, "left", None)
    assert label.target == NumberTarget(60.0, 300.0)
    assert label.positives == 61
    assert "different numbers" in label.remark
    with pytest.raises(DataError, match="must have two values"):
        label_of(lives, "left again", None)
    with pytest.raises(DataError, match="must have two values"):
        label_of(lives.with_columns(pl.col("left") - 200), "left", None)


def test_numbers_of_which_most_are_0_are_not_guessed_at() -> None:
    lives = pl.DataFrame({"left": [0.0] * 300 + [*map(float, range(1, 100))]})
    with pytest.raises(DataError, match="by hand, or choose another label"):
        label_of(lives, "left", None)
