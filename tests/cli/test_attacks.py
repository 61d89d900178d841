"""Attacks at the command line: a run says first who attacks, and a bench of defences prints its matrix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from werkbund.cli import app

SETTINGS = ["federation.rounds=2", "data.source=generator", "data.rows=800", "clients.count=4", "model.hidden=[4]"]
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]
BENCH = ["bench", *SMALL, "--attacks", "ipm epsilon=2, free-rider", "--defences", "median", "--seeds", "2"]


def test_the_first_line_of_a_run_names_the_attackers(tmp_path: Path) -> None:
    attack = ["--set", "attack.kind=ipm", "--set", "attack.options.epsilon=2", "--no-compare"]
    done = CliRunner().invoke(app, ["run", *SMALL, *attack, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    first = next(line for line in done.stdout.splitlines() if line)
    assert first.startswith("This run has attackers: plant-")
    assert "1 of 4 plants. Each sends the opposite of the others' mean update" in first
    assert "(ipm, epsilon 2.0, noise 0.0) from round 1 on" in first


def test_a_bench_of_defences_prints_its_matrix_and_its_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    place = ["--workers", "1", "--out", str(tmp_path / "bench")]
    done = CliRunner().invoke(app, [*BENCH, *place])
    assert done.exit_code == 0, done.output
    for text in ("20% of the plants attack", "reference", "free-", "rider", "epsilon=2", "median", "fedavg", "Under "):
        assert text in done.stdout
    again = CliRunner().invoke(app, [*BENCH, *place, "--json"])
    result = json.loads(again.stdout)
    assert [cell["attack"] for cell in result["cells"]] == ["reference", "ipm epsilon=2", "free-rider"] * 2
    assert result["shares"] == [0.2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attacks", "imp"], "attack.kind must be one of"),
        (["--attacks", "ipm", "--shares", "a lot"], "--shares must be numbers with commas between"),
        (["--attacks", "ipm", "--defences", "medain"], "did you mean median?"),
    ],
)
def test_a_bench_of_defences_that_cannot_be_run_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", *SMALL, *options, "--out", str(tmp_path / "bench")])
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")
