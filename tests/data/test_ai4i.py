import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import rules
from werkbund.data.ai4i import (
    AI4I_SCHEMA,
    AI4I_SHA256,
    FILE_NAMES,
    TWIN_SCHEMA,
    TWIN_SHA256,
    canonical_bytes,
    fetch_ai4i,
    generated_table,
    load_ai4i,
    locate,
    recognise,
)
from werkbund.data.features import to_polars
from werkbund.data.generator import generate
from werkbund.data.rules import rule_flags

FILE = locate(None, os.environ, Path.cwd())
ORIGINAL = None if FILE is None else FILE.with_name(FILE_NAMES[0])
TWIN = None if FILE is None else FILE.with_name(FILE_NAMES[1])
needs_original = pytest.mark.skipif(
    ORIGINAL is None or not ORIGINAL.is_file(), reason="no ai4i2020.csv in WERKBUND_DATA or ../shared/data"
)
needs_twin = pytest.mark.skipif(
    TWIN is None or not TWIN.is_file(), reason="no predictive_maintenance.csv in WERKBUND_DATA or ../shared/data"
)

PUBLISHED = (
    ORIGINAL is not None and ORIGINAL.is_file() and hashlib.sha256(ORIGINAL.read_bytes()).hexdigest() == AI4I_SHA256
)
needs_original_bytes = pytest.mark.skipif(
    not PUBLISHED, reason="no published ai4i2020.csv in WERKBUND_DATA or ../shared/data"
)

# The repository's own headers: no units, another name for the row number.
UCI_HEADERS = {name: name.split(" [")[0] for name in rules.COLUMNS} | {rules.ROW: "UID"}


@needs_original
def test_the_rules_give_the_files_flags_in_every_row() -> None:
    frame = load_ai4i(ORIGINAL).frame
    for mode, flags in rule_flags(frame).items():
        np.testing.assert_array_equal(flags, frame[mode].to_numpy() == 1, err_msg=mode)


@needs_original
def test_the_published_file_is_named_as_such() -> None:
    table = load_ai4i(ORIGINAL)
    assert (table.origin.source, table.origin.sha256) == ("ai4i2020", AI4I_SHA256)
    assert table.origin.note == "AI4I 2020, the published file."
    assert table.schema == AI4I_SCHEMA
    assert table.frame.columns == list(rules.COLUMNS)


@needs_original
def test_the_files_label_is_its_counted_modes_or_unexplained() -> None:
    table = load_ai4i(ORIGINAL)
    flags, names = table.schema.mode_flags(table.frame)
    counted = flags[:, [names.index(mode) for mode in ("TWF", "HDF", "PWF", "OSF")]].any(axis=1)
    labels = table.schema.labels(table.frame) == 1
    assert labels[counted].all()
    assert 0 < (labels & ~counted).sum() < 0.002 * table.num_rows


@needs_original
def test_a_tool_begins_wherever_wear_is_back_at_zero() -> None:
    table = load_ai4i(ORIGINAL)
    wear = table.frame[rules.WEAR].to_numpy()
    np.testing.assert_array_equal(table.schema.machines(table.frame), np.cumsum(wear == 0) - 1)


@needs_original
@needs_twin
def test_the_twin_has_the_originals_rows_and_label() -> None:
    original, twin = load_ai4i(ORIGINAL), load_ai4i(TWIN)
    assert (twin.origin.source, twin.origin.sha256) == ("ai4i2020-twin", TWIN_SHA256)
    assert twin.schema == TWIN_SCHEMA
    shared = list(rules.COLUMNS[:8])
    assert twin.frame.select(shared).equals(original.frame.select(shared))
    original_labels, twin_labels = (table.schema.labels(table.frame) for table in (original, twin))
    np.testing.assert_array_equal(twin_labels, original_labels)


