"""The server's kit: its file `server.toml`, which says how the server's processes run, and a copy of the whole kit."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from werkbund.config.reading import checked, read_toml
from werkbund.config.rows import Section
from werkbund.core.defaults import SERVER_PORT
from werkbund.core.errors import ConfigError

FILE_NAME = "server.toml"
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - the names of what an operator may choose
_HERE = ("127.0.0.1", "::1", "localhost")

_COPIED_FIRST = ("config.toml", "run.json", "learnt.json", "checkpoint.npz")
"""Files of a run in the order in which they are copied: whatever is copied later is at least as far."""

_DATABASE = "superlink.db"


class ListeningSection(Section):
    """Say where the server listens, and by which names plants reach it."""

    host: str = "0.0.0.0"  # noqa: S104 - plants come from other machines; the gate keeps all else from them
    port: Annotated[int, Field(ge=1, le=65535)] = SERVER_PORT
    names: list[str] = Field(default_factory=list)
    """DNS names and addresses that the certificate is made for."""
    insecure: bool = False
    """Without TLS and without keys; for trials on one machine."""

    @field_validator("host")
    @classmethod
    def _reaches_this_machine_itself(cls, host: str) -> str:
        if host not in (*_EVERYWHERE, *_HERE):
            raise ValueError(
                f"must be one of {', '.join((*_EVERYWHERE, *_HERE))}: the server's own parts come by the loopback "
                "address; let the firewall choose which networks may come in"
            )
        return host


class ServerFile(Section):
    """Hold the content of `server.toml`."""

    server: ListeningSection = ListeningSection()


class ServerSettings(ServerFile):
    """Hold the content of `server.toml` and the folder in which it lies."""

    kit: Path

    @property
    def state(self) -> Path:
        """The folder of what must outlive the server's processes."""
        return self.kit / "state"

    @property
    def local_address(self) -> str:
        """Host and port by which this machine itself reaches the server."""
        hosts = {"0.0.0.0": "127.0.0.1", "::": "localhost", "::1": "[::1]"}  # noqa: S104 - the name of a choice
        return f"{hosts.get(self.server.host, self.server.host)}:{self.server.port}"

    @property
    def root_certificates(self) -> bytes | None:
        """The CA's certificate in PEM; None without TLS."""
        return None if self.server.insecure else (self.kit / "ca.crt").read_bytes()


def load_server_settings(kit: Path) -> ServerSettings:
    """Read the server's file.

    Parameters
    ----------
    kit
        The folder that holds `server.toml`, or the file itself.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key, type or value breaks a rule; one line for each.
    """
    path = kit / FILE_NAME if kit.is_dir() else kit
    file = checked(ServerFile, read_toml(path, "werkbund provision"))
    return ServerSettings(kit=path.resolve().parent, server=file.server)


def back_up(kit: Path, out: Path) -> Path:
    """Copy a server's kit with its keys, its database and its runs, also while it runs; return the copy.

    The database is copied by SQLite itself, which takes a consistent state. A run's checkpoint is written whole or
    not at all, and is copied before the records of rounds, so that a copy can be resumed. Revoked keys are left out, so
    that a copy that is laid over the kit does not bring back an older list of them.

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
        if path.name in ("state", "runs", "revoked", ".venv", "venv"):
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
    try:
        live, copy = sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True), sqlite3.connect(target)
        with closing(live), closing(copy):
            live.backup(copy)
    except sqlite3.Error as error:
        raise ConfigError(
            f"{source} cannot be copied to {target}: {error}; free some space, or mend its access"
        ) from error


def _copy_run(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in _COPIED_FIRST:
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)
    for path in sorted(source.iterdir()):
        if path.name in _COPIED_FIRST or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
