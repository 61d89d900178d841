"""A run's progress: written by one process, shown by another, whatever became of the first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from werkbund.core.errors import QuorumError
from werkbund.evaluation.watch import Nobody, RoundNews, Watcher
from werkbund.federation.folder import Folder
from werkbund.server.preflight import EVERYBODY
from werkbund.server.progress import FILE_NAME, ProgressFile, follow, num_lines

TOLD = ("round", "scored", "cohort", "failures", "loss", "update_norm", "weights_norm", "bytes_down", "bytes_up")


class Ear:
    """Hear everything, and pass it on."""

    def __init__(self, on: Watcher | None = None) -> None:
        self.stages, self.rounds, self.on = list[str](), list[RoundNews](), on

    def stage(self, what: str) -> None:
        self.stages.append(what)
        if self.on:
            self.on.stage(what)

    def round(self, news: RoundNews) -> None:
        self.rounds.append(news)
        if self.on:
            self.on.round(news)


def _heard(folder: Path, first_line: int = 0, ended: Any = lambda: "gone") -> tuple[Ear, list[Any], str]:
    ear, seen = Ear(), list[Any]()
    error = follow(folder, ear, seen.append, ended, first_line)
    return ear, seen, error


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("werkbund.server.progress._PAUSE_S", 0.001)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def test_who_follows_hears_what_the_run_was_told(deployed: Any) -> None:
    # One plant without counts, so that a round has failures, and undefined figures where nobody tells any.
    deployment = deployed({name: {"signals": ["rows"]} for name in ("plant-1", "plant-2", "plant-3")})
    folder = Folder.create("x", deployment.folder / "told")
    progress = ProgressFile(folder)
    first = Ear(progress)
    grid = deployment.grid()
    grid.offline = {"plant-3"}
    deployment.run(grid, watcher=first, seen=lambda told: progress.checks([vars(check) for check in told.checks]))
    progress.end()
    ear, seen, error = _heard(folder.path)
    assert error == ""
    assert ear.stages == first.stages
    assert [check["client"] for check in seen[0]] == [*deployment.kits, EVERYBODY]
    assert len(ear.rounds) == len(first.rounds) == 4
    for heard, told in zip(ear.rounds, first.rounds, strict=True):
        assert (heard.last, heard.best_round) == (told.last, told.best_round)
        assert heard.failed == told.failed == {"plant-3": "is offline"}
        assert {name: getattr(heard.record, name) for name in TOLD} == {
            name: getattr(told.record, name) for name in TOLD
        }
        assert set(heard.scores) == set(told.scores)
        assert heard.record.loss is None


def test_figures_pass_with_what_is_undefined(deployed: Any) -> None:
    deployment = deployed(federation={"rounds": 1})
    folder = Folder.create("x", deployment.folder / "told")
    first = Ear(ProgressFile(folder))
    deployment.run(watcher=first)
    ear, _, error = _heard(folder.path)
    assert error == "gone"
    for heard, told in zip(ear.rounds, first.rounds, strict=True):
        for split, metrics in told.scores.items():
            after = heard.scores[split].to_json()
            assert after.keys() == metrics.to_json().keys()
            assert all(
                _same(getattr(heard.scores[split], name), getattr(metrics, name))
                for name in after
                if name != "recall_by_mode"
            )


def test_the_end_says_why(tmp_path: Path) -> None:
    progress = ProgressFile(Folder(tmp_path))
    progress.stage("asking")
    progress.end(str(QuorumError(0, 2, 1, {"Hof": "is offline"})))
    ear, _, error = _heard(tmp_path)
    assert ear.stages == ["asking"]
    assert "Hof: is offline" in error


def test_lines_of_an_earlier_attempt_are_passed_over(tmp_path: Path) -> None:
    progress = ProgressFile(Folder(tmp_path))
    assert num_lines(tmp_path) == 0
    progress.stage("one")
    progress.end("stopped")
    before = num_lines(tmp_path)
    assert before == 2
    progress.stage("two")
    progress.end()
    ear, _, error = _heard(tmp_path, before)
    assert (ear.stages, error) == (["two"], "")


def test_what_is_written_after_the_process_was_asked_for_is_still_heard(tmp_path: Path) -> None:
    progress = ProgressFile(Folder(tmp_path))
    asked = list[int]()

    def ended() -> str | None:
        asked.append(len(asked))
        if len(asked) == 1:
            progress.stage("late")
            return None
        if len(asked) == 2:
            progress.end("its own words")
            return "killed"
        return None

    ear, _, error = _heard(tmp_path, ended=ended)
    assert (ear.stages, error) == (["late"], "its own words")


def test_a_half_written_line_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text('{"stage": "one"}\n{"sta')

    def ended() -> str | None:
        if file.read_text().endswith('{"sta'):
            with file.open("a") as more:
                more.write('ge": "two"}\n{"end": ""}\n')
        return None

    ear, _, error = _heard(tmp_path, ended=ended)
    assert (ear.stages, error) == (["one", "two"], "")


class _Stages(Nobody):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def stage(self, what: str) -> None:
        self.heard.append(what)


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    progress = ProgressFile(Folder(tmp_path))
    progress.stage("one")
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"stage": "tw')  # the process was killed here
    progress.stage("three")
    progress.end("enough")
    stages = _Stages()
    assert follow(tmp_path, stages, lambda checks: None, lambda: None) == "enough"
    assert stages.heard == ["one", "three"]


def test_an_attempt_begins_after_the_lines_of_the_one_before(tmp_path: Path) -> None:
    progress = ProgressFile(Folder(tmp_path))
    progress.stage("one")
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"stage": "tw')
    before = num_lines(tmp_path)
    progress.stage("three")
    progress.end()
    stages = _Stages()
    assert follow(tmp_path, stages, lambda checks: None, lambda: None, before) == ""
    assert stages.heard == ["three"]


def test_a_process_that_ends_without_a_word_is_told_of_by_another(tmp_path: Path) -> None:
    ProgressFile(Folder(tmp_path)).stage("one")
    stages = _Stages()
    assert follow(tmp_path, stages, lambda checks: None, lambda: "it was killed") == "it was killed"
    assert stages.heard == ["one"]
