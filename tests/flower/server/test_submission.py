"""What is said about a run before it is handed over, and after its process is gone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.flower.federations import make_kits
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.evaluation import Nobody
from werkbund.flower.machine.pidfile import write_record
from werkbund.flower.server.kit import ServerSettings, load_server_settings
from werkbund.flower.server.submission import attach, how_to_go_on, submit, submit_resume


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return load_server_settings(make_kits(tmp_path / "kits", "plant-a") / "server")


def test_only_a_runs_folder_is_gone_on_with(settings: ServerSettings, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path} must be a run's folder")):
        submit_resume(settings, tmp_path)


def test_a_run_that_goes_on_is_watched_from_its_present_attempt(settings: ServerSettings, tmp_path: Path) -> None:
    lines = [{"stage": "one"}, {"end": "the run was stopped"}, {"stage": "two"}, {"stage": "three"}]
    (tmp_path / "progress.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(ConfigError, match="must be the folder of a run that goes on; it did not reach its first"):
        attach(settings, tmp_path)
    write_record(tmp_path / "running.json", {"run": 7})
    attached = attach(settings, tmp_path)
    assert (attached.run_id, attached.folder, attached.first_line) == (7, tmp_path.resolve(), 2)
    heard: list[str] = []

    class Ear(Nobody):
        def stage(self, what: str) -> None:
            heard.append(what)

    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"end": ""}\n')
    attached.follow(Ear(), lambda checks: None)
    assert heard == ["two", "three"]


def test_how_to_go_on_is_said_only_where_one_can(tmp_path: Path) -> None:
    assert how_to_go_on(tmp_path) == "it did not reach its first checkpoint; start it anew"
    (tmp_path / "checkpoint.npz").touch()
    assert how_to_go_on(tmp_path) == f"`werkbund server resume {tmp_path}` goes on where it was"


def test_a_run_with_attackers_is_not_handed_over(settings: ServerSettings) -> None:
    with pytest.raises(ConfigError, match=r"attack.kind must be none in a federation over a network, got 'ipm'"):
        submit(settings, None, ["attack.kind=ipm"])
