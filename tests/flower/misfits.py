"""Clients that do not belong: copies of kits, other versions, workers that spoil; and the weights without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import werkbund
from tests.deployed import DirectGrid, weights_in
from tests.flower.trials import Live
from werkbund.core.types import Tasks
from werkbund.federation import load_config
from werkbund.federation.deployment import run_deployed
from werkbund.federation.folder import Folder
from werkbund.federation.plant import Plant, PlantFolder, load_settings
from werkbund.flower.answering import Desk

ROOT = Path(__file__).parents[2]
Away = Callable[[Tasks], set[str]]
"""Says which clients a task does not reach."""


def copied_kit(held: Live, name: str, new: str) -> Path:
    """Copy a client's kit, without what it remembers, and call it by a name for `Live.start`."""
    kit = held.trial.folder / new
    shutil.copytree(held.trial.clients[name], kit, ignore=shutil.ignore_patterns("state"))
    held.trial.clients[new] = kit
    return kit


def start_spoiling(held: Live, name: str, ways: Sequence[str]) -> None:
    """Start a client whose worker spoils its updates."""
    script = Path(__file__).with_name("bad_client.py")
    _start(held, name, [str(script), str(held.trial.clients[name]), *ways], ROOT)


def start_from(held: Live, name: str, source: Path) -> None:
    """Start a client from other sources of Werkbund."""
    _start(held, name, ["-m", "werkbund", "client", "start", str(held.trial.clients[name])], source)


def other_version(folder: Path, version: str) -> Path:
    """Copy the sources of Werkbund under another version's number; return where they can be imported from."""
    package = Path(werkbund.__file__).parent
    shutil.copytree(package, folder / "werkbund", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "werkbund" / "_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    return folder


def command(*arguments: str) -> str:
    """Run a command of Werkbund's; return what it printed."""
    done = subprocess.run([sys.executable, "-m", "werkbund", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def weights_without(
    held: Live, folder: Path, names: Sequence[str], away: Away, overrides: Sequence[str] = ()
) -> npt.NDArray[np.float32]:
    """Return the weights of the same run in this process, where some tasks reach some clients not at all.

    Parameters
    ----------
    held
        Gives the kits; they are copied.
    folder
        A new one.
    names
        The run's clients, in their order.
    away
        Says who is not reached.
    overrides
        Of the configuration, `section.key=value` each.
    """

    class Grid(DirectGrid):
        def send(self, tasks: Tasks) -> None:
            self.offline = away(tasks)
            super().send(tasks)

    def desk(name: str) -> Desk:
        kit = folder / name
        shutil.copytree(held.trial.clients[name], kit, ignore=shutil.ignore_patterns("state"))
        settings = load_settings(kit)
        return Desk(Plant(settings, PlantFolder(settings.state)))

    folder.mkdir()
    grid = Grid({name: desk(name).answer for name in names})
    run_deployed(load_config(held.trial.config, overrides), grid, folder=Folder.create("alone", folder / "run"))
    return weights_in(folder / "run")


def away_where_it_failed(rounds: Sequence[dict[str, Any]], names: Sequence[str], always: Sequence[str] = ()) -> Away:
    """Return who is not reached if each client that failed in a round, as its record says, is left out of it."""
    failed = {line["round"]: {names[failure["client"]] for failure in line["failures"]} for line in rounds}

    def away(tasks: Tasks) -> set[str]:
        return {*always, *(failed.get(tasks.round, set()) if tasks.kind in ("train", "evaluate") else set())}

    return away


def _start(held: Live, name: str, arguments: Sequence[str], first: Path) -> None:
    path = os.pathsep.join(filter(None, (str(first), os.environ.get("PYTHONPATH", ""))))
    with (held.trial.folder / f"{name}.log").open("ab") as log:
        held.children[name] = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
