"""What tests of faults share: a client whose training takes a while, and signals to the right process in the middle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.flower.trials import Live, Run, wait_for
from werkbund.config import load_config
from werkbund.core.arrays import Float32Array
from werkbund.federation import run
from werkbund.flower.machine.pidfile import identity

WORKER, SUPERNODE = "werkbund.flower.plant.answering", "werkbund.flower.plant.supernode"
SUPERLINK, EXECUTOR = "werkbund.flower.server.launcher superlink", "werkbund.flower.server.launcher superexec"
SERVERAPP = "launcher serverapp"
_TICKS = os.sysconf("SC_CLK_TCK")


def more_rows(held: Live, name: str, times: int) -> None:
    """Give a client many times the rows that it had: its training then takes longer than that of the others."""
    path = data_file(held, name)
    frame = pl.read_csv(path)
    pl.concat([frame] * times).write_csv(path)


def start_all(held: Live, but: str = "") -> None:
    """Start the server and all clients but one; return when the server listens."""
    for name in ("server", *held.trial.clients):
        if name != but:
            held.start(name)
    server = held.children["server"]

    def failed() -> str | None:
        return None if server.poll() is None else held.log("server")

    wait_for(lambda: "listens" in held.log("server"), "the server", failed)


def data_file(held: Live, name: str) -> Path:
    """Return where a client's rows lie."""
    return Path(load_config(held.trial.config).data.clients[name])


def only(held: Live, name: str, part: str) -> int:
    """Return the one process below a host whose command line has this part; wait until it is there."""
    pids: list[int] = []

    def look() -> bool:
        pids[:] = held.descendants(name, part)
        return bool(pids)

    wait_for(look, f"{part} of {name}")
    return pids[0]


def signal_in_training(held: Live, name: str, part: str, number: int, seconds: float = 0.3) -> int:
    """Send a signal to a client's process once its worker has used so much time; return the process's id.

    To be called right after a round: what the worker then computes is the next one.
    """
    worker = only(held, name, WORKER)
    before = _cpu_seconds(worker)
    wait_for(lambda: _cpu_seconds(worker) > before + seconds, f"{name} to be in the middle of training")
    pid = only(held, name, part)
    os.kill(pid, number)
    return pid


def wait_until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    wait_for(lambda: identity(pid) is None, f"the end of process {pid}")


def failures(running: Run, number: int) -> Iterator[tuple[int, str]]:
    """Yield round and reason of each failure of a client."""
    for line in running.rounds():
        for failure in line["failures"]:
            if failure["client"] == number:
                yield line["round"], failure["reason"]


def wait_for_failure(running: Run, number: int, after: int = 0, patience_s: float = 120.0) -> tuple[int, str]:
    """Wait until a round is written in which a client failed; return its round and the reason."""

    def later() -> list[tuple[int, str]]:
        return [(round, reason) for round, reason in failures(running, number) if round > after]

    wait_for(later, f"a failure of client {number}", patience_s=patience_s)
    return later()[0]


def last_round(running: Run) -> int:
    """Return the number of the last round that is written; 0 before the first."""
    return max((line["round"] for line in running.rounds()), default=0)


def wait_until_it_trains(held: Live, running: Run, name: str, patience_s: float = 180.0) -> int:
    """Wait until a round after this moment has an answer of a client; return the round."""
    number, before = list(held.trial.clients).index(name), last_round(running)

    def trained() -> list[int]:
        lines = [line for line in running.rounds() if line["round"] > before and number in line["cohort"]]
        return [line["round"] for line in lines if number not in {failure["client"] for failure in line["failures"]}]

    wait_for(trained, f"{name} to train again", patience_s=patience_s)
    return trained()[0]


def answered(held: Live, name: str, kind: str = "train") -> list[int]:
    """Return the rounds of the tasks of a kind that a client did, as its own ledger says."""
    done = [entry for entry in entries(held, name) if entry["kind"] == "answer" and "again" not in entry]
    return [entry["round"] for entry in done if entry["task"] == kind]


def entries(held: Live, name: str) -> list[dict[str, Any]]:
    """Return what stands in a client's ledger."""
    return _lines(held.trial.clients[name] / "state" / "ledger.jsonl")


def events(held: Live, name: str) -> list[dict[str, Any]]:
    """Return a client's own record: its ledger, and errors in their own words."""
    return [*entries(held, name), *_lines(held.trial.clients[name] / "state" / "events.jsonl")]


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def uninterrupted(held: Live, out: Path) -> Float32Array:
    """Return the weights that the same files give in one process, with nobody killed."""
    alone = run(load_config(held.trial.config), out=out, compare=False)
    weights: Float32Array = np.load(alone.folder / "model" / "weights.npy")
    return weights


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
