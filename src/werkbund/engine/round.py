"""One round of a federation, as one would tell it.

The selector chooses a cohort; the cohort gets the weights, scores them on its own rows and trains; updates are folded
while they come in; above the quorum the aggregator makes the next weights.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from werkbund.aggregation.contract import Closing
from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.rng import generator, keys
from werkbund.core.types import Choice, RoundRecord, Tasks
from werkbund.core.weights import norm
from werkbund.engine.answers import payload, size_of
from werkbund.engine.choosing import Chosen, answers_to, choose, signals_wanted
from werkbund.engine.collect import Collected, collect
from werkbund.engine.counts import gathered_counts
from werkbund.engine.grid import Grid
from werkbund.engine.quorum import check_quorum
from werkbund.engine.recording import Course, measuring, record_of
from werkbund.engine.situation import Situated, situation, world_of
from werkbund.engine.state import Rules, RunState, Strategy
from werkbund.engine.telling import NUMBERS, told
from werkbund.engine.worker import SENT
from werkbund.selection.contract import Reports, Score, View


def one_round(grid: Grid, strategy: Strategy, rules: Rules, state: RunState) -> tuple[RunState, RoundRecord]:
    """Do the next round.

    Parameters
    ----------
    grid
        Reaches the clients.
    strategy
        Who trains, and how updates become weights.
    rules
        What every round obeys.
    state
        After the last round.

    Returns
    -------
    state, record
        After this round. The record's counts score the weights that this round began with.

    Raises
    ------
    QuorumError
        If too few of the cohort answered usefully; names each that did not.
    """
    started, round = time.perf_counter(), state.round + 1
    everyone = np.arange(len(grid.clients()))
    needs = strategy.selector.declaration.needs
    available, facts = situation(grid, rules, state)
    view = View(round, available, facts, state.selector_state, rules.schedule.rounds)
    chosen = choose(grid, strategy.selector, view, rules, state)
    choice = chosen.choice
    others = np.setdiff1d(evaluators(everyone, rules, round), choice.cohort, assume_unique=True)
    outgoing = strategy.aggregator.outgoing(state.carry)
    train = _train_tasks(choice, state.weights, outgoing, rules, round, needs)
    sent = [train, _evaluate_tasks(others, state.weights, round)]
    for tasks in sent:
        if len(tasks):
            grid.send(tasks)
    expected = {choice.kind: choice.cohort, "evaluate": others}
    aggregator = strategy.aggregator
    form = replace(rules.form(len(state.weights)), keep=choice.keep, each="update" in needs, folds=aggregator.folds)
    got = collect(grid.receive(rules.timeout_s), aggregator, expected, form, round)
    _check_quorum(got, choice, grid.clients(), rules, round)
    total = None if choice.total is None else choice.total * _share(choice, got.trained)
    weights, carry = aggregator.finish(got.sums, state.weights, state.carry, Closing(total, len(everyone)))
    reports = _reports(got, chosen, round, needs, state.weights if "score" in needs else None, rules.score)
    selector_state = strategy.selector.observe(state.selector_state, reports)
    course = Course(chosen, tuple(sent), got, needs, isinstance(grid, Situated))
    record = record_of(course, state, weights, time.perf_counter() - started)
    return state.next(weights, carry, selector_state, world_of(grid)), record


def evaluate(grid: Grid, rules: Rules, state: RunState, clients: Int64Array | None = None) -> RoundRecord:
    """Let clients score the weights as they are, and train nobody.

    Parameters
    ----------
    grid, rules, state
        As for a round.
    clients
        If given, these clients' counts come for each of them; else everybody scores, and counts may come added.
    """
    started, round = time.perf_counter(), state.round + 1
    asked = np.arange(len(grid.clients())) if clients is None else clients
    tasks = _evaluate_tasks(asked, state.weights, round, each=clients is not None)
    grid.send(tasks)
    replies, failures = answers_to(grid, rules.timeout_s, tasks, rules, len(state.weights))
    counts, evaluated = gathered_counts(replies)
    return RoundRecord(
        round=round,
        scored=state.round,
        cohort=(),
        failures=tuple(failures),
        counts=counts,
        evaluated=evaluated,
        loss=None,
        update_norm=0.0,
        weights_norm=norm(state.weights),
        bytes_down=size_of(tasks),
        bytes_up=sum(map(payload, replies)),
        seconds=time.perf_counter() - started,
        bytes_measuring=measuring([tasks], replies),
    )


def evaluators(everyone: Int64Array, rules: Rules, round: int) -> Int64Array:
    """Return all clients, or a seeded sample where there are more than `rules.evaluate_clients`."""
    if len(everyone) <= rules.evaluate_clients:
        return everyone
    drawn = generator(rules.seed, "evaluators", round).choice(everyone, rules.evaluate_clients, replace=False)
    return np.sort(drawn)


def _share(choice: Choice, trained: list[int]) -> float:
    """Return how much of the chosen, by their factors, has answered: what is lost shrinks no step."""
    answered = np.isin(choice.cohort, trained)
    return float(choice.factors[answered].sum() / choice.factors.sum())


def _train_tasks(
    choice: Choice, weights: Float32Array, outgoing: Arrays, rules: Rules, round: int, needs: frozenset[str]
) -> Tasks:
    own = {"factor": choice.factors, "key": keys(rules.seed, "training", round, choice.cohort)}
    rate = np.array(rules.schedule.factor(round))
    equal = {} if choice.equal is None else {"equal": np.array(choice.equal)}
    sent = {f"{SENT}{name}": array for name, array in outgoing.items()}
    shared: Arrays = {"weights": weights, "rate": rate, **sent, **signals_wanted(needs), **equal}
    return Tasks(choice.kind, round, choice.cohort, shared, own, keep=choice.keep)


def _evaluate_tasks(clients: Int64Array, weights: Float32Array, round: int, each: bool = False) -> Tasks:
    return Tasks("evaluate", round, clients, {"weights": weights} | ({"each": np.ones((), np.bool_)} if each else {}))


def _check_quorum(got: Collected, choice: Choice, names: tuple[str, ...], rules: Rules, round: int) -> None:
    wanted = len(choice.cohort) if choice.keep is None else min(choice.keep, len(choice.cohort))
    cohort = set(choice.cohort.tolist())
    reasons = {names[f.client]: f.reason for f in got.failures if f.client in cohort}
    check_quorum(wanted, len(got.trained), rules.quorum, round, reasons)


def _reports(
    got: Collected, chosen: Chosen, round: int, needs: frozenset[str], weights: Float32Array | None, score: Score | None
) -> Reports:
    choice = chosen.choice
    signals = dict(told((reply for reply in got.replies if reply.kind == choice.kind), needs & NUMBERS))
    trained = signals.pop("clients")
    if got.updates:
        signals["update"] = np.stack([got.updates[client] for client in sorted(got.trained)])
    cohort = set(choice.cohort.tolist())
    failures = tuple(failure for failure in got.failures if failure.client in cohort)
    judge = score if weights is not None else None
    return Reports(round, trained, signals, failures, weights, judge, choice, chosen.replies)
