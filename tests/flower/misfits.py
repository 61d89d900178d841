"""Clients that do not belong: copies of kits, other versions, workers that spoil; and a run's outcome without them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

import werkbund
from tests.deployed import DirectGrid, weights_in
from tests.flower.faults import events
from tests.flower.trials import Live, Run, small
from werkbund.config import Config, load_config
from werkbund.core.arrays import Float32Array
from werkbund.core.types import Tasks
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.federation.folder import Folder
from werkbund.flower.plant.answering import Desk
from werkbund.plant import Plant, PlantFolder, load_settings
from werkbund.server import run_deployed

ROOT = Path(__file__).parents[2]
Away = Callable[[Tasks], set[str]]
"""Says which clients a task does not reach."""


@dataclass(frozen=True)
class Outcome:
    """Hold what is left of a run after the processes have ended.

    Parameters
    ----------
    rounds, checks
        As the run's folder says.
    weights, without
        That were kept; and those of the same run without whoever failed.
    logs, events
        What each host said, and each plant's own record.
    seen
        What else a test looks at.
    """

    rounds: list[dict[str, Any]]
    checks: dict[str, str]
    weights: Float32Array
    without: Float32Array
    logs: Mapping[str, str]
    events: Mapping[str, list[dict[str, Any]]]
    seen: Mapping[str, Any]

    def reasons(self, client: int) -> dict[int, str]:
        """Return why a client failed, by round in which somebody trained."""
        training = [line for line in self.rounds if line["cohort"]]
        failures = {line["round"]: [f for f in line["failures"] if f["client"] == client] for line in training}
        return {number: "; ".join(failure["reason"] for failure in failed) for number, failed in failures.items()}


def outcome(
    held: Live, running: Run, folder: Path, always: Sequence[str] = (), overrides: Sequence[str] = (), **seen: Any
) -> Outcome:
    """Gather what is left of a run, and compute what it would be without those who failed.

    `always` names the clients of whom nothing was taken.
    """
    names = json.loads((running.folder / "run.json").read_text())["clients"]
    checks = json.loads((running.folder / "preflight.json").read_text())["checks"]
    verdicts = {check["client"]: f"{check['level']}: {check['what']}" for check in checks}
    rounds = running.rounds()
    without = weights_without(held, folder, names, away_where_it_failed(rounds, names, always), overrides)
    logs = {name: held.log(name) for name in ("server", *held.trial.clients)}
    own = {name: events(held, name) for name in held.trial.clients}
    return Outcome(rounds, verdicts, running.weights(), without, logs, own, seen)


def tolerant(**federation: Any) -> Config:
    """Return a small federation that goes on with few clients and keeps its last weights."""
    return small(federation={"quorum": 0.2, **federation}, evaluation={"keep_best": False})


def edit(path: Path, **sections: Mapping[str, Any]) -> None:
    """Change keys of a file."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        document.setdefault(name, tomlkit.table()).update(values)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


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
) -> Float32Array:
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
        return {*always, *(failed.get(tasks.round, set()) if tasks.kind in (TRAIN, EVALUATE) else set())}

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
