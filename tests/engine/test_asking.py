import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import SpokenGrid
from werkbund.core import Failure, Replies, Tasks
from werkbund.core.kinds import Kind
from werkbund.engine.asking import NO_ANSWER, Asking, Form, ask, finite_rows, flaw, kept, payload, unusable_rows
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.selection.questions import HOLD, LOSS

GOOD = {"update": np.zeros((2, 3), np.float32), "weight": np.ones(2), "loss": np.ones(2), "rows": np.ones(2)}


FORM = Form(3, "same")


def _reply(kind: Kind = TRAIN, fingerprint: str = "same", **sums: Any) -> Replies:
    present = {name: array for name, array in {**GOOD, **sums}.items() if array is not None}
    return Replies(kind, 1, np.array([4, 7]), present, {}, fingerprint)


def test_only_what_is_owed_can_be_claimed_and_only_once() -> None:
    arrivals = [_reply(TRAIN), _reply(TRAIN), _reply(EVALUATE)]
    grid = SpokenGrid(("a",) * 10, lambda sent: arrivals)
    asked = [Tasks(TRAIN, 1, np.array([4, 9])), Tasks(EVALUATE, 1, np.array([7]))]
    usable = list(ask(grid, asked, 1.0, FORM))
    assert [(one.kind, one.clients.tolist()) for one in usable if isinstance(one, Replies)] == [
        (TRAIN, [4]),
        (EVALUATE, [7]),
    ]
    assert [(one.client, one.reason) for one in usable if isinstance(one, Failure)] == [(9, NO_ANSWER)]


def test_what_is_owed_stays_owed_until_it_comes() -> None:
    late = iter([[_reply(TRAIN)], [replace(_reply(TRAIN), clients=np.array([9, 8]))]])
    asking = Asking(SpokenGrid(("a",) * 10, lambda sent: next(late)), FORM)
    asking.send(Tasks(TRAIN, 1, np.array([4, 9])))
    assert [one.clients.tolist() for one in asking.receive(1.0) if isinstance(one, Replies)] == [[4]]
    assert asking.owed == {1: {9: TRAIN}}
    asking.send(Tasks(TRAIN, 2, np.array([4])))
    assert [one.clients.tolist() for one in asking.receive(1.0) if isinstance(one, Replies)] == [[9]]
    assert asking.owed == {1: {}, 2: {4: TRAIN}}
    assert [(one.round, one.client) for one in asking.give_up()] == [(2, 4)]
    assert not asking.owed


def test_an_answer_in_order_has_no_flaw() -> None:
    assert flaw(_reply(), FORM) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "other"}, "layout other, not same"),
        ({"fingerprint": ""}, "layout unknown, not same"),
        ({"kind": EVALUATE, "fingerprint": "other"}, "layout other, not same"),
        ({"update": np.zeros((2, 4), np.float32)}, r"shape (4,), not (3,)"),
        ({"update": np.zeros((2, 3, 1), np.float32)}, r"shape (3, 1), not (3,)"),
        ({"update": np.zeros((3, 3), np.float32)}, "its update must have one row a client"),
        ({"update": np.float32(0).reshape(())}, "its update must have one row a client"),
        ({"test.brier": np.zeros(1)}, "its test.brier must have one row a client"),
        ({"update": None}, "lacks update"),
        ({"weight": None, "rows": None}, "lacks weight"),
        ({"loss": np.ones((2, 1))}, "its loss must be plain floating-point numbers"),
        ({"weight": np.ones((2, 1))}, "its weight must be plain floating-point numbers"),
        ({"weight": np.array(["1", "1"])}, "its weight must be plain floating-point numbers"),
        ({"update": np.zeros((2, 3), np.complex64)}, "its update must be plain 32-bit floating-point numbers"),
    ],
)
def test_an_answer_out_of_order_is_described(change: dict[str, Any], said: str) -> None:
    assert said in (flaw(_reply(**change), FORM) or "")


@pytest.mark.parametrize("kind", [TRAIN, HOLD, LOSS])
@pytest.mark.parametrize(
    "told", [np.array(["a", "b"]), np.ones((2, 1)), np.array([True, False]), np.array([1j, 2j]), np.array([None, 1])]
)
def test_a_number_in_clear_must_be_one(kind: Kind, told: Any) -> None:
    reply = replace(_reply(kind), clear={"loss_std": told, "other": told})
    assert flaw(reply, FORM) == "its loss_std must be one plain number"
    assert flaw(replace(reply, clear={"loss_std": np.array([1, 2])}), FORM) is None


