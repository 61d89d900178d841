"""The bench of defences as a job: the matrix of defence, attack and share of attackers, in a folder to go on with."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from werkbund.aggregation import DEFAULT
from werkbund.bench.cases import SCORE
from werkbund.bench.defences import REFERENCE, AttackCase, AttackPlan, DefenceBench, Stand
from werkbund.bench.job import Benched
from werkbund.bench.plan import WINDOW
from werkbund.bench.runs import Journal, Listener, bench_folder, usable_workers, work_off
from werkbund.evaluation import Interval, mean_interval
from werkbund.federation.families.family import check_is_network
from werkbund.report import MATRIX, write_matrix_report

ENOUGH = 0.95
"""Share of the attack-free score that a defence is to keep."""


def bench_defences(
    plan: AttackPlan,
    *,
    out: Path | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
    command: Sequence[str] = (),
) -> Benched:
    """Run every defence against every attack, and against none, for each share of attackers and each seed.

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
    check_is_network(plan.base, "a bench of attacks")
    number, folder = usable_workers(workers), bench_folder(plan.base, "attacks", plan.to_json(), out)
    with folder.in_use():
        journal = Journal(folder.path, Stand.from_json)
        stages = [("each defence against each attack", tuple(plan.cases()))]
        work_off(stages, journal, partial(DefenceBench, plan), number, listener)
        folder.write_json(MATRIX, matrix_of(plan, journal.outcomes, time.perf_counter() - began, command))
        write_matrix_report(folder.path)
        return Benched(folder.path, folder.read_json(MATRIX))


def matrix_of(plan: AttackPlan, stands: Iterable[Stand], seconds: float, command: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of attacks.json."""
    known = {stand.case: stand for stand in stands}
    cells = [_cell(plan, known, *where) for where in product(plan.shares, plan.defences, (REFERENCE, *plan.attacks))]
    return {
        **plan.to_json(),
        "rounds": plan.base.federation.rounds,
        "clients": plan.base.clients.count,
        "window": WINDOW,
        "enough": ENOUGH,
        "cells": cells,
        "best": _best(plan, cells),
        "seconds": seconds,
        "command": list(command),
    }


Stands = Mapping[AttackCase, Stand]


def _cell(plan: AttackPlan, known: Stands, share: float, defence: str, attack: str) -> dict[str, Any]:
    """Return what a defence reached under an attack, and how much that is of what it and the default reach without."""

    def scores(defence: str, attack: str, name: str = SCORE) -> list[float]:
        cases = [AttackCase(defence, attack, share, seed) for seed in plan.seeds]
        return [known[case].figures.get(name, math.nan) if case in known else math.nan for case in cases]

    reached, success = scores(defence, attack), f"success {attack}"
    cases = (AttackCase(defence, attack, share, seed) for seed in plan.seeds)
    spans = {
        SCORE: mean_interval(reached).within(0.0, 1.0),
        "kept": _ratio(reached, scores(defence, REFERENCE)),
        "of_default": _ratio(reached, scores(DEFAULT, REFERENCE)),
        "success": mean_interval(scores(defence, attack, success)).within(0.0, 1.0),
        "success_reference": mean_interval(scores(defence, REFERENCE, success)).within(0.0, 1.0),
    }
    errors = sorted({known[case].error for case in cases if case in known and known[case].error})
    told = {name: span.to_json() for name, span in spans.items()}
    return {"share": share, "defence": defence, "attack": attack, **told, "errors": errors}


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the mean over seeds of one score as a share of another."""
    pairs = zip(ours, theirs, strict=True)
    return mean_interval([mine / other if other > 0 else math.nan for mine, other in pairs])


def _best(plan: AttackPlan, cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each attack and share the defence that keeps most of the default's score without attack.

    A defence that failed with one of the seeds is none, and the default itself is one where there is no other.
    """
    best = []
    for share, attack in product(plan.shares, plan.attacks):
        there = [cell for cell in cells if (cell["share"], cell["attack"]) == (share, attack)]
        whole = [cell for cell in there if not cell["errors"] and math.isfinite(cell["of_default"]["mean"])]
        rivals = [cell for cell in whole if cell["defence"] != DEFAULT] or whole
        if rivals:
            first = max(rivals, key=lambda cell: float(cell["of_default"]["mean"]))
            keeps, where = first["of_default"]["mean"], {"share": share, "attack": attack}
            best.append({**where, "defence": first["defence"], "keeps": keeps, "is_enough": keeps >= ENOUGH})
    return best
