"""A copy of the server's kit that can take its place, made while it runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from werkbund.core.errors import ConfigError
from werkbund.flower.server.settings import load_server_settings

_FIRST = ("config.toml", "run.json", "learnt.json", "checkpoint.npz")
"""Files of a run in the order in which they are copied: whatever is copied later is at least as far."""

_DATABASE = "superlink.db"


def back_up(kit: Path, out: Path) -> Path:
    """Copy a server's kit with its keys, its database and its runs.

    The database is copied by SQLite itself, which takes a consistent state. A run's checkpoint is written whole or
    not at all, and is copied before the records of rounds, so that a copy can be resumed.

    Parameters
    ----------
    kit
        The server's kit.
    out
        The copy, which must not be there yet.

    Raises
    ------
    ConfigError
        If `out` is there already, or the kit is none.
    """
    settings = load_server_settings(kit)
    if out.exists():
        raise ConfigError(f"--out must name a new folder, got {out}; choose another or remove it")
    out.mkdir(parents=True, mode=0o700)
    for path in sorted(settings.kit.iterdir()):
        if path.name in ("state", "runs", ".venv", "venv"):
            continue
        if path.is_dir():
            shutil.copytree(path, out / path.name)
        else:
            shutil.copy2(path, out / path.name)
    _copy_database(settings.state / _DATABASE, out / "state" / _DATABASE)
    for run in sorted((settings.kit / "runs").glob("*/")):
        _copy_run(run, out / "runs" / run.name)
    return out


def _copy_database(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    target.parent.mkdir(mode=0o700)
    descriptor = os.open(target, os.O_CREAT | os.O_WRONLY, 0o600)
    os.close(descriptor)
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)


def _copy_run(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in _FIRST:
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)
    for path in sorted(source.iterdir()):
        if path.name in _FIRST or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
