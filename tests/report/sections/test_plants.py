from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from werkbund.report.folder import RunFolder, read_run
from werkbund.report.sections.plants import gains, plants
from werkbund.report.theme import MOST_BARS


def test_clients_without_a_test_failure_have_no_bar_and_are_counted(finished: Path) -> None:
    panel = gains(read_run(finished))
    assert panel is not None
    assert len(panel.figure.data[0].y) == 9
    assert "1 plant has no failure among the test rows" in panel.note


def test_both_models_are_drawn_with_the_files_numbers(finished: Path) -> None:
    run = read_run(finished)
    panel = gains(run)
    assert panel is not None
    assert run.result is not None
    lines = [line for line in run.result.clients if line.federated.known("average_precision")]
    assert list(panel.figure.data[0].x) == [line.federated["average_precision"] for line in lines]
    assert list(panel.figure.data[1].x) == [line.local["average_precision"] for line in lines if line.local]


def test_without_local_models_the_federated_one_stands_alone(sample: Callable[..., Path], tmp_path: Path) -> None:
    panel = gains(read_run(sample(tmp_path / "run", rounds=2, strength={"federated": 7.0})))
    assert panel is not None
    assert [trace.name for trace in panel.figure.data] == ["Federated"]


def test_too_many_clients_show_those_with_most_failures(sample: Callable[..., Path], tmp_path: Path) -> None:
    names = tuple(f"Site {k:03d}" for k in range(90))
    run = read_run(sample(tmp_path / "run", rounds=2, names=names))
    panel = gains(run)
    assert panel is not None
    assert run.result is not None
    counts = sorted((line.federated["positives"] for line in run.result.clients), reverse=True)
    shown = [int(label.split(">")[1].split(" ")[0]) for label in panel.figure.data[0].y]
    assert sorted(shown, reverse=True) == counts[:MOST_BARS]


def test_the_plants_table_has_every_client(finished: Path) -> None:
    run = read_run(finished)
    assert [row[0] for row in plants(run).tables[0].rows] == list(run.clients)


@pytest.mark.parametrize("told", [[1, 1], [20, 20], [5, 1], [None, None], ["all", 2], [0, 50]])
def test_whose_scores_are_counted_in_bins_is_said(told: list[Any]) -> None:
    declared = [{"name": f"plant-{number}", "bin_rows": rows} for number, rows in enumerate(told)]
    *said, table = plants(RunFolder(Path(), {"plants": declared})).tables
    wide = [rows if isinstance(rows, int) and rows > 1 else 0 for rows in told]
    assert [f"bins of {rows} rows or more" if rows else "score by score" for rows in wide] == [
        row[-1] for row in table.rows
    ]
    assert any("average precision comes out too low" in row[0] for each in said for row in each.rows) == any(wide)