@needs_original
@needs_twin
def test_the_twins_mode_is_one_of_the_originals() -> None:
    original, twin = load_ai4i(ORIGINAL), load_ai4i(TWIN)
    short = {
        "Heat Dissipation Failure": "HDF",
        "Overstrain Failure": "OSF",
        "Power Failure": "PWF",
        "Random Failures": "RNF",
        "Tool Wear Failure": "TWF",
    }
    flags, names = twin.schema.mode_flags(twin.frame)
    assert set(names) == set(short)
    for column, name in enumerate(names):
        assert original.frame[short[name]].to_numpy()[flags[:, column]].all()
    several, _ = original.schema.mode_flags(original.frame)
    np.testing.assert_array_equal(flags.any(axis=1), several.any(axis=1))


def test_derived_features_are_what_the_rules_compare() -> None:
    frame = generate(rows=500, plants=1, seed=0).cast({rules.SPEED: pl.Float64, rules.WEAR: pl.Float64})
    derived = frame.select(to_polars(feature.tree).alias(feature.name) for feature in AI4I_SCHEMA.derived)
    columns = {name: frame[name].to_numpy() for name in (rules.AIR, rules.PROCESS, rules.WEAR, rules.TORQUE)}
    np.testing.assert_array_equal(derived["temperature_difference"], columns[rules.PROCESS] - columns[rules.AIR])
    np.testing.assert_array_equal(derived["overstrain"], columns[rules.WEAR] * columns[rules.TORQUE])
    power = rules.power_w(columns[rules.TORQUE], frame[rules.SPEED].to_numpy())
    np.testing.assert_allclose(derived["power"], power, rtol=1e-14)


def test_no_feature_is_an_identifier_or_a_mode() -> None:
    for schema in (AI4I_SCHEMA, TWIN_SCHEMA):
        names = {feature.name for feature in schema.features}
        assert names.isdisjoint({rules.ROW, rules.PRODUCT, "Failure Type", schema.label, *rules.MODES})
    assert {rules.ROW, rules.PRODUCT} == set(AI4I_SCHEMA.never) == set(TWIN_SCHEMA.never)


def test_generated_values_are_plausible_for_the_schema() -> None:
    frame = generate(rows=50_000, plants=50, seed=0)
    for feature in AI4I_SCHEMA.features:
        if feature.low is not None:
            assert frame[feature.name].is_between(feature.low, feature.high).all(), feature.name


def test_tables_are_recognised_by_their_header() -> None:
    frame = generate(rows=10, plants=1, seed=0)
    plain = frame.drop("plant")
    schema = recognise(frame)
    assert schema is not None
    assert schema.client == "plant"
    assert recognise(plain) == AI4I_SCHEMA
    twin = plain.drop(*rules.COLUMNS[8:]).with_columns(Target=0).with_columns(pl.lit("x").alias("Failure Type"))
    assert recognise(twin) == TWIN_SCHEMA
    assert recognise(plain.drop(rules.TORQUE)) is None


def _file_in(folder: Path, name: str = FILE_NAMES[0]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    generate(rows=20, plants=1, seed=0).drop("plant").write_csv(folder / name)
    return folder / name


def test_places_are_searched_in_their_order(tmp_path: Path) -> None:
    cwd, cache, named, explicit = (tmp_path / name for name in ("work", "cache", "named", "explicit"))
    environ = {"WERKBUND_DATA": str(named)}
    assert locate(None, environ, cwd, cache) is None
    for folder in (cache, tmp_path / "shared" / "data" / "ai4i2020", named / "ai4i2020", named):
        file = _file_in(folder)
        # A subfolder goes before the folder itself; every other place goes before those made so far.
        expected = named / "ai4i2020" / FILE_NAMES[0] if folder == named else file
        assert locate(None, environ, cwd, cache) == expected
    assert locate(_file_in(explicit), environ, cwd, cache) == explicit / FILE_NAMES[0]
    assert locate(explicit, environ, cwd, cache) == explicit / FILE_NAMES[0]


def test_the_variable_may_name_a_file(tmp_path: Path) -> None:
    file = _file_in(tmp_path / "here", "renamed.csv")
    assert locate(None, {"WERKBUND_DATA": str(file)}, tmp_path / "work", tmp_path / "cache") == file


def test_the_original_goes_before_the_twin(tmp_path: Path) -> None:
    twin = _file_in(tmp_path, FILE_NAMES[1])
    assert locate(tmp_path, {}, tmp_path) == twin
    assert locate(_file_in(tmp_path).parent, {}, tmp_path) == tmp_path / FILE_NAMES[0]


def test_an_explicit_path_must_hold_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="path must name an AI4I file"):
        locate(tmp_path / "absent.csv", {}, tmp_path)


