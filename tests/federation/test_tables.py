"""Tables that cannot be used end in one message with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from werkbund.config import check_config
from werkbund.core.errors import ConfigError, DataError, FederationError
from werkbund.data import Table
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table

GOOD = "a,b,site,y\n" + "".join(f"{i},{i % 7},{'north' if i < 9 else 'south'},{int(i % 5 == 0)}\n" for i in range(40))


def table_of(tmp_path: Path, content: str, **data: object) -> object:
    path = tmp_path / "table.csv"
    path.write_text(content)
    return read_table(check_config({"data": {"path": str(path), "label": "y", **data}}))


@pytest.mark.parametrize(
    ("content", "data", "message"),
    [
        ("", {}, "empty"),
        ("a,y\n", {}, "no row|header"),
        (GOOD.replace(",", ";"), {"separator": ","}, "data.separator to ';'"),
        (GOOD, {"label": "failed"}, "failed"),
        (GOOD, {"never": ["serial"]}, "serial"),
        (GOOD, {"positive": 7}, r"data.positive must be a value of label 'y', got 7"),
        (GOOD, {"columns": {"a": {}, "c": {}}}, "c"),
        (GOOD, {"columns": {"a": {}, "y": {}}}, "label"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    tmp_path: Path, content: str, data: dict[str, object], message: str
) -> None:
    with pytest.raises(FederationError, match=message):
        table_of(tmp_path, content, **data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        read_table(check_config({"data": {"path": str(tmp_path / "none.csv"), "label": "y"}}))


def test_an_unknown_table_without_a_label_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match=r"data\.label .*`werkbund init`"):
        read_table(check_config({"data": {"path": str(path)}}))


def test_one_file_a_client_gives_clients_by_name(tmp_path: Path) -> None:
    lines = GOOD.splitlines(keepends=True)
    (tmp_path / "n.csv").write_text("".join(lines[:20]))
    (tmp_path / "s.csv").write_text("".join([lines[0], *lines[20:]]))
    files = {"north": str(tmp_path / "n.csv"), "south": str(tmp_path / "s.csv")}
    config = check_config({"data": {"clients": files, "label": "y", "never": ["site"]}})
    assert divide(read_table(config), config).population.names == ("north", "south")


def test_path_and_clients_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path or data\.clients"):
        table_of(tmp_path, GOOD, clients={"north": "n.csv"})


def test_a_client_with_one_row_trains_and_the_others_are_scored(tmp_path: Path) -> None:
    content = GOOD + "1,1,tiny,0\n"
    path = tmp_path / "table.csv"
    path.write_text(content)
    config = check_config({"data": {"path": str(path), "label": "y", "client": "site"}})
    population = divide(read_table(config), config).population
    sizes = {
        split: dict(zip(population.names, raw.offsets[1:] - raw.offsets[:-1], strict=True))
        for split, raw in population.splits.items()
    }
    assert (sizes["train"]["tiny"], sizes["validation"]["tiny"], sizes["test"]["tiny"]) == (1, 0, 0)


def test_derived_features_join_the_recognised_ones_or_replace_them() -> None:
    section = {"derived": {"speed_by_torque": '"Rotational speed [rpm]" / "Torque [Nm]"'}}
    base = {"data": {"source": "generator", "rows": 100, "plants": 1}}
    both = read_table(check_config({**base, "features": section})).schema.derived
    alone = read_table(check_config({**base, "features": {**section, "preset": False}})).schema.derived
    assert [feature.name for feature in alone] == ["speed_by_torque"]
    assert [feature.name for feature in both][-1] == "speed_by_torque"
    assert len(both) > 1


def test_marks_units_and_clients_left_out_are_read_from_the_configuration(tmp_path: Path) -> None:
    said = {"client": "site", "missing": {"b": [3]}, "units": {"south": {"a": 10.0}}}
    table = table_of(tmp_path, GOOD, **said)
    assert isinstance(table, Table)
    assert [column.missing for column in table.schema.features] == [(), (3,)]
    assert table.frame["a"].to_list() == [float(i) if i < 9 else 10.0 * i for i in range(40)]
    alone = table_of(tmp_path, GOOD, **said, without=["north"])
    assert isinstance(alone, Table)
    assert set(alone.frame["site"]) == {"south"}
    with pytest.raises(ConfigError, match=r"data\.missing must name feature columns, got c"):
        table_of(tmp_path, GOOD, missing={"c": [-999]})
    with pytest.raises(ConfigError, match="need a column with the client"):
        table_of(tmp_path, GOOD, without=["north"])
