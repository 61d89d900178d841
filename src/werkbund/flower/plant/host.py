"""What `werkbund client start` runs: a SuperNode, the agent that answers for it, and the plant's worker.

All connections go out. The three are kept running for ever; whatever ends is started anew. What the SuperNode says in
its log is put into plain words for the people at the plant.
"""

from __future__ import annotations

import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from werkbund.core.errors import ConfigError
from werkbund.core.files import make_private, write_privately
from werkbund.core.keys import read_private_key
from werkbund.flower.machine.bundle import bundle_hash
from werkbund.flower.machine.clock import NOTICEABLE_S, ServerClock, use_clock
from werkbund.flower.machine.connection import HERE, Lease, find_trouble, free_port, split_address
from werkbund.flower.machine.pidfile import claimed, stop_recorded
from werkbund.flower.machine.processes import LONGEST_PAUSE_S, Ended, Persistent, Supervised, environment
from werkbund.flower.machine.way import Way, way_to
from werkbund.flower.plant.agent import Agent
from werkbund.flower.plant.worker import WorkerProcess
from werkbund.plant.settings import PlantSettings, load_settings

TICK_S = 0.2
KNOCKING_S = 5.0
"""Longest pause between two tries while the server holds the previous connection."""
LOST_S = 20.0
"""Seconds without a connection after which the server's other addresses are tried."""

_FAREWELL_S, _LAST_WORDS_S = 0.5, 5.0

_ID = re.compile(r"SuperNode ID: (\d+)")
_LOST = "Connection attempt failed"
_AGAIN = "Connection successful after"
_HELD = "[code: 2004]"
_REFUSED = ("[code: 2001]", "401 Unauthorized")
_BY_SIGNAL = "terminated gracefully"


class ClientHost:
    """Run a plant's side of the federation.

    Parameters
    ----------
    kit
        The plant's folder.
    on_message
        Takes lines for people; a line that repeats the one before is left out.
    approve
        Given the SHA-256 of an app bundle, returns why it is refused, or None; by default the installed version's
        bundle and those of `policy.bundles` are approved.
    worker
        Program and arguments of the worker.

    Raises
    ------
    ConfigError
        If `client.toml` breaks a rule.
    """

    def __init__(
        self,
        kit: Path,
        on_message: Callable[[str], None],
        approve: Callable[[str], str | None] | None = None,
        worker: Sequence[str] | None = None,
    ) -> None:
        settings = load_settings(kit)
        self._settings, self._server = settings, settings.server
        self._say = _WithoutRepeats(on_message)
        self._lease, self._is_known = Lease(settings.state / "node.json"), False
        self._secret, self._port = secrets.token_hex(32).encode(), free_port()
        self._stuck, self._clock = threading.Event(), ServerClock()
        use_clock(self._clock)
        logs, variables = settings.state / "logs", environment(settings.kit)
        command = worker or [sys.executable, "-m", "werkbund.flower.plant.answering", str(settings.kit)]
        self.worker = WorkerProcess(command, logs / "worker.log", variables)
        self._worker_starts = 0
        self._address, self._variables, self._lost = self._server.address, variables, 0.0
        self.supernode = Supervised(
            self._command, logs / "supernode.log", self._variables, self._is_reachable, self._on_end
        )
        self.agent = Agent(
            f"{HERE}:{self._port}",
            self._secret,
            self.worker.ask,
            approve or approval(settings),
            self._say,
            self._stuck.set,
            self._clock.time,
        )

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set.

        Raises
        ------
        ConfigError
            If a file is missing or open to others, or another process runs this kit.
        """
        self._check_keys()
        make_private(self._settings.state)
        with claimed(_record(self._settings.state), f"the client of {self._settings.kit}"):
            write_privately(self._settings.state / "secret", self._secret)
            self._keep_running(stop)

    def _keep_running(self, stop: threading.Event) -> None:
        agent = threading.Thread(target=self.agent.run, args=(stop,), name="agent")
        agent.start()
        tick = Persistent(self._tick, self._say)
        try:
            while not stop.is_set():
                tick()
                stop.wait(TICK_S)
        finally:
            stop.set()
            was_busy = self.agent.is_busy
            self.worker.stop()
            agent.join(_LAST_WORDS_S)  # unless it waits for the SuperNode
            time.sleep(_FAREWELL_S if was_busy else 0.0)  # for the SuperNode to send why there is no answer
            self.supernode.stop()
            agent.join()

    def _check_keys(self) -> None:
        if not self._server.insecure:
            read_private_key(Path(self._server.private_key))
            if not Path(self._server.root_certificates).is_file():
                raise ConfigError(f"{self._server.root_certificates} must be there; copy ca.crt from the kit again")

    def _tick(self) -> None:
        for line in self.supernode.tick():
            news = news_of(line, self._address)
            if news is not None:
                self._say(news.text)
                self._lost = time.monotonic() if news.is_loss else 0.0
            if news is not None and news.node_id is not None:
                self._is_known = True
                self._lease.remember(news.node_id)
                self.supernode.steady()
        if self._lost and len(self._server.addresses) > 1 and time.monotonic() - self._lost > LOST_S:
            self._lost = 0.0
            self.supernode.stop()  # its next start takes the first address that answers
        if self._stuck.is_set():
            self._stuck.clear()
            self._say("the SuperNode is started again, because it waits for an answer that cannot be given")
            self.supernode.stop()
        if self.worker.keep():
            self._worker_starts += 1
            if self._worker_starts > 1:
                self._say(f"the worker ended; it is started again, and {self.worker.log.path} says why")

    def _is_reachable(self) -> bool:
        roots = None if self._server.insecure else Path(self._server.root_certificates)
        before_s = self._clock.ahead_s
        way = self._way_that_leads(roots)
        if way is None:
            return False
        if abs(self._clock.ahead_s - before_s) >= NOTICEABLE_S:
            self._say(news_of_clock(self._clock.ahead_s))
        if roots is not None:
            key = Path(self._server.private_key)
            given = self._lease.give_back(self._address, roots.read_bytes(), key, way.proxy)
            self._is_known = self._lease.node_id is not None and given is not False
        return True

    def _way_that_leads(self, roots: Path | None) -> Way | None:
        """Return the way to the first address that answers, which is the one then taken; None if none does."""
        for address in self._server.addresses:
            way = way_to(split_address(address), self._server.proxy, self._server.insecure)
            trouble = find_trouble(address, roots, self._clock, way.proxy)
            if trouble is None:
                self._address = address
                variables = way.variables(self._variables)
                self._variables.clear()
                self._variables.update(variables)
                return way
            self._say(trouble.text)
        return None

    def _on_end(self, ended: Ended) -> None:
        self._say(news_of_end(ended, self._is_known))
        self.supernode.longest_pause_s = KNOCKING_S if self._is_known and is_held(ended) else LONGEST_PAUSE_S

    def _command(self) -> list[str]:
        self._port = free_port(self._port)
        self.agent.address = f"{HERE}:{self._port}"
        command = [sys.executable, "-m", "werkbund.flower.plant.supernode", "--poll-s", str(self._server.poll_s)]
        command += ["--ahead-s", f"{self._clock.ahead_s:.1f}"]
        command += ["--superlink", self._address, "--isolation", "process"]
        command += ["--host", HERE, "--port", str(self._port)]
        command += ["--superexec-auth-secret-file", str(self._settings.state / "secret")]
        if self._server.insecure:
            return [*command, "--insecure"]
        roots, key = self._server.root_certificates, self._server.private_key
        return [*command, "--root-certificates", roots, "--auth-supernode-private-key", key]


def stop_client(kit: Path) -> bool:
    """Stop the client that runs from a kit; return whether there was one."""
    return stop_recorded(_record(load_settings(kit).state))


def approval(settings: PlantSettings) -> Callable[[str], str | None]:
    """Return what approves the bundle of the installed version and those that the plant's policy names."""

    def approve(bundle: str) -> str | None:
        if bundle in settings.policy.bundles or bundle == bundle_hash():
            return None
        return (
            f"{settings.client.name} does not approve the app bundle {bundle}: it is not that of the installed version "
            "of Werkbund; install the server's version, or add the hash to policy.bundles in client.toml"
        )

    return approve


