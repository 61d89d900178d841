"""Which column a table foretells is found by its header and values, or asked for by name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.draft.label import find_label

FLAGS = np.arange(40) % 10 == 0


def _frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"Werk": ["U"] * 40, "Temperatur": np.linspace(50, 60, 40), **columns})


@pytest.mark.parametrize(
    "header",
    ["Ausfall", "Machine failure", "failed", "Störung", "Defekt_ja_nein", "label", "Status", "HasFault", "RUL_h", "y"],
)
def test_a_header_that_says_so_is_the_label(header: str) -> None:
    values = np.linspace(900.0, 0, 40) if header == "RUL_h" else FLAGS.astype(int)
    assert find_label(_frame(**{header: values})) == header


def test_the_surer_word_wins_and_a_column_that_is_no_label_is_passed_over() -> None:
    status = np.where(FLAGS, "NOK", "OK")
    assert find_label(_frame(Status=status, Ausfall=FLAGS.astype(int))) == "Ausfall"
    notes = [f"remark {number}" for number in range(40)]
    assert find_label(_frame(Status=status, failure_note=notes)) == "Status"


def test_columns_that_may_all_be_it_are_named() -> None:
    with pytest.raises(ConfigError, match="'failure_a', 'failure_b' may all be it"):
        find_label(_frame(failure_a=FLAGS.astype(int), failure_b=np.roll(FLAGS, 1).astype(int)))


def test_a_label_of_one_value_says_that_there_is_nothing_to_learn() -> None:
    with pytest.raises(DataError, match="'Ausfall' must have two values, but all rows with a value have 0"):
        find_label(_frame(Ausfall=np.zeros(40, int)))


def test_without_a_word_the_columns_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no header tells\. The columns are 'Werk', 'Temperatur', 'k'"):
        find_label(_frame(k=FLAGS.astype(int)))
