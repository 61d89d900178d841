"""Where a plant stands: what was settled with the federation, what it has answered, and what is left of its budgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.federation.population import split_of
from werkbund.partition.split import PARTS, Split
from werkbund.plant.agreed import agreed_config
from werkbund.plant.agreement import agreement_in, dissolve, file_digest
from werkbund.plant.budget import ANSWERED, REFUSED, AnswerBudget
from werkbund.plant.policy import Policy
from werkbund.plant.rows import DividedRows
from werkbund.plant.settings import load_settings


@dataclass(frozen=True)
class Standing:
    """Hold where a plant stands.

    Parameters
    ----------
    settled
        Whether an agreement is in force; else the next contact settles one.
    since
        When it was settled, ISO 8601; empty if none is in force.
    rows
        Rows by part, those that wait for more new ones, and those that stay in no answer.
    draws
        By whose random stream rows are drawn.
    today, version
        What was answered and refused by kind, today and about the rows as they are now.
    left_today, left_version
        Answers that are left of each budget.
    """

    settled: bool
    since: str
    rows: Mapping[str, int]
    draws: str
    today: Mapping[str, Mapping[str, int]]
    version: Mapping[str, int]
    left_today: int
    left_version: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**vars(self)}


def standing(state: Path, rows: DividedRows, policy: Policy, now: datetime) -> Standing:
    """Return where a plant stands whose rows these are.

    Raises
    ------
    CheckpointError
        If its budget or agreement was damaged.
    """
    agreement, budget = agreement_in(state), AnswerBudget(state)
    today, about = budget.answered(now), budget.answered_about(rows.dealt.version)
    parts = {name: int(np.sum(rows.dealt.part == number)) for number, name in enumerate(PARTS)}
    return Standing(
        agreement is not None,
        "" if agreement is None else agreement.since,
        {**parts, "waiting": rows.num_waiting, "left out": rows.num_left_out},
        policy.draws,
        budget.days().get(now.date().isoformat(), {}),
        about,
        max(policy.answers_a_day - sum(today.values()), 0),
        max(policy.answers_a_version - sum(about.values()), 0),
    )


def record(kit: Path) -> list[dict[str, Any]]:
    """Return what was asked of a plant on each of the last days, newest first: day, kind, answered, refused."""
    days = AnswerBudget(load_settings(kit).state).days()
    lines = []
    for day in sorted(days, reverse=True):
        for kind, numbers in sorted(days[day].items()):
            counted = Counter(numbers)
            lines.append({"day": day, "kind": kind, "answered": counted[ANSWERED], "refused": counted[REFUSED]})
    return lines


@dataclass(frozen=True)
class Settlement:
    """Say what is settled between a plant and the federation's file in its kit.

    Parameters
    ----------
    since
        When it was settled, ISO 8601; empty if nothing is.
    fits
        Whether the file says the same about rows as it did then.
    split
        How rows are held out by it.
    dissolved
        Whether it was dissolved now.
    """

    since: str
    fits: bool
    split: Split
    dissolved: bool = False


def settlement(kit: Path, renew: bool = False) -> Settlement:
    """Return what is settled; if so asked, dissolve it, so that the next contact settles it anew.

    Raises
    ------
    ConfigError
        If the kit's files cannot be read.
    CheckpointError
        If the agreement was damaged, and is not to be renewed.
    """
    settings = load_settings(kit)
    agreed = agreed_config(settings.kit)
    if renew:
        dissolve(settings.state)
        return Settlement("", True, split_of(agreed), True)
    known = agreement_in(settings.state)
    if known is None:
        return Settlement("", True, split_of(agreed))
    return Settlement(known.since, known.file == file_digest(agreed), known.split)
