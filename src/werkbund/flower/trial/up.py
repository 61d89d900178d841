"""`werkbund up`: a trial federation is laid out, started, run and stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config import Config
from werkbund.federation import Watcher
from werkbund.federation.folder import Folder
from werkbund.flower.server.submitting import Seen, submit
from werkbund.flower.trial.trial import Trial, lay_out, running


@dataclass(frozen=True)
class Up:
    """Hold a trial that is over.

    Parameters
    ----------
    folder
        The run's, as `werkbund run` writes one.
    trial
        Data files, kits and logs, beside it.
    """

    folder: Path
    trial: Trial

    def summary(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return summary_of_folder(self.folder) | {"kits": str(self.trial.folder / "kits")}


def up(
    config: Config,
    count: int | None,
    out: Path | None,
    watcher: Watcher,
    seen: Seen,
    insecure: bool = False,
) -> Up:
    """Run a federation of real processes on this machine.

    Parameters
    ----------
    config
        The federation's; with a file for each client, or a table that is divided.
    count
        Number of clients; None for as many as the configuration names, or 4.
    out
        The run's folder, new; None is a fresh one under `runs/`. What belongs to the plants goes to a folder of the
        same name with `.plants` behind it.
    watcher, seen
        Who is told how it goes, and is shown what clients said about themselves.
    insecure
        Without TLS and keys.

    Raises
    ------
    FederationError
        One of its kinds, with what to do. All processes are stopped then too.
    """
    folder = out if out is not None else _fresh(config.federation.name)
    watcher.stage("writing data files, certificates and kits")
    trial = lay_out(config, folder.with_name(f"{folder.name}.plants"), count, insecure)
    with running(trial, watcher.stage):
        submit(trial.settings, trial.config, out=folder).follow(watcher, seen)
    return Up(folder, trial)


def summary_of_folder(folder: Path) -> dict[str, Any]:
    """Return what programs want to know about a finished run."""
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


def _fresh(name: str) -> Path:
    number = 1
    while True:
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not path.exists() and not path.with_name(f"{path.name}.plants").exists():
            return path
        number += 1
