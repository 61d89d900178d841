"""Worlds come from presets or a table, and a run in one resumes to the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.config import check_config
from werkbund.config.simulated import WorldSection
from werkbund.core.errors import ConfigError
from werkbund.engine import load_checkpoint, save_checkpoint
from werkbund.engine.fleet import PRESETS
from werkbund.federation import resume, run
from werkbund.federation.folder import Folder
from werkbund.federation.worlds import fleet_of

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_drawn_by_the_seed(preset: Any) -> None:
    section = WorldSection(preset=preset)
    fleet, same, another = (fleet_of(section, NAMES, seed) for seed in (0, 0, 1))
    assert fleet.num_clients == 3
    assert all(np.array_equal(value, getattr(same, name)) for name, value in vars(fleet).items())
    differs = any(not np.array_equal(value, getattr(another, name)) for name, value in vars(fleet).items())
    assert differs == (preset != "uniform")


def test_a_table_names_clients_in_any_order_and_the_rest_is_usual(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("client,examples_per_s,dropout\nc,3,0\na,1,0.5\nb,2,0\nz,9,0\n")
    fleet = fleet_of(WorldSection(path=str(path)), NAMES, 0)
    assert fleet.examples_per_s.tolist() == [1, 2, 3]
    assert fleet.dropout.tolist() == [0.5, 0, 0]
    assert fleet.shift_hours.tolist() == [24, 24, 24]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,dropout\na,0\n", "must have a column client"),
        ("client,speed\na,1\nb,1\nc,1\n", "has columns speed; known are"),
        ("client,dropout\na,0\n", "none for b, c"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        fleet_of(WorldSection(path=str(path)), NAMES, 0)


def test_a_run_in_a_world_goes_on_from_a_checkpoint_to_the_same_result(tmp_path: Path) -> None:
    config = check_config(
        {
            "federation": {"rounds": 6},
            "data": {"source": "generator", "rows": 900},
            "clients": {"count": 8},
            "training": {"batched": False, "schedule": "constant"},
            "strategy": {"selection": {"name": "oort-energy", "count": 3}},
            "world": {"preset": "mobile-machines", "pause_s": 900.0},
        }
    )
    whole = run(config, out=tmp_path / "whole", compare=False)
    half = run(config, out=tmp_path / "half", compare=False)
    short = run(
        check_config({**config.model_dump(), "federation": {**config.federation.model_dump(), "rounds": 3}}),
        out=tmp_path / "short",
        compare=False,
    )
    middle = load_checkpoint(short.folder / "checkpoint.npz")
    assert middle.round == 3
    save_checkpoint(half.folder / "checkpoint.npz", middle)
    Folder.existing(half.folder).forget_rounds_after(3)
    again = resume(half.folder)
    assert again.summary["metrics"] == whole.summary["metrics"]
    for name in ("weights", "best"):
        ends = [load_checkpoint(done.folder / "checkpoint.npz") for done in (whole, again)]
        uninterrupted, resumed = (end.arrays["weights"] if name == "weights" else end.best for end in ends)
        assert np.array_equal(np.asarray(uninterrupted), np.asarray(resumed))
    lines = [(done.folder / "rounds.jsonl").read_text().splitlines() for done in (whole, again)]
    assert [len(rounds) for rounds in lines] == [7, 7]
