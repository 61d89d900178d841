from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from werkbund.report.folder import RunFolder, read_run
from werkbund.report.page import PageSection
from werkbund.report.sections import SECTIONS


def test_a_finished_run_fills_every_section(finished: Path) -> None:
    run = read_run(finished)
    asked_for = {"contributions", "clusters", "promised"}  # by keys that this run does not have
    assert {section.key for section in (make(run) for make in SECTIONS) if section.empty} == asked_for


@pytest.mark.parametrize("make", SECTIONS)
def test_an_empty_section_says_why_in_one_sentence(make: Callable[[RunFolder], PageSection]) -> None:
    section = make(RunFolder(Path(), {}))
    assert section.empty
    assert section.absent.endswith(".")
    assert section.absent.count(".") == 1


def test_every_row_of_a_table_is_as_wide_as_its_head(finished: Path) -> None:
    run = read_run(finished)
    tables = [table for make in SECTIONS for table in make(run).tables]
    assert len(tables) >= 5
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)
