from __future__ import annotations

from pathlib import Path

from werkbund.report.folder import RunFolder, read_run
from werkbund.report.sections.data import data, skew_panels
from werkbund.report.values import ClientSkew


def test_modes_are_stacked_by_client(finished: Path) -> None:
    skew = read_run(finished).skew
    assert skew is not None
    panels = {panel.key: panel.figure for panel in skew_panels(skew)}
    assert {trace.name: tuple(trace.x) for trace in panels["skew-failures"].data} == dict(skew.modes)
    assert tuple(panels["skew-rows"].data[0].x) == skew.rows
    assert len(panels["skew-distance"].data) == 2


def test_without_modes_and_distances_rows_and_failures_remain() -> None:
    panels = skew_panels(ClientSkew(("A", "B"), (10.0, 20.0), (0.0, 2.0), {}))
    assert [panel.title for panel in panels] == ["Rows", "Failures"]
    assert panels[1].note == "1 plant has no failure at all."


def test_many_clients_become_points() -> None:
    names = tuple(map(str, range(500)))
    panels = skew_panels(ClientSkew(names, (10.0,) * 500, (1.0,) * 500, {}))
    assert len(panels) == 1
    assert len(panels[0].figure.data[0].x) == 500


def test_a_fleet_is_thinned_out_evenly_and_says_so() -> None:
    names = tuple(map(str, range(9000)))
    (panel,) = skew_panels(ClientSkew(names, (10.0,) * 9000, (1.0,) * 9000, {}))
    assert len(panel.figure.data[0].x) == 1800
    assert "Every 5th of 9,000 plants is shown." in panel.note


def test_findings_stand_in_order_of_weight(finished: Path) -> None:
    levels = [row[0] for row in data(read_run(finished)).tables[0].rows]
    assert levels == ["warning", "note"]


def test_clean_data_are_said_to_be_clean() -> None:
    table = data(RunFolder(Path(), {"findings": []})).tables[0]
    assert table.rows == (("The checks found nothing to report.",),)
