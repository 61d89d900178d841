"""A run's progress: written by one process, shown by another, whatever became of the first."""

from __future__ import annotations

from pathlib import Path

from werkbund.federation.folder import Folder
from werkbund.federation.watch import Nobody
from werkbund.server.progress import FILE_NAME, ProgressFile, follow, num_lines


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
