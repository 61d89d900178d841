from collections.abc import Sequence

import numpy as np
import pytest

from werkbund.core import ConfigError
from werkbund.core.rng import generator
from werkbund.core.types import Choice
from werkbund.selection import CohortSize, Reports, View
from werkbund.selection.methods.fedcs import FedCS, schedule


def _choose(selector: FedCS, view: View, seed: int = 0) -> Choice:
    return selector.choose(view, (), generator(seed, "selection", view.round))


def _facts(compute: Sequence[float], up: Sequence[float], down: Sequence[float] = ()) -> dict[str, np.ndarray]:
    times = {"compute": compute, "up": up, "down": down or [0.0] * len(up)}
    return {f"seconds_{name}": np.array(value) for name, value in times.items()}


def test_the_golden_order() -> None:
    order, ends = schedule(np.array([5.0, 3.0, 10.0]), np.array([1.0, 2.0, 1.0]), np.zeros(3), 9.0)
    assert (order.tolist(), ends.tolist()) == ([1, 0], [5.0, 6.0])
    order, ends = schedule(np.array([5.0, 3.0, 10.0]), np.array([1.0, 2.0, 1.0]), np.zeros(3), 11.5)
    assert (order.tolist(), ends.tolist()) == ([1, 0, 2], [5.0, 6.0, 11.0])


def test_the_deadline_itself_is_too_late() -> None:
    assert len(schedule(np.array([3.0]), np.array([2.0]), np.array([1.0]), 6.0)[0]) == 0
    assert len(schedule(np.array([3.0]), np.array([2.0]), np.array([1.0]), 6.001)[0]) == 1


def test_sending_the_weights_costs_as_long_as_the_slowest_takes_and_only_once() -> None:
    compute, up, down = np.array([1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0]), np.array([5.0, 5.0, 9.0])
    assert schedule(compute, up, down, 8.1)[0].tolist() == [0, 1]
    assert schedule(compute, up, down, 13.1)[0].tolist() == [0, 1, 2]
    assert schedule(compute, up, down, 8.1, overhead_s=0.2)[0].tolist() == [0]


def _published(compute: np.ndarray, up: np.ndarray, down: np.ndarray, deadline: float) -> list[int]:
    """Discard who does not fit and go on, word for word as in the source."""
    left, theta = set(range(len(compute))), 0.0
    chosen: list[int] = []
    while left:
        sent = max((down[i] for i in chosen), default=0.0)
        costs = {x: max(sent, down[x]) - sent + up[x] + max(0.0, compute[x] - theta) for x in left}
        best = min(left, key=lambda x: (costs[x], x))
        left.remove(best)
        later = theta + up[best] + max(0.0, compute[best] - theta)
        if max(sent, down[best]) + later < deadline:
            chosen, theta = [*chosen, best], later
    return chosen


def test_to_stop_at_the_first_that_does_not_fit_is_to_discard_it_and_go_on() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        compute, up, down = rng.exponential(size=(3, 8)) * np.array([[5.0], [1.0], [2.0]])
        deadline = float(rng.uniform(1, 20))
        assert schedule(compute, up, down, deadline)[0].tolist() == _published(compute, up, down, deadline)


def test_the_cohort_is_in_order_with_its_own_reasons() -> None:
    choice = _choose(
        FedCS(deadline_s=9.0), View(1, np.array([4, 7, 8]), _facts([0] * 4 + [5, 0, 0, 3, 10], [1] * 7 + [2, 1]))
    )
    assert choice.cohort.tolist() == [4, 7]
    assert ["number 2" in reason for reason in choice.reasons] == [True, False]


def test_if_nobody_fits_the_fastest_comes_alone() -> None:
    choice = _choose(FedCS(deadline_s=1.0), View(1, np.arange(3), _facts([9, 5, 7], [1, 1, 1])))
    assert choice.cohort.tolist() == [1]
    assert "nobody fits" in choice.reasons[0]


def test_no_more_candidates_than_the_size_says() -> None:
    view = View(1, np.arange(50), _facts([1.0] * 50, [1.0] * 50))
    assert len(_choose(FedCS(CohortSize(count=7), deadline_s=180.0), view).cohort) == 7
    assert _choose(FedCS(CohortSize(count=7), deadline_s=180.0), view).probabilities.tolist() == [0.14] * 7


def test_without_a_deadline_a_share_of_the_candidates_time_is_one() -> None:
    view = View(1, np.arange(8), _facts([1.0] * 8, [1.0] * 8))  # one after the other they take 1 + 8 s
    assert len(_choose(FedCS(CohortSize(count=8)), view).cohort) == 3
    assert len(_choose(FedCS(CohortSize(count=8), share=1.0), view).cohort) == 8
    nothing_known = View(1, np.arange(8))
    assert len(_choose(FedCS(CohortSize(count=8)), nothing_known).cohort) == 8


def test_candidates_change_with_the_seed() -> None:
    view = View(1, np.arange(50), _facts([1.0] * 50, [1.0] * 50))
    drawn = {tuple(_choose(FedCS(CohortSize(count=7)), view, seed).cohort.tolist()) for seed in range(5)}
    assert len(drawn) == 5


def test_unknown_times_are_the_mean_of_the_known_and_no_times_always_fit() -> None:
    facts = _facts([1.0, np.nan, 100.0], [1.0, 1.0, 1.0])
    assert _choose(FedCS(deadline_s=20.0), View(1, np.arange(3), facts)).cohort.tolist() == [0]
    assert _choose(FedCS(deadline_s=70.0), View(1, np.arange(3), facts)).cohort.tolist() == [0, 1]
    assert _choose(FedCS(), View(1, np.arange(3))).cohort.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("name", "value"), [("deadline_s", 0.0), ("overhead_s", -1.0)])
def test_a_wrong_parameter_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        FedCS(**{name: value})  # type: ignore[arg-type]


def test_where_no_times_are_declared_the_measured_ones_count() -> None:
    selector, everyone = FedCS(share=0.5), np.arange(4)
    seconds = {"seconds": np.array([1.0, 50.0, 2.0])}
    state = selector.observe({}, Reports(1, np.arange(3), seconds, ()))
    state = selector.observe(state, Reports(2, np.arange(3), {}, ()))
    chosen = _choose(selector, View(3, everyone, {}, state))
    assert chosen.cohort.tolist() == [0, 2, 3], "the last one is not known, and counts as the mean"
    facts = _facts([9.0, 1.0, 9.0, 9.0], [1.0, 1.0, 9.0, 9.0])
    declared = [_choose(selector, View(3, everyone, facts, one)).cohort.tolist() for one in (state, {})]
    assert declared[0] == declared[1] != [0, 2, 3]
