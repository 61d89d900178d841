"""A real federation under the widest umask: secrets are in no process's arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flower.trials import Live, Run, command_of, live, small, wait_for

_TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32,}(?![0-9a-f])")
"""As Flower's tokens and our secrets look."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Run, dict[int, str]]]:
    """Give a federation in the middle of a run, and the arguments of each of its processes; under umask 0."""
    before = os.umask(0)
    try:
        with live(tmp_path_factory.mktemp("open"), small(federation={"rounds": 3}), 2) as held:
            run = held.submit()
            wait_for(run.lines, "the run")
            pids = [pid for name in held.children for pid in held.descendants(name, "")]
            arguments = {pid: command_of(pid) for pid in (*pids, *(child.pid for child in held.children.values()))}
            assert run.wait_for_end() == ""
            yield held, run, arguments
    finally:
        os.umask(before)


def test_no_secret_is_among_the_arguments_of_a_process(running: tuple[Live, Run, dict[int, str]]) -> None:
    held, _, arguments = running
    for part in ("launcher superlink", "launcher superexec", "launcher serverapp", "supernode", "plant.worker"):
        assert any(part in words for words in arguments.values()), part
    secrets = [path.read_text(errors="replace") for path in _secrets(held.trial.folder)]
    assert len(secrets) >= 1 + 2 * len(held.trial.clients)
    for words in arguments.values():
        assert not _TOKEN.search(words), words
        assert not [secret for secret in secrets if secret.strip() in words]


def _secrets(folder: Path) -> list[Path]:
    return [path for name in ("*.key", "executor.secret", "secret") for path in folder.rglob(name)]
