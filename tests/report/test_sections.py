from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from werkbund.report.content import Section
from werkbund.report.folder import RunFolder, read_run
from werkbund.report.plants import plants
from werkbund.report.sections import compared, course, data, thresholds
from werkbund.report.values import RoundLine

SECTIONS = (compared, plants, thresholds, course, data)


def test_a_finished_run_fills_every_section(finished: Path) -> None:
    run = read_run(finished)
    assert not any(make(run).empty for make in SECTIONS)


@pytest.mark.parametrize("make", SECTIONS)
def test_an_empty_section_says_why_in_one_sentence(make: Callable[[RunFolder], Section]) -> None:
    section = make(RunFolder(Path(), {}))
    assert section.empty
    assert section.absent.endswith(".")
    assert section.absent.count(".") == 1


def test_every_row_of_a_table_is_as_wide_as_its_head(finished: Path) -> None:
    run = read_run(finished)
    tables = [table for make in SECTIONS for table in make(run).tables]
    assert len(tables) >= 5
    assert all(len(row) == len(table.head) for table in tables for row in table.rows)


def test_the_plants_table_has_every_client(finished: Path) -> None:
    run = read_run(finished)
    assert [row[0] for row in plants(run).tables[0].rows] == list(run.clients)


def test_failures_are_gathered_by_client_and_reason() -> None:
    failed = [{"client": 0, "reason": "timeout"}]
    lines = [RoundLine.parse({"round": n, "cohort": [0], "failures": failed}) for n in (1, 2, 3, 7)]
    table = course(RunFolder(Path(), {"clients": ["Gießen"]}, tuple(lines))).tables[-1]
    assert table.rows == (("Gießen", "timeout", "4", "1 to 3, 7"),)


def test_no_failure_is_said_as_well() -> None:
    lines = (RoundLine.parse({"round": 1, "cohort": [0]}),)
    table = course(RunFolder(Path(), {"clients": ["A"]}, lines)).tables[-1]
    assert table.rows == (("No plant failed in any round.",),)


def test_findings_stand_in_order_of_weight(finished: Path) -> None:
    levels = [row[0] for row in data(read_run(finished)).tables[0].rows]
    assert levels == ["warning", "note"]


def test_clean_data_are_said_to_be_clean() -> None:
    table = data(RunFolder(Path(), {"findings": []})).tables[0]
    assert table.rows == (("The checks found nothing to report.",),)


def test_a_lone_federated_model_is_said_to_be_alone(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = read_run(sample(tmp_path / "run", rounds=2, strength={"federated": 7.0}))
    assert compared(run).lead == "Only the federated model was trained, so there is nothing to compare it with."
