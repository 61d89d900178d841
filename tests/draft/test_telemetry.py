"""A draft for readings with a log: it names the log's columns, chooses windows that fit, and runs as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.time.fleets import fleet
from werkbund.config import load_config
from werkbund.core.errors import ConfigError
from werkbund.draft import draft_config
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table


def _drafted(folder: Path, readings: pl.DataFrame, log: pl.DataFrame, **options: Any) -> tuple[str, Any]:
    readings.write_csv(folder / "readings.csv")
    log.write_csv(folder / "log.csv", separator=";")
    text = draft_config(folder / "readings.csv", events=folder / "log.csv", config_folder=folder, **options)
    (folder / "f.toml").write_text(text, encoding="utf-8")
    return text, load_config(folder / "f.toml")


def test_columns_of_the_log_are_found(tmp_path: Path) -> None:
    readings, log = fleet()
    kinds = np.where(np.arange(log.height) % 5 == 0, "geplante Wartung", "Ausfall")
    noted = log.rename({"back": "Ende", "mode": "Grund"}).with_columns(Art=pl.Series(kinds))
    _, config = _drafted(tmp_path, readings, noted)
    events = config.data.events
    assert (events.start, events.back, events.kind, events.planned, events.mode) == (
        "begin", "Ende", "Art", ["geplante Wartung"], "Grund",
    )  # fmt: skip
    assert (config.data.machine, config.data.time, config.data.client) == ("machine", "when", "site")
    assert set(config.data.columns) == {"heat", "noise"}


def test_it_divides_as_it_is(tmp_path: Path) -> None:
    readings, log = fleet()
    text, config = _drafted(tmp_path, readings, log)
    windows = config.data.windows
    assert (windows.step, windows.spans, windows.horizon) == ("1h", ["6h", "24h"], "24h")
    division = divide(read_table(config), config)
    assert division.population.names == ("site-0", "site-1")
    assert "points in time" in text


def test_seconds_of_four_machines_run_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seconds = [f"2024-03-04 06:00:{second:02d}" for second in range(60)]
    readings = pl.DataFrame(
        {
            "Werk": np.repeat(["Ulm", "Kassel"], 120),
            "Maschine": np.repeat(["M0", "M1", "M2", "M3"], 60),
            "Zeit": seconds * 4,
            "s1": rng.normal(size=240),
            "s2": rng.normal(size=240),
        }
    )
    times = ["2024-03-04 06:01:00"] * 2
    log = pl.DataFrame({"Maschine": ["M1", "M3"], "Zeit": times, "Grund": ["Lagerschaden"] * 2})
    _, config = _drafted(tmp_path, readings, log)
    assert (config.data.windows.step, config.data.windows.horizon) == ("1s", "10s")
    assert "age" not in config.data.windows.statistics
    table = read_table(config)
    assert table.frame["failure"].sum() == 20
    division = divide(table, config)
    train = division.population.splits["train"].rows
    assert division.table.frame["failure"].to_numpy()[train].sum() == 20


def test_a_record_of_cycles_has_windows_of_cycles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lives = rng.integers(120, 200, 8)
    machine = np.repeat(np.arange(8), lives)
    cycle = np.concatenate([np.arange(1, life + 1) for life in lives])
    readings = pl.DataFrame({"engine": machine, "cycle": cycle, "heat": rng.normal(size=len(cycle))})
    log = pl.DataFrame({"engine": np.arange(8), "cycle": lives + 1})
    _, config = _drafted(tmp_path, readings, log)
    windows = config.data.windows
    assert (windows.step, windows.spans, windows.horizon) == ("1", ["30"], "30")
    assert read_table(config).frame["failure"].sum() == 8 * 30


def test_what_is_lacking_is_named(tmp_path: Path) -> None:
    readings, log = fleet(4)
    with pytest.raises(ConfigError, match="names the machine"):
        _drafted(tmp_path, readings.rename({"machine": "x"}), log)
    with pytest.raises(ConfigError, match="column with the time of a stop"):
        _drafted(tmp_path, readings, log.select("machine", "mode"))
    with pytest.raises(ConfigError, match="both"):
        _drafted(tmp_path, readings, log, label="heat")
