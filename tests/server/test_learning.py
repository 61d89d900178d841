"""The common scaling over plants of which one answers badly, or not every time."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from tests.deployed import DirectGrid, deploy
from tests.spoilt import Spoil, arrays, spoilt
from werkbund.core.errors import QuorumError
from werkbund.core.types import Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.data.answers import MOST_LEVELS
from werkbund.federation.preparing import CommonPreparation, learn_preparation
from werkbund.plant.briefing import Briefing, for_clients


@pytest.fixture(scope="module")
def plants(tmp_path_factory: Any) -> Any:
    return deploy(tmp_path_factory.mktemp("plants") / "it", data={"rows": 450})


def _learnt(plants: Any, grid: DirectGrid, quorum: float = 0.5) -> CommonPreparation:
    public = for_clients(plants.config)
    grid.brief(lambda number: Briefing("run", public, number, AI4I_SCHEMA.modes))
    return learn_preparation(grid, AI4I_SCHEMA, 5.0, quorum)


def _with(plants: Any, **how: Spoil) -> DirectGrid:
    """Return a grid whose plant-3, which answers first, spoils its answers to some kinds of tasks."""
    bad = spoilt(plants.desk("plant-3").answer, lambda ask: how.get(ask.tasks.kind.name))
    return plants.grid(**{"plant-3": bad})  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def of_two(plants: Any) -> CommonPreparation:
    grid = plants.grid()
    grid.offline = {"plant-3"}
    return _learnt(plants, grid)


def _levels(value: Any) -> Spoil:
    return arrays("clear", vocabulary=np.array([json.dumps(value)]))


SURVEY: dict[str, tuple[Spoil, str]] = {
    "a sum that is NaN": (arrays("sums", sum=lambda old: old * np.nan), "sum"),
    "a sum beyond adding": (arrays("sums", sum=lambda old: np.full(old.shape, 1e306)), "sum"),
    "no count": (arrays("sums", count=None), "count"),
    "fewer columns": (arrays("sums", count=lambda old: old[:, :2]), "count"),
    "sums in texts": (arrays("sums", sum=lambda old: old.astype(str)), "sum"),
    "sums in truths": (arrays("sums", labels=lambda old: old > 0), "labels"),
    "no row": (arrays("sums", labels=np.array(3)), "labels"),
    "two rows": (arrays("sums", labels=lambda old: np.concatenate([old, old])), "labels"),
    "a negative count": (arrays("sums", count=lambda old: -old), "count"),
    "negative labels": (arrays("sums", labels=lambda old: old - 10_000), "labels"),
    "more rows than there are": (arrays("sums", labels=lambda old: np.full(old.shape, 2**62)), "labels"),
    "rows in texts": (arrays("clear", rows=np.array(["300"])), "rows"),
    "negative rows": (arrays("clear", rows=np.array([-1])), "rows"),
    "two numbers of rows": (arrays("clear", rows=np.array([[1, 2]])), "rows"),
    "rows that are NaN": (arrays("clear", rows=np.array([np.nan])), "rows"),
    "a vocabulary of numbers": (_levels({"Type": [1, 2]}), "vocabulary"),
    "a vocabulary without lists": (_levels({"Type": "LMH"}), "vocabulary"),
    "a vocabulary of another column": (_levels({"Colour": ["red"]}), "vocabulary"),
    "a list as vocabulary": (_levels(["L"]), "vocabulary"),
    "a vocabulary of half letters": (_levels({"Type": ["\ud800"]}), "vocabulary"),
    "a vocabulary without end": (_levels({"Type": [str(n) for n in range(MOST_LEVELS + 1)]}), "vocabulary"),
    "no vocabulary at all": (arrays("clear", vocabulary=np.array(["nothing"])), "vocabulary"),
    "a deep vocabulary": (arrays("clear", vocabulary=np.array(["[" * 5000])), "vocabulary"),
    "a number as vocabulary": (arrays("clear", vocabulary=np.array([7.0])), "vocabulary"),
}


@pytest.mark.parametrize("name", SURVEY)
def test_a_bad_survey_is_left_out_and_nobody_else_is_blamed(name: str, plants: Any, of_two: CommonPreparation) -> None:
    how, reason = SURVEY[name]
    found = _learnt(plants, _with(plants, survey=how))
    assert list(found.missing) == ["plant-3"]
    assert re.search(reason, found.missing["plant-3"])
    assert found.preparation == of_two.preparation
    assert found.rows.tolist() == of_two.rows.tolist()
    assert found.to_json()["survey"] == of_two.to_json()["survey"]


@pytest.mark.parametrize(
    "how",
    [
        arrays("sums", squares=lambda old: old * np.inf),
        arrays("sums", squares=lambda old: -1 - old),
        arrays("sums", squares=lambda old: old[:, 1:]),
        arrays("sums", squares=None),
        arrays("sums", squares=lambda old: old.astype(str)),
    ],
)
def test_a_client_that_fails_at_the_second_question_is_left_out_of_both(
    how: Spoil, plants: Any, of_two: CommonPreparation
) -> None:
    found = _learnt(plants, _with(plants, squares=how))
    assert list(found.missing) == ["plant-3"]
    assert found.preparation == of_two.preparation
    assert found.rows.tolist() == of_two.rows.tolist()


def test_a_client_that_comes_back_between_the_questions_is_in_neither(plants: Any, of_two: CommonPreparation) -> None:
    class Returning(DirectGrid):
        def send(self, tasks: Tasks) -> None:
            self.offline = {"plant-3"} if tasks.kind.name == "survey" else set()
            super().send(tasks)

    grid = Returning({name: plants.desk(name).answer for name in plants.kits})
    found = _learnt(plants, grid)
    assert found.missing == {"plant-3": "is offline"}
    assert found.preparation == of_two.preparation
    assert not [ask for ask in grid.asked if ask.name == "plant-3"]


def test_too_few_at_the_second_question_names_those_of_the_first_too(plants: Any) -> None:
    grid = _with(plants, squares=arrays("sums", squares=None))
    grid.offline = {"plant-2"}
    with pytest.raises(QuorumError) as caught:
        _learnt(plants, grid, quorum=0.6)
    assert (caught.value.needed, caught.value.answered) == (2, 1)
    assert caught.value.reasons["plant-2"] == "is offline"
    assert "squares" in caught.value.reasons["plant-3"]


def test_what_was_learnt_survives_a_file_to_the_last_bit(of_two: CommonPreparation) -> None:
    again = CommonPreparation.from_json(json.loads(json.dumps(of_two.to_json())))
    assert again.preparation == of_two.preparation
    assert again.preparation.fingerprint == of_two.preparation.fingerprint
    assert again.to_json() == of_two.to_json()
