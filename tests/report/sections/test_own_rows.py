from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from werkbund.evaluation import Contest
from werkbund.report.folder import read_run
from werkbund.report.sections.own_rows import own_rows


@pytest.fixture(scope="module")
def contest(finished: Path) -> Contest:
    contest = read_run(finished).own_rows
    assert contest is not None
    return contest


def test_every_contender_has_a_line_with_its_figures(finished: Path, contest: Contest) -> None:
    table = own_rows(read_run(finished)).tables[0]
    assert len(table.rows) == len(contest.figures)
    federated = table.rows[0]
    assert federated[0] == "Federated"
    assert federated[1].startswith(f"{contest.figures['federated']['average_precision'].by_rows.mean:.3f} (")
    assert federated[2] == "–"
    assert {row[0] for row in table.rows} >= {"Inspect nothing", "Alone, own trees", "Alone, same model"}


def test_a_habit_has_a_cost_and_no_rank(finished: Path) -> None:
    nothing = {row[0]: row for row in own_rows(read_run(finished)).tables[0].rows}["Inspect nothing"]
    assert nothing[1] == "–"
    assert nothing[3] != "–"


def test_each_plant_with_a_failure_has_a_point_and_all_together_one_more(finished: Path, contest: Contest) -> None:
    gains = own_rows(read_run(finished)).panels[1]
    assert len(gains.figure.data) == sum(line.failures > 0 for line in contest.plants) + 1
    points = {trace.y[0]: trace.x[0] for trace in gains.figure.data}
    assert points["<b>all, by rows</b>"] == contest.minus["local_trees_mean"]["average_precision"].by_rows.mean


def test_a_run_without_baselines_says_so(sample: Callable[..., Path], tmp_path: Path) -> None:
    section = own_rows(read_run(sample(tmp_path / "run", rounds=2, strength={"federated": 7.0})))
    assert section.panels == ()
    assert "No plant's own model was judged" in section.absent
