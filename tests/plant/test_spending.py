"""A plant counts by itself what its training told, over all runs, and refuses what is beyond its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from werkbund.core.errors import CheckpointError
from werkbund.engine.promise import Promise
from werkbund.learner import TrainingPlan
from werkbund.plant.policy import Policy
from werkbund.plant.spending import Spending
from werkbund.privacy.accounting import GaussianRelease, epsilon
from werkbund.privacy.shares import NoiseShare

ROWS = 100
PLAN = TrainingPlan(batch_size=200)  # all rows in each step: a closed form


def _promise(unit: Any = "row", noise: float = 4.0, target: float | None = None, shared: bool = False) -> Promise:
    return Promise(unit, 1.0, 1e-5, noise, target, PLAN, 100, shared=shared)


def _trained(spending: Spending, promise: Promise, policy: Policy, run: str = "a", most: int = 200) -> int:
    """Return how often a plant trains until it refuses."""
    for count in range(most):
        if spending.refusal(promise, ROWS, run, policy):
            return count
        spending.charge(promise, ROWS, run)
    return most


def test_a_plant_trains_up_to_its_own_budget_and_not_beyond(tmp_path: Path) -> None:
    policy, spending = Policy(epsilon=4.0), Spending(tmp_path)
    count = _trained(spending, _promise(), policy)
    assert epsilon([GaussianRelease(4.0, count)], 1e-5) <= 4.0 < epsilon([GaussianRelease(4.0, count + 1)], 1e-5)
    assert spending.epsilon(1e-5) == epsilon([GaussianRelease(4.0, count)], 1e-5)
    assert "what was spent does not come back" in spending.refusal(_promise(), ROWS, "a", policy)


def test_another_run_and_another_process_do_not_begin_anew(tmp_path: Path) -> None:
    policy = Policy(epsilon=4.0)
    first = _trained(Spending(tmp_path), _promise(), policy)
    assert first > 5
    assert _trained(Spending(tmp_path), _promise(), policy, run="b") == 0
    assert _trained(Spending(tmp_path), _promise(), Policy(epsilon=5.0), run="c") > 0


def test_a_run_does_not_exceed_what_it_promised_whatever_the_server_says(tmp_path: Path) -> None:
    promise, spending = _promise(target=3.0), Spending(tmp_path)
    count = _trained(spending, promise, Policy())
    assert epsilon([GaussianRelease(4.0, count)], 1e-5) <= 3.0 < epsilon([GaussianRelease(4.0, count + 1)], 1e-5)
    assert _trained(spending, promise, Policy(), run="b") == count  # another run promised as much of its own


def test_where_there_is_a_budget_a_run_that_promises_nothing_that_is_seen_here_is_refused(tmp_path: Path) -> None:
    spending, policy = Spending(tmp_path), Policy(epsilon=4.0)
    assert "privacy.unit = 'none'" in spending.refusal(None, ROWS, "a", policy)
    assert "the noise of this run is the server's" in spending.refusal(_promise("plant"), ROWS, "a", policy)
    assert "one more training would exceed" in spending.refusal(_promise(noise=0.0), ROWS, "a", policy)
    assert spending.refusal(None, ROWS, "a", Policy()) == ""


@pytest.mark.parametrize("unit", ["row", "machine", "plant"])
def test_a_plant_that_adds_its_share_of_the_noise_counts_what_that_costs(unit: str, tmp_path: Path) -> None:
    policy, promise = Policy(epsilon=4.0), _promise(unit, shared=True)
    count = _trained(Spending(tmp_path), promise, policy)
    share = NoiseShare(4.0)
    assert epsilon([share.release(count)], 1e-5) <= 4.0 < epsilon([share.release(count + 1)], 1e-5)
    assert Spending(tmp_path).epsilon(1e-5) == epsilon([share.release(count)], 1e-5)
    assert "would exceed" in Spending(tmp_path).refusal(
        _promise(), ROWS, "b", policy
    )  # of noise of its own, after that


def test_a_promise_of_machines_covers_rows_and_not_the_other_way_round(tmp_path: Path) -> None:
    machines = Policy(epsilon=4.0, unit="machine")
    assert "promises something of rows alone" in Spending(tmp_path).refusal(_promise("row"), ROWS, "a", machines)
    assert Spending(tmp_path).refusal(_promise("machine"), ROWS, "a", machines) == ""
    assert Spending(tmp_path).refusal(_promise("machine"), ROWS, "a", Policy(epsilon=4.0)) == ""


def test_a_file_that_was_damaged_lifts_no_budget(tmp_path: Path) -> None:
    Spending(tmp_path).charge(_promise(), ROWS, "a")
    (tmp_path / "spending.json").write_text('{"charges": [{"run": 3}]}')
    with pytest.raises(CheckpointError):
        Spending(tmp_path).refusal(_promise(), ROWS, "a", Policy())


def test_what_is_counted_is_private_to_the_plant(tmp_path: Path) -> None:
    Spending(tmp_path).charge(_promise(), ROWS, "a")
    assert (tmp_path / "spending.json").stat().st_mode & 0o077 == 0
