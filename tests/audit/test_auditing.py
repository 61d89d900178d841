from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner

from tests.deployed import small_config
from werkbund.audit.auditing import audited
from werkbund.cli import app


def test_an_audit_of_a_network_plays_each_attack_that_fits_it() -> None:
    found = audited(small_config(data={"rows": 300}, federation={"rounds": 1}), models=4)
    told = {(one.card.name, one.protection) for one in found.findings}
    assert {name for name, _ in told} == {
        "share of failures",
        "difference of two sums",
        "difference of two sums, keys varied",
        "rows of an update",
        "rows of an update, set traps",
        "loss threshold",
        "likelihood ratio (LiRA)",
    }
    assert len(told) == len(found.findings)
    assert {protection for _, protection in told} == {"none", "sums alone, if they were on"}


def test_the_command_takes_a_file_and_says_it_as_json(tmp_path: Path) -> None:
    file = tmp_path / "federation.toml"
    trees = {"model": {"kind": "trees"}, "trees": {"count": 2}, "federation": {"rounds": 2}}
    file.write_text(tomlkit.dumps({"data": {"source": "generator", "rows": 300, "plants": 3}, **trees}))
    result = CliRunner().invoke(app, ["audit", str(file), "--shadows", "4", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["model"] == "trees"
    rows = [one for one in told["attacks"] if one["attack"] == "rows of cells"]
    assert [one["protection"] for one in rows] == ["none", "sums alone, if they were on", "cells of 5 rows or more"]
    assert all(set(one) == set(rows[0]) for one in told["attacks"])


@pytest.mark.parametrize("place", ["nowhere.toml", "."])
def test_what_is_no_run_and_no_file_is_said(place: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["audit", str(tmp_path / place)])
    assert result.exit_code == 2
    assert "Error" in result.output


def test_an_audit_of_noised_training_plays_with_and_without_noise_and_tries_the_claim() -> None:
    privacy = {"unit": "row", "target_epsilon": 8.0}
    training = {"positive_weight": "none", "batch_size": 32}
    config = small_config(data={"rows": 300}, federation={"rounds": 1}, privacy=privacy, training=training)
    found = audited(config, models=4)
    told = {(one.card.name, one.protection): one for one in found.findings}
    noised = "noise for each row, epsilon 8"
    assert (told["share of failures", noised].error or 0) > 100 * (told["share of failures", "none"].error or 0)
    assert (told["rows of an update, set traps", noised].error or 0) >= 0.95
    assert told["canaries", noised].error == 0
    assert "as claimed" in told["canaries", noised].says
    assert ("loss threshold", noised) in told
