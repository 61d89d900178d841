"""What a drafted configuration says about tables of many kinds, and that it always loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.draft.tables import ROWS, Drafted, machines, options
from werkbund.config import Config, check_config, load_config
from werkbund.config.reading import valid_keys
from werkbund.core.errors import ConfigError, DataError
from werkbund.data import generate
from werkbund.draft import draft_config
from werkbund.draft.toml import EXAMPLES, INAPPLICABLE
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table


def test_every_key_stands_in_the_draft(drafted: Drafted) -> None:
    text, config = drafted(machines())
    for key in valid_keys():
        section, _, name = key.rpartition(".")
        if key not in INAPPLICABLE:
            body = text.split(f"[{section}]\n")[1].split("\n[")[0]
            assert re.search(rf"^#?{name} = ", body, re.MULTILINE), key
    assert config.data.path is not None


def test_every_key_that_has_an_example_exists() -> None:
    assert set(EXAMPLES) | INAPPLICABLE <= set(valid_keys())


def test_every_key_that_is_not_set_is_explained(drafted: Drafted) -> None:
    text, _ = drafted(machines())
    lines = [line for line in options(text) if not line.startswith("#product")]
    assert len(lines) > 30
    assert all("  # " in line for line in lines)


def test_every_commented_key_can_be_uncommented(drafted: Drafted) -> None:
    text, _ = drafted(machines(id=[f"x{number}" for number in range(ROWS)]))
    lines = options(text)
    assert any(line.startswith('#"id"') for line in lines)
    for line in lines:
        changed = text.replace(f"\n{line}\n", f"\n{line[1:]}\n").replace("#[features.derived]", "[features.derived]")
        assert check_config(tomllib.loads(changed)) != Config(), line


@pytest.mark.parametrize("name", ['say "hi"', "a.b", "[x]", "n # 1", "Öl\ttemp", "back\\slash", "two\nlines", "a = 1"])
def test_any_header_can_be_written(drafted: Drafted, name: str) -> None:
    _, config = drafted(machines(**{name: np.arange(ROWS) % 7 / 2}), name="table.parquet")
    assert name in config.data.columns
    _, config = drafted(machines(**{name: "same"}), name="table.parquet")
    assert name in config.data.never


def test_the_draft_names_the_file_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "conf").mkdir()
    machines().write_csv(tmp_path / "data" / "t.csv")
    for folder, expected in ((tmp_path, "data/t.csv"), (tmp_path / "conf", "../data/t.csv")):
        text = draft_config(tmp_path / "data" / "t.csv", label="failed", config_folder=folder)
        assert tomllib.loads(text)["data"]["path"] == expected
        (folder / "f.toml").write_text(text)
        assert read_table(load_config(folder / "f.toml")).num_rows == ROWS


def test_client_and_label_are_two_columns(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="got 'failed' for both"):
        drafted(machines(), client="failed")


def test_too_few_failures_are_warned_of(drafted: Drafted) -> None:
    rare, _ = drafted(machines(failed=[1] * 3 + [0] * (ROWS - 3)))
    assert "# Beware: 3 failures are too few." in rare
    assert "Beware" not in drafted(machines())[0]


def test_an_absent_client_column_names_the_nearest(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="client must name a column of the table, got 'sitte'; did you mean 'site'"):
        drafted(machines(site=["north", "south"] * (ROWS // 2)), client="sitte")


def test_rows_without_a_client_are_refused(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="200 of 400 are missing"):
        drafted(machines(site=["north", None] * (ROWS // 2)), client="site")


def test_one_file_a_client_gives_one_client_a_file(tmp_path: Path) -> None:
    files = {"Essen": tmp_path / "e.csv", "Győr 2": tmp_path / "g.csv"}
    for path in files.values():
        machines().write_csv(path)
    text = draft_config(clients=files, label="failed", config_folder=tmp_path)
    assert tomllib.loads(text)["data"]["clients"] == {"Essen": "e.csv", "Győr 2": "g.csv"}
    (tmp_path / "f.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "f.toml")
    assert divide(read_table(config), config).population.names == ("Essen", "Győr 2")


@pytest.mark.parametrize(
    ("names", "plants"),
    [(("kassel", "linz"), True), (("plant-1", "plant-2"), True), (("2024-05-01", "2024-05-02"), False)],
)
def test_files_that_are_named_like_plants_are_one_a_client(
    tmp_path: Path, names: tuple[str, ...], plants: bool
) -> None:
    (tmp_path / "export").mkdir()
    for name in names:
        machines().write_csv(tmp_path / "export" / f"{name}.csv")
    drafted = tomllib.loads(draft_config(tmp_path / "export", config_folder=tmp_path))["data"]
    assert (drafted.get("clients") == {name: f"export/{name}.csv" for name in names}) is plants
    assert ("path" in drafted) is not plants
    assert drafted["label"] == "failed"


def test_a_table_or_files_must_be_given_but_not_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got neither"):
        draft_config(label="failed", config_folder=tmp_path)
    with pytest.raises(ConfigError, match="got both"):
        draft_config(tmp_path / "a", clients={"b": tmp_path / "b"}, label="failed", config_folder=tmp_path)
    with pytest.raises(ConfigError, match="client must be left out"):
        draft_config(clients={"b": tmp_path / "b"}, label="failed", client="site", config_folder=tmp_path)


def test_a_known_table_is_named_and_its_leaks_are_found(drafted: Drafted) -> None:
    text, config = drafted(generate(rows=3000, plants=1, seed=0).drop("plant", strict=False), label="Machine failure")
    assert "Werkbund knows this table by its header" in text
    assert config.data.machine_reset == "Tool wear [min]"
    assert {"UDI", "Product ID", "HDF", "PWF", "OSF"} & set(config.data.columns) == set()
    assert {"Air temperature [K]", "Torque [Nm]", "Type"} <= set(config.data.columns)
    assert config.data.columns["Torque [Nm]"].unit == "Nm"
