"""Flower as it comes: a SuperLink, SuperNodes that start a process for each message, and an app that trains nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

from benchmarks.deployment_processes import ROUND_TIMEOUT_S, Processes, environment, free_port, wait_for_health

_HERE = Path(__file__).parent
_APP, _LICENSE = _HERE / "deployment_stock", _HERE.parent / "LICENSE"


@dataclass(frozen=True)
class Stack:
    """Hold a running SuperLink with its SuperNodes.

    Parameters
    ----------
    processes
        Which they are.
    address
        Of the SuperLink, host and port.
    clients
        Number of SuperNodes.
    runs
        Numbers the runs.
    """

    processes: Processes
    address: str
    clients: int
    runs: Iterator[int]


@contextmanager
def stock_stack(folder: Path, kits: Sequence[Path]) -> Iterator[Stack]:
    """Start `flower-superlink` and `flower-supernode` with their defaults, on loopback and without TLS.

    Their defaults: a process for each message (`--isolation subprocess`), a poll every 3 s, state in memory.
    Installing an app's dependencies at each run, the SuperLink's default too, is switched off: it needs a package
    index, and is no part of a round.

    Parameters
    ----------
    folder
        For homes and logs.
    kits
        What each SuperNode is told as its node's configuration; Werkbund's app reads it, the stock app does not.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    with Processes(folder) as processes:
        link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
        processes.start("superlink", [*link, "--disable-runtime-dependency-installation"])
        wait_for_health(address, processes)
        for number, kit in enumerate(kits, start=1):
            node = ["flower-supernode", "--insecure", "--superlink", address, "--port", str(free_port())]
            processes.start(f"supernode-{number}", [*node, "--node-config", f"kit={json.dumps(str(kit))}"])
        yield Stack(processes, address, len(kits), count(1))


def flower_rounds(stack: Stack, rounds: int, parameters: int, evaluate: bool) -> tuple[float, ...]:
    """Run stock `FedAvg` in its stock loop, and return the seconds of each round.

    Parameters
    ----------
    stack
        What runs it.
    rounds
        How many to return; one more is run before them, in which the nodes connect and receive the app.
    parameters
        Float32 values that travel to each client and back.
    evaluate
        Whether a round has a second message to each client, as it has by default.

    Returns
    -------
    seconds
        (rounds,), from the end of one round to the end of the next.

    Raises
    ------
    RuntimeError
        If a process ends, a round does not, or an answer is missing.
    """
    number = next(stack.runs)
    report = stack.processes.folder / f"report-{number}.json"
    settings = {"clients": stack.clients, "rounds": rounds + 1, "parameters": parameters}
    _submit(stack, settings | {"evaluate": evaluate, "report": str(report)})
    return _watched(stack, report, rounds + 1, stack.clients * (2 if evaluate else 1))


def _submit(stack: Stack, settings: dict[str, object]) -> None:
    """Start a run with `flwr run`."""
    folder = stack.processes.folder
    app, home = folder / "app", folder / "flwr"
    if not app.exists():
        shutil.copytree(_APP, app, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_LICENSE, app)
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "floor"\n\n[superlink.floor]\naddress = "{stack.address}"\ninsecure = true\n',
            encoding="utf-8",
        )
    # A setting in JSON is one in TOML too.
    overrides = " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
    command = ["flwr", "run", str(app), "floor", "--run-config", overrides]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"flwr run ended with code {done.returncode}:\n{done.stdout}{done.stderr}")


def _watched(stack: Stack, report: Path, rounds: int, answers: int) -> tuple[float, ...]:
    """Wait for all rounds of a run, and return the seconds of each but the first."""
    done, until = 0, time.monotonic() + ROUND_TIMEOUT_S
    while done < rounds:
        time.sleep(1.0)
        stack.processes.check()
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"ended_s": [], "answers": []}
        if len(found["ended_s"]) > done:
            done, until = len(found["ended_s"]), time.monotonic() + ROUND_TIMEOUT_S
        if time.monotonic() > until:
            log = stack.processes.last_lines("superlink")
            raise RuntimeError(f"round {done + 1} did not end within {ROUND_TIMEOUT_S:.0f} s:\n{log}")
    if set(found["answers"]) != {answers}:
        raise RuntimeError(f"each round must have {answers} answers, got {found['answers']}")
    return tuple(after - before for before, after in pairwise(found["ended_s"]))
