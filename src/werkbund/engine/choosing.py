"""A selector at work: it asks what it wants to know until it asks nothing, then it chooses; questions are paid for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.errors import FederationError
from werkbund.core.rng import generator, keys
from werkbund.core.types import Choice, Failure, Replies, Tasks
from werkbund.engine.answers import NO_ANSWER, claim, flaw, kept
from werkbund.engine.grid import Grid
from werkbund.engine.spending import Spent, spent_on
from werkbund.engine.state import Rules, RunState
from werkbund.selection.contract import Selector, View

_MOST_QUESTIONS = 100

HOLD, LOSS = "hold", "loss"
"""Kinds of questions that need the weights: train and keep the update, or say how high the loss is."""


@dataclass(frozen=True)
class Chosen:
    """Hold a choice and what it took.

    Parameters
    ----------
    choice
        Who trains.
    asked
        The questions before it.
    replies
        The usable answers.
    spent
        Simulated seconds and joules of these.
    failures
        Clients that did not answer a question usefully.
    """

    choice: Choice
    asked: tuple[Tasks, ...] = ()
    replies: tuple[Replies, ...] = ()
    spent: Spent = field(default_factory=Spent)
    failures: tuple[Failure, ...] = ()

    @property
    def probed(self) -> tuple[int, ...]:
        """Numbers of the clients that were asked, ascending."""
        return tuple(sorted({client for tasks in self.asked for client in tasks.clients.tolist()}))


def choose(grid: Grid, selector: Selector, view: View, rules: Rules, state: RunState) -> Chosen:
    """Ask what the selector wants to know until it asks nothing, then let it choose.

    Raises
    ------
    FederationError
        If it never stops asking, or chooses who is not available.
    """
    asked: tuple[Tasks, ...] = ()
    answers: tuple[Replies, ...] = ()
    failed: tuple[Failure, ...] = ()
    spent = Spent()
    rng = generator(rules.seed, "selection", view.round)
    while (question := selector.probe(view, answers, rng)) is not None:
        if len(asked) == _MOST_QUESTIONS:
            raise FederationError(f"a selector may ask {_MOST_QUESTIONS} times a round at most; it asks for ever")
        tasks = completed(question, state.weights, rules, selector.declaration.needs, len(asked))
        grid.send(tasks)
        replies, failures = answers_to(grid, rules.timeout_s, tasks, rules, len(state.weights))
        nobody = [Replies(tasks.kind, tasks.round, np.empty(0, np.int64))]
        answers = (*answers, *(replies or nobody))  # a selector must see that it has asked
        asked, spent = (*asked, tasks), spent + spent_on(replies, failures)
        failed += tuple(replace(one, reason=f"{tasks.kind}, before the choice: {one.reason}") for one in failures)
    choice = selector.choose(view, answers, rng)
    if not set(choice.cohort.tolist()) <= set(view.available.tolist()):
        away = sorted(set(choice.cohort.tolist()) - set(view.available.tolist()))
        raise FederationError(f"a selector must choose among the available clients, chose {away[:5]} too")
    return Chosen(choice, asked, answers, spent, failed)


def completed(tasks: Tasks, weights: Float32Array, rules: Rules, needs: frozenset[str], number: int) -> Tasks:
    """Return a selector's question with what it need not know itself: weights, learning rate, streams, signals."""
    if tasks.kind not in (HOLD, LOSS):
        return replace(tasks, attempt=number)
    shared: Arrays = {**tasks.shared, "weights": weights, "rate": np.array(rules.schedule.factor(tasks.round))}
    shared = {**shared, **signals_wanted(needs)}
    purpose = "training" if tasks.kind == HOLD else "probe"
    own = {**tasks.own, "key": keys(rules.seed, purpose, tasks.round, tasks.clients)}
    return replace(tasks, shared=shared, own=own, attempt=number)


def signals_wanted(needs: frozenset[str]) -> Arrays:
    """Return what tells a client which signals to send; nothing where none are needed."""
    wanted = sorted(needs - {"score"})
    return {"needs": np.array(wanted)} if wanted else {}


def answers_to(
    grid: Grid, timeout_s: float, tasks: Tasks, rules: Rules, num_parameters: int = 0
) -> tuple[list[Replies], list[Failure]]:
    """Return the usable answers to these tasks, and a failure for every other client that was asked."""
    replies: list[Replies] = []
    failures: list[Failure] = []
    missing = dict.fromkeys(tasks.clients.tolist(), tasks.kind)
    for arrival in grid.receive(timeout_s):
        if arrival.round != tasks.round:
            continue
        if isinstance(arrival, Failure):
            if missing.pop(arrival.client, None) is not None:
                failures.append(arrival)
            continue
        owed = claim(arrival, missing)
        reason = flaw(arrival, rules.form(num_parameters))
        if reason is None:
            replies.append(kept(arrival, owed))
        else:
            failures += [Failure(client, tasks.round, reason) for client in arrival.clients[owed].tolist()]
    failures += [Failure(client, tasks.round, NO_ANSWER) for client in sorted(missing)]
    return replies, failures
