"""How the server stands: its clients by name, and its runs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.stored import read_stored, stored_value
from werkbund.flower.machine.pidfile import read_record
from werkbund.flower.server.control import Node, connect
from werkbund.flower.server.kit import ServerSettings, load_server_settings
from werkbund.flower.server.submission import number_of_running, running_record

_NOTHING = "-"
_REMEDY = "restore it from a copy"


class SaidOfOne(BaseModel):
    """Say what preflight.json tells of a client that is shown."""

    rows: int | None = None
    versions: dict[str, Any] | None = None


class SaidBefore(BaseModel):
    """Say what preflight.json holds at least."""

    facts: dict[str, SaidOfOne]


class NamedClients(BaseModel):
    """Say what run.json holds at least for a table of clients."""

    clients: list[str]


class FailedClient(BaseModel):
    """Say what a line of rounds.jsonl tells of a failure at least."""

    client: int


class RoundDone(BaseModel):
    """Say what a line of rounds.jsonl holds at least for a table of clients."""

    round: int
    cohort: list[int]
    failures: list[FailedClient]


@dataclass(frozen=True)
class ClientStatus:
    """Describe one client, in words.

    Parameters
    ----------
    name, state
        `registered` was never seen; else `online` or `offline`.
    last_seen
        How long ago it was online.
    version, rows
        As it said before the last run; None where it did not.
    round
        The last round that it trained in, of the last run; None if in none.
    """

    name: str
    state: str
    last_seen: str
    version: str
    rows: int | None
    round: int | None


@dataclass(frozen=True)
class RunStatus:
    """Describe one run: its folder's name, how it stands in words, rounds done, and its folder's path."""

    name: str
    state: str
    round: int
    folder: str


@dataclass(frozen=True)
class Status:
    """Hold how the clients and the runs of a server stand now, the newest run first."""

    clients: tuple[ClientStatus, ...]
    runs: tuple[RunStatus, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return {"clients": [asdict(client) for client in self.clients], "runs": [asdict(run) for run in self.runs]}


def status(kit: Path) -> Status:
    """Ask the SuperLink for its clients, and read the folders of runs.

    Raises
    ------
    ConfigError
        If the kit's file breaks a rule.
    ClientError
        If the SuperLink does not answer.
    """
    settings = load_server_settings(kit)
    with connect(settings) as control:
        return status_of(settings, control.nodes())


def status_of(settings: ServerSettings, nodes: Iterable[Node]) -> Status:
    """Return how these clients and the server's runs stand; of a run whose files are damaged, that they are."""
    folders = _run_folders(settings)
    last = folders[0] if folders else None
    facts, last_rounds = _client_facts(last), _last_rounds(last)
    clients = tuple(_client(node, facts.get(node.name, {}), last_rounds.get(node.name)) for node in nodes)
    return Status(clients, tuple(_run_status(folder) for folder in folders))


def run_number(settings: ServerSettings, run: str) -> int:
    """Return Flower's number of a run that goes on, named by its folder or by that number.

    Raises
    ------
    ConfigError
        If no run of this name goes on.
    """
    if run.isdigit():
        return int(run)
    numbers = ((folder.name, number_of_running(folder)) for folder in _run_folders(settings))
    going = {name: number for name, number in numbers if number is not None}
    if run not in going:
        names = ", ".join(going) or "none"
        raise ConfigError(f"--run must name a run that goes on ({names}), got {run!r}; see `werkbund server status`")
    return going[run]


def _run_folders(settings: ServerSettings) -> list[Path]:
    folders = [path.parent for path in (settings.kit / "runs").glob("*/config.toml")]
    return sorted(folders, key=lambda path: -(path / "config.toml").stat().st_mtime)


def _client(node: Node, facts: dict[str, Any], last_round: int | None) -> ClientStatus:
    rows, versions = facts.get("rows"), facts.get("versions") or {}
    return ClientStatus(
        node.name or f"node {node.node_id}",
        node.status,
        _last_seen(node),
        str(versions.get("werkbund", _NOTHING)),
        rows,
        last_round,
    )


def _last_seen(node: Node) -> str:
    if node.status == "online":
        return "now"
    if not node.last_deactivated_at:
        return "never" if not node.last_activated_at else _NOTHING
    seconds = (datetime.now(UTC) - datetime.fromisoformat(node.last_deactivated_at)).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _client_facts(run: Path | None) -> dict[str, Any]:
    """Return what each client said about itself before a run, by its name."""
    path = run / "preflight.json" if run else None
    if path is None or not path.is_file():
        return {}
    facts: dict[str, Any] = {}
    with suppress(CheckpointError):
        facts = read_stored(path, SaidBefore, _REMEDY)["facts"]
    return facts


def _last_rounds(run: Path | None) -> dict[str, int]:
    """Return the last round that each client trained in, by its name."""
    if run is None or not (run / "run.json").is_file():
        return {}
    last: dict[str, int] = {}
    with suppress(CheckpointError):
        names = dict(enumerate(read_stored(run / "run.json", NamedClients, _REMEDY)["clients"]))
        for line in _rounds(run):
            failed = {failure["client"] for failure in line["failures"]}
            last |= {names[client]: line["round"] for client in line["cohort"] if client in names.keys() - failed}
    return last


def _rounds(run: Path) -> list[dict[str, Any]]:
    path = run / "rounds.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    return [stored_value(line, RoundDone, str(path), _REMEDY) for line in lines]


def _run_status(folder: Path) -> RunStatus:
    try:
        done, state = max((line["round"] for line in _rounds(folder) if line["cohort"]), default=0), _state(folder)
    except CheckpointError as error:
        done, state = 0, f"damaged: {error}"
    return RunStatus(folder.name, state, done, str(folder))


def _state(folder: Path) -> str:
    if (folder / "result.json").is_file():
        return "finished"
    path = folder / "progress.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    last = stored_value(lines[-1], dict[str, Any], str(path), _REMEDY) if lines else {}
    if last.get("end"):
        return f"failed: {last['end']}"
    return "running" if read_record(running_record(folder)) is not None else "stopped"
