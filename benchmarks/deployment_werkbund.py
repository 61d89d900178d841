"""Werkbund over the network: its own deployment, and its round on SuperNodes as Flower ships them.

Both run the built-in federation with one step of training a round, which stands for no work, and the whole of a
round around it: weights down, evaluation counts and update up, aggregation, metrics, checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.deployment_flower import Stack
from benchmarks.deployment_processes import ROUND_TIMEOUT_S
from werkbund.config import Config, changed
from werkbund.flower.machine.bundle import bundle
from werkbund.flower.server.control import Control
from werkbund.flower.server.submission import submit
from werkbund.flower.trial.trial import LocalFederation, lay_out, running

_LOOK_S = 0.01


def floor_config(rounds: int) -> Config:
    """Return the built-in federation with next to nothing to train; one round more than asked for is run first."""
    return changed(Config(), federation={"rounds": rounds + 1}, training={"steps": 1})


def kits_for(folder: Path, clients: int, rounds: int) -> LocalFederation:
    """Write the kits of plants whose SuperNodes run without TLS."""
    return lay_out(floor_config(rounds), folder, clients, insecure=True)


def werkbund_rounds(folder: Path, clients: int, rounds: int, parameters: int) -> tuple[float, ...]:
    """Run Werkbund's deployment as it comes, and return the seconds of each round.

    Parameters
    ----------
    folder
        For kits, logs and the run; new.
    clients
        How many plants.
    rounds
        How many to return; one more is run before them.
    parameters
        What the model must have, so that it is the other rows' work.

    Raises
    ------
    FederationError, RuntimeError
        If the deployment does not start, a round does not end, or a client fails in one.
    """
    trial, run = lay_out(floor_config(rounds), folder, clients), folder / "run"
    with running(trial, _nobody):
        submitted = submit(trial.settings, trial.config, out=run)
        ended = _ends(run, rounds + 1, lambda: None)
        submitted.stop()
    return _seconds(run, ended, parameters)


def message_rounds(stack: Stack, trial: LocalFederation, rounds: int, parameters: int) -> tuple[float, ...]:
    """Run Werkbund's loop over SuperNodes that start a process for each message, and return the seconds of each round.

    Parameters
    ----------
    stack
        Its SuperNodes know the kits of the trial.
    trial
        Kits and configuration.
    rounds, parameters
        As for `werkbund_rounds`.
    """
    run = stack.processes.folder / f"run-{next(stack.runs)}"
    told: dict[str, str | int | float | bool] = {
        "config": str(trial.config),
        "clients": ",".join(trial.clients),
        "out": str(run),
    }
    with Control(stack.address, None, insecure=True) as control:
        number = control.start_run(bundle(), told)
        ended = _ends(run, rounds + 1, stack.processes.check)
        control.stop_run(number)
    return _seconds(run, ended, parameters)


def _ends(run: Path, rounds: int, check: Callable[[], None]) -> list[float]:
    """Return when each training round was over, as seen in the progress that the run writes."""
    progress, size, ended = run / "progress.jsonl", 0, list[float]()
    until = time.monotonic() + ROUND_TIMEOUT_S
    while len(ended) < rounds:
        time.sleep(_LOOK_S)
        now, new_size = time.perf_counter(), progress.stat().st_size if progress.exists() else 0
        if new_size > size:
            size, done = new_size, len(_rounds_of(progress))
            if done > len(ended) + 1:
                raise RuntimeError("two rounds ended between two looks; this machine is too busy to time them")
            if done > len(ended):
                ended.append(now)
                until = time.monotonic() + ROUND_TIMEOUT_S
        if time.monotonic() > until:
            raise RuntimeError(f"round {len(ended) + 1} in {run} did not end within {ROUND_TIMEOUT_S:.0f} s")
        check()
    return ended


def _rounds_of(progress: Path) -> list[dict[str, Any]]:
    """Return the training rounds among the lines written so far.

    Raises
    ------
    RuntimeError
        If the run has failed, or a client in it.
    """
    lines = [json.loads(line) for line in progress.read_text(encoding="utf-8").split("\n")[:-1]]
    rounds = [line["round"] for line in lines if "round" in line and line["round"]["cohort"]]
    wrong = [line["end"] for line in lines if line.get("end")] + [one["failures"] for one in rounds if one["failures"]]
    if wrong:
        raise RuntimeError(f"the run went wrong: {wrong[0]}")
    return rounds


def _seconds(run: Path, ended: list[float], parameters: int) -> tuple[float, ...]:
    has = json.loads((run / "run.json").read_text(encoding="utf-8"))["layout"]["parameters"]
    if has != parameters:
        raise RuntimeError(f"all rows must have {parameters} parameters, got {has} in {run}")
    return tuple(after - before for before, after in pairwise(ended))


def _nobody(_: str) -> None:
    """Take a line for people, and leave it."""
