"""A plant counts its answers itself, on disk before each is given."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.errors import CheckpointError
from werkbund.core.kinds import Kind
from werkbund.core.types import Tasks
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.plant.budget import STAGES, AnswerBudget
from werkbund.plant.policy import BESIDE_ROUNDS, Policy
from werkbund.selection.questions import CENTROIDS
from werkbund.trees.protocol.kinds import TREE_LEVEL

DAY = date(2026, 3, 4)


def _tasks(kind: Kind, round: int = 1, **shared: Any) -> Tasks:
    return Tasks(kind, round, np.zeros(1, np.int64), {name: np.asarray(value) for name, value in shared.items()})


def test_answers_are_counted_by_day_and_by_version_and_outlive_the_process(tmp_path: Path) -> None:
    budget = AnswerBudget(tmp_path)
    for version, kind in (("a", TRAIN), ("a", EVALUATE), ("b", EVALUATE)):
        budget.count(_tasks(kind), "run", version, DAY)
        budget = AnswerBudget(tmp_path)
    assert budget.answered(DAY) == {"train": 1, "evaluate": 2}
    assert budget.answered_about("a") == {"train": 1, "evaluate": 1}
    assert budget.answered(date(2026, 3, 5)) == {}


def test_a_round_of_stages_has_so_many_whatever_the_server_calls_them(tmp_path: Path) -> None:
    budget, rounds = AnswerBudget(tmp_path), 0
    for _ in range(3 * STAGES):
        rounds += not budget.is_under_way("run", 1)
        budget.count(_tasks(TREE_LEVEL), "run", "a", DAY)
    assert rounds == 3
    assert not AnswerBudget(tmp_path).is_under_way("another", 1)
    assert not AnswerBudget(tmp_path).is_under_way("run", 2)


def test_a_question_of_one_form_is_answered_in_no_other_about_the_same_rows(tmp_path: Path) -> None:
    budget = AnswerBudget(tmp_path)
    three = _tasks(CENTROIDS, k=3)
    budget.count(three, "run", "a", DAY)
    assert not AnswerBudget(tmp_path).is_another(replace(three, round=9), "a")
    for other in (_tasks(CENTROIDS, k=4), _tasks(CENTROIDS, k=3, least=2), _tasks(CENTROIDS)):
        assert AnswerBudget(tmp_path).is_another(other, "a")
        assert not budget.is_another(other, "b")
    assert not budget.is_another(_tasks(TRAIN, k=4), "a")


def test_refusals_are_counted_beside(tmp_path: Path) -> None:
    budget = AnswerBudget(tmp_path)
    budget.count_refusal(TRAIN, DAY)
    budget.count(_tasks(TRAIN), "run", "a", DAY)
    assert AnswerBudget(tmp_path).days() == {"2026-03-04": {"train": {"refused": 1, "answered": 1}}}


def test_the_last_days_and_versions_are_kept(tmp_path: Path) -> None:
    budget = AnswerBudget(tmp_path)
    for number in range(40):
        budget.count(_tasks(TRAIN), "run", f"version {number}", DAY + timedelta(days=number))
    assert list(AnswerBudget(tmp_path).days()) == [
        (DAY + timedelta(days=number)).isoformat() for number in range(9, 40)
    ]
    kept = [number for number in range(40) if AnswerBudget(tmp_path).answered_about(f"version {number}")]
    assert kept == list(range(24, 40))


def test_what_could_not_be_written_is_not_counted(tmp_path: Path) -> None:
    budget = AnswerBudget(tmp_path / "state")
    assert budget.answered(DAY) == {}
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r".+"):
        budget.count(_tasks(TRAIN), "run", "a", DAY)
    (tmp_path / "state").unlink()
    assert budget.answered(DAY) == {}


_plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
_nested = _plain | st.lists(_plain, max_size=3) | st.dictionaries(st.text(max_size=5), _plain, max_size=3)
_json = _nested | st.dictionaries(st.text(max_size=5), _nested, max_size=3)
_NAMES = ("days", "versions", "round", "once")


@settings(max_examples=200, deadline=None)
@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys(_NAMES, _json)) | _json)
def test_a_ledger_of_another_form_lifts_no_limit(values: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("state")
    (state / "budget.json").write_text(json.dumps(values))
    with contextlib.suppress(CheckpointError):
        answered = AnswerBudget(state).answered(DAY)
        assert all(isinstance(number, int) and number >= 0 for number in answered.values())


def test_budgets_bind_all_answers() -> None:
    policy = Policy(answers_a_day=10, answers_a_version=15)
    assert policy.refusal_of_budget(EVALUATE, {"train": 9}, {"train": 14}) is None
    assert "answers_a_day" in str(policy.refusal_of_budget(EVALUATE, {"train": 4, "loss": 6}, {}))
    assert "answers_a_version" in str(policy.refusal_of_budget(EVALUATE, {}, {"train": 15}))


@pytest.mark.parametrize("rounds", [1, 3, 50])
def test_where_rounds_a_day_are_limited_other_questions_are_too(rounds: int) -> None:
    policy, most = Policy(rounds_a_day=rounds), rounds + BESIDE_ROUNDS
    assert policy.refusal_of_budget(EVALUATE, {"evaluate": most - 1}, {}) is None
    assert "rounds_a_day" in str(policy.refusal_of_budget(EVALUATE, {"evaluate": most}, {}))
    assert policy.refusal_of_budget(TRAIN, {"train": most}, {}) is None, "rounds are counted by themselves"
    assert Policy().refusal_of_budget(EVALUATE, {"evaluate": 999}, {}) is None
