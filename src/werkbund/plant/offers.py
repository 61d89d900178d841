"""What a plant does when it is asked: one row for each kind of task, with what it keeps back of the answer.

This table is the one place where a kind meets the function that does it at a plant. A protocol of one's own is one more
row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.store import RowStore
from werkbund.core.types import Replies, Tasks
from werkbund.data.answers import SQUARES, SURVEY
from werkbund.engine import Handler
from werkbund.engine.kinds import EVALUATE, PERSONALISE, TRAIN, UPLOAD
from werkbund.engine.worker import forgetful
from werkbund.plant.delivery import Delivery
from werkbund.plant.facts import Facts
from werkbund.plant.leaving import DELIVER, HELLO
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.settings import PlantSettings
from werkbund.plant.store import PlantFolder
from werkbund.plant.withholding import few_counts, few_figures, few_squares, few_values
from werkbund.privacy.sums import SUM_KINDS
from werkbund.selection.questions import CENTROIDS, HOLD, LOSS
from werkbund.trees.protocol.kinds import TREE_KINDS


@dataclass(frozen=True)
class Plot:
    """Hold what a plant's answer may rest on.

    Parameters
    ----------
    settings, folder, policy
        The plant's own file, what it keeps, and what it allows.
    parts
        Its rows, made ready for the run.
    now
        Its local time.
    agreement
        Name of the one by which its rows are divided.
    """

    settings: PlantSettings
    folder: PlantFolder
    policy: Policy
    parts: Parts
    now: datetime
    agreement: str = ""


@dataclass(frozen=True)
class Offer:
    """Say how a plant does one kind of task.

    Parameters
    ----------
    kind
        Of the task.
    handler
        Given what the answer may rest on, returns the function that does it.
    withheld
        Given the task and its answer, returns the answer without figures over fewer rows than the policy's minimum.
    about_rows
        Whether the answer says something about training rows, so that too few of them forbid it.
    is_budgeted
        Whether it counts among the plant's answers: what secure sums need beside them does not.
    """

    kind: Kind
    handler: Callable[[Plot], Handler]
    withheld: Callable[[Tasks, Replies, Policy, Parts], Replies] = few_counts
    about_rows: bool = True
    is_budgeted: bool = True


def _hello(plot: Plot) -> Handler:
    def hello(tasks: Tasks) -> Replies:
        # A column that cannot be used is found now, and not in the first round.
        plot.parts.statistics[SURVEY](Tasks(SURVEY, tasks.round, tasks.clients), RowStore())
        policy, name, table = plot.policy, plot.parts.name, plot.parts.table
        facts = Facts.of(name, table, "rows" in policy.signals, policy.for_server(), plot.now)
        return Replies(HELLO, tasks.round, tasks.clients, {}, {"facts": np.array([json.dumps(facts.to_json())])})

    return forgetful(hello)


def _counting(kind: Kind) -> Callable[[Plot], Handler]:
    return lambda plot: plot.parts.statistics[kind]


def _training(kind: Kind) -> Callable[[Plot], Handler]:
    """Return what finds the function among those of the run's family of models."""

    def of(plot: Plot) -> Handler:
        handlers = plot.parts.training
        if kind not in handlers:
            model = plot.parts.briefing.config.model.kind
            raise ClientError(f"a {kind} task is of another run than one of {model}; the server runs other code")
        return handlers[kind]

    return of


def _masking(plot: Plot) -> Handler:
    raise ClientError("this run makes no secure sums, so that there are no keys for any; the server runs other code")


def _deliver(plot: Plot) -> Handler:
    return Delivery(plot.settings, plot.folder, plot.parts, plot.policy, plot.agreement).deliver


OFFERS: tuple[Offer, ...] = (
    Offer(HELLO, _hello, about_rows=False),
    Offer(SURVEY, _counting(SURVEY), few_values),
    Offer(SQUARES, _counting(SQUARES), few_squares),
    *(
        Offer(kind, _training(kind))
        for kind in (TRAIN, EVALUATE, HOLD, UPLOAD, LOSS, CENTROIDS, PERSONALISE, *TREE_KINDS)
    ),
    *(Offer(kind, _masking, about_rows=False, is_budgeted=False) for kind in SUM_KINDS),
    Offer(DELIVER, _deliver, few_figures),
)
"""What plants do; everything else is refused by name."""


def kinds_of(offers: Sequence[Offer]) -> tuple[Kind, ...]:
    """Return the kinds of tasks that are offered."""
    return tuple(offer.kind for offer in offers)
