from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from werkbund.report.folder import read_run
from werkbund.report.plots.clients import MOST_BARS, gains, skew
from werkbund.report.values import Skew


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


def test_modes_are_stacked_by_client(finished: Path) -> None:
    found = read_run(finished).skew
    assert found is not None
    panels = {panel.key: panel.figure for panel in skew(found)}
    assert {trace.name: tuple(trace.x) for trace in panels["skew-failures"].data} == dict(found.modes)
    assert tuple(panels["skew-rows"].data[0].x) == found.rows
    assert len(panels["skew-distance"].data) == 2


def test_without_modes_and_distances_rows_and_failures_remain() -> None:
    panels = skew(Skew(("A", "B"), (10.0, 20.0), (0.0, 2.0), {}))
    assert [panel.title for panel in panels] == ["Rows", "Failures"]
    assert panels[1].note == "1 plant has no failure at all."


def test_many_clients_become_points() -> None:
    names = tuple(map(str, range(500)))
    panels = skew(Skew(names, (10.0,) * 500, (1.0,) * 500, {}))
    assert len(panels) == 1
    assert len(panels[0].figure.data[0].x) == 500


def test_a_fleet_is_thinned_out_evenly_and_says_so() -> None:
    names = tuple(map(str, range(9000)))
    (panel,) = skew(Skew(names, (10.0,) * 9000, (1.0,) * 9000, {}))
    assert len(panel.figure.data[0].x) == 1800
    assert "Every 5th of 9,000 plants is shown." in panel.note
