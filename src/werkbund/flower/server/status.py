"""How the server stands: its clients by name, and its runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from werkbund.core.errors import ConfigError
from werkbund.flower.machine.pidfile import read_record
from werkbund.flower.server.control import Node, connect
from werkbund.flower.server.kit import ServerSettings, load_server_settings
from werkbund.flower.server.submission import running_record

_NOTHING = "-"


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
        nodes = control.nodes()
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
    records = ((folder.name, read_record(running_record(folder))) for folder in _run_folders(settings))
    going = {name: record for name, record in records if record}
    if run not in going:
        names = ", ".join(going) or "none"
        raise ConfigError(f"--run must name a run that goes on ({names}), got {run!r}; see `werkbund server status`")
    return int(going[run]["run"])


def _run_folders(settings: ServerSettings) -> list[Path]:
    folders = [path.parent for path in (settings.kit / "runs").glob("*/config.toml")]
    return sorted(folders, key=lambda path: -(path / "config.toml").stat().st_mtime)


def _client(node: Node, facts: dict[str, Any], last_round: int | None) -> ClientStatus:
    rows = facts.get("rows")
    return ClientStatus(
        node.name or f"node {node.node_id}",
        node.status,
        _last_seen(node),
        str(facts.get("versions", {}).get("werkbund", _NOTHING)),
        None if rows is None else int(rows),
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
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["facts"]
    return facts


def _last_rounds(run: Path | None) -> dict[str, int]:
    """Return the last round that each client trained in, by its name."""
    if run is None or not (run / "run.json").is_file():
        return {}
    names = json.loads((run / "run.json").read_text(encoding="utf-8"))["clients"]
    last: dict[str, int] = {}
    for line in _rounds(run):
        failed = {failure["client"] for failure in line["failures"]}
        last |= {names[client]: line["round"] for client in line["cohort"] if client not in failed}
    return last


def _rounds(run: Path) -> list[dict[str, Any]]:
    path = run / "rounds.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]


def _run_status(folder: Path) -> RunStatus:
    rounds = _rounds(folder)
    done = max((int(line["round"]) for line in rounds if line["cohort"]), default=0)
    return RunStatus(folder.name, _state(folder), done, str(folder))


def _state(folder: Path) -> str:
    if (folder / "result.json").is_file():
        return "finished"
    path = folder / "progress.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []
    last = json.loads(lines[-1]) if lines else {}
    if last.get("end"):
        return f"failed: {last['end']}"
    return "running" if read_record(running_record(folder)) is not None else "stopped"
