from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from werkbund.core import Failure, QuorumError, Replies, Tasks
from werkbund.core.kinds import Kind
from werkbund.engine import gather
from werkbund.engine.asking import NO_ANSWER

COUNT, OTHER = Kind("count"), Kind("other")
NAMES = ("Hof", "Ulm", "Jena")


def _counted(clients: Sequence[int], kind: Kind = COUNT, round: int = 0, value: float = 1.0) -> Replies:
    numbers = np.array(clients)
    sums = {"rows": numbers * 10, "sum": (numbers + 1) * value}
    return Replies(kind, round, numbers, sums, {"level": numbers.astype(str)})


def _gather(make_grid: Any, arrivals: Sequence[Replies | Failure]) -> Any:
    def answer(sent: list[Tasks]) -> Sequence[Replies | Failure]:
        assert [tasks.kind for tasks in sent] == [COUNT]
        return arrivals

    return gather(make_grid(NAMES, answer), COUNT, {"mean": np.zeros(2)}, 1.0)


def test_sums_are_added_over_clients_and_the_rest_stands_in_client_order(make_grid: Any) -> None:
    got = _gather(make_grid, [_counted([2]), _counted([0, 1])])
    assert got.sums["rows"] == 30
    assert got.sums["sum"] == 6.0
    assert got.clear["level"].values.tolist() == ["0", "1", "2"]


def test_the_order_of_arrival_does_not_change_a_bit(make_grid: Any) -> None:
    one = [_counted([client], value=0.1) for client in range(3)]
    orders = [one, one[::-1], [one[1], one[2], one[0]]]
    assert len({float(_gather(make_grid, order).sums["sum"]) for order in orders}) == 1


def test_repeated_foreign_and_late_answers_are_not_added(make_grid: Any) -> None:
    noise: list[Replies | Failure] = [_counted([0, 1]), _counted([7]), _counted([2], OTHER), _counted([2], round=3)]
    noise += [Failure(9, 0, "who?"), Failure(0, 0, "late")]
    arrivals = [_counted([0]), *noise, _counted([2])]
    assert _gather(make_grid, arrivals).sums["sum"] == 6.0


def test_everybody_is_needed_and_the_missing_are_named(make_grid: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _gather(make_grid, [Failure(2, 0, "table is gone"), _counted([0])])
    assert caught.value.reasons == {"Ulm": NO_ANSWER, "Jena": "table is gone"}
    assert (caught.value.needed, caught.value.answered) == (3, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sums_that_are_not_finite_are_refused_by_name(value: float, make_grid: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _gather(make_grid, [_counted([0, 2]), _counted([1], value=value)])
    assert caught.value.reasons == {"Ulm": "its sum cannot be added up: NaN, infinite or out of bounds"}


def test_arrays_of_the_wrong_length_are_refused_by_name(make_grid: Any) -> None:
    bad = Replies(COUNT, 0, np.array([1]), {"rows": np.zeros(2), "sum": np.zeros(1)}, {"level": np.array(["1"])})
    with pytest.raises(QuorumError, match="Ulm: its rows must have one row a client"):
        _gather(make_grid, [_counted([0, 2]), bad])


def _gathered(make_grid: Any, arrivals: Sequence[Replies | Failure], **how: Any) -> Any:
    grid = make_grid(NAMES, lambda sent: arrivals)
    return gather(grid, COUNT, {}, 1.0, **how), grid


@pytest.mark.parametrize(("quorum", "needed"), [(0.01, 1), (0.5, 2), (2 / 3, 2), (0.67, 3), (1.0, 3)])
def test_a_quorum_is_a_share_of_all_clients_rounded_up(quorum: float, needed: int, make_grid: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _gathered(make_grid, [Failure(number, 0, "down") for number in range(3)], quorum=quorum)
    assert (caught.value.needed, caught.value.answered) == (needed, 0)
    assert caught.value.reasons == dict.fromkeys(NAMES, "down")
    got, _ = _gathered(make_grid, [_counted([client]) for client in range(needed)], quorum=quorum)
    assert got.clients.tolist() == list(range(needed))
    assert got.missing == dict.fromkeys(NAMES[needed:], NO_ANSWER)


def test_what_one_client_keeps_to_itself_is_said_by_the_others(make_grid: Any) -> None:
    quiet = Replies(COUNT, 0, np.array([1]), _counted([1]).sums)
    got, _ = _gathered(make_grid, [_counted([2]), quiet, _counted([0])])
    assert got.clear["level"].clients.tolist() == [0, 2]
    assert got.clear["level"].values.tolist() == ["0", "2"]
    assert got.clients.tolist() == [0, 1, 2]
    assert got.sums["rows"] == 30


def test_who_is_absent_is_not_asked_and_not_heard(make_grid: Any) -> None:
    got, grid = _gathered(make_grid, [_counted([0, 1]), _counted([2])], quorum=0.5, absent={"Ulm": "left before"})
    assert grid.sent[0].clients.tolist() == [0, 2]
    assert got.clients.tolist() == [0, 2]
    assert got.missing == {"Ulm": "left before"}
    assert got.sums["rows"] == 20


def test_a_check_of_the_callers_own_refuses_by_name(make_grid: Any) -> None:
    def check(replies: Replies) -> str | None:
        return "is not believed" if 1 in replies.clients else None

    arrivals = [_counted([1], value=100.0), _counted([0]), _counted([2])]
    got, _ = _gathered(make_grid, arrivals, quorum=0.5, check=check)
    assert got.missing == {"Ulm": "is not believed"}
    assert got.sums["sum"] == 4.0


def test_sums_that_come_added_are_compared_with_nothing_and_name_nobodys_figures(make_grid: Any) -> None:
    numbers = np.array([0, 2])
    total = Replies(COUNT, 0, numbers, {}, {"level": numbers.astype(str)}, pooled={"rows": np.array(20)})

    def compare(arrays: Any, clients: Any) -> dict[int, str]:
        raise AssertionError("there is nothing to compare")

    got, _ = _gathered(make_grid, [total, Failure(1, 0, "down")], quorum=0.5, compare=compare)
    assert got.sums == {"rows": 20}
    assert got.each == {}
    assert got.clients.tolist() == [0, 2]
    assert got.clear["level"].values.tolist() == ["0", "2"]
    assert got.missing == {"Ulm": "down"}
