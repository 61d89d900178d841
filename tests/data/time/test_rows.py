"""Rows made of readings and a log: what stands in them, what travels with a model, and that nothing leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from tests.data.time.fleets import DATA, fleet
from werkbund.config import check_config
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import NumberTarget
from werkbund.data.preparation import Preparation
from werkbund.data.schema_json import schema_fingerprint, schema_from_json, schema_to_json
from werkbund.data.table import Origin
from werkbund.data.time.clock import Clock
from werkbund.data.time.events import LogTable
from werkbund.data.time.rows import made, purge_of
from werkbund.federation.population import divide, split_of
from werkbund.federation.tables import made_table
from werkbund.partition.split import LEFT_OUT, TEST, TRAIN, RowTraits

EVENTS = {"start": "begin", "back": "back", "mode": "mode"}
NOW = 2**60


def _config(**changes: Any) -> Any:
    return check_config({"data": {**DATA, "events": EVENTS, **changes}})


def _log(log: pl.DataFrame, config: Any) -> LogTable:
    return LogTable.of(log, config.data.events.model_dump(), "machine", "site")


def _table(wears: bool = True, seed: int = 0, machines: int = 12, **changes: Any) -> Any:
    readings, log = fleet(machines, seed=seed, wears=wears)
    config = _config(**changes)
    return made_table(readings, Origin("test"), _log(log, config), config), config


def test_rows_are_an_ordinary_table() -> None:
    table, _ = _table()
    names = ["machine", "site", "when", *(column.name for column in table.schema.features), "failure", "cause"]
    assert table.frame.columns == [*names, "life", "censored"]
    assert table.schema.label == "failure"
    assert (table.schema.machine, table.schema.time, table.schema.client) == ("machine", "when", "site")
    assert table.frame["failure"].unique().sort().to_list() == [0, 1]
    flags, modes = table.schema.mode_flags(table.frame)
    assert modes == ("heat", "leak")
    assert (flags.any(axis=1) == (table.frame["failure"].to_numpy() == 1)).all()
    assert (table.frame.filter(pl.col("failure") == 1)["life"] <= 24).all()
    known = {column.name: column for column in table.schema.features}
    assert (known["heat mean 6h"].unit, known["heat mean 6h"].high) == ("K", 500.0)
    assert (known["heat slope 6h"].unit, known["heat slope 6h"].high) == ("K/h", None)


def test_what_was_counted_stands_beside_the_rows() -> None:
    table, _ = _table()
    told = table.origin.made
    assert told["points"]["none"] + told["points"]["failure"] == table.num_rows
    assert told["points"]["down"] > 0
    assert table.origin.to_json()["made"] == told


def test_one_description_travels_with_schema_and_model() -> None:
    table, config = _table()
    schema = table.schema
    described = schema_to_json(schema)
    assert schema_from_json(described).telemetry == schema.telemetry
    other, _ = _table(windows={**DATA["windows"], "spans": ["6h"]})
    assert schema_fingerprint(other.schema) != schema_fingerprint(schema)
    names = schema.telemetry.windows.feature_names
    width = len(names)
    learnt = Preparation(names, (), (0.0,) * width, (1.0,) * width, telemetry=schema.telemetry)
    assert Preparation.from_json(learnt.to_json()) == learnt
    readings, log = fleet()
    points = learnt.telemetry.points(readings, Clock(), NOW, _log(log, config), "site")  # type: ignore[union-attr]
    both = table.frame.with_columns(machine=pl.col("site") + " " + pl.col("machine")).join(
        points, on=["machine", "when"], suffix=" new"
    )
    assert both.height == table.num_rows
    assert all(both[name].equals(both[f"{name} new"], null_equal=True) for name in names)


@pytest.mark.parametrize("split", ["machines", "time"])
def test_no_window_and_no_label_crosses_a_border(split: str) -> None:
    table, config = _table()
    config = check_config({"data": {**DATA, "events": EVENTS}, "clients": {"split": split, "later": 0.2}})
    ahead, back = purge_of(config.data.windows.model_dump())
    assert (ahead, back) == (24.0, 12.0)
    traits = RowTraits.of(table)
    parts = split_of(config).parts(traits, np.random.default_rng(0))
    assert {TRAIN, TEST} <= set(parts.tolist())
    assert (parts == LEFT_OUT).any()
    assert traits.when is not None
    for part in set(parts.tolist()) - {LEFT_OUT}:
        for other in set(parts.tolist()) - {LEFT_OUT, part}:
            _check_apart(traits, parts == part, parts == other, ahead, back)


def _check_apart(traits: RowTraits, own: Any, other: Any, ahead: float, back: float) -> None:
    """Check that of two parts no row of a machine sees or foretells what one of the other sees or foretells."""
    assert traits.when is not None
    for machine in np.unique(traits.machines[own]):
        first = traits.when[own & (traits.machines == machine)]
        second = traits.when[other & (traits.machines == machine)]
        if len(second):
            apart = np.abs(first[:, None] - second[None, :]).min()
            assert apart >= ahead + back


def test_a_random_walk_without_signal_gives_no_skill() -> None:
    skill: list[float] = []
    flattered: list[float] = []
    for seed in range(3):
        windows = {**DATA["windows"], "statistics": ["mean", "slope", "deviation"]}
        table, config = _table(wears=False, seed=seed, windows=windows)
        parts = split_of(config).parts(RowTraits.of(table), np.random.default_rng(seed))
        names = list(table.schema.telemetry.windows.feature_names)
        x, y = table.frame.select(names).to_numpy(), table.frame["failure"].to_numpy()
        by_row = np.random.default_rng(seed).choice([TRAIN, TEST], len(y))
        for how, found in ((parts, skill), (by_row, flattered)):
            model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)
            model.fit(x[how == TRAIN], y[how == TRAIN])
            test = how == TEST
            precision = average_precision_score(y[test], model.predict_proba(x[test])[:, 1])
            found.append(precision / y[test].mean())
    assert np.mean(skill) < 1.25
    assert np.mean(flattered) > 1.5  # rows dealt at random would have shown one


def test_what_wears_is_foretold_by_the_same_split() -> None:
    table, config = _table()
    parts = split_of(config).parts(RowTraits.of(table), np.random.default_rng(0))
    x = table.frame["heat deviation 12h"].fill_null(0).to_numpy()
    y = table.frame["failure"].to_numpy()
    assert average_precision_score(y[parts == TEST], x[parts == TEST]) > 1.7 * y[parts == TEST].mean()


def test_a_table_of_rows_divides_into_clients() -> None:
    table, config = _table()
    division = divide(table, config)
    assert division.population.names == ("site-0", "site-1")
    assert all(len(rows.rows) for name, rows in division.population.splits.items() if name != "later")


def test_long_form_and_marks_give_the_same_rows() -> None:
    readings, log = fleet(4)
    config = _config(tag="tag", value="reading", missing={"heat": [-999]})
    long = readings.unpivot(
        ["heat", "noise"], index=["site", "machine", "when"], variable_name="tag", value_name="reading"
    )
    spoiled = long.with_columns(
        pl.when((pl.col("tag") == "heat") & (pl.col("reading") > 330))
        .then(-999.0)
        .otherwise("reading")
        .alias("reading")
    )
    emptied = readings.with_columns(pl.when(pl.col("heat") <= 330).then("heat").alias("heat"))
    from_long, *_ = made(spoiled, _log(log, config), config.data.model_dump(), "site")
    from_wide, *_ = made(emptied, _log(log, config), _config().data.model_dump(), "site")
    assert from_long.equals(from_wide, null_equal=True)


def test_a_log_without_sites_is_matched_by_ids_unless_two_have_one() -> None:
    readings, log = fleet(4)
    config = _config()
    twice = readings.with_columns(machine=pl.lit("M0"))
    with pytest.raises(DataError, match="at which site"):
        made(twice, _log(log.filter(pl.col("machine") == "M0"), config), config.data.model_dump(), "site")


def test_a_log_of_other_machines_is_refused() -> None:
    readings, log = fleet(2)
    config = _config()
    renamed = log.with_columns(machine="press " + pl.col("machine"))
    with pytest.raises(DataError, match="name machines as the readings do"):
        made(readings, _log(renamed, config), config.data.model_dump(), "site")


def test_until_when_the_log_was_kept_bounds_what_is_known() -> None:
    readings, log = fleet(2)
    whole, short = _config(), _config(events={**EVENTS, "until": "2023-11-20"})
    _, _, _, all_of = made(readings, _log(log, whole), whole.data.model_dump(), "site")
    _, _, _, part = made(readings, _log(log, short), short.data.model_dump(), "site")
    assert part["points"]["censored"] > all_of["points"]["censored"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "heat"}, "data.label"),
        ({"windows": {**DATA["windows"], "horizon": None}}, "data.windows.horizon"),
        ({"machine": None}, "data.machine"),
    ],
)
def test_what_does_not_go_with_readings_is_refused(changes: dict[str, Any], words: str) -> None:
    readings, log = fleet(2)
    config = _config(**changes)
    with pytest.raises(ConfigError, match=words):
        made(readings, _log(log, config), config.data.model_dump(), "site")


def test_readings_and_a_log_that_give_no_label_say_why() -> None:
    readings, _ = fleet(2, days=1)
    config = _config(windows={**DATA["windows"], "horizon": "90d"})
    with pytest.raises(DataError, match="censored"):
        made(readings, None, config.data.model_dump(), "site")


def test_a_life_is_what_is_left_or_the_cap_where_it_is_surely_longer() -> None:
    plain, _ = _table()
    table, config = _table(target="number", cap=60.0)
    rows = table.frame
    assert table.schema.label == "life"
    assert table.schema.target == NumberTarget(24.0, 60.0)
    sure = rows.filter(pl.col("censored").is_not_null())
    assert (sure["life"] == 60.0).all()
    assert (sure["censored"] >= 60.0).all()
    assert rows["life"].null_count() == 0
    left_out = plain.frame.filter(pl.col("life").is_null() & (pl.col("censored") < 60.0))
    assert left_out.height > 0
    assert rows.height == plain.frame.height - left_out.height
    assert (table.schema.labels(rows) == (rows["life"].to_numpy() <= 24.0)).all()
    train = divide(table, config).population.splits["train"]
    assert 0 < table.schema.labels(rows)[train.rows].sum() < len(train.rows)