def test_a_number_in_clear_that_nobody_can_reckon_with_was_not_told() -> None:
    reply = replace(_reply(), clear={"norm": np.array([1e300, 2.0]), "other": np.array([np.inf, 1.0])})
    told = kept(reply, np.array([True, True])).clear
    assert np.isnan(told["norm"][0])
    assert told["norm"][1] == 2.0
    assert told["other"].tolist() == [np.inf, 1.0]


@given(st.sampled_from(["loss", "loss_std", "loss_rms", "train_loss", "norm"]), st.floats())
def test_a_signal_beyond_its_declared_bounds_was_not_told(name: str, value: float) -> None:
    for kind in (TRAIN, HOLD):
        told = kept(replace(_reply(kind), clear={name: np.array([value, 1.0])}), np.array([True, True])).clear[name]
        usable = 0 <= value <= float(np.finfo(np.float32).max)
        assert (told[0] == value) if usable else np.isnan(told[0])
        assert told[1] == 1.0


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8, np.int32, np.uint8, np.bool_])
def test_an_update_of_another_type_of_numbers_is_refused_by_its_name(dtype: Any) -> None:
    said = f"its update must be plain 32-bit floating-point numbers, got {np.dtype(dtype)}"
    assert flaw(_reply(update=np.ones((2, 3), dtype)), FORM) == said
    assert flaw(_reply(update=np.ones((2, 3), dtype)), replace(FORM, changed=frozenset({"update"}))) in (None, said)


def test_who_answers_what_cannot_be_used_did_answer_all_the_same() -> None:
    arrivals = [_reply(weight=np.array([1.0, np.nan]))]
    asked = [Tasks(TRAIN, 1, np.array([4, 7, 9]))]
    failed = list(ask(SpokenGrid(("a",) * 10, lambda sent: arrivals), asked, 1.0, FORM))
    answered = {one.client: one.answered for one in failed if isinstance(one, Failure)}
    assert answered == {7: True, 9: False}


def test_an_evaluation_needs_no_layout_and_no_update() -> None:
    assert flaw(Replies(EVALUATE, 1, np.array([0]), {"test.brier": np.zeros(1)}), FORM) is None


@pytest.mark.parametrize(
    "counts",
    [
        {"test.histogram": np.zeros((1, 2, 5), np.int64)},
        {"test.histogram": np.full((1, 2, 4), -1)},
        {"test.histogram": np.full((1, 2, 4), np.nan)},
        {"test.unknown": np.zeros((1, 2, 4), np.int64)},
        {"validation.histogram": np.array([["a"]])},
    ],
)
def test_counts_that_cannot_be_added_are_refused(counts: dict[str, Any]) -> None:
    form = Form(3, "same", {"histogram": (2, 4)})
    name = next(iter(counts))
    assert f"its counts {name} have another form" in (flaw(Replies(EVALUATE, 1, np.array([0]), counts), form) or "")
    pooled = Replies(EVALUATE, 1, np.array([0]), pooled={name: counts[name][0]})
    assert f"its counts {name}" in (flaw(pooled, form) or "")
    good = {"test.histogram": np.ones((1, 2, 4), np.int64)}
    assert flaw(Replies(EVALUATE, 1, np.array([0]), good), form) is None


