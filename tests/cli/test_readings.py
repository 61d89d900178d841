"""From readings and a log to a model that scores new readings, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.cli.test_commands import werkbund
from tests.data.time.fleets import fleet

SMALL = [word for setting in ("federation.rounds=2", "model.hidden=[4]") for word in ("--set", setting)]


def test_two_commands_make_a_model_that_scores_new_readings(tmp_path: Path) -> None:
    readings, log = fleet()
    readings.write_csv(tmp_path / "readings.csv")
    log.write_csv(tmp_path / "log.csv")
    drafted = werkbund("init", "readings.csv", "--events", "log.csv", folder=tmp_path)
    assert drafted.returncode == 0, drafted.stderr
    done = werkbund("run", "federation.toml", *SMALL, "--no-compare", "--out", "run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    fleet(seed=7)[0].write_csv(tmp_path / "new.csv")
    scored = werkbund("predict", "run", "new.csv", "--events", "log.csv", "--out", "scored.csv", folder=tmp_path)
    assert scored.returncode == 0, scored.stderr
    rows = pl.read_csv(tmp_path / "scored.csv")
    assert rows["failure_probability"].is_between(0, 1).all()
    assert rows["machine"].n_unique() == 12
    assert rows.height > 5000
    tried = ["alarms", "run", "new.csv", "--events", "log.csv"]
    counted = werkbund(*tried, "--most-false", "9", "--json", folder=tmp_path)
    assert counted.returncode == 0, counted.stderr
    alarms = json.loads(counted.stdout)
    assert alarms["failures"] == sum(machine["failures"] for machine in alarms["by_machine"].values()) > 20
    assert alarms["machine_months"] == pytest.approx(12 * 20 * 24 / 730.5, rel=0.05)
    never = werkbund(*tried, "--threshold", "1", folder=tmp_path)
    assert "0 of" in never.stdout
    assert "No clear difference" in never.stdout
    without = werkbund("check", "readings.csv", "federation.toml", folder=tmp_path)
    assert "points in time" in without.stdout
