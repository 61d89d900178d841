"""A run is handed to the server's executor, and followed from wherever its folder can be read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.core.errors import ClientError, ConfigError
from werkbund.federation import Watcher, load_config
from werkbund.federation.deployment.progress import follow, num_lines
from werkbund.federation.folder import Folder
from werkbund.flower.bundle import bundle
from werkbund.flower.control import Control
from werkbund.flower.serversettings import ServerSettings

Seen = Callable[[list[dict[str, Any]]], None]
WAIT_S = 60


@dataclass(frozen=True)
class Submitted:
    """Hold a run that the server's executor has taken.

    Parameters
    ----------
    settings
        The server's.
    run_id
        Flower's number for it.
    folder
        The run's folder.
    first_line
        Lines of its progress that are of an earlier attempt.
    """

    settings: ServerSettings
    run_id: int
    folder: Path
    first_line: int = 0

    def follow(self, watcher: Watcher, seen: Seen) -> None:
        """Tell how the run goes until it is over.

        Raises
        ------
        ClientError
            If it fails, with its own message.
        """
        error = follow(self.folder, watcher, seen, self._ended, self.first_line)
        if error:
            raise ClientError(error)

    def stop(self) -> None:
        """Stop the run; what it has done stays, and `resume` goes on with it."""
        with _control(self.settings) as control:
            control.stop_run(self.run_id)

    def _ended(self) -> str | None:
        """Return why the run's process is gone; None while it goes on, or nobody knows."""
        try:
            with _control(self.settings) as control:
                found = next((run for run in control.runs() if run.id == self.run_id), None)
        except ClientError:
            return None  # the SuperLink is away, and comes back
        if found is None or found.status != "finished":
            return None
        return found.details or f"the run ended as {found.sub_status}; see state/logs/executor.log in the server's kit"


def submit(
    settings: ServerSettings,
    config: Path | None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    wait_s: int = WAIT_S,
) -> Submitted:
    """Start a run.

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
        If the configuration breaks a rule, or there is no client.
    ClientError
        If the server does not run.
    """
    path = config or settings.kit / "federation.toml"
    loaded = load_config(path if path.is_file() or config else None, overrides)
    names = clients_of(settings, tuple(loaded.data.clients))
    folder = fresh_folder(settings, loaded.federation.name, out)
    told: dict[str, str | int | float | bool] = {
        "config": str(path.resolve()) if path.is_file() or config else "",
        "set": ";".join(overrides),
        "clients": ",".join(names),
        "out": str(folder),
        "wait-s": wait_s,
    }
    with _control(settings) as control:
        return Submitted(settings, control.start_run(bundle(), told), folder)


def submit_resume(settings: ServerSettings, run: Path) -> Submitted:
    """Go on with a run that was stopped.

    Raises
    ------
    CheckpointError
        If the folder cannot be continued.
    ClientError
        If the server does not run.
    """
    folder = Folder.existing(run.resolve())
    folder.load_checkpoint()
    before = num_lines(folder.path)
    with _control(settings) as control:
        run_id = control.start_run(bundle(), {"resume": str(folder.path), "wait-s": WAIT_S})
    return Submitted(settings, run_id, folder.path, before)


def clients_of(settings: ServerSettings, ordered: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the clients whose keys the server has; in the given order, if that names just these."""
    names = tuple(sorted(path.stem for path in (settings.kit / "clients").glob("*.pub")))
    if ordered and (not names or set(ordered) == set(names)):
        return ordered
    if not names and not settings.server.insecure:
        where = settings.kit / "clients"
        raise ConfigError(f"{where} must hold the keys of clients; add one with `werkbund provision --add`")
    return names


def fresh_folder(settings: ServerSettings, name: str, out: Path | None) -> Path:
    """Return where a new run goes."""
    if out is not None:
        return Folder.create(name, out.resolve()).path
    runs, number = settings.kit / "runs", 1
    while (path := runs / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    path.mkdir(parents=True)
    return path


def remove_if_empty(folder: Path) -> None:
    """Remove the folder of a run that never began."""
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def _control(settings: ServerSettings) -> Control:
    return Control(settings.local_address, settings.root_certificates, settings.server.insecure)