def test_a_file_of_other_content_is_called_so(tmp_path: Path) -> None:
    table = load_ai4i(_file_in(tmp_path))
    assert table.origin.source == "csv"
    assert "not the published one" in table.origin.note


def test_a_file_of_another_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ai4i2020.csv"
    generate(rows=20, plants=1, seed=0).drop(rules.TORQUE).write_csv(file)
    with pytest.raises(DataError, match=r"'Torque \[Nm\]' missing"):
        load_ai4i(file)


def test_without_a_file_rows_are_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("WERKBUND_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = load_ai4i(rows=120, plants=3, seed=5)
    assert table.origin.generated == {"rows": 120, "plants": 3, "seed": 5}
    assert table.origin.note.startswith("Generated: 120 rows of 3 plants")
    assert table.frame.equals(generate(rows=120, plants=3, seed=5))
    assert table.schema.client == "plant"


def test_each_generated_plant_has_tools_of_its_own() -> None:
    table = generated_table(rows=400, plants=8, seed=1)
    machines = table.schema.machines(table.frame)
    pairs = {(int(machine), plant) for machine, plant in zip(machines, table.frame["plant"], strict=True)}
    assert len(pairs) == machines.max() + 1


def _file() -> Path:
    assert ORIGINAL is not None
    return ORIGINAL


def _published() -> pl.DataFrame:
    return pl.read_csv(_file()).rename(UCI_HEADERS)


@needs_original_bytes
def test_the_repositorys_headers_give_the_published_bytes() -> None:
    assert canonical_bytes(_published()) == _file().read_bytes()


@needs_original_bytes
def test_the_order_of_columns_does_not_matter() -> None:
    frame = _published()
    assert canonical_bytes(frame.select(reversed(frame.columns))) == _file().read_bytes()


@needs_original_bytes
def test_a_fetched_file_is_kept_and_not_fetched_again(tmp_path: Path) -> None:
    calls = []

    def download() -> pl.DataFrame:
        calls.append(1)
        return _published()

    cache = tmp_path / "made" / "on the way"
    paths = [fetch_ai4i(cache, download) for _ in range(2)]
    assert paths == [cache / "ai4i2020.csv"] * 2
    assert len(calls) == 1
    assert paths[0].read_bytes() == _file().read_bytes()
    assert os.listdir(cache) == ["ai4i2020.csv"]


@needs_original_bytes
def test_a_spoilt_file_in_the_cache_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "ai4i2020.csv").write_bytes(_file().read_bytes()[:-100])
    assert fetch_ai4i(tmp_path, _published).read_bytes() == _file().read_bytes()


def test_altered_content_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"SHA-256 {AI4I_SHA256}, got [0-9a-f]{{64}}; it was altered"):
        fetch_ai4i(tmp_path, lambda: generate(rows=100, plants=1, seed=0))
    assert os.listdir(tmp_path) == []


def test_missing_columns_are_named() -> None:
    frame = generate(rows=10, plants=1, seed=0).drop("TWF", rules.TORQUE)
    with pytest.raises(DataError, match=r"Torque \[Nm\], TWF missing"):
        canonical_bytes(frame)


def test_a_text_among_numbers_is_refused() -> None:
    frame = generate(rows=10, plants=1, seed=0).with_columns(pl.lit("hot").alias(rules.AIR))
    with pytest.raises(DataError, match="must hold numbers"):
        canonical_bytes(frame)


def test_canonical_bytes_read_back_as_the_same_table() -> None:
    frame = generate(rows=1000, plants=1, seed=3).select(rules.COLUMNS)
    assert pl.read_csv(canonical_bytes(frame)).equals(frame)


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ucimlrepo", None)  # makes its import fail
    with pytest.raises(ConfigError, match=r"pip install 'werkbund\[fetch\]'"):
        fetch_ai4i(tmp_path)
