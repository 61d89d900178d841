"""The bench as a job: its runs, what they say together, and a folder that can be gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from werkbund.bench.cases import Outcome, run_cases, usable_cores
from werkbund.bench.outcomes import Outcomes
from werkbund.bench.plan import CURRENCIES, SETTINGS, UNIFORM, WINDOW, Plan
from werkbund.bench.verdicts import lines, mean_course, target_of
from werkbund.core.arrays import plain
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.files import write_atomically
from werkbund.federation.families.family import check_is_network
from werkbund.federation.folder import Folder
from werkbund.report import write_bench_report

_OUTCOMES, _PLAN, _BENCH = "outcomes.jsonl", "plan.json", "bench.json"


class Listener(Protocol):
    """Be told how a bench goes."""

    def stage(self, what: str, runs: int, done: int) -> None:
        """Hear that a stage of so many runs begins, of which some were done before."""

    def ended(self, outcome: Outcome) -> None:
        """Hear of a run that is done."""


@dataclass(frozen=True)
class Benched:
    """Hold a finished bench.

    Parameters
    ----------
    folder
        Where `bench.json`, `outcomes.jsonl` and the report lie.
    result
        What `bench.json` holds.
    """

    folder: Path
    result: dict[str, Any]

    @property
    def report(self) -> Path:
        """The report, for people."""
        return self.folder / "report.html"


def bench(
    plan: Plan,
    *,
    out: Path | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
    command: Sequence[str] = (),
) -> Benched:
    """Run every selector over every division of the data, and set each against uniform at equal cost.

    Parameters
    ----------
    plan
        What is run.
    out
        The folder; one in which the same bench was begun is gone on with. None is a fresh one under `runs/`.
    workers
        Processes; None: as many as there are cores.
    listener
        Who is told how it goes.
    command
        How it was called, for the report.

    Raises
    ------
    ConfigError, CheckpointError
        If the folder holds something else.
    """
    began = time.perf_counter()
    check_is_network(plan.base, "a bench of selectors")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be >= 1, got {workers}")
    folder = _folder(plan, out)
    with folder.in_use():
        return _benched(plan, folder, workers or usable_cores(), listener, began, command)


def _benched(
    plan: Plan, folder: Folder, number: int, listener: Listener | None, began: float, command: Sequence[str]
) -> Benched:
    """Do the runs that are not done yet, `number` at a time, and sum up."""
    done = _read(folder.path / _OUTCOMES)
    write_atomically(folder.path / _OUTCOMES, "".join(map(_line, done)).encode())  # without a line that was cut short
    for stage in ("choosing the server's momentum", "each method, and uniform at other costs"):
        choosing = stage.startswith("choosing")
        cases = tuple(plan.trials() if choosing else plan.cases(Outcomes(plan, done).momentum_of))
        known = {outcome.case for outcome in done}
        todo = [case for case in cases if case not in known]
        if listener:
            listener.stage(stage, len(cases), len(cases) - len(todo))
        for outcome in run_cases(plan, todo, number) if todo else ():
            done.append(_kept(folder.path / _OUTCOMES, outcome))
            if listener:
                listener.ended(outcome)
    result = result_of(plan, Outcomes(plan, done), time.perf_counter() - began, command)
    folder.write_json(_BENCH, result)
    write_bench_report(folder.path)
    return Benched(folder.path, folder.read_json(_BENCH))


def result_of(plan: Plan, outcomes: Outcomes, seconds: float, command: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of bench.json."""
    targets = {
        setting: {str(seed): target_of(plan, outcomes, setting, seed) for seed in plan.seeds}
        for setting in plan.settings
    }
    return {
        **plan.to_json(),
        "rounds": plan.base.federation.rounds,
        "clients": plan.num_clients,
        "world": plan.base.world.model_dump(mode="json"),
        "titles": {name: SETTINGS[name].title for name in plan.settings},
        "window": WINDOW,
        "targets": targets,
        "currencies": list(CURRENCIES),
        "ladder": _ladder(plan, outcomes),
        "lines": [line.to_json() for line in lines(plan, outcomes)],
        "courses": _courses(plan, outcomes),
        "seconds": seconds,
        "command": list(command),
    }


def _ladder(plan: Plan, outcomes: Outcomes) -> list[dict[str, Any]]:
    """Return the uniform runs that others can be matched with, and in which currencies each is worth its cost."""
    return [
        {
            "cohort": rival.cohort,
            "rounds": rival.rounds or plan.base.federation.rounds,
            "momentum": outcomes.momentum_of(rival),
            "rung": [name for name in CURRENCIES if rival in outcomes.rungs(name)],
        }
        for rival in plan.rivals
        if rival.selector == UNIFORM
    ]


def _courses(plan: Plan, outcomes: Outcomes) -> dict[str, dict[str, list[float]]]:
    """Return the scores of each selector in each setting, round by round, as means over seeds, for plots."""
    return {
        setting: {selector: mean_course(plan, outcomes, setting, selector) for selector in plan.selectors}
        for setting in plan.settings
    }


def _folder(plan: Plan, out: Path | None) -> Folder:
    """Return a new folder, or one in which this very bench was begun."""
    name = f"{plan.base.federation.name}-bench"
    wanted = json.loads(json.dumps(plain(plan.to_json())))
    if out is not None and (out / _PLAN).is_file():
        folder = Folder(out)
        if folder.read_json(_PLAN) != wanted:
            raise CheckpointError(
                f"{out} holds another bench: configuration, selectors, partitions, seeds or cohort differ; give the "
                "same to go on with it, or choose another folder"
            )
        return folder
    folder = Folder.create(name, out)
    folder.write_config(plan.base)
    folder.write_json(_PLAN, wanted)
    return folder


def _kept(path: Path, outcome: Outcome) -> Outcome:
    """Write an outcome down, and return what one would read: a bench that is gone on with has the same figures."""
    line = _line(outcome)
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
    return Outcome.from_json(json.loads(line))


def _line(outcome: Outcome) -> str:
    return json.dumps(plain(outcome.to_json())) + "\n"


def _read(path: Path) -> list[Outcome]:
    """Read the outcomes of runs that were done before; a line that was cut short is done again."""
    outcomes = []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n") if path.is_file() else ("", "", "")
    for line in whole.splitlines():
        try:
            outcomes.append(Outcome.from_json(json.loads(line)))
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return outcomes
