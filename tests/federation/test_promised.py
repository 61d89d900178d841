"""Whole runs in one process that promise something of a row or a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.config import Config, check_config
from werkbund.engine import load_checkpoint
from werkbund.engine.promise import NOT_CHARGED
from werkbund.federation import resume, run
from werkbund.privacy.accounting import gaussian_epsilon

UNITS = pytest.mark.parametrize("unit", ["row", "machine"])


def _config(unit: str = "row", rounds: int = 3, **privacy: Any) -> Config:
    sections = {
        "federation": {"rounds": rounds},
        "data": {"source": "generator", "rows": 900, "plants": 3},
        "model": {"kind": "logistic"},
        "training": {"batch_size": 60},
        "privacy": {"unit": unit, **privacy},
    }
    return check_config(sections)


def _result(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((path / "result.json").read_text())
    return told


@UNITS
def test_a_run_says_what_it_promised_and_nobody_can_draw_its_noise_again(unit: str, tmp_path: Path) -> None:
    config = _config(unit, noise_multiplier=3.0)
    for name in ("first", "second"):
        run(config, out=tmp_path / name, compare=False)
    told = _result(tmp_path / "first")["privacy"]
    assert (told["unit"], told["mechanism"][:16]) == (unit, "each plant clips")
    assert told["not_charged"] == list(NOT_CHARGED)
    assert [one["trainings"] for one in told["clients"]] == [3, 3, 3]
    assert all(0 < one["epsilon"] <= told["epsilon"] for one in told["clients"])
    weights = [load_checkpoint(tmp_path / name / "checkpoint.npz").arrays["weights"] for name in ("first", "second")]
    assert np.abs(weights[0] - weights[1]).max() > 1e-4


def test_no_loss_of_training_rows_leaves_where_noise_is_promised(tmp_path: Path) -> None:
    run(_config(noise_multiplier=3.0), out=tmp_path / "run", compare=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines[:3]] == [None, None, None]


def test_a_run_stops_before_its_budget_is_exceeded_and_a_resumed_one_does_not_forget(tmp_path: Path) -> None:
    config = _config(rounds=9, noise_multiplier=2.2, target_epsilon=4.0, seeded=True)
    whole = run(config, out=tmp_path / "run", compare=False)
    done = whole.summary["rounds"]
    told = _result(tmp_path / "run")["privacy"]
    assert 1 < done < 9
    assert "one more would exceed privacy.target_epsilon = 4" in whole.summary["stopped"]
    assert told["epsilon"] <= 4.0
    again = resume(tmp_path / "run")
    assert again.summary["rounds"] == done
    assert _result(tmp_path / "run")["privacy"] == told


def test_noise_on_the_sum_of_plants_is_seeded_for_tests_alone_and_clips_what_leaves(tmp_path: Path) -> None:
    sections = {"strategy": {"aggregation": {"weighting": "equal"}}}
    plain = _config("plant", noise_multiplier=2.0, clip=0.1, seeded=True).model_dump(exclude_unset=True)
    config = check_config({**plain, **sections})
    for name in ("first", "second"):
        run(config, out=tmp_path / name, compare=False)
    weights = [load_checkpoint(tmp_path / name / "checkpoint.npz").arrays["weights"] for name in ("first", "second")]
    np.testing.assert_array_equal(weights[0], weights[1])
    told = _result(tmp_path / "first")["privacy"]
    assert "the server adds Gaussian noise to the sum: it is trusted" in told["mechanism"]
    assert told["epsilon"] == pytest.approx(gaussian_epsilon(np.sqrt(3) / 2.0, 1e-2))


@pytest.mark.parametrize("unit", ["row", "machine", "plant"])
def test_plants_share_the_noise_of_a_sum_and_nobody_is_trusted_with_it(unit: str, tmp_path: Path) -> None:
    weighting = "equal" if unit == "plant" else "examples"
    plain = _config(unit, target_epsilon=4.0, secure_sums=True, shared_noise=True).model_dump(exclude_unset=True)
    config = check_config({**plain, "strategy": {"aggregation": {"weighting": weighting}}})
    run(config, out=tmp_path / "run", compare=False)
    told = _result(tmp_path / "run")["privacy"]
    assert "adds a share of Skellam noise" in told["mechanism"]
    assert 3.95 < told["epsilon"] <= 4.0
    lines = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines[:3]] == [None, None, None]


@pytest.mark.parametrize("shared", [False, True])
def test_the_bound_of_updates_follows_their_lengths_and_is_in_the_checkpoint(shared: bool, tmp_path: Path) -> None:
    sums = {"secure_sums": True, "shared_noise": True} if shared else {}
    plain = _config("plant", noise_multiplier=0.0, clip=0.01, adaptive_clip=True, rounds=4, **sums)
    values = plain.model_dump(exclude_unset=True)
    values |= {"strategy": {"aggregation": {"weighting": "equal", "momentum": 0.0}}}
    run(check_config(values), out=tmp_path / "run", compare=False)
    carry = load_checkpoint(tmp_path / "run" / "checkpoint.npz").arrays["carry.clip"]
    assert float(carry[0]) == pytest.approx(0.01 * np.exp(0.2 * 0.5 * 4), rel=1e-5)  # none of them was within it
    assert _result(tmp_path / "run")["privacy"]["adaptive_clip"] is True
