"""What a drafted configuration says about tables of many kinds, and that it always loads."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.config import Config, check_config, load_config
from werkbund.config.reading import valid_keys
from werkbund.core.errors import ConfigError, DataError
from werkbund.data import generate
from werkbund.draft import draft_config
from werkbund.draft.columns import range_of
from werkbund.draft.dialect import Dialect, dialect_of
from werkbund.draft.label import label_of
from werkbund.draft.sizes import Sizes
from werkbund.draft.text import EXAMPLES, INAPPLICABLE
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table

ROWS = 400
Drafted = Callable[..., tuple[str, Config]]


def machines(**columns: Any) -> pl.DataFrame:
    """Return rows of eight machines, with a tenth failures and one honest feature; columns are added or replaced."""
    rng = np.random.default_rng(0)
    base = {"load [kW]": rng.normal(50, 5, ROWS), "failed": (np.arange(ROWS) % 10 == 3).astype(int)}
    return pl.DataFrame({**base, **columns})


@pytest.fixture
def drafted(tmp_path: Path) -> Drafted:
    """Return a function that writes a table, drafts a configuration beside it, and loads it."""

    def write(frame: pl.DataFrame, *, name: str = "table.csv", label: str = "failed", **options: Any) -> Any:
        path = tmp_path / name
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
        text = draft_config(path, label=label, config_folder=tmp_path, **options)
        (tmp_path / "federation.toml").write_text(text, encoding="utf-8")
        return text, load_config(tmp_path / "federation.toml")

    return write


def reason(text: str, column: str) -> str:
    """Return why a column stands in never."""
    line = re.search(rf'^  "{re.escape(column)}",  # (.*)$', text, re.MULTILINE)
    return line[1] if line else ""


def options(text: str) -> list[str]:
    """Return the lines of keys that are not set, columns that were left out among them."""
    return [line for line in text.splitlines() if re.match(r'#(\w+|"[^"]+") = ', line)]


# ---- the whole draft


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


# ---- how the file is written


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    frame = machines(note=["a, b; c"] * ROWS)
    frame.write_csv(tmp_path / "t.csv", separator=separator)
    assert dialect_of(tmp_path / "t.csv") == Dialect(separator)


@pytest.mark.parametrize(
    ("rows", "comma"),
    [
        ("1,5;2\n3;4\n", True),
        ("1.5;2\n3;4\n", False),
        ("1;2\n3;4\n", False),
        ("n/a;2,25\n;4\n", True),
        ("a,b;1\n", False),
    ],
)
def test_decimal_commas_are_found(tmp_path: Path, rows: str, comma: bool) -> None:
    (tmp_path / "t.csv").write_text("x;y\n" + rows)
    assert dialect_of(tmp_path / "t.csv").decimal_comma is comma


def test_a_missing_file_is_reported_as_always(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        draft_config(tmp_path / "none.csv", label="failed", config_folder=tmp_path)


# ---- columns


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("serial", [f"M{number}" for number in range(ROWS)], "identifier"),
        ("row", list(range(1, ROWS + 1)), "identifier"),
        ("order_id", [number // 2 * 7919 % 1000 for number in range(ROWS)], "named like an identifier"),
        ("firmware", ["v2"] * ROWS, "constant: every value is 'v2'"),
        ("empty", [None] * ROWS, "no row has a value"),
        ("note", [f"note {number % 150}" for number in range(ROWS)], "free text: 150 different"),
        ("clock", [f"{number % 24:02d}:00" for number in range(ROWS)], "a date or time"),
        (
            "spoiled",
            ["ERR" if number == 5 else f"{number / 7:.3f}" for number in range(ROWS)],
            "1 of 400 values are texts",
        ),
        ("huge", [1e300 * number for number in range(ROWS)], "too large to scale"),
        ("probability", np.arange(ROWS) % 9 / 8, "the exported model gives this name"),
    ],
)
def test_a_column_that_must_not_be_a_feature_has_its_reason(drafted: Drafted, name: str, values: Any, why: str) -> None:
    text, config = drafted(machines(**{name: values}))
    assert why in reason(text, name)
    assert name in config.data.never
    assert list(config.data.columns) == ["load [kW]"]
    assert read_table(config).schema.features[0].name == "load [kW]"


def test_types_that_are_no_numbers_or_words_stay_out(drafted: Drafted) -> None:
    text, config = drafted(machines(wave=[[1.0, 2.0]] * ROWS), name="table.parquet")
    assert "List(Float64)" in reason(text, "wave")
    assert '#"wave"' not in text
    assert list(config.data.columns) == ["load [kW]"]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("material", ["steel", "brass", None, "zinc"] * (ROWS // 4), "category"),
        ("error_code", [0, 3, 7, 9] * (ROWS // 4), "category"),
        ("pieces", [0, 3, 7, 9] * (ROWS // 4), "number"),
        ("warm", [True, False] * (ROWS // 2), "number"),
    ],
)
def test_kinds_follow_type_and_name(drafted: Drafted, name: str, values: list[Any], kind: str) -> None:
    _, config = drafted(machines(**{name: values}))
    assert config.data.columns[name].kind == kind


@pytest.mark.parametrize("kind", ["number", "flag", "word", "missing"])
def test_a_column_that_gives_the_label_away_is_listed_with_its_figure(drafted: Drafted, kind: str) -> None:
    failed = machines()["failed"].to_numpy()
    columns: Mapping[str, Any] = {
        "number": failed + np.random.default_rng(1).uniform(0, 0.9, ROWS),
        "flag": failed,
        "word": np.where(failed, "broken", "fine"),
        "missing": [3.5 * number if one else None for number, one in enumerate(failed)],
    }
    text, config = drafted(machines(after=columns[kind]))
    assert "suspected leak" in reason(text, "after")
    assert re.search(r"ROC AUC 1\.0000|40 of 40 rows are failures", reason(text, "after"))
    assert "after" not in config.data.columns


def test_a_suspected_leak_can_be_brought_back(drafted: Drafted, tmp_path: Path) -> None:
    failed = machines()["failed"].to_numpy()
    text, _ = drafted(machines(after=failed + np.random.default_rng(1).uniform(0, 0.9, ROWS)))
    text = re.sub(r'^  "after",.*\n', "", text, flags=re.MULTILINE).replace('\n#"after" =', '\n"after" =')
    (tmp_path / "federation.toml").write_text(text)
    table = read_table(load_config(tmp_path / "federation.toml"))
    assert [feature.name for feature in table.schema.features] == ["load [kW]", "after"]


def test_a_table_without_a_feature_is_refused_with_all_reasons(drafted: Drafted) -> None:
    with pytest.raises(DataError, match=r"has none\. 'a': constant.*'b': free text"):
        drafted(machines(a=1, b=[f"t{number % 99}" for number in range(ROWS)]).drop("load [kW]"))


# ---- ranges


@pytest.mark.parametrize("seed", range(5))
def test_a_range_is_the_percentiles_widened_by_their_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.normal(0, 100), rng.uniform(0.01, 100), 500)
    first, last = np.quantile(values, (0.01, 0.99))
    ends = range_of(values)
    assert ends is not None
    floor = 0.0 if values.min() >= 0 else -np.inf
    for end, exact in ((ends[0], max(2 * first - last, floor)), (ends[1], 2 * last - first)):
        assert end == pytest.approx(exact, rel=0.01, abs=1e-9)
    assert ends[0] <= max(2 * first - last, floor)
    assert ends[1] >= 2 * last - first


def test_a_wild_reading_does_not_move_the_range() -> None:
    values = np.random.default_rng(0).normal(50, 5, 1000)
    assert range_of(np.append(values, -9999.0)) is not None
    assert range_of(np.append(values, -9999.0))[0] > 0  # type: ignore[index]


@pytest.mark.parametrize("values", [[5.0] * 9, [0.0, 1.0] * 9])
def test_one_or_two_values_have_no_range(values: list[float]) -> None:
    assert range_of(np.array(values)) is None


# ---- the label


@pytest.mark.parametrize(
    ("values", "positive"),
    [(["ok", "bad", "ok"], "bad"), ([1, 2, 1], 2), ([0, 1, 0], None), ([True, False, False], None), ([0.0, 1.0], None)],
)
def test_the_rarer_value_is_the_failure(values: list[Any], positive: Any) -> None:
    label = label_of(pl.DataFrame({"y": values}), "y", None)
    assert label.positive == positive
    assert label.positives == 1


@pytest.mark.parametrize(("values", "asked"), [(["ok", "bad", "ok"], "OK"), ([1, 2, 1], "1"), ([True, False], "true")])
def test_a_positive_value_may_be_given_as_text(values: list[Any], asked: str) -> None:
    label = label_of(pl.DataFrame({"y": values}), "y", asked)
    np.testing.assert_array_equal(label.values, [str(value).lower() == asked.lower() for value in values])


def test_a_commoner_one_is_doubted(drafted: Drafted) -> None:
    text, _ = drafted(machines(failed=[0, 1, 1, 1] * (ROWS // 4)))
    assert "the commoner value; if 0 is the failure" in " ".join(text.split("\n# "))


def test_an_absent_label_names_the_nearest_column(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="did you mean 'failed'"):
        drafted(machines(), label="faild")


def test_a_label_of_many_values_lists_them_with_their_rows(drafted: Drafted) -> None:
    with pytest.raises(DataError, match=r"got 3: 'ok': 200, 'heat': 100, 'wear': 100; choose .* or make a 0/1 column"):
        drafted(machines(failed=["ok", "heat", "ok", "wear"] * (ROWS // 4)))


def test_a_label_of_one_class_says_so(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="all rows with a value have 0: there is nothing to learn"):
        drafted(machines(failed=0))


def test_a_label_that_is_no_number_word_or_truth_is_refused(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="must hold numbers, words or truths, got Duration"):
        drafted(machines(failed=[timedelta(hours=number % 2) for number in range(ROWS)]), name="table.parquet")


def test_client_and_label_are_two_columns(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="got 'failed' for both"):
        drafted(machines(), client="failed")


def test_rows_without_a_label_are_refused(drafted: Drafted) -> None:
    with pytest.raises(DataError, match="100 of 400 are missing"):
        drafted(machines(failed=[0, 1, 1, None] * (ROWS // 4)))


def test_a_positive_value_that_is_not_there_lists_those_that_are(drafted: Drafted) -> None:
    with pytest.raises(ConfigError, match="got 'yes'; it has 0: 360, 1: 40"):
        drafted(machines(), positive="yes")


def test_too_few_failures_are_warned_of(drafted: Drafted) -> None:
    rare, _ = drafted(machines(failed=[1] * 3 + [0] * (ROWS - 3)))
    assert "# Beware: 3 failures are too few." in rare
    assert "Beware" not in drafted(machines())[0]


def test_rare_failures_are_weighted(drafted: Drafted) -> None:
    assert drafted(machines())[1].training.positive_weight == "none"
    text, config = drafted(machines(failed=(np.arange(ROWS) % 40 == 3).astype(int)))
    assert config.training.positive_weight == "sqrt"
    assert "There are 39 rows without failure for each one with." in text


# ---- machine, time, client


@pytest.mark.parametrize("name", ["machine", "machineID", "asset_no", "Maschine", "engine_id", "UNIT"])
def test_a_machine_column_is_known_by_name_and_repetition(drafted: Drafted, name: str) -> None:
    _, config = drafted(machines(**{name: np.arange(ROWS) // 50}))
    assert config.data.machine == name
    assert config.clients.partition == "tool-blocks"
    assert divide(read_table(config), config).partition.num_clients == 2


def test_the_whole_is_preferred_to_its_tool(drafted: Drafted) -> None:
    _, config = drafted(machines(tool_id=np.arange(ROWS) // 10, machine_id=np.arange(ROWS) // 50))
    assert config.data.machine == "machine_id"


@pytest.mark.parametrize(("name", "every"), [("Tool wear [min]", 50), ("machine type", 50), ("machine", 1)])
def test_other_columns_are_no_machine(drafted: Drafted, name: str, every: int) -> None:
    assert drafted(machines(**{name: np.arange(ROWS) // every}))[1].data.machine is None


def test_wear_that_falls_back_tells_tools_apart(drafted: Drafted) -> None:
    _, config = drafted(machines(**{"Tool wear [min]": np.arange(ROWS) % 40 * 5}))
    assert config.data.machine_reset == "Tool wear [min]"
    assert "Tool wear [min]" in config.data.columns
    assert len(np.unique(read_table(config).schema.machines(read_table(config).frame))) == ROWS // 40


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ts", [f"2024-01-{1 + number // 24:02d} {number % 24:02d}:00:00" for number in range(ROWS)]),
        ("timestamp", [1_700_000_000 + 60 * number for number in range(ROWS)]),
        ("measured", [f"2024/02/{1 + number % 28:02d}" for number in range(ROWS)]),
    ],
)
def test_a_time_column_orders_the_rows(drafted: Drafted, name: str, values: list[Any]) -> None:
    text, config = drafted(machines(**{name: values}))
    assert config.data.time == name
    assert name not in config.data.columns
    assert ("already rise" in text) == (values == sorted(values))
    assert divide(read_table(config), config).table.frame[name].is_sorted()


def test_a_time_whose_texts_do_not_sort_leaves_the_order_of_the_file(drafted: Drafted) -> None:
    text, config = drafted(machines(date=[f"{1 + number % 28:02d}.03.2024 14:00" for number in range(ROWS)]))
    assert config.data.time is None
    assert "'date' is a time, but its values do not sort as time does" in text
    assert "a date or time" in reason(text, "date")


def test_a_duration_is_no_time(drafted: Drafted) -> None:
    _, config = drafted(machines(**{"cycle time [s]": np.arange(ROWS) % 13 + 0.5}))
    assert config.data.time is None
    assert config.data.columns["cycle time [s]"].unit == "s"


def test_a_site_is_suggested_but_not_decided(drafted: Drafted) -> None:
    frame = machines(site=["north", "south"] * (ROWS // 2))
    text, config = drafted(frame)
    assert (config.data.client, config.clients.partition) == (None, "iid")
    assert "Is 'site' the site?" in text
    assert "seems to name the site" in reason(text, "site")
    text, config = drafted(frame, client="site")
    assert (config.data.client, config.clients.partition) == ("site", "by-column")
    assert "north: 200 rows" in text
    assert divide(read_table(config), config).population.names == ("north", "south")


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


def test_a_table_or_files_must_be_given_but_not_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got neither"):
        draft_config(label="failed", config_folder=tmp_path)
    with pytest.raises(ConfigError, match="got both"):
        draft_config(tmp_path / "a", clients={"b": tmp_path / "b"}, label="failed", config_folder=tmp_path)
    with pytest.raises(ConfigError, match="client must be left out"):
        draft_config(clients={"b": tmp_path / "b"}, label="failed", client="site", config_folder=tmp_path)


# ---- sizes


@pytest.mark.parametrize("rows", [1, 10, 1000, 30_000, 1_000_000])
def test_batches_and_rounds_stay_within_their_bounds(rows: int) -> None:
    sizes = Sizes("iid", 2, rows)
    assert 16 <= sizes.batch_size <= 1024
    assert sizes.batch_size.bit_count() == 1
    assert 50 <= sizes.rounds <= 100


def test_few_clients_must_all_answer() -> None:
    assert [Sizes("iid", count, 100).quorum for count in (1, 2, 3, 4, 50)] == [1.0, 1.0, 1.0, 0.5, 0.5]


# ---- a table that is known


def test_a_known_table_is_named_and_its_leaks_are_found(drafted: Drafted) -> None:
    text, config = drafted(generate(rows=3000, plants=1, seed=0).drop("plant", strict=False), label="Machine failure")
    assert "Werkbund knows this table by its header" in text
    assert config.data.machine_reset == "Tool wear [min]"
    assert {"UDI", "Product ID", "HDF", "PWF", "OSF"} & set(config.data.columns) == set()
    assert {"Air temperature [K]", "Torque [Nm]", "Type"} <= set(config.data.columns)
    assert config.data.columns["Torque [Nm]"].unit == "Nm"
