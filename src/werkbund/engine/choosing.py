"""Who can be asked, and a selector at work: it asks until it asks nothing, then it chooses; questions are paid for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.aggregation.contract import POPULATION, Aggregator, half_of
from werkbund.core.arrays import Arrays
from werkbund.core.errors import FederationError
from werkbund.core.rng import generator, keys
from werkbund.core.types import Choice, Failure, Replies, Tasks
from werkbund.engine.asking import answers
from werkbund.engine.grid import Grid, Keeping, Situated
from werkbund.engine.pacing import check_choice
from werkbund.engine.state import Rules, RunState, Strategy
from werkbund.engine.weighing import weighed
from werkbund.engine.worker import SENT
from werkbund.selection.contract import View
from werkbund.selection.questions import HOLD, LOSS, TAKEN

MOST_QUESTIONS = 100
"""How often a selector may ask in a round."""


@dataclass(frozen=True)
class Spent:
    """Hold what a stage takes in a simulated world; two stages one after the other add up.

    Parameters
    ----------
    seconds
        Simulated time.
    joules
        Energy of all who worked, in vain or not.
    """

    seconds: float = 0.0
    joules: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.joules + other.joules)


def spent_on(replies: Iterable[Replies], failures: Iterable[Failure]) -> Spent:
    """Return what one stage took: as long as the last of its clients, whether it answered or was given up."""
    seconds, joules = 0.0, 0.0
    for reply in replies:
        seconds = max(seconds, float(np.max(reply.clear.get("seconds", 0.0), initial=0.0)))
        joules += float(np.sum(reply.clear.get("joules", 0.0)))
    for failure in failures:
        seconds, joules = max(seconds, failure.seconds), joules + failure.joules
    return Spent(seconds, joules)


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


def view_of(grid: Grid, rules: Rules, state: RunState) -> View:
    """Return what a selector may know in the next round: who can be asked, and what clients and grid say of each."""
    round = state.round + 1
    if isinstance(grid, Keeping):
        grid.go_back(state.world)
    if isinstance(grid, Situated):
        available, facts = grid.situation(round)
        facts = {**rules.facts, **facts}
    else:
        available, facts = np.arange(len(grid.clients())), rules.facts
    available = available if rules.among is None else np.intersect1d(available, rules.among, assume_unique=True)
    for away in (rules.left_out, state.due.clients):
        available = np.setdiff1d(available, away, assume_unique=True) if len(away) else available
    return View(round, available, facts, state.selector_state, rules.schedule.rounds)


def choose(grid: Grid, strategy: Strategy, view: View, rules: Rules, state: RunState) -> Chosen:
    """Ask what the selector wants to know until it asks nothing, then let it choose.

    Raises
    ------
    FederationError
        If it never stops asking, or chooses who is not available.
    """
    selector, needs = strategy.selector, strategy.selector.declaration.needs
    chosen = Chosen(Choice(np.empty(0, np.int64), np.empty(0), np.empty(0), ()))
    if len(state.due) and not len(view.available):
        return chosen
    rng = generator(rules.seed, "selection", view.round)
    while (question := selector.probe(view, chosen.replies, rng)) is not None:
        if len(chosen.asked) == MOST_QUESTIONS:
            raise FederationError(f"a selector may ask {MOST_QUESTIONS} times a round at most; it asks for ever")
        outgoing = sent_along(strategy.aggregator, state, rules, len(grid.clients())) if question.kind.trains else {}
        tasks = completed(question, {"weights": state.weights, **outgoing}, rules, needs, len(chosen.asked))
        tasks = replace(tasks, own={**tasks.own, TAKEN.name: state.taken_of(tasks.clients)})
        chosen = _asked(grid, tasks, rules, state, chosen)
    choice = selector.choose(view, chosen.replies, rng)
    if not strategy.pace.is_full:
        check_choice(choice, chosen.asked)
    away = sorted(set(choice.cohort.tolist()) - set(view.available.tolist()))
    if away:
        raise FederationError(f"a selector must choose among the available clients, chose {away[:5]} too")
    choice = weighed(choice, strategy.aggregator, state.carry, view.facts, len(grid.clients()))
    return replace(chosen, choice=choice)


def _asked(grid: Grid, tasks: Tasks, rules: Rules, state: RunState, chosen: Chosen) -> Chosen:
    """Return what is known after one more question."""
    form = rules.form(len(state.weights), state.held_out)
    replies, failures = answers(grid, [tasks], rules.timeout_s, form)
    nobody = [Replies(tasks.kind, tasks.round, np.empty(0, np.int64))]
    named = [replace(failure, reason=f"{tasks.kind}, before the choice: {failure.reason}") for failure in failures]
    return replace(
        chosen,
        asked=(*chosen.asked, tasks),
        replies=(*chosen.replies, *(replies or nobody)),  # a selector must see that it has asked
        spent=chosen.spent + spent_on(replies, failures),
        failures=(*chosen.failures, *named),
    )


def completed(tasks: Tasks, sent: Arrays, rules: Rules, needs: frozenset[str], number: int) -> Tasks:
    """Return a selector's question with what it need not know itself: what is `sent`, rate, streams, signals."""
    if tasks.kind not in (HOLD, LOSS):
        return replace(tasks, attempt=number)
    shared: Arrays = {**tasks.shared, **sent, "rate": np.array(rules.schedule.factor(tasks.round))}
    shared = {**shared, **signals_wanted(needs)}
    purpose = "training" if tasks.kind == HOLD else "probe"
    own = {**tasks.own, "key": keys(rules.seed, purpose, tasks.round, tasks.clients)}
    return replace(tasks, shared=shared, own=own, attempt=number)


def sent_along(aggregator: Aggregator, state: RunState, rules: Rules, num_clients: int) -> Arrays:
    """Return what goes along with the weights to clients that train, under its names in a task.

    It is what the aggregator sends, and for a half at the clients what it is told of all of them.
    """
    population = np.array([len(rules.taking_part(num_clients)), num_rows_of(rules)])
    told = {} if half_of(aggregator) is None else {POPULATION: population}
    return {f"{SENT}{name}": array for name, array in {**aggregator.outgoing(state.carry), **told}.items()}


def num_rows_of(rules: Rules) -> float:
    """Return the training rows of all that take part, without those that are left out; 0 where one does not say."""
    if "rows" not in rules.facts:
        return 0.0
    everybody = rules.facts["rows"].astype(np.float64)
    clients = rules.taking_part(len(everybody))
    rows = everybody[np.setdiff1d(clients, rules.left_out, assume_unique=True) if rules.left_out else clients]
    return 0.0 if np.isnan(rows).any() else float(rows.sum())


def signals_wanted(needs: frozenset[str]) -> Arrays:
    """Return what tells a client which signals to send; nothing where none are needed."""
    wanted = sorted(needs - {"score"})
    return {"needs": np.array(wanted)} if wanted else {}
