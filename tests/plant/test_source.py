"""A plant's rows come under the federation's names and units, from a file or a database, and with nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.data.time.fleets import fleet
from tests.postgres import running_postgres
from werkbund.config import Config, check_config
from werkbund.core.errors import ConfigError, DataError
from werkbund.data import AI4I_SCHEMA, TWIN_SCHEMA, Origin, generate
from werkbund.data.time.events import LogTable
from werkbund.federation.tables import made_table, read_table
from werkbund.plant.settings import PlantFile, PlantSettings
from werkbund.plant.source import read_plant_table

ROWS = "serial,site,torque,air_c,kind,failed,wear,salary\n" + "".join(
    f"{i},{'north' if i < 20 else 'south'},{i / 7},{20 + i / 10},{'LMH'[i % 3]},{int(i % 5 == 0)},{i % 9},{4000 + i}\n"
    for i in range(40)
)
MAPPED = """
[columns]
"Torque [Nm]" = "torque"
"Air temperature [K]" = { column = "air_c", unit = "degC" }
"Type" = "kind"
"""
FEDERATION: dict[str, Any] = {
    "label": "failed",
    "client": "site",
    "never": ["serial"],
    "machine_reset": "wear",
    "columns": {
        "Torque [Nm]": {"unit": "Nm"},
        "Air temperature [K]": {"unit": "K", "low": 250.0, "high": 350.0},
        "Type": {"kind": "category"},
    },
}


def settings_of(folder: Path, columns: str = "", rows: str | bytes = ROWS, **data: Any) -> PlantSettings:
    path = folder / "rows.csv"
    path.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    start = {"client": {"name": "north"}, "server": {"address": "localhost:8000"}}
    file = PlantFile.model_validate({**start, "data": data or {"path": str(path)}, **tomllib.loads(columns)})
    return PlantSettings(kit=folder, **{name: getattr(file, name) for name in PlantFile.model_fields})


def config_of(**changes: Any) -> Config:
    return check_config({"data": {**FEDERATION, **changes}})


def test_columns_get_the_federations_names_and_units(tmp_path: Path) -> None:
    table = read_plant_table(settings_of(tmp_path, MAPPED), config_of())
    raw = pl.read_csv(tmp_path / "rows.csv")
    assert_frame_equal(
        table.frame,
        raw.select(
            pl.col("failed"),
            pl.col("wear"),
            pl.col("torque").alias("Torque [Nm]"),
            (pl.col("air_c") + 273.15).alias("Air temperature [K]"),
            pl.col("kind").alias("Type"),
        ),
        check_column_order=False,
    )


def test_what_the_schema_does_not_use_is_dropped(tmp_path: Path) -> None:
    table = read_plant_table(settings_of(tmp_path, MAPPED), config_of())
    assert set(table.frame.columns) == set(table.schema.used)
    assert not {"serial", "site", "salary"} & set(table.frame.columns)


def test_the_schema_is_that_of_the_whole_federation_without_the_client(tmp_path: Path) -> None:
    names = ROWS.replace("torque", "Torque [Nm]").replace("air_c", "Air temperature [K]").replace("kind", "Type")
    path = tmp_path / "all.csv"
    path.write_text(names)
    whole = read_table(config_of(path=str(path))).schema
    table = read_plant_table(settings_of(tmp_path, MAPPED), config_of(path=str(path)))
    assert whole.client == "site"
    assert table.schema.client is None
    assert (table.schema.features, table.schema.never, table.schema.label) == (whole.features, whole.never, whole.label)


def test_a_recognised_table_needs_no_label_and_its_plant_is_ignored(tmp_path: Path) -> None:
    frame = generate(rows=60, plants=2, seed=1).with_columns(extra=pl.lit(7.5))
    settings = settings_of(tmp_path, rows=frame.write_csv())
    table = read_plant_table(settings, Config())
    assert table.schema == AI4I_SCHEMA
    assert set(table.frame.columns) == set(AI4I_SCHEMA.used)


@pytest.mark.parametrize("schema", [AI4I_SCHEMA, TWIN_SCHEMA])
def test_a_known_table_may_be_mapped_too(tmp_path: Path, schema: Any) -> None:
    frame = generate(rows=60, plants=1, seed=1).rename({"Torque [Nm]": "torque", "Air temperature [K]": "air"})
    if schema is TWIN_SCHEMA:
        frame = frame.rename({"Machine failure": "Target"}).with_columns(pl.lit("No Failure").alias("Failure Type"))
        frame = frame.drop(AI4I_SCHEMA.modes)
    frame = frame.with_columns(pl.col("torque") / 1000, pl.col("air") - 273.15)
    mapped = """
    [columns]
    "Torque [Nm]" = { column = "torque", unit = "kNm" }
    "Air temperature [K]" = { column = "air", unit = "°C" }
    """
    table = read_plant_table(settings_of(tmp_path, mapped, frame.write_csv()), Config())
    assert table.schema == schema
    expected = generate(rows=60, plants=1, seed=1)["Torque [Nm]"].to_list()
    assert table.frame["Torque [Nm]"].to_list() == pytest.approx(expected)


def test_derived_features_come_along(tmp_path: Path) -> None:
    features = {"derived": {"work": '"Torque [Nm]" * "Air temperature [K]"'}}
    config = check_config({"data": FEDERATION, "features": features})
    assert [one.name for one in read_plant_table(settings_of(tmp_path, MAPPED), config).schema.derived] == ["work"]


def test_a_plant_without_a_failure_is_no_error(tmp_path: Path) -> None:
    rows = ROWS.replace(",1,", ",ok,").replace(",0,", ",ok,")
    table = read_plant_table(settings_of(tmp_path, MAPPED, rows), config_of(positive="broken", machine_reset=None))
    assert not table.schema.labels(table.frame).any()


def test_missing_columns_are_all_told_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_plant_table(settings_of(tmp_path, '[columns]\n"Type" = "kinds"\n'), config_of())
    told = str(caught.value)
    assert "client.toml must say" in told
    assert '  "Torque [Nm]" = "torque"\n' in told
    assert '  "Air temperature [K]" = ' in told
    assert '  "Type" = "kind"  # now "kinds", which the rows have not\n' in told
    assert "'salary'" in told


def test_what_it_says_to_write_is_toml_that_works(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_plant_table(settings_of(tmp_path), config_of(columns={"Torque (Nm)": {}, "KIND": {}}))
    lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    table = read_plant_table(
        settings_of(tmp_path, "[columns]\n" + "\n".join(lines)), config_of(columns={"Torque (Nm)": {}, "KIND": {}})
    )
    assert {"Torque (Nm)", "KIND"} <= set(table.frame.columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ('"Torqe [Nm]" = "torque"', r'columns\."Torqe \[Nm\]" must be a column that .* did you mean \'Torque \[Nm\]\''),
        ('failed = { unit = "1" }', r'columns\."failed": .* must have a declared unit'),
        ('"Torque [Nm]" = { column = "torque", unit = "K" }', r"cannot be converted from K to Nm"),
        ('"Torque [Nm]" = { column = "torque", unit = "xyz" }', r"must be one that is known, got 'xyz'"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path, columns: str, message: str) -> None:
    kept = [line for line in MAPPED.splitlines() if columns.split("=")[0].strip() not in line]
    with pytest.raises(ConfigError, match=message):
        read_plant_table(settings_of(tmp_path, "\n".join([*kept, columns])), config_of())


def test_a_text_with_a_unit_is_refused(tmp_path: Path) -> None:
    mapped = MAPPED.replace('"torque"', '{ column = "kind", unit = "kNm" }')
    with pytest.raises(DataError, match=r"'Torque \[Nm\]' must hold numbers"):
        read_plant_table(settings_of(tmp_path, mapped), config_of())


def test_features_that_nobody_listed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.columns .* must list the feature columns"):
        read_plant_table(settings_of(tmp_path), config_of(columns={}))


def test_separator_and_decimal_comma_are_the_plants_own(tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    path.write_text("torque;kind;failed\n1,5;L;0\n2,5;M;1\n")
    settings = settings_of(tmp_path, path=str(path), separator=";", decimal_comma=True)
    config = config_of(columns={"torque": {}, "kind": {}}, machine_reset=None)
    assert read_plant_table(settings, config).frame["torque"].to_list() == [1.5, 2.5]


def test_a_database_gives_the_same_table_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "select * from readings order by serial"
    create = (
        "create table readings (serial int, site text, torque numeric, air_c float8, kind char(1), failed int2, "
        "wear int, salary int)"
    )
    from_file = read_plant_table(settings_of(tmp_path, MAPPED), config_of()).frame
    with running_postgres() as server:
        server.run(create)
        server.copy("readings", ROWS.encode())
        monkeypatch.setenv("THE_URL", server.url)
        by_url = read_plant_table(settings_of(tmp_path, MAPPED, query=query, url_env="THE_URL"), config_of())
        monkeypatch.delenv("THE_URL")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        by_variables = read_plant_table(settings_of(tmp_path, MAPPED, query=query), config_of())
        with pytest.raises(ConfigError, match=r"data\.url_env must name a variable that is set, got 'THE_URL'"):
            read_plant_table(settings_of(tmp_path, MAPPED, query=query, url_env="THE_URL"), config_of())
    assert_frame_equal(by_url.frame, from_file)
    assert_frame_equal(by_variables.frame, from_file)
    assert by_url.origin.source == "postgresql"


def test_a_plants_own_marks_and_units_hold_at_the_plant_alone(tmp_path: Path) -> None:
    mapping = MAPPED.replace('unit = "degC" }', 'unit = ["degC", "K"], missing = [21, "> 23.5"] }')
    raw = pl.read_csv(settings_of(tmp_path, mapping).data.path or "")
    marked = (pl.col("air_c") == 21) | (pl.col("air_c") > 23.5)
    expected = raw.select(air=pl.when(~marked).then(pl.col("air_c") + 273.15))["air"]
    table = read_plant_table(settings_of(tmp_path, mapping), config_of())
    assert table.frame["Air temperature [K]"].to_list() == expected.to_list()
    assert 0 < expected.null_count() < 10
    assert table.schema == read_plant_table(settings_of(tmp_path, MAPPED), config_of()).schema


def test_marks_of_a_text_column_are_refused(tmp_path: Path) -> None:
    mapping = MAPPED.replace('"Type" = "kind"', '"Type" = { column = "kind", missing = [-999] }')
    with pytest.raises(ConfigError, match=r'columns\."Type" must hold numbers to have marks'):
        read_plant_table(settings_of(tmp_path, mapping), config_of())


WINDOWS: dict[str, Any] = {
    "machine": "machine",
    "time": "when",
    "columns": {"heat": {"unit": "K"}, "noise": {}},
    "windows": {"step": "2h", "spans": ["6h"], "horizon": "24h", "grace": "0"},
}


def test_a_plant_makes_rows_of_its_own_readings_and_log(tmp_path: Path) -> None:
    readings, log = fleet(3)
    own = readings.select(
        pl.col("machine").alias("Anlage"), pl.col("when").alias("Zeit"), (pl.col("heat") - 273.15).alias("T"), "noise"
    )
    log.select(pl.col("machine").alias("Nr"), "begin", "back", pl.lit("0049").alias("secret")).write_csv(
        tmp_path / "log.csv"
    )
    columns = '[columns]\nmachine = "Anlage"\nwhen = "Zeit"\nheat = { column = "T", unit = "degC" }\n'
    events = {"path": str(tmp_path / "log.csv"), "machine": "Nr", "start": "begin", "back": "back"}
    settings = settings_of(tmp_path, columns, own.write_csv(), path=str(tmp_path / "rows.csv"), events=events)
    table = read_plant_table(settings, check_config({"data": WINDOWS}))
    whole = check_config({"data": {**WINDOWS, "path": "", "events": {**events, "machine": "machine"}}})
    told = LogTable.of(log, whole.data.events.model_dump(), "machine", None)
    expected = made_table(readings.drop("site"), Origin("here"), told, whole)
    names = ["machine", "failure", *(column.name for column in table.schema.features)]
    assert_frame_equal(table.frame.select(names), expected.frame.select(names))
    assert table.schema.telemetry == expected.schema.telemetry


def test_a_plant_may_have_one_reading_a_row(tmp_path: Path) -> None:
    readings, log = fleet(2)
    wide = readings.select("machine", "when", "heat", "noise")
    log.write_csv(tmp_path / "log.csv")
    events = {"path": str(tmp_path / "log.csv"), "start": "begin", "back": "back"}
    config, file = check_config({"data": WINDOWS}), str(tmp_path / "rows.csv")
    long = wide.unpivot(["heat", "noise"], index=["machine", "when"], variable_name="tag", value_name="reading")
    from_long = settings_of(tmp_path, "", long.write_csv(), path=file, events=events, tag="tag", value="reading")
    table = read_plant_table(from_long, config)
    other = read_plant_table(settings_of(tmp_path, "", wide.write_csv(), path=file, events=events), config)
    assert_frame_equal(table.frame, other.frame)


def test_a_plant_without_a_signal_is_told_what_to_map(tmp_path: Path) -> None:
    readings, _ = fleet(2)
    settings = settings_of(tmp_path, "", readings.drop("heat").write_csv(), path=str(tmp_path / "rows.csv"))
    with pytest.raises(ConfigError, match="missing 'heat'"):
        read_plant_table(settings, check_config({"data": WINDOWS}))