@given(hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 1.0, -1e30, np.nan, np.inf, -np.inf])))
def test_a_row_is_finite_if_every_entry_is(rows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    np.testing.assert_array_equal(finite_rows(rows), np.isfinite(rows).all(axis=1))


def test_usable_rows_are_kept() -> None:
    part = kept(_reply(), np.array([False, True]))
    assert part.clients.tolist() == [7]
    assert sorted(part.sums) == ["loss", "rows", "update", "weight"]
    assert all(len(array) == 1 for array in part.sums.values())


def test_the_payload_is_the_arrays_bytes() -> None:
    assert payload(_reply()) == 6 * 4 + 3 * 2 * 8


@pytest.mark.parametrize(("count", "fits"), [(0, True), (2**48, True), (2**48 + 1, False), (2**62, False)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_counts_are_so_few_that_their_sum_cannot_overflow(count: int, fits: bool, dtype: Any) -> None:
    form = Form(3, "same", {"histogram": (2, 4)})
    counts = {"test.histogram": np.full((1, 2, 4), count, dtype)}
    assert (flaw(Replies(EVALUATE, 1, np.array([0]), counts), form) is None) is fits


def test_a_split_has_all_of_its_counts_or_none() -> None:
    form = Form(3, "same", {"histogram": (2, 4), "brier": ()})
    histogram, brier = np.zeros((1, 2, 4), np.int64), np.zeros(1)
    for whole in ({}, {"test.histogram": histogram, "test.brier": brier}):
        assert flaw(Replies(EVALUATE, 1, np.array([0]), whole), form) is None
    some = flaw(Replies(EVALUATE, 1, np.array([0]), {"test.histogram": histogram}), form)
    assert "its counts test.brier have another form" in (some or "")
    pooled = Replies(EVALUATE, 1, np.array([0]), pooled={"validation.brier": np.zeros(())})
    assert "its counts validation.histogram" in (flaw(pooled, form) or "")


@pytest.mark.parametrize(
    ("name", "value", "usable"),
    [
        ("weight", -1.0, False),
        ("weight", np.nan, False),
        ("weight", np.inf, False),
        ("weight", 1e39, False),
        ("weight", 1e38, True),
        ("rows", -1.0, False),
        ("rows", np.nan, False),
        ("rows", 1e300, False),
        ("rows", 1e10, False),
        ("loss", -1.0, False),
        ("loss", 0.0, True),
        ("loss", np.nan, False),
        ("loss", -np.inf, False),
        ("loss", 1e308, False),
    ],
)
def test_numbers_that_cannot_be_added_are_found_client_by_client(name: str, value: float, usable: bool) -> None:
    sums: dict[str, Any] = {name: np.array([1.0, value])}
    assert {name: rows.tolist() for name, rows in unusable_rows(_reply(**sums)).items()} == (
        {} if usable else {name: [False, True]}
    )


def test_numbers_that_are_not_told_are_not_missed() -> None:
    assert unusable_rows(_reply(loss=None, rows=None)) == {}


TOTAL = {"update": np.zeros(3, np.float32), "weight": np.array(2.0), "loss": np.array(2.0), "rows": np.array(2.0)}


def _total(**pooled: Any) -> Replies:
    present = {name: array for name, array in {**TOTAL, **pooled}.items() if array is not None}
    return Replies(TRAIN, 1, np.array([4, 7]), {}, {}, "same", present)


def test_updates_may_come_added_over_several_clients() -> None:
    assert flaw(_total(), FORM) is None
    assert flaw(_total(**{"validation.brier": np.array(1.0)}), FORM) is None
    grid = SpokenGrid(("a",) * 10, lambda sent: [_total()])
    assert [
        len(one) for one in ask(grid, [Tasks(TRAIN, 1, np.array([4, 7]))], 1.0, FORM) if isinstance(one, Replies)
    ] == [2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"update": None}, "its answer lacks update"),
        ({"update": np.zeros(4, np.float32)}, r"its update has the shape \(4,\), not \(3,\)"),
        ({"update": np.array([0, np.nan, 0], np.float32)}, "its update, of 2 clients, cannot be used"),
        ({"weight": np.array(-1.0)}, "its weight, of 2 clients, cannot be used"),
        ({"rows": np.array(2.1e9)}, "its rows, of 2 clients, cannot be used"),
    ],
)
def test_a_sum_out_of_order_is_no_answer_of_any_of_its_clients(change: dict[str, Any], said: str) -> None:
    grid = SpokenGrid(("a",) * 10, lambda sent: [_total(**change)])
    came = list(ask(grid, [Tasks(TRAIN, 1, np.array([4, 7]))], 1.0, FORM))
    assert [one.client for one in came if isinstance(one, Failure)] == [4, 7]
    assert all(isinstance(one, Failure) and re.search(said, one.reason) for one in came)
    assert flaw(_total(rows=np.array(1.9e9)), FORM) is None, "bounds hold as often as there are clients"
