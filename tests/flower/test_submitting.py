"""What is said about a run before it is handed over, and after its process is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.flower.federations import make_kits
from werkbund.core.errors import CheckpointError
from werkbund.flower.serversettings import ServerSettings, load_server_settings
from werkbund.flower.submitting import how_to_go_on, submit_resume


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return load_server_settings(make_kits(tmp_path / "kits", "plant-a") / "server")


def test_only_a_runs_folder_is_gone_on_with(settings: ServerSettings, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path} must be a run's folder")):
        submit_resume(settings, tmp_path)


def test_how_to_go_on_is_said_only_where_one_can(tmp_path: Path) -> None:
    assert how_to_go_on(tmp_path) == "it did not reach its first checkpoint; start it anew"
    (tmp_path / "checkpoint.npz").touch()
    assert how_to_go_on(tmp_path) == f"`werkbund server resume {tmp_path}` goes on where it was"
