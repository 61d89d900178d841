"""A run is handed to the server's executor, and followed from wherever its folder can be read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config import load_config
from werkbund.core.errors import ClientError, ConfigError
from werkbund.evaluation import Watcher
from werkbund.federation.attacked import refuse_attack
from werkbund.federation.folder import Folder
from werkbund.flower.machine.bundle import bundle
from werkbund.flower.machine.pidfile import check_is_over, read_record
from werkbund.flower.server.control import Control, connect
from werkbund.flower.server.kit import ServerSettings
from werkbund.server.progress import follow, num_lines, num_lines_before

ShowChecks = Callable[[list[dict[str, Any]]], None]
"""Is given the checks of what clients said about themselves, as plain values."""

WAIT_S = 60
"""Seconds that a run waits for clients that are not there yet."""

_END_S, _PAUSE_S = 10.0, 0.2
_LOG = "state/logs/executor.log in the server's kit may say why"
_NO_HEARTBEAT = "No heartbeat received from the task"  # Flower's words when a run's process was silent for a minute


@dataclass(frozen=True)
class SubmittedRun:
    """Hold a run that was handed to the server's executor.

    Parameters
    ----------
    settings
        The server's.
    run_id
        Flower's number for it.
    folder
        The run's folder.
    first_line
        How many lines of its progress file an earlier attempt wrote.
    """

    settings: ServerSettings
    run_id: int
    folder: Path
    first_line: int = 0

    def follow(self, watcher: Watcher, seen: ShowChecks) -> None:
        """Tell a watcher how the run goes until it is over; `seen` is given the checks of the clients' facts.

        Raises
        ------
        ClientError
            If the run fails, with the run's own message.
        """
        error = follow(self.folder, watcher, seen, self._ended, self.first_line)
        if error:
            raise ClientError(error)

    def stop(self) -> None:
        """Stop the run; its folder stays, and `resume` goes on with it."""
        with connect(self.settings) as control:
            control.stop_run(self.run_id)

    def _ended(self) -> str | None:
        """Return why the run's process is gone; None while it goes on, or nobody knows."""
        try:
            with connect(self.settings) as control:
                run = next((run for run in control.runs() if run.id == self.run_id), None)
        except ClientError:
            return None  # the SuperLink is away, and comes back
        if run is None:
            return f"the server's database does not know this run; {how_to_go_on(self.folder)}"
        if run.status != "finished":
            return None
        if run.details == _NO_HEARTBEAT:
            return f"the run's process has ended without a word; {how_to_go_on(self.folder)} ({_LOG})"
        return run.details or f"the run ended as {run.sub_status}; {how_to_go_on(self.folder)} ({_LOG})"


def submit(
    settings: ServerSettings,
    config: Path | None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    wait_s: int = WAIT_S,
) -> SubmittedRun:
    """Have the server's executor start a run.

    Parameters
    ----------
    settings
        The server's.
    config
        The federation's file; None is the one in the kit.
    overrides
        `section.key=value` each.
    out
        The run's folder, new or empty; None is a fresh one under the kit's `runs/`.
    wait_s
        Seconds to wait for clients that are not there yet.

    Raises
    ------
    ConfigError
        If the configuration breaks a rule, or the server has no client's key.
    ClientError
        If the server does not run.
    """
    path = config or settings.kit / "federation.toml"
    loaded = load_config(path if path.is_file() or config else None, overrides)
    refuse_attack(loaded)
    names = clients_of(settings, tuple(loaded.data.clients))
    folder = fresh_folder(settings, loaded.federation.name, out)
    arguments: dict[str, str | int | float | bool] = {
        "config": str(path.resolve()) if path.is_file() or config else "",
        "set": ";".join(overrides),
        "clients": ",".join(names),
        "out": str(folder),
        "plants": _plants(settings),
        "wait-s": wait_s,
    }
    with connect(settings) as control:
        return SubmittedRun(settings, control.start_run(bundle(), arguments), folder)


