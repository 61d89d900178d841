"""What operator and plant are told by commands that need no running server."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from werkbund.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("federation")
    assert runner.invoke(app, ["client", "keygen", "--out", str(folder)]).exit_code == 0
    options = ["--client", "plant-a", "--client", "plant-b", "--public-key", f"plant-b={folder / 'client.pub'}"]
    done = runner.invoke(app, ["provision", "--out", str(folder / "kits"), "--host", "127.0.0.1", *options])
    assert done.exit_code == 0
    (folder / "provisioned.txt").write_text(done.output)
    return folder / "kits"


def test_the_operator_reads_the_fingerprint_of_a_key_that_a_plant_made(kits: Path) -> None:
    said = (kits.parent / "provisioned.txt").read_text()
    assert "Fingerprint of plant-b's key: SHA256:" in said
    assert "Fingerprint of plant-a" not in said


def test_stopping_where_nothing_runs_says_so(kits: Path) -> None:
    done = runner.invoke(app, ["server", "stop", str(kits / "server")])
    assert done.exit_code == 0
    assert "No server runs from" in done.output
    assert "has stopped" not in done.output


def test_a_backup_never_lands_in_the_kit_itself(kits: Path) -> None:
    inside = runner.invoke(app, ["server", "backup", str(kits / "server"), "--out", str(kits / "server" / "copy")])
    assert inside.exit_code == 2
    assert "must lie outside the kit" in inside.output
    assert not (kits / "server" / "copy").exists()
    assert runner.invoke(app, ["server", "backup", str(kits / "server")]).exit_code == 0
    assert (kits / "server-backup" / "server.key").is_file()


def test_a_plant_without_models_is_told_so(kits: Path) -> None:
    assert "No model has been delivered yet." in runner.invoke(app, ["client", "models", str(kits / "plant-a")]).output


def test_rows_that_cannot_be_read_are_an_error_and_no_empty_list(kits: Path) -> None:
    done = runner.invoke(app, ["client", "check", str(kits / "plant-a")])
    assert done.exit_code == 2
    assert "Error: " in done.output
    assert "What may leave" not in done.output
