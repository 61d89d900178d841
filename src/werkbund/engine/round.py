"""One round of a federation, as one would tell it.

The selector chooses a cohort; the cohort gets the weights, scores them on its own rows and trains; updates are folded
while they come in; above the quorum the aggregator makes the next weights.
"""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt

from werkbund.core.errors import QuorumError
from werkbund.core.rng import generator, keys
from werkbund.core.types import Choice, Failure, Replies, RoundRecord, Tasks
from werkbund.core.weights import FloatArray, norm
from werkbund.engine.answers import claim, flaw, kept, payload
from werkbund.engine.collect import Collected, collect
from werkbund.engine.counts import gathered_counts
from werkbund.engine.grid import Grid
from werkbund.engine.state import Rules, RunState, Strategy
from werkbund.selection.contract import Reports, Selector, View

IntArray = npt.NDArray[np.int64]


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
    view = View(round, everyone, rules.facts, state.selector_state)
    choice, asked = _choose(grid, strategy.selector, view, rules)
    others = np.setdiff1d(evaluators(everyone, rules, round), choice.cohort, assume_unique=True)
    sent = [_train_tasks(choice, state.weights, rules, round), _evaluate_tasks(others, state.weights, round)]
    for tasks in sent:
        if len(tasks):
            grid.send(tasks)
    expected = {"train": choice.cohort, "evaluate": others}
    arrivals = grid.receive(rules.timeout_s)
    got = collect(arrivals, strategy.aggregator, expected, rules.form(len(state.weights)), round)
    _check_quorum(got, choice, grid.clients(), rules, round)
    weights, carry = strategy.aggregator.finish(got.sums, state.weights, state.carry)
    selector_state = strategy.selector.observe(state.selector_state, _reports(got, choice, round))
    record = _record(state, weights, choice, got, sum(map(_payload, [*asked, *sent])), started)
    return state.next(weights, carry, selector_state), record


def evaluate(grid: Grid, rules: Rules, state: RunState, clients: IntArray | None = None) -> RoundRecord:
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
    replies, failures = _answers(grid, rules.timeout_s, tasks, rules, len(state.weights))
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
        bytes_down=_payload(tasks),
        bytes_up=sum(map(payload, replies)),
        seconds=time.perf_counter() - started,
    )


def _choose(grid: Grid, selector: Selector, view: View, rules: Rules) -> tuple[Choice, list[Tasks]]:
    """Ask what the selector wants to know until it asks nothing, then let it choose."""
    asked: list[Tasks] = []
    answers: tuple[Replies, ...] = ()
    rng = generator(rules.seed, "selection", view.round)
    while (tasks := selector.probe(view, answers, rng)) is not None:
        grid.send(tasks)
        asked.append(tasks)
        answers += tuple(_answers(grid, rules.timeout_s, tasks, rules)[0])
    return selector.choose(view, answers, rng), asked


def _answers(
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
    late = "no answer in time (federation.round_timeout_s)"
    failures += [Failure(client, tasks.round, late) for client in sorted(missing)]
    return replies, failures


def evaluators(everyone: IntArray, rules: Rules, round: int) -> IntArray:
    """Return all clients, or a seeded sample where there are more than `rules.evaluate_clients`."""
    if len(everyone) <= rules.evaluate_clients:
        return everyone
    drawn = generator(rules.seed, "evaluators", round).choice(everyone, rules.evaluate_clients, replace=False)
    return np.sort(drawn)


def _train_tasks(choice: Choice, weights: FloatArray, rules: Rules, round: int) -> Tasks:
    own = {"factor": choice.factors, "key": keys(rules.seed, "training", round, choice.cohort)}
    shared = {"weights": weights, "rate": np.array(rules.schedule.factor(round))}
    return Tasks("train", round, choice.cohort, shared, own)


def _evaluate_tasks(clients: IntArray, weights: FloatArray, round: int, each: bool = False) -> Tasks:
    return Tasks("evaluate", round, clients, {"weights": weights} | ({"each": np.ones((), np.bool_)} if each else {}))


def _check_quorum(got: Collected, choice: Choice, names: tuple[str, ...], rules: Rules, round: int) -> None:
    needed = max(1, int(np.ceil(rules.quorum * len(choice.cohort) - 1e-9)))
    if len(got.trained) >= needed:
        return
    cohort = set(choice.cohort.tolist())
    reasons = {names[f.client]: f.reason for f in got.failures if f.client in cohort}
    raise QuorumError(round, needed, len(got.trained), reasons)


def _reports(got: Collected, choice: Choice, round: int) -> Reports:
    trained = [replies for replies in got.replies if replies.kind == "train" and len(replies)]
    order = np.argsort(np.concatenate([r.clients for r in trained]), kind="stable")
    names = set.intersection(*(set(r.clear) for r in trained))
    signals = {name: np.concatenate([r.clear[name] for r in trained])[order] for name in sorted(names)}
    cohort = set(choice.cohort.tolist())
    failures = tuple(failure for failure in got.failures if failure.client in cohort)
    return Reports(round, np.array(sorted(got.trained)), signals, failures)


def _record(
    state: RunState, weights: FloatArray, choice: Choice, got: Collected, bytes_down: int, started: float
) -> RoundRecord:
    counts, evaluated = gathered_counts(got.replies)
    losses, rows = _total(got, "loss"), _total(got, "rows")
    return RoundRecord(
        round=state.round + 1,
        scored=state.round,
        cohort=tuple(choice.cohort.tolist()),
        failures=tuple(got.failures),
        counts=counts,
        evaluated=evaluated,
        loss=losses / rows if rows else None,
        update_norm=norm(weights - state.weights),
        weights_norm=norm(weights),
        bytes_down=bytes_down,
        bytes_up=got.bytes_up,
        seconds=time.perf_counter() - started,
        reasons=choice.reasons,
    )


def _total(got: Collected, name: str) -> float:
    """Return the sum over the clients that say how much and of how many rows, exact in any order of arrival."""
    told = [reply for reply in got.replies if reply.kind == "train" and {"loss", "rows"} <= reply.sums.keys()]
    return math.fsum(value for reply in told for value in reply.sums[name].tolist())


def _payload(tasks: Tasks) -> int:
    shared = sum(array.nbytes for array in tasks.shared.values())
    return len(tasks) * shared + sum(array.nbytes for array in tasks.own.values())
