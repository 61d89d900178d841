"""What a round leaves behind: who took part, who failed, what was told in clear, and what it all took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.types import Choice, Failure, Replies, RoundRecord, Tasks
from werkbund.core.weights import norm
from werkbund.engine.answers import MEASURING, payload, size_of
from werkbund.engine.choosing import LOSS, Chosen
from werkbund.engine.collect import Collected
from werkbund.engine.counts import gathered_counts
from werkbund.engine.spending import Spent, spent_on
from werkbund.engine.state import RunState
from werkbund.engine.telling import NUMBERS, told


@dataclass(frozen=True)
class Course:
    """Hold how a round went.

    Parameters
    ----------
    chosen
        The choice, and the questions before it.
    sent
        The tasks after it.
    got
        What came.
    needs
        The signals that the selector declares.
    simulated
        Whether a world says what it took.
    """

    chosen: Chosen
    sent: tuple[Tasks, ...]
    got: Collected
    needs: frozenset[str]
    simulated: bool


def record_of(course: Course, state: RunState, weights: Float32Array, seconds: float) -> RoundRecord:
    """Return the record of a round.

    Parameters
    ----------
    course
        How it went.
    state, weights
        Before it, and what it made of the weights.
    seconds
        Wall-clock time that it took.
    """
    chosen, got, choice = course.chosen, course.got, course.chosen.choice
    spent = _spent(chosen, got) if course.simulated else Spent()  # what clients say of seconds and joules is no account
    counts, evaluated = gathered_counts(got.replies)
    losses, rows = _total(got, "loss"), _total(got, "rows")
    return RoundRecord(
        round=state.round + 1,
        scored=state.round,
        cohort=tuple(choice.cohort.tolist()),
        failures=_failures(chosen, got),
        counts=counts,
        evaluated=evaluated,
        loss=losses / rows if rows else None,
        update_norm=norm(weights - state.weights),
        weights_norm=norm(weights),
        bytes_down=sum(map(size_of, [*chosen.asked, *course.sent])),
        bytes_up=got.bytes_up + sum(map(payload, chosen.replies)),
        seconds=seconds,
        reasons=choice.reasons,
        simulated_seconds=spent.seconds,
        joules=spent.joules,
        probed=chosen.probed,
        told=_told(chosen, got, course.needs),
        bytes_measuring=measuring(course.sent, got.replies),
        reward=_reward(choice, got.trained),
    )


def measuring(sent: Iterable[Tasks], replies: Iterable[Replies]) -> int:
    """Return the payload in bytes to and from those who were asked for nothing but their counts."""
    down = sum(size_of(tasks) for tasks in sent if tasks.kind == MEASURING)
    return down + sum(payload(reply) for reply in replies if reply.kind == MEASURING)


def _reward(choice: Choice, trained: list[int]) -> float:
    return 0.0 if choice.payments is None else float(choice.payments[np.isin(choice.cohort, trained)].sum())


def _spent(chosen: Chosen, got: Collected) -> Spent:
    kind = chosen.choice.kind
    return chosen.spent + spent_on((reply for reply in got.replies if reply.kind == kind), got.failures)


def _failures(chosen: Chosen, got: Collected) -> tuple[Failure, ...]:
    """Return who failed, each client once: in the round's work, or else when it was asked before the choice."""
    late = {failure.client for failure in got.failures}
    before = {failure.client: failure for failure in chosen.failures if failure.client not in late}
    return tuple(sorted([*got.failures, *before.values()], key=lambda failure: failure.client))


def _told(chosen: Chosen, got: Collected, needs: frozenset[str]) -> dict[str, Arrays]:
    """Return the numbers that the selector was given, by kind of task, each with the clients that told them."""
    found: dict[str, Arrays] = {}
    for kind in dict.fromkeys([*(tasks.kind for tasks in chosen.asked), chosen.choice.kind]):
        answers = [reply for reply in (*chosen.replies, *got.replies) if reply.kind == kind]
        columns = told(answers, (needs | {LOSS} if kind == LOSS else needs) & NUMBERS)
        if len(columns) > 1:
            found[kind] = columns
    return found


def _total(got: Collected, name: str) -> float:
    """Return the sum over the clients that say how much and of how many rows, exact in any order of arrival."""
    complete = [reply for reply in got.replies if {"loss", "rows"} <= reply.sums.keys()]
    return math.fsum(value for reply in complete for value in reply.sums[name].tolist())
