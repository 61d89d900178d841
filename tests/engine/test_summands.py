"""What is added under masks comes out as if it had been added in clear, and nothing else is asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.aggregation.drift import CONTROL_CHANGE
from werkbund.core import ClientError, FederationError, Tasks
from werkbund.core.edges import NUM_BINS
from werkbund.core.kinds import Field, Kind
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.engine.summands import addends_of, is_summed, number_of, opened_sums, pieces_of, sums_of, words_for
from werkbund.learner.counts import count_shapes
from werkbund.privacy.sums import Addend, Words
from werkbund.selection.questions import HOLD, LOSS

KIND = Kind(
    "measure",
    answer=(
        Field("sums", "update", shape=("parameters",), dtype="f4"),
        Field("sums", "rows", unit="rows"),
        Field("sums", "cells", shape=("cells",), dtype="iu"),
        Field("sums", "mean", dtype="f"),
        Field("clear", "level"),
    ),
)
SHAPES = {"update": (3,), "rows": (), "cells": (2,), "mean": ()}
TASKS = Tasks(KIND, 1, np.arange(4), {}, {"factor": np.array([1.0, 2.0, 1.0, 0.5])}, shapes=SHAPES)
finite = st.floats(-1e30, 1e30)


@given(st.lists(finite, min_size=1, max_size=8))
def test_numbers_are_added_as_if_without_rounding(numbers: list[float]) -> None:
    pieces = sum((pieces_of(np.array([number])) for number in numbers), np.zeros((1, 8), np.int64))
    exact = math.fsum(numbers)
    assert float(number_of(pieces)[0]) == pytest.approx(exact, rel=0, abs=max(1e-30, 2**-52 * abs(exact)))
    large = [number for number in numbers if abs(number) > 1e-20 or number == 0]
    pieces = sum((pieces_of(np.array([number])) for number in large), np.zeros((1, 8), np.int64))
    assert float(number_of(pieces)[0]) == math.fsum(large)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 2.0**127])
def test_what_is_no_number_or_too_large_is_not_added(number: float) -> None:
    with pytest.raises(ClientError, match="finite and below 2"):
        pieces_of(np.array([1.0, number]))


@given(st.lists(st.tuples(finite, st.integers(0, 900), st.integers(-(2**60), 2**60)), min_size=1, max_size=4))
def test_sums_come_back_in_the_types_that_the_kind_declares(clients: list[tuple[float, int, int]]) -> None:
    words, total = words_for(TASKS, 4, 1000), np.zeros(0, np.uint64)
    each = [
        {
            "update": np.array([0.5, -1.0, 3.0], np.float32),
            "rows": np.array(n),
            "cells": np.array([n, k]),
            "mean": np.array(x),
        }
        for x, n, k in clients
    ]
    total = sum((words.of(addends_of(words, KIND, own)) for own in each), np.zeros(words.num_words, np.uint64))
    sums = opened_sums(KIND, words, words.opened(total, len(each)), len(each))
    assert sums["rows"] == sum(n for _, n, _ in clients)
    assert sums["cells"].tolist() == [sum(n for _, n, _ in clients), sum(k for _, _, k in clients)]
    assert float(sums["mean"]) == pytest.approx(math.fsum(x for x, _, _ in clients), rel=1e-15, abs=1e-30)
    assert sums["update"].tolist() == [0.5 * len(each), -1.0 * len(each), 3.0 * len(each)]
    assert [sums[name].dtype.str for name in ("update", "mean", "cells")] == ["<f4", "<f8", "<i8"]


def test_updates_are_rounded_the_finer_the_less_they_can_weigh() -> None:
    widths = {one.name: one.width for one in words_for(TASKS, 4, 1000).addends}
    assert widths == {"cells": 8, "given": 1, "mean": 8, "rows": 2, "update": 5}
    errors = [words_for(TASKS, 4, rows).error("update", 4) for rows in (10, 1000, 100_000)]
    assert errors == sorted(errors)
    assert errors[1] < 1e-6
    alike = replace(TASKS, shared={"equal": np.array(True)})
    assert words_for(alike, 4, 100_000).error("update", 4) < errors[0]


def test_what_a_client_keeps_to_itself_is_zeros_and_left_out_of_the_sum() -> None:
    words = words_for(TASKS, 4, 1000)
    told = {"update": np.zeros(3, np.float32), "rows": np.array(7), "cells": np.array([1, 2]), "mean": np.array(0.5)}
    kept = {name: array for name, array in told.items() if name != "mean"}
    total = words.of(addends_of(words, KIND, told)) + words.of(addends_of(words, KIND, kept))
    assert set(opened_sums(KIND, words, words.opened(total, 2), 2)) == {"cells", "rows", "update"}
    counts = Tasks(EVALUATE, 1, np.arange(2), shapes={"test.brier": (), "test.spread": ()})
    words = words_for(counts, 2, 1000)
    one = {"test.brier": np.array(0.25), "test.spread": np.array(3)}
    total = words.of(addends_of(words, EVALUATE, one)) + words.of(addends_of(words, EVALUATE, {}))
    opened = opened_sums(EVALUATE, words, words.opened(total, 2), 2)
    assert (float(opened["test.brier"]), int(opened["test.spread"])) == (0.25, 3), "a client without such rows"


def test_nothing_is_added_that_the_kind_does_not_declare() -> None:
    with pytest.raises(FederationError, match="has no sum 'salary'"):
        words_for(replace(TASKS, shapes={"salary": ()}), 4, 1000)
    strange = Words((Addend("salary", (), None, True), Addend("given", (1,), 1.0, True, 1)), 4)
    with pytest.raises(ClientError, match="the server wants salary of measure that no client has"):
        addends_of(strange, KIND, {"salary": np.array(1)})
    with pytest.raises(ClientError, match="the server wants words of measure"):
        addends_of(Words((Addend("rows", (), None, True),), 4), KIND, {})


def test_a_client_makes_no_zeros_without_end_for_a_server_that_wants_them() -> None:
    huge = Words((Addend("cells", (2**20, 2**20), None, True), Addend("given", (1,), 1.0, True, 1)), 4)
    with pytest.raises(ClientError, match=f"{2**40 + 1} numbers of one client"):
        addends_of(huge, KIND, {})


def test_the_sums_of_a_kind_follow_from_its_declaration() -> None:
    counts = count_shapes(2)
    shapes = sums_of(TRAIN, 5, (CONTROL_CHANGE.name,), counts)
    assert {name: shapes[name] for name in ("update", "weight", "loss", "rows")} == {
        "update": (5,),
        "weight": (),
        "loss": (),
        "rows": (),
    }
    assert shapes["validation.modes"] == (2, NUM_BINS)
    assert len(shapes) == 5 + 2 * len(counts)
    assert shapes[CONTROL_CHANGE.name] == (5,)
    assert sums_of(EVALUATE, 5, (), counts).keys() == {name for name in shapes if "." in name}
    assert [is_summed(kind) for kind in (TRAIN, EVALUATE, HOLD, LOSS)] == [True, True, False, False]
