"""Runs as their folders tell them, found by listing and read again only where something was added.

Nothing here writes, locks or asks a run: a folder is looked at, so that the dashboard cannot disturb who works in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from werkbund.core.errors import FederationError
from werkbund.core.stored import by_dotted_key
from werkbund.core.text import one_line
from werkbund.report.folder import RoundsFile, RunFolder, read_run

MOST_RUNS = 200
"""The newest runs are shown, and no more of them."""

_HEAD = ("run.json", "config.toml", "result.json", "comparison.json", "model_card.json")
_BESIDE = ("rounds.jsonl", "progress.jsonl", "preflight.json", ".lock")
_DEEPEST = 3


@dataclass(frozen=True)
class Seen:
    """Hold what a run's folder told when it was last looked at.

    Parameters
    ----------
    key
        Names the run in addresses of the page; it is no path.
    label
        The folder's name below the place of all runs.
    run
        The folder's content.
    settings
        The configuration by dotted key.
    state
        `running`, `finished`, `stopped`, `failed` or `damaged`.
    fault
        Why it failed or cannot be read; empty otherwise.
    stages, checks
        What a real federation's server wrote of its progress, and what plants said about themselves before it.
    version
        Grows whenever something is new.
    """

    key: str
    label: str
    run: RunFolder
    settings: Mapping[str, Any] = field(default_factory=dict)
    state: str = "stopped"
    fault: str = ""
    stages: tuple[str, ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    version: int = 0

    @property
    def planned(self) -> int:
        """How many rounds are planned; 0 where nobody knows."""
        told = self.settings.get("federation.rounds")
        return told if isinstance(told, int) else 0

    @property
    def metric(self) -> str:
        """By which rounds are compared: an error where a number is foretold, else the configured one."""
        scores = [line.scores["validation"] for line in self.run.rounds[:1] if "validation" in line.scores]
        if any(one.known("rmse") for one in scores):
            return "rmse"
        return str(self.settings.get("evaluation.metric", "average_precision"))


class WatchedRun:
    """Look at one run's folder again and again.

    Parameters
    ----------
    path
        The folder.
    label
        Its name below the place of all runs.
    """

    def __init__(self, path: Path, label: str) -> None:
        self._path = path
        self._rounds = RoundsFile(path / "rounds.jsonl")
        self._head: tuple[object, ...] = ()
        self._all: tuple[object, ...] = ()
        self._lock = threading.Lock()
        key = hashlib.sha256(label.encode(errors="surrogateescape")).hexdigest()[:12]
        self.seen = Seen(key, label, RunFolder(path, {}))

    def look(self) -> Seen:
        """Return what the folder tells now; the same value as before where nothing was added."""
        with self._lock:
            head, alive = _traces(self._path, _HEAD), _is_alive(self._path)
            traces = (*head, *_traces(self._path, _BESIDE), alive)
            if traces != self._all:
                version = self.seen.version + 1
                try:
                    self.seen = replace(self._read(head, alive), version=version)
                except (FederationError, OSError, ValueError) as error:
                    self.seen = replace(self.seen, state="damaged", fault=one_line(str(error)), version=version)
                self._all = traces
            return self.seen

    def _read(self, head: tuple[object, ...], alive: bool) -> Seen:
        seen = self.seen
        if head != self._head:
            known = (self._path / "run.json").is_file() or (self._path / "comparison.json").is_file()
            run = read_run(self._path) if known else RunFolder(self._path, {}, config=_text(self._path / "config.toml"))
            seen = replace(seen, run=run, settings=by_dotted_key(tomllib.loads(run.config)))
            self._head = head
        lines = _objects(self._path / "progress.jsonl")
        state, fault = _state(seen.run, lines, alive)
        run = replace(seen.run, rounds=self._rounds.read())
        stages = tuple(str(line["stage"]) for line in lines if "stage" in line)
        return replace(seen, run=run, state=state, fault=fault, stages=stages, checks=_checks(self._path, lines))


class RunList:
    """Find runs below a folder.

    Parameters
    ----------
    place
        Folder of runs, or of one run; it need not be there yet.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._watched: dict[str, WatchedRun] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Seen]:
        """Return the runs that are there now, the newest first."""
        with self._lock:
            found = dict(sorted(_folders(self.place), key=lambda pair: -_moment(pair[1]))[:MOST_RUNS])
            kept = {label: self._watched.get(label) or WatchedRun(path, label) for label, path in found.items()}
            self._watched = kept
        return [watched.look() for watched in kept.values()]

    def one(self, key: str) -> Seen | None:
        """Return the run of a key; None if no folder that was listed has it."""
        found = next((each for each in self._watched.values() if each.seen.key == key), None)
        if found is None and any(seen.key == key for seen in self.all()):
            return self.one(key)
        return found.look() if found else None


def _folders(place: Path, label: str = "", depth: int = 0) -> Iterator[tuple[str, Path]]:
    """Yield each run's folder with its name below the place; links are not followed."""
    if any((place / name).is_file() for name in ("config.toml", "run.json")):
        yield label or place.resolve().name, place
    if depth < _DEEPEST and place.is_dir():
        with os.scandir(place) as entries:
            inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in sorted(inner):
            if not name.startswith(".") and name not in ("model", "models"):
                yield from _folders(place / name, f"{label}/{name}" if label else name, depth + 1)


def _moment(path: Path) -> float:
    for name in ("config.toml", "run.json"):
        try:
            return (path / name).stat().st_mtime
        except OSError:
            continue
    return 0.0


def _traces(path: Path, names: tuple[str, ...]) -> tuple[object, ...]:
    """Return what changes where a file is written: its number, size and moment; None for one that is not there."""
    traces: list[object] = []
    for name in names:
        try:
            now = (path / name).stat()
            traces.append((now.st_ino, now.st_size, now.st_mtime_ns))
        except OSError:
            traces.append(None)
    return tuple(traces)


def _is_alive(path: Path) -> bool:
    """Say whether the process that has a run's folder in use still runs; a lock is read here, and not taken."""
    try:
        os.kill(int((path / ".lock").read_text(encoding="ascii")), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _state(run: RunFolder, lines: list[dict[str, Any]], alive: bool) -> tuple[str, str]:
    if run.result is not None:
        return "finished", ""
    if alive:
        return "running", ""
    end = next((line["end"] for line in reversed(lines) if "end" in line), "")
    return ("failed", one_line(str(end))) if end else ("stopped", "")


def _checks(path: Path, lines: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return what was to be said of plants before the first round, the last word of it."""
    told: object = next((line["checks"] for line in reversed(lines) if "checks" in line), None)
    if told is None and (path / "preflight.json").is_file():
        told = json.loads(_text(path / "preflight.json")).get("checks")
    return tuple(check for check in told if isinstance(check, dict)) if isinstance(told, list) else ()


def _objects(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that are JSON objects; others were cut short."""
    found = []
    for line in _text(path).split("\n")[:-1]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        found += [value] if isinstance(value, dict) else []
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