def submit_resume(settings: ServerSettings, run: Path) -> SubmittedRun:
    """Go on with a run that was stopped.

    Raises
    ------
    CheckpointError
        If the folder cannot be continued.
    ConfigError
        If the run goes on already.
    ClientError
        If the server does not run.
    """
    folder = Folder.existing(run.resolve())
    folder.load_checkpoint()
    record = running_record(folder.path)
    _await_end(record)
    check_is_over(record, f"the run {folder.path}")
    before = num_lines(folder.path)
    with connect(settings) as control:
        _stop_left_over(control, record)
        arguments: dict[str, str | int] = {"resume": str(folder.path), "plants": _plants(settings), "wait-s": WAIT_S}
        run_id = control.start_run(bundle(), arguments)
    return SubmittedRun(settings, run_id, folder.path, before)


def attach(settings: ServerSettings, run: Path) -> SubmittedRun:
    """Return a run that goes on, to be followed from the first line that its present attempt wrote.

    Raises
    ------
    ConfigError
        If it is over, or was never started.
    """
    folder = run.resolve()
    number = number_of_running(folder)
    if number is None:
        done = (folder / "result.json").is_file()
        rest = "it has ended well, and its report is report.html there" if done else how_to_go_on(folder)
        raise ConfigError(f"{folder} must be the folder of a run that goes on; {rest}")
    return SubmittedRun(settings, number, folder, num_lines_before(folder))


def clients_of(settings: ServerSettings, ordered: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the clients whose keys the server has; in the given order if that names just these.

    Raises
    ------
    ConfigError
        If the server has no key and must have some.
    """
    names = tuple(sorted(path.stem for path in (settings.kit / "clients").glob("*.pub")))
    if ordered and (not names or set(ordered) == set(names)):
        return ordered
    if not names and not settings.server.insecure:
        where = settings.kit / "clients"
        raise ConfigError(f"{where} must hold the keys of clients; add one with `werkbund provision --add`")
    return names


def fresh_folder(settings: ServerSettings, name: str, out: Path | None) -> Path:
    """Make the folder of a new run and return it: `out`, or one under the kit's `runs/` that has the run's name."""
    if out is not None:
        return Folder.create(name, out.resolve()).path
    runs, number = settings.kit / "runs", 1
    while (path := runs / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    path.mkdir(parents=True)
    return path


def run_summary(folder: Path) -> dict[str, Any]:
    """Return what `--json` prints about a finished run: folder, report, data, sizes, seed and results."""
    run = Folder.existing(folder)
    about, result = run.read_json("run.json"), run.read_json("result.json")
    names = ("rounds", "best_round", "stopped", "seconds", "threshold", "metrics", "delivered")
    return {
        "run_dir": str(folder),
        "report": str(folder / "report.html"),
        "data": about["data"],
        "clients": len(about["clients"]),
        "parameters": about["layout"]["parameters"],
        "seed": about["seed"],
        **{name: result.get(name) for name in names},
    }


def running_record(folder: Path) -> Path:
    """Return the file in a run's folder that says which process writes to it."""
    return folder / "running.json"


def number_of_running(folder: Path) -> int | None:
    """Return Flower's number of the run that goes on in a folder; None if none does."""
    number = (read_record(running_record(folder)) or {}).get("run")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def how_to_go_on(folder: Path) -> str:
    """Return in words how a run goes on that has ended before its last round."""
    if not (folder / "checkpoint.npz").is_file():
        return "it did not reach its first checkpoint; start it anew"
    return f"`werkbund server resume {folder}` goes on where it was"


def _plants(settings: ServerSettings) -> str:
    """Return the folder of all plants' public keys, which secure sums need; empty where the kit has none."""
    folder = settings.kit / "plants"
    return str(folder) if folder.is_dir() else ""


def _await_end(record: Path) -> None:
    """Wait a little for the process of a run whose executor has just been ended: it is about to end itself."""
    until = time.monotonic() + _END_S
    while read_record(record) is not None and time.monotonic() < until:
        time.sleep(_PAUSE_S)


def _stop_left_over(control: Control, record: Path) -> None:
    """Stop the run whose process was killed, so that clients let go of it now and not after a minute."""
    try:
        left = json.loads(record.read_text(encoding="utf-8")).get("run")
    except (OSError, ValueError, AttributeError, RecursionError):
        return
    if any(run.id == left and run.status != "finished" for run in control.runs()):
        control.stop_run(left)