@dataclass(frozen=True)
class News:
    """Say what a line of the SuperNode's log means.

    Parameters
    ----------
    text
        In words, for the people at the plant.
    node_id
        Number under which the server knows this plant, if it has just let it in; else None.
    is_loss
        Whether the connection is gone.
    """

    text: str
    node_id: int | None = None
    is_loss: bool = False


def news_of(line: str, address: str) -> News | None:
    """Return what a line of the log means; None for the many that mean nothing to people. `address` is the server's."""
    connected = _ID.search(line)
    if connected is not None:
        return News(f"connected to {address}", int(connected[1]))
    if _LOST in line:
        return News(f"the connection to {address} is lost; trying again", is_loss=True)
    if _AGAIN in line:
        return News(f"connected to {address} again")
    return None


def news_of_clock(ahead_s: float) -> str:
    """Return in words by how much this machine's clock is ahead of the server's, and what comes of it."""
    if ahead_s == 0.0:
        return "this machine's clock agrees with the server's again"
    side = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead_s):.0f} s {side} the server's; messages bear the server's time. Let the "
        "clock follow a time server (NTP)"
    )


def is_held(ended: Ended) -> bool:
    """Say whether the server may have refused the SuperNode only because it still holds its older connection."""
    return any(_HELD in line for line in ended.lines)


def news_of_end(ended: Ended, is_known: bool) -> str:
    """Return in words why a SuperNode has ended, and what to do.

    Parameters
    ----------
    ended
        How it ended.
    is_known
        Whether the server has let this plant in before, and has not said since that it no longer knows its key.
    """
    if is_held(ended) and is_known:
        return (
            "the server still holds the previous connection, trying again (takes up to 80 s); if this goes on, another "
            "client runs with the same key"
        )
    if is_held(ended) or _is_refused(ended):
        return (
            "this key is not registered with the server: send client.pub to the operator; trying again (if it was "
            "registered before, the operator has removed it, or another client runs with the same key)"
        )
    last_words = next((line.strip() for line in reversed(ended.lines) if line.strip()), "it said nothing")
    return f"the SuperNode ended with code {ended.code} ({last_words[:200]}); it is started again"


def _is_refused(ended: Ended) -> bool:
    # Flower's SuperNode ends itself by a signal, in good order, when the server refuses a request.
    by_signal = ended.code == 0 and any(_BY_SIGNAL in line for line in ended.lines)
    return by_signal or any(mark in line for mark in _REFUSED for line in ended.lines)


def _record(state: Path) -> Path:
    return state / "client.json"


class _WithoutRepeats:
    """Hand lines on, each unless it is the same as the one before."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._hand_on, self._last = say, ""

    def __call__(self, line: str) -> None:
        """Hand a line on, or leave it out."""
        if line != self._last:
            self._last = line
            self._hand_on(line)
