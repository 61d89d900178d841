"""What `werkbund server start` runs: the SuperLink, the executor of runs, and the list of who may join."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from werkbund.core.errors import ConfigError
from werkbund.core.files import make_private
from werkbund.core.keys import check_private
from werkbund.flower.machine.connection import find_trouble
from werkbund.flower.machine.pidfile import claimed, read_record, stop_recorded, write_record
from werkbund.flower.machine.processes import Ended, Persistent, Supervised, environment
from werkbund.flower.server.control import connect
from werkbund.flower.server.kit import load_server_settings
from werkbund.flower.server.roster import Roster

LAUNCHER = "werkbund.flower.server.launcher"
TICK_S = 0.2
LOOK_S = 2.0
"""Seconds between two looks into the folder of keys."""

KNOCK_S = 0.5
"""Seconds between two looks whether the SuperLink answers already."""


class ServerHost:
    """Run the server's side of the federation.

    Parameters
    ----------
    kit
        The server's folder.
    on_message
        Takes lines for people.

    Raises
    ------
    ConfigError
        If `server.toml` breaks a rule.
    """

    def __init__(self, kit: Path, on_message: Callable[[str], None]) -> None:
        settings = load_server_settings(kit)
        self._settings, self._server, self._say = settings, settings.server, on_message
        logs, variables = settings.state / "logs", environment(settings.kit)
        self.superlink = Supervised(self._superlink, logs / "superlink.log", variables, on_end=self._on_superlink_end)
        self.executor = Supervised(
            self._executor, logs / "executor.log", variables, lambda: self._is_answering, self._on_executor_end
        )
        self._roster = Roster(settings.kit, lambda: connect(settings), on_message)
        self._next_look, self._started = 0.0, datetime.now(UTC).isoformat(timespec="seconds")
        self._pids: dict[str, int | None] = {}
        self._is_answering = False

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set.

        Raises
        ------
        ConfigError
            If a file is missing or open to others, the port is taken, or another process runs this kit.
        """
        self._check_keys()
        make_private(self._settings.state)
        with claimed(_record(self._settings.state), f"the server of {self._settings.kit}"):
            check_port_is_free(self._server.host, self._server.port)
            if self._server.insecure:
                self._say("insecure = true: without TLS and without keys; whoever reaches this port can join")
            tick = Persistent(self._tick, self._say)
            try:
                while not stop.is_set():
                    tick()
                    stop.wait(TICK_S)
            finally:
                self.executor.stop()
                self.superlink.stop()

    def _check_keys(self) -> None:
        kit = self._settings.kit
        remedy = "bring it back from the kit that `werkbund provision` made"
        check_private(kit / "executor.secret", remedy)
        if not self._server.insecure:
            check_private(kit / "server.key", remedy)
            for name in ("ca.crt", "server.crt"):
                if not (kit / name).is_file():
                    raise ConfigError(f"{kit / name} must be there; {remedy}")

    def _tick(self) -> None:
        self.superlink.tick()
        self.executor.tick()
        pids = {"superlink": self.superlink.pid, "executor": self.executor.pid}
        if pids != self._pids:
            self._pids = pids
            facts = {"address": self._settings.local_address, "started": self._started, "children": pids}
            write_record(_record(self._settings.state), facts)
        if time.monotonic() < self._next_look:
            return
        if not self._is_answering:
            self._knock()
            self._next_look = time.monotonic() + KNOCK_S
        elif not self._server.insecure:
            self._roster.look()
            self._next_look = time.monotonic() + LOOK_S

    def _knock(self) -> None:
        """Find out whether the SuperLink answers already."""
        if self.superlink.pid is None:
            return
        roots = None if self._server.insecure else self._settings.kit / "ca.crt"
        trouble = find_trouble(self._settings.local_address, roots)
        if trouble is None:
            self._is_answering = True
            self.superlink.steady()
            self.executor.hurry()
            self._say(f"the server listens at {self._server.host}:{self._server.port}")
        elif not trouble.passing:
            self._say(trouble.text)

    def _on_superlink_end(self, ended: Ended) -> None:
        self._is_answering = False
        self._roster.forget()
        self._say(f"the SuperLink ended with code {ended.code} ({_last_words(ended)}); it is started again")

    def _on_executor_end(self, ended: Ended) -> None:
        self._say(f"the executor ended with code {ended.code} ({_last_words(ended)}); it is started again")

    def _superlink(self) -> list[str]:
        kit = self._settings.kit
        command = [sys.executable, "-m", LAUNCHER, "superlink", "--host", self._server.host]
        command += ["--port", str(self._server.port), "--isolation", "process"]
        command += ["--database", str(self._settings.state / "superlink.db")]
        command += ["--superexec-auth-secret-file", str(kit / "executor.secret")]
        command += ["--disable-runtime-dependency-installation"]
        if self._server.insecure:
            return [*command, "--insecure"]
        command += ["--enable-supernode-auth", "--ssl-ca-certfile", str(kit / "ca.crt")]
        return [*command, "--ssl-certfile", str(kit / "server.crt"), "--ssl-keyfile", str(kit / "server.key")]

    def _executor(self) -> list[str]:
        kit = self._settings.kit
        command = [sys.executable, "-m", LAUNCHER, "superexec"]
        command += ["--runtime-api-address", self._settings.local_address]
        command += ["--superexec-auth-secret-file", str(kit / "executor.secret")]
        secure = ["--root-certificates", str(kit / "ca.crt")]
        return [*command, *(["--insecure"] if self._server.insecure else secure)]


def stop_server(kit: Path) -> bool:
    """Stop the server that runs from a kit; return whether there was one."""
    return stop_recorded(_record(load_server_settings(kit).state))


def server_record(kit: Path) -> dict[str, object] | None:
    """Return what runs from a kit: `pid`, `address`, `started`, and `children` by their name; None if nothing does."""
    return read_record(_record(load_server_settings(kit).state))


def check_port_is_free(host: str, port: int) -> None:
    """Check that a server can listen at a port of this machine.

    Raises
    ------
    ConfigError
        If something else listens there, or this process may not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"server.port must be free, got {port} ({error.strerror}); stop what listens there, or choose another "
                "port in server.toml and in each plant's client.toml"
            ) from error


def _record(state: Path) -> Path:
    return state / "server.json"


def _last_words(ended: Ended) -> str:
    return next((line.strip()[:200] for line in reversed(ended.lines) if line.strip()), "it said nothing")
