"""Flower's ServerApp: reads the run's arguments, waits for its clients, and runs the federation over Flower's grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from logging import INFO
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import RunNotRunningException

from werkbund.config import Config, changed, load_config
from werkbund.core.errors import ConfigError, FederationError, QuorumError
from werkbund.evaluation import RoundNews, Watcher
from werkbund.federation.folder import Folder
from werkbund.flower.machine.pidfile import claimed
from werkbund.flower.machine.processes import follow_starter
from werkbund.flower.server.grid import FlowerGrid
from werkbund.flower.server.nodes import Directory
from werkbund.flower.server.submission import how_to_go_on, running_record
from werkbund.flower.wire.records import look_again_soon
from werkbund.ledger import Receipts
from werkbund.server import Preflight, resume_deployed, run_deployed
from werkbund.server.progress import ProgressFile

app = ServerApp()

_PAUSE_S = 0.5


@dataclass(frozen=True)
class RunArguments:
    """Hold the arguments with which a run was started.

    Parameters
    ----------
    config
        The federation's configuration.
    clients
        Names of the clients in their order; empty: those that are online when the run begins.
    out, resume, plants
        The folder of a new run, that of a run to go on with, and that of all plants' public keys; None where it is not
        given.
    wait_s
        Seconds to wait for clients before the first round.
    """

    config: Config
    clients: tuple[str, ...]
    out: Path | None
    resume: Path | None
    plants: Path | None
    wait_s: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RunArguments:
        """Read Flower's run configuration; see `bundle.DEFAULTS` for the keys.

        Raises
        ------
        ConfigError
            If a key breaks a rule.
        """
        path = Path(str(values["config"])) if values["config"] else None
        config = load_config(path, [part for part in str(values["set"]).split(";") if part.strip()])
        if int(values["rounds"]) > 0:
            config = changed(config, federation={"rounds": int(values["rounds"])})
        if int(values["seed"]) >= 0:
            config = changed(config, federation={"seed": int(values["seed"])})
        names = tuple(name for name in str(values["clients"]).split(",") if name) or tuple(config.data.clients)
        keys = ("out", "resume", "plants")
        out, resume, plants = (Path(str(values[key])) if values[key] else None for key in keys)
        return cls(config, names, out, resume, plants, float(values["wait-s"]))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run, or go on with, a federation."""
    look_again_soon()
    follow_starter()
    arguments = RunArguments.of(context.run_config)
    folder = (
        Folder.existing(arguments.resume)
        if arguments.resume
        else Folder.create(arguments.config.federation.name, arguments.out)
    )
    claim, record = ExitStack(), running_record(folder.path)
    claim.enter_context(claimed(record, f"the run {folder.path}", {"run": context.run_id}))
    progress = _LoggedProgress(folder)

    def end(why: str = "") -> None:
        claim.close()  # before the end is told: whoever hears of it may go on with the run at once
        progress.end(why)

    try:
        _run(grid, arguments, folder, progress)
    except QuorumError as error:
        end(f"{error} As it is, {how_to_go_on(folder.path)}.")
        raise
    except FederationError as error:
        end(str(error))
        raise
    except (KeyboardInterrupt, SystemExit, RunNotRunningException):
        end(f"the run was stopped; {how_to_go_on(folder.path)}")
        raise
    except BaseException as error:
        end(f"{type(error).__name__}: {error}")
        raise
    end()


class _LoggedProgress(ProgressFile):
    """Write progress to the run's folder, and a line for each stage and round to Flower's log."""

    def stage(self, what: str) -> None:
        """Write that a new stage begins; `what` is it in words."""
        super().stage(what)
        log(INFO, "%s", what)

    def round(self, news: RoundNews) -> None:
        """Write what is new after a round."""
        super().round(news)
        record, scores = news.record, news.scores.get("validation")
        loss = "" if record.loss is None else f", loss {record.loss:.4f}"
        ranking = "" if scores is None else f", validation average precision {scores.average_precision:.3f}"
        failed = f", {len(record.failures)} failed" if record.failures else ""
        log(INFO, "round %d of %d%s%s%s", record.round, news.last, loss, ranking, failed)


def _run(grid: Grid, arguments: RunArguments, folder: Folder, progress: ProgressFile) -> None:
    if arguments.resume:
        config, names = folder.read_config(), tuple(folder.read_json("run.json")["clients"])
        reach = FlowerGrid(grid, names, config.federation.round_timeout_s, receipts=Receipts(folder.path))
        reach.doubt()
        _await_clients(reach.ready, names, arguments.wait_s, progress)
        resume_deployed(folder.path, reach, progress, arguments.plants)
        return
    directory = Directory(grid)
    names = _await_clients(directory.online, arguments.clients, arguments.wait_s, progress)
    reach = FlowerGrid(grid, names, arguments.config.federation.round_timeout_s, directory, Receipts(folder.path))

    def seen(preflight: Preflight) -> None:
        progress.checks([vars(check) for check in preflight.checks])

    run_deployed(
        arguments.config,
        reach,
        plants=arguments.plants,
        folder=folder,
        watcher=progress,
        seen=seen,
        command=("flwr", "run"),
    )


def _await_clients(
    find_online: Callable[[], Collection[str]], names: tuple[str, ...], wait_s: float, watcher: Watcher
) -> tuple[str, ...]:
    """Wait until the clients are there, or the time is over; return the names of those that the run is made of.

    Where no names are given it is made of those that have come, once no other has come for a moment.
    """
    deadline, before = time.monotonic() + wait_s, ""
    while True:
        online = find_online()
        missing = [name for name in names if name not in online]
        if names and (not missing or time.monotonic() >= deadline):
            return names
        state = f"waiting for {', '.join(missing)}" if names else f"{len(online)} clients are there"
        if not names and online and state == before:
            return tuple(sorted(online))
        if state != before:
            watcher.stage(state)
        if time.monotonic() >= deadline:
            raise ConfigError(f"no client has come within {wait_s:.0f} s; start one, or raise wait-s")
        before = state
        time.sleep(_PAUSE_S if names else 4 * _PAUSE_S)
