"""Runs of a server go by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from werkbund.core.errors import ConfigError
from werkbund.flower.machine.pidfile import write_record
from werkbund.flower.server.kit import ServerSettings, load_server_settings
from werkbund.flower.server.status import run_number
from werkbund.flower.server.submission import running_record


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    (tmp_path / "server.toml").write_text("[server]\ninsecure = true\n")
    for name in ("going", "over", "killed"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("")
    write_record(running_record(tmp_path / "runs" / "going"), {"run": 12345678901234567890})
    gone = {"run": 7, "pid": 1, "identity": "another process"}
    running_record(tmp_path / "runs" / "killed").write_text(json.dumps(gone))
    return load_server_settings(tmp_path)


def test_a_run_that_goes_on_is_found_by_its_folders_name_or_flowers_number(settings: ServerSettings) -> None:
    assert run_number(settings, "going") == 12345678901234567890
    assert run_number(settings, "42") == 42


@pytest.mark.parametrize("name", ["over", "killed", "unknown"])
def test_a_run_that_does_not_go_on_cannot_be_stopped(settings: ServerSettings, name: str) -> None:
    with pytest.raises(ConfigError, match=r"--run must name a run that goes on \(going\)"):
        run_number(settings, name)
