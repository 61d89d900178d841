"""Numbers come back from words as they were: whole ones to the bit, others to the error that is stated."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.privacy.sums import UPDATE_BYTES, Addend, Words
from werkbund.privacy.sums.words import CHECK


@given(st.data())
def test_no_sum_within_the_bounds_overflows_and_its_error_is_as_stated(data: st.DataObject) -> None:
    clients, width = data.draw(st.integers(1, 2000)), data.draw(st.integers(4, 8))
    most = data.draw(st.floats(1e-3, 1e6))
    words = Words((Addend("update", (1,), most, False, width),), clients)
    extreme = data.draw(st.sampled_from([most, -most, most / 3]))
    total = np.zeros(words.num_words, np.uint64)
    one = words.of({"update": np.array([extreme])})
    for _ in range(clients):
        total += words.unpacked(words.packed(one))
    found = Fraction(float(words.opened(total, clients)["update"][0]))
    assert abs(found - clients * Fraction(extreme)) <= Fraction(words.error("update", clients))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9), st.integers(5, 8))
def test_whole_numbers_are_added_to_the_bit(numbers: list[int], width: int) -> None:
    words = Words((Addend("count", (), 2**31, True, width),), 10)
    total = sum((words.of({"count": np.array(number)}) for number in numbers), np.zeros(3, np.uint64))
    assert words.opened(total, len(numbers))["count"] == sum(numbers)


def test_the_width_of_words_follows_from_the_bounds() -> None:
    assert Words((Addend("count", (), 1000, True, 2),), 32).num_bytes == 2 + 16
    with pytest.raises(ConfigError, match="count must have wider words than 2 bytes: 33 clients of 1000 at most"):
        Words((Addend("count", (), 1000, True, 2),), 33)
    with pytest.raises(ConfigError, match="must have 1 to 8 bytes, got 9"):
        Words((Addend("count", (), 1000, True, 9),), 3)
    for most in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ConfigError, match="above 0, got"):
            Words((Addend("update", (), most, False),), 3)
    with pytest.raises(ConfigError, match="unless they are whole and of 8 bytes"):
        Words((Addend("update", (), None, False),), 3)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([1.0, np.nan]), "must be finite and no larger than 8"),
        (np.array([1.0, np.inf]), "must be finite and no larger than 8"),
        (np.array([1.0, -8.001]), "must be finite and no larger than 8"),
        (np.array([1.0]), r"must be numbers of shape \[2\], got float64\[1\]"),
        (np.array(["a", "b"]), r"must be numbers of shape \[2\]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(array: AnyArray, why: str) -> None:
    words = Words((Addend("update", (2,), 8.0, False),), 10)
    with pytest.raises(ClientError, match=why):
        words.of({"update": array})
    with pytest.raises(ClientError, match="got nothing"):
        words.of({})


def test_whole_numbers_must_be_whole() -> None:
    words = Words((Addend("count", (1,), 8, True, 2), Addend("cells", (1,), None, True)), 10)
    cells = np.array([2**64 - 1], np.uint64)
    assert words.opened(words.of({"count": np.array([3.0]), "cells": cells}), 1)["count"].tolist() == [3]
    with pytest.raises(ClientError, match="count must be whole numbers"):
        words.of({"count": np.array([0.5]), "cells": cells})
    with pytest.raises(ClientError, match="cells must be whole numbers of 8 bytes, got int32"):
        words.of({"count": np.array([3]), "cells": np.zeros(1, np.int32)})


def test_a_sum_whose_last_words_are_others_is_thrown_away() -> None:
    words = Words((Addend("count", (1,), None, True),), 10)
    total = words.of({"count": np.array([5])}) + words.of({"count": np.array([6])})
    assert total.tolist() == [11, 2, 2 * CHECK]
    assert words.opened(total, 2)["count"].tolist() == [11]
    for clients, spoilt in ((3, total), (2, total + np.array([0, 0, 1], np.uint64))):
        with pytest.raises(FederationError, match=f"the masks of {clients} plants did not match"):
            words.opened(spoilt, clients)


def test_an_update_of_five_bytes_is_rounded_finer_than_single_precision() -> None:
    """Ten plants of at most 10,000 rows each, no coordinate above 8: the mean is off by less than 2e-10 of 1."""
    rng = np.random.default_rng(0)
    rows = rng.integers(5_000, 10_000, 10).astype(np.float64)
    updates = rng.normal(0, 0.1, (10, 1000)).astype(np.float32)
    words = Words((Addend("update", (1000,), 8.0 * 10_000, False, UPDATE_BYTES),), 10)
    weighted = [{"update": (weight * update.astype(np.float64))} for weight, update in zip(rows, updates, strict=True)]
    total = sum((words.of(each) for each in weighted), np.zeros(1002, np.uint64))
    mean = words.opened(total, 10)["update"] / rows.sum()
    exact = (rows[:, None] * updates.astype(np.float64)).sum(axis=0) / rows.sum()
    assert np.abs(mean - exact).max() < words.error("update", 10) / rows.sum() < 4e-10


def test_a_layout_is_read_from_its_text_or_refused() -> None:
    words = Words((Addend("update", (3, 2), 8.0, False, 5), Addend("count", (), None, True)), 10)
    again = Words.from_json(words.to_json())
    assert again == words
    assert again.digest == words.digest
    assert words.digest != Words(words.addends, 11).digest
    for text in ("", "[]", "{}", '{"addends": [{"name": 1}], "clients": 2}', '{"addends": 3, "clients": 2}'):
        with pytest.raises(ClientError, match="a layout of words must be one of this version"):
            Words.from_json(text)
