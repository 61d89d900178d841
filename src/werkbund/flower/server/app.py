"""Flower's ServerApp: reads what it is told, and runs the federation over Flower's grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
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
from werkbund.federation import RoundNews, Watcher
from werkbund.federation.folder import Folder
from werkbund.flower.machine.patience import look_again_soon
from werkbund.flower.machine.pids import check_is_over, write_record
from werkbund.flower.machine.processes import follow_starter
from werkbund.flower.server.directory import Directory
from werkbund.flower.server.grid import FlowerGrid
from werkbund.flower.server.submitting import how_to_go_on, running_record
from werkbund.server import Preflight, resume_deployed, run_deployed
from werkbund.server.progress import ProgressFile

app = ServerApp()

_PAUSE_S = 0.5


@dataclass(frozen=True)
class Order:
    """Hold what a run was told.

    Parameters
    ----------
    config
        The federation's configuration.
    clients
        Names of the clients in their order; empty for those that are there when the run begins.
    out, resume
        The folder of a new run, and that of a run to go on with; None where it is not given.
    wait_s
        Seconds to wait for clients before the first round.
    """

    config: Config
    clients: tuple[str, ...]
    out: Path | None
    resume: Path | None
    wait_s: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Order:
        """Read Flower's run configuration; see `bundle.DEFAULTS` for the keys.

        Raises
        ------
        ConfigError
            If a key breaks a rule.
        """
        path = Path(str(told["config"])) if told["config"] else None
        config = load_config(path, [part for part in str(told["set"]).split(";") if part.strip()])
        if int(told["rounds"]) > 0:
            config = changed(config, federation={"rounds": int(told["rounds"])})
        if int(told["seed"]) >= 0:
            config = changed(config, federation={"seed": int(told["seed"])})
        names = tuple(name for name in str(told["clients"]).split(",") if name) or tuple(config.data.clients)
        out, resume = (Path(str(told[key])) if told[key] else None for key in ("out", "resume"))
        return cls(config, names, out, resume, float(told["wait-s"]))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run, or go on with, a federation."""
    look_again_soon()
    follow_starter()
    order = Order.of(context.run_config)
    folder = Folder.existing(order.resume) if order.resume else Folder.create(order.config.federation.name, order.out)
    record = running_record(folder.path)
    check_is_over(record, f"the run {folder.path}")
    write_record(record, {"run": context.run_id})
    progress = _Told(folder)

    def end(why: str = "") -> None:
        record.unlink(missing_ok=True)  # before the end is told: whoever hears of it may go on with the run at once
        progress.end(why)

    try:
        _run(grid, order, folder, progress)
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


class _Told(ProgressFile):
    """Write progress to the run's folder, and to Flower's log for those who watch that."""

    def stage(self, what: str) -> None:
        """Tell that a new stage begins."""
        super().stage(what)
        log(INFO, "%s", what)

    def round(self, news: RoundNews) -> None:
        """Tell what is new after a round."""
        super().round(news)
        record, scores = news.record, news.scores.get("validation")
        loss = "" if record.loss is None else f", loss {record.loss:.4f}"
        ranking = "" if scores is None else f", validation average precision {scores.average_precision:.3f}"
        failed = f", {len(record.failures)} failed" if record.failures else ""
        log(INFO, "round %d of %d%s%s%s", record.round, news.last, loss, ranking, failed)


def _run(grid: Grid, order: Order, folder: Folder, progress: ProgressFile) -> None:
    if order.resume:
        config, names = folder.read_config(), tuple(folder.read_json("run.json")["clients"])
        reach = FlowerGrid(grid, names, config.federation.round_timeout_s)
        reach.doubt()
        _present(reach.ready, names, order.wait_s, progress)
        resume_deployed(folder.path, reach, progress)
        return
    directory = Directory(grid)
    names = _present(directory.online, order.clients, order.wait_s, progress)
    reach = FlowerGrid(grid, names, order.config.federation.round_timeout_s, directory)

    def seen(told: Preflight) -> None:
        progress.checks([vars(check) for check in told.checks])

    run_deployed(order.config, reach, folder=folder, watcher=progress, seen=seen, command=("flwr", "run"))


def _present(
    look: Callable[[], Collection[str]], names: tuple[str, ...], wait_s: float, watcher: Watcher
) -> tuple[str, ...]:
    """Wait until the clients are there, or the time is over; return the names of those that the run is made of.

    Where no names are given it is made of those that have come, once no other has come for a moment.
    """
    deadline, before = time.monotonic() + wait_s, ""
    while True:
        online = look()
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
