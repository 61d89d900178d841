"""A whole federation of real processes for one test: its own kits, processes that can be killed, runs to watch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from werkbund.config import Config, check_config
from werkbund.core.arrays import Float32Array
from werkbund.flower.server.submission import SubmittedRun, submit, submit_resume
from werkbund.flower.trial.trial import LocalFederation, lay_out

PATIENCE_S = 420.0
SMALL: dict[str, dict[str, Any]] = {
    "federation": {"name": "trial", "rounds": 4, "seed": 1, "round_timeout_s": 30.0},
    "data": {"source": "generator", "rows": 2000},
    "model": {"kind": "mlp", "hidden": [8]},
    "training": {"batch_size": 64, "batched": False},
    "strategy": {"aggregation": {"momentum": 0.0}},
}
"""A federation whose rounds cost a client next to nothing."""


def small(**sections: dict[str, Any]) -> Config:
    """Return the small configuration with some keys changed."""
    values = {name: {**keys, **sections.get(name, {})} for name, keys in SMALL.items()}
    return check_config(values | {name: keys for name, keys in sections.items() if name not in values})


@dataclass
class Live:
    """Hold the processes of a federation.

    Parameters
    ----------
    trial
        Its files.
    children
        `server` and the clients' names, each with its host process.
    """

    trial: LocalFederation
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, **variables: str) -> None:
        """Start `server` or a client, with further variables of its environment; paths of Python go before others."""
        if "PYTHONPATH" in variables and "PYTHONPATH" in os.environ:
            variables["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        kit = self.trial.server if name == "server" else self.trial.clients[name]
        role = "server" if name == "server" else "client"
        log = (self.trial.folder / f"{name}.log").open("ab")
        arguments = [sys.executable, "-m", "werkbund", role, "start", str(kit)]
        with log:
            self.children[name] = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **variables},
            )

    def kill(self, name: str) -> None:
        """Kill a host with -9; what it started dies with it."""
        child = self.children.pop(name)
        child.kill()
        child.wait()

    def end(self, name: str) -> None:
        """End a host as Ctrl-C does."""
        child = self.children.pop(name)
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)

    def log(self, name: str) -> str:
        """Return what a host said."""
        path = self.trial.folder / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def descendants(self, name: str, part: str) -> list[int]:
        """Return the process ids below a host whose command line has this part, such as `flower.plant.answering`."""
        return [pid for pid in _below(self.children[name].pid) if part in command_of(pid)]

    def set(self, name: str, section: str, **values: Any) -> None:
        """Change keys of a client's file."""
        path = self.trial.clients[name] / "client.toml"
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        document[section].update(values)
        path.write_text(tomlkit.dumps(document), encoding="utf-8")

    def submit(self, *overrides: str, out: Path | None = None, wait_s: int = 60) -> Run:
        """Start a run."""
        return Run(submit(self.trial.settings, self.trial.config, overrides, out, wait_s))

    def resume(self, folder: Path) -> Run:
        """Go on with a run."""
        return Run(submit_resume(self.trial.settings, folder))


@dataclass(frozen=True)
class Run:
    """Watch a run through its folder."""

    submitted: SubmittedRun

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.submitted.folder

    def lines(self) -> list[dict[str, Any]]:
        """Return what was written about its progress."""
        path = self.folder / "progress.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def rounds(self) -> list[dict[str, Any]]:
        """Return the rounds that are done, from rounds.jsonl."""
        path = self.folder / "rounds.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def wait_for_round(self, number: int) -> None:
        """Wait until a round is done."""
        wait_for(lambda: any(line["round"] >= number for line in self.rounds()), f"round {number}", self._ended)

    def wait_for_end(self, patience_s: float = PATIENCE_S) -> str:
        """Wait until the run is over; return its error, empty if it has none."""
        before = self.submitted.first_line
        wait_for(lambda: any("end" in line for line in self.lines()[before:]), "the end", lambda: None, patience_s)
        return str(next(line["end"] for line in self.lines()[before:] if "end" in line))

    def weights(self) -> Float32Array:
        """Return the weights that were kept."""
        weights: Float32Array = np.load(self.folder / "model" / "weights.npy")
        return weights

    def result(self) -> Mapping[str, Any]:
        """Return result.json."""
        result: Mapping[str, Any] = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
        return result

    def _ended(self) -> str | None:
        ends = [line["end"] for line in self.lines()[self.submitted.first_line :] if line.get("end")]
        return str(ends[0]) if ends else None


def wait_for(
    what: Callable[[], object],
    name: str,
    failed: Callable[[], str | None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait until something is so.

    Raises
    ------
    AssertionError
        If it is not so in time, or `failed` says why it never will be.
    """
    until = time.monotonic() + patience_s
    while not what():
        why = failed()
        assert why is None, f"{name} will not come: {why}"
        assert time.monotonic() < until, f"{name} did not come within {patience_s:.0f} s"
        time.sleep(0.1)


@contextlib.contextmanager
def live(
    folder: Path, config: Config, count: int | None = 3, insecure: bool = False, start: bool = True
) -> Iterator[Live]:
    """Lay out a federation and start its server and all clients; end all in the end."""
    held = Live(lay_out(config, folder / "trial", count, insecure))
    for name in held.trial.clients:
        held.set(name, "server", poll_s=0.1)
    try:
        if start:
            for name in ("server", *held.trial.clients):
                held.start(name)
            wait_for(lambda: "listens" in held.log("server"), "the server")
        yield held
    finally:
        for name in reversed(list(held.children)):
            held.children[name].send_signal(signal.SIGINT)
        for name, child in held.children.items():
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                raise AssertionError(f"{name} did not end; it said:\n{held.log(name)}") from None


def _below(pid: int) -> list[int]:
    """Return the processes that a process has started, in any of its threads, and those that these have started."""
    own: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            own += [int(child) for child in path.read_text().split()]
    return [*own, *(grandchild for child in own for grandchild in _below(child))]


def command_of(pid: int) -> str:
    """Return the arguments of a process, as every user of this machine may read them; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Say whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
