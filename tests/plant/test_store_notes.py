"""What a plant keeps from task to task of a run, on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from werkbund.core.errors import CheckpointError
from werkbund.core.store import PendingStore
from werkbund.plant import PlantFolder
from werkbund.plant.store import Notes, NoteStore

ME = np.zeros(1, np.int64)
NONE = np.zeros(2)


def _notes(folder: Path) -> Notes:
    return PlantFolder(folder).notes


def _keep(folder: Path, round: int, value: float, run: str = "run", lasting: bool = True) -> None:
    store = _notes(folder).open(run, round, begins=True)
    store.put("control", ME, np.full((1, 2), value), lasting)
    store.save()


def _kept(store: NoteStore) -> float:
    return float(store.rows("control", ME, NONE)[0, 0])


def test_what_is_kept_is_there_in_the_next_round_and_after_a_restart(tmp_path: Path) -> None:
    _keep(tmp_path, 1, 7.0)
    store = _notes(tmp_path).open("run", 2, begins=True)
    assert store.knows("control", ME).tolist() == [True]
    assert _kept(store) == 7.0
    assert not store.knows("other", ME).any()
    assert store.rows("other", ME, NONE).tolist() == [[0.0, 0.0]]


def test_a_round_that_is_done_again_begins_from_what_was_kept_before_it(tmp_path: Path) -> None:
    for round in (1, 2, 3):
        _keep(tmp_path, round, float(round))
    assert _kept(_notes(tmp_path).open("run", 2, begins=True)) == 1.0
    assert _kept(_notes(tmp_path).open("run", 2, begins=False)) == 2.0
    _keep(tmp_path, 2, 20.0)
    assert _kept(_notes(tmp_path).open("run", 4, begins=True)) == 20.0, "what was done after it did not happen"


def test_what_is_for_one_round_alone_is_there_in_it_and_gone_after(tmp_path: Path) -> None:
    _keep(tmp_path, 1, 5.0, lasting=False)
    assert _kept(_notes(tmp_path).open("run", 1, begins=False)) == 5.0
    assert not _notes(tmp_path).open("run", 2, begins=True).knows("control", ME).any()


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    _keep(tmp_path, 1, 5.0)
    store = _notes(tmp_path).open("run", 2, begins=True)
    store.forget("control", ME)
    store.save()
    assert not _notes(tmp_path).open("run", 3, begins=True).knows("control", ME).any()


def test_a_task_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    store = _notes(tmp_path).open("run", 1, begins=True)
    store.save()
    assert not (tmp_path / "notes").exists()


def test_runs_do_not_read_one_another_and_only_the_last_few_are_kept(tmp_path: Path) -> None:
    for number in range(6):
        _keep(tmp_path, 1, float(number), run=f"run {number}")
    assert len(list((tmp_path / "notes").iterdir())) == 4
    assert _kept(_notes(tmp_path).open("run 5", 2, begins=True)) == 5.0
    assert not _notes(tmp_path).open("another", 2, begins=True).knows("control", ME).any()


def test_a_server_that_goes_back_further_than_what_is_kept_is_refused(tmp_path: Path) -> None:
    for round in range(1, 13):
        _keep(tmp_path, round, float(round))
    assert _kept(_notes(tmp_path).open("run", 6, begins=True)) == 5.0
    with pytest.raises(CheckpointError, match=r"goes back to round 2.*begin the run anew"):
        _notes(tmp_path).open("run", 2, begins=True)


def test_who_joined_later_has_kept_nothing_before(tmp_path: Path) -> None:
    _keep(tmp_path, 5, 5.0)
    assert not _notes(tmp_path).open("run", 3, begins=True).knows("control", ME).any()


def test_a_damaged_file_is_no_empty_one(tmp_path: Path) -> None:
    _keep(tmp_path, 1, 5.0)
    (file,) = (tmp_path / "notes").rglob("1.npz")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="cannot be read"):
        _notes(tmp_path).open("run", 2, begins=True)


@pytest.mark.parametrize(("taken", "expected"), [(2, 2.0), (1, 1.0), (0, 1.0)])
def test_what_is_pending_outlives_the_process_and_counts_if_its_answer_was_taken(
    taken: int, expected: float, tmp_path: Path
) -> None:
    for round, told in ((1, 0), (2, 1), (3, taken)):
        store = _notes(tmp_path).open("run", round, begins=True)
        pending = PendingStore(store, round)
        pending.settle(ME, np.array([told]), is_last=True)
        assert _kept(store) == {1: 0.0, 2: 1.0, 3: expected}[round]
        pending.put("control", ME, np.full((1, 2), float(round)))
        store.save()
    assert sorted(store.names()) == ["control", "pending since", "pending.control"]


def test_a_round_that_begins_anew_begins_from_what_was_pending_before_it(tmp_path: Path) -> None:
    for value in (5.0, 7.0):  # the second time after a kill before the answer was written down
        store = _notes(tmp_path).open("run", 1, begins=True)
        assert not PendingStore(store, 1).names()
        PendingStore(store, 1).put("control", ME, np.full((1, 2), value))
        store.save()
    store = _notes(tmp_path).open("run", 2, begins=True)
    PendingStore(store, 2).settle(ME, np.array([1]), is_last=True)
    assert _kept(store) == 7.0
