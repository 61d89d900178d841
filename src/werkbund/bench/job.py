"""The bench as a job: its runs, what they say together, and a folder that can be gone on with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from werkbund.bench.cases import Bench, Outcome
from werkbund.bench.outcomes import Outcomes
from werkbund.bench.plan import CURRENCIES, SETTINGS, UNIFORM, WINDOW, Case, Plan
from werkbund.bench.runs import Journal, Listener, bench_folder, usable_workers, work_off
from werkbund.bench.verdicts import lines, mean_course, target_of
from werkbund.federation.families.family import check_is_network
from werkbund.report import write_bench_report

_BENCH = "bench.json"


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
    number, folder = usable_workers(workers), bench_folder(plan.base, "bench", plan.to_json(), out)
    with folder.in_use():
        journal = Journal(folder.path, Outcome.from_json)
        work_off(_stages(plan, journal), journal, partial(Bench, plan.base, plan.tuned), number, listener)
        result = result_of(plan, Outcomes(plan, journal.outcomes), time.perf_counter() - began, command)
        folder.write_json(_BENCH, result)
        write_bench_report(folder.path)
        return Benched(folder.path, folder.read_json(_BENCH))


def _stages(plan: Plan, journal: Journal[Outcome]) -> Iterator[tuple[str, tuple[Case, ...]]]:
    """Yield the runs that choose each method's momentum, and then those that are reported, with it."""
    yield "choosing the server's momentum", tuple(plan.trials())
    momentum_of = Outcomes(plan, journal.outcomes).momentum_of
    yield "each method, and uniform at other costs", tuple(plan.cases(momentum_of))


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
