"""One round of a federation, as one would tell it, and rounds one after the other.

The selector chooses a cohort; the cohort gets the weights, scores them on its own rows and trains; updates are folded
while they come in; above the quorum the aggregator makes the next weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from werkbund.aggregation.contract import UPDATE, Carry, Closing, Robust, half_of, needs_of
from werkbund.aggregation.sums import Sums
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ClientError, ConfigError, QuorumError
from werkbund.core.rng import generator, keys
from werkbund.core.types import Choice, Failure, Replies, RoundRecord, Tasks
from werkbund.core.weights import norm
from werkbund.engine.asking import Asking, Form, answers, asked, check_quorum, payload, size_of
from werkbund.engine.choosing import Chosen, choose, num_rows_of, sent_along, signals_wanted, view_of
from werkbund.engine.crediting import credits_of
from werkbund.engine.folding import Folded, Unwinding, fold_answers, with_reused
from werkbund.engine.grid import Grid, Keeping, Situated, state_of
from werkbund.engine.kinds import EVALUATE, TRAIN, UPLOAD, WEIGHT
from werkbund.engine.lengths import LengthLimits, unusable_result
from werkbund.engine.pacing import Due, Pace, measured, paced
from werkbund.engine.records import Proceedings, bytes_measuring, gathered_counts, record_of, signals_in, sum_trips
from werkbund.engine.state import Rules, RunState, Strategy
from werkbund.engine.word import weights_expected
from werkbund.learner.counts import as_shared
from werkbund.selection.contract import NUMBERS, Reports
from werkbund.selection.questions import TAKEN


def one_round(
    grid: Grid, strategy: Strategy, rules: Rules, state: RunState, is_last: bool = False
) -> tuple[RunState, RoundRecord]:
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
    is_last
        Whether none comes after this one, so that everybody is waited for who owes an update.

    Returns
    -------
    state, record
        After this round. The record's counts score the weights that this round began with.

    Raises
    ------
    QuorumError
        If too few of the cohort answered usefully; names each that did not.
    """
    after, record, _ = whole_round(grid, strategy, rules, state, is_last)
    return after, record


def whole_round(
    grid: Grid, strategy: Strategy, rules: Rules, state: RunState, is_last: bool = False
) -> tuple[RunState, RoundRecord, Folded]:
    """Do the next round as `one_round` does; return what was folded in it too."""
    started = time.perf_counter()
    view = view_of(grid, rules, state)
    chosen, clock_s = choose(grid, strategy, view, rules, state), _clock_s(grid)
    sent = tasks_of(chosen.choice, strategy, rules, state, len(grid.clients()))
    folded = _folded(grid, sent, chosen.choice, strategy, rules, state, is_last)
    everybody = len(rules.taking_part(len(grid.clients()))), num_rows_of(rules)
    told = _told(folded, needs_of(strategy.aggregator))
    numbers = (*everybody, folded.num_asked, folded.num_found)
    closing = Closing(_total(chosen.choice, folded), *numbers, rules.score, told)
    weights, carry, refused = _moved(strategy, folded, closing, state)
    step = norm(weights - state.weights)
    reports = replace(_reports(folded, chosen, strategy, rules, state), step=step)
    selector_state = strategy.selector.observe(state.selector_state, reports)
    proceedings = Proceedings(chosen, sent, folded, strategy.needs, isinstance(grid, Situated), refused)
    record = record_of(proceedings, state, weights, time.perf_counter() - started)
    if not strategy.pace.is_full:  # who came late was under way before this round began
        record = replace(record, simulated_seconds=_clock_s(grid) - clock_s)
    record = replace(record, credits=_credits(strategy, rules, state, folded, closing))
    after = state.next(weights, carry, selector_state, state_of(grid))
    usual = folded.lengths.usual if folded.lengths and len(rules.training_rows) else state.usual
    heard = rules.heard(state.held_out, folded.replies)
    after = after if refused else after.with_taken(folded.replies, len(grid.clients()))
    return replace(after, held_out=heard, usual=usual, edges=rules.refined(record), due=folded.due), record, folded


def evaluate(
    grid: Grid, rules: Rules, state: RunState, clients: Int64Array | None = None, edges: Float32Array | None = None
) -> RoundRecord:
    """Let clients score the weights as they are, and train nobody.

    Parameters
    ----------
    grid, rules, state
        As for a round.
    clients
        If given, these clients' counts come for each of them; else everybody scores, and counts may come added.
    edges
        Of the bins of scores, if other than the state's.
    """
    state = state if edges is None else replace(state, edges=edges)
    asked = rules.taking_part(len(grid.clients())) if clients is None else clients
    return counted(grid, rules, state, evaluate_tasks(asked, state, state.round + 1, each=clients is not None))


def counted(grid: Grid, rules: Rules, state: RunState, tasks: Tasks) -> RoundRecord:
    """Ask for counts alone, and return the record of that."""
    started = time.perf_counter()
    if isinstance(grid, Keeping):
        grid.go_back(state.world)  # what clients keep, such as layers of their own, is part of what is scored
    form = rules.form(len(state.weights), state.held_out)
    replies, failures = answers(grid, [tasks], rules.timeout_s, form)
    counts, evaluated = gathered_counts(replies)
    return RoundRecord(
        round=tasks.round,
        scored=state.round,
        cohort=(),
        failures=tuple(failures),
        counts=counts,
        evaluated=evaluated,
        loss=None,
        update_norm=0.0,
        weights_norm=norm(state.weights),
        bytes_down=size_of(tasks) + sum(reply.toll.bytes_down for reply in replies),
        bytes_up=sum(map(payload, replies)),
        sum_trips=sum_trips(replies),
        seconds=time.perf_counter() - started,
        bytes_measuring=bytes_measuring([tasks], replies),
        edges=state.edges,
    )


def tasks_of(
    choice: Choice, strategy: Strategy, rules: Rules, state: RunState, num_clients: int
) -> tuple[Tasks, Tasks]:
    """Return what a round asks after the choice: the cohort for updates, others for their counts."""
    round = state.round + 1
    own: Arrays = {"factor": choice.factors, "key": keys(rules.seed, "training", round, choice.cohort)}
    own = {**own, TAKEN.name: state.taken_of(choice.cohort)}
    rate = np.array(rules.schedule.factor(round))
    equal = {} if choice.equal is None else {"equal": np.array(choice.equal)}
    if strategy.secure_sums is not None:  # how large a weighted update may be follows from it
        equal = equal or {"equal": np.array(strategy.aggregator.weighting != "examples")}
    needs = signals_wanted(strategy.needs)
    sent = sent_along(strategy.aggregator, state, rules, num_clients)
    cohort = {"cohort": choice.cohort} if strategy.stack.layers else {}
    counting = as_shared(state.edges)
    shared: Arrays = {"weights": state.weights, "rate": rate, **sent, **cohort, **needs, **equal, **counting}
    kind = UPLOAD if choice.held else TRAIN
    others = evaluators(rules.taking_part(num_clients), rules, round)
    if strategy.secure_sums is not None:  # counts of those that are left over are too few to be summed
        others = others[:0]
    elif strategy.pace.is_full:  # else the cohort's counts come too late, or not at all
        others = np.setdiff1d(others, choice.cohort, assume_unique=True)
    trained = Tasks(kind, round, choice.cohort, shared, own, keep=choice.keep)
    return trained, evaluate_tasks(others, state, round)


def evaluators(everyone: Int64Array, rules: Rules, round: int) -> Int64Array:
    """Return all clients, or a seeded sample where there are more than `rules.evaluate_clients`."""
    if len(everyone) <= rules.evaluate_clients:
        return everyone
    drawn = generator(rules.seed, "evaluators", round).choice(everyone, rules.evaluate_clients, replace=False)
    return np.sort(drawn)


def _folded(
    grid: Grid,
    sent: tuple[Tasks, Tasks],
    choice: Choice,
    strategy: Strategy,
    rules: Rules,
    state: RunState,
    is_last: bool,
) -> Folded:
    """Ask the cohort and the others, and fold what comes.

    Raises
    ------
    QuorumError
        If too few of the cohort answered usefully.
    """
    aggregator, stack, size = strategy.aggregator, strategy.stack, len(state.weights)
    due = state.due.joined_by(choice, state.round + 1)
    wanted = _wanted(due, choice, strategy, state.round + 1)
    asking = Asking(grid, _form(due, choice, strategy, rules, state), owed=state.due.owed())
    if strategy.pace.is_full:
        arrivals = asked(asking, sent, rules.timeout_s)
    else:
        arrivals = _at_a_pace(asking, sent, strategy.pace, due, rules, is_last)
    each = "update" in strategy.selector.declaration.needs or rules.crediting is not None or rules.keeps_updates
    along = aggregator.outgoing(state.carry)
    unwinding = Unwinding(aggregator, stack, state.round + 1, choice.cohort, size, along) if stack.layers else None
    half = half_of(aggregator)
    weighted = frozenset({UPDATE, *(half.weighted if half else ())})
    limits = LengthLimits(strategy.clip_norm, state.usual, norm(state.weights), weighted)
    folded = fold_answers(arrivals, aggregator, due.clients, size, choice.keep, each, unwinding, limits)
    folded.bytes_up, folded.due = asking.meter.bytes_up, due.still(asking)
    folded.num_asked = len(due) + choice.num_reused
    if choice.reused is not None:
        with_reused(folded, aggregator, choice.reused)
    _check_quorum(folded, due, wanted, grid.clients(), strategy, rules, state.round + 1)
    return folded


def _at_a_pace(
    asking: Asking, sent: tuple[Tasks, Tasks], pace: Pace, due: Due, rules: Rules, is_last: bool
) -> Iterator[Replies | Failure]:
    """Yield counts of held-out rows where these cost no time, then updates until the round closes."""
    trained, others = sent
    apart = isinstance(asking.grid, Keeping)  # a plant that is busy would be asked in vain
    if apart:
        yield from measured(Asking(asking.grid, asking.form, meter=asking.meter), others, rules.timeout_s)
    yield from paced(asking, trained, pace, due, rules.timeout_s, is_last=is_last, apart=apart)


def _clock_s(grid: Grid) -> float:
    return grid.clock_s if isinstance(grid, Situated) else 0.0


def _moved(strategy: Strategy, folded: Folded, closing: Closing, state: RunState) -> tuple[Float32Array, Carry, str]:
    """Return the next weights and carry; or those before, and why what was folded cannot be the next ones."""
    with np.errstate(over="ignore", invalid="ignore"):
        weights, carry = strategy.aggregator.finish(folded.accumulator, state.weights, state.carry, closing)
    refused = unusable_result(weights, carry)
    return (state.weights, state.carry, refused) if refused else (weights, carry, "")


def _form(due: Due, choice: Choice, strategy: Strategy, rules: Rules, state: RunState) -> Form:
    """Return the form of a round's answers, with what each that owes an update may weigh."""
    form, aggregator = rules.form(len(state.weights), state.held_out), strategy.aggregator
    if len(rules.training_rows):
        equal = aggregator.weighting != "examples" if choice.equal is None else choice.equal
        least, most = weights_expected(rules.training_rows, due.clients, due.factors, equal)
        beside = rules.added_by(due, aggregator.folds)
        form = replace(form, word=replace(form.word, least=least, most=most, beside=beside))
    return replace(form, folds=aggregator.folds, changed=strategy.stack.changes)


def _total(choice: Choice, folded: Folded) -> float | None:
    """Return what the sum of updates is divided by, as far as the choice says: what is lost shrinks no step."""
    if choice.total is None:
        return None
    answered = np.isin(choice.cohort, folded.trained)
    return choice.total * float(choice.factors[answered].sum() / choice.factors.sum())


def _credits(strategy: Strategy, rules: Rules, state: RunState, folded: Folded, closing: Closing) -> Mapping[str, Any]:
    """Return what each client contributed; nothing where that is not asked for.

    A round of some clients alone is ended by the same rule from the same carry; one of nobody changes nothing.
    """
    if rules.crediting is None:
        return {}
    aggregator, size = strategy.aggregator, len(state.weights)

    def end(updates: Arrays, weights: Float64Array) -> Float32Array:
        weight = float(weights.sum())
        if not weight > 0:
            return state.weights
        total = None if closing.total is None else closing.total * weight / folded.weight
        sums = aggregator.fold(aggregator.begin(size), updates, weights)
        return aggregator.finish(sums, state.weights, state.carry, replace(closing, total=total))[0]

    rng = generator(rules.seed, "contributions", state.round + 1)
    return credits_of(rules.crediting, folded, rng, end)


def evaluate_tasks(clients: Int64Array, state: RunState, round: int, each: bool = False) -> Tasks:
    """Return what asks clients for counts of the state's weights: of `each` of them, or added."""
    wanted = {"each": np.ones((), np.bool_)} if each else {}
    own = {TAKEN.name: state.taken_of(clients)}
    return Tasks(EVALUATE, round, clients, {"weights": state.weights, **wanted, **as_shared(state.edges)}, own)


def _wanted(due: Due, choice: Choice, strategy: Strategy, round: int) -> int:
    """Return how many updates of those that are due a round waits for.

    Raises
    ------
    ConfigError
        If even they are too few for the aggregator.
    """
    most = strategy.pace.updates or choice.keep
    wanted = len(due) if most is None else min(most, len(due))
    if refusal := strategy.refusal(wanted + choice.num_reused, len(due) + choice.num_reused):
        raise ConfigError(f"round {round} has too few updates: {refusal}")
    return wanted


def _check_quorum(
    folded: Folded, due: Due, wanted: int, names: tuple[str, ...], strategy: Strategy, rules: Rules, round: int
) -> None:
    asked, answered = set(due.clients.tolist()), len(folded.trained)
    reasons = {names[failure.client]: failure.reason for failure in folded.failures if failure.client in asked}
    check_quorum(wanted, answered, rules.quorum, round, reasons)
    if isinstance(strategy.aggregator, Robust):
        least = strategy.aggregator.least(folded.num_asked, folded.num_found) - (folded.num_asked - len(due))
        if answered < least:
            raise QuorumError(round, least, answered, reasons, "strategy.aggregation.hostile")


def _told(folded: Folded, needs: frozenset[str]) -> Arrays:
    """Return `clients`, whose updates were folded, and what they told of these signals, (answered,) each."""
    return signals_in((reply for reply in folded.replies if reply.kind.updates), needs & NUMBERS)


def _reports(folded: Folded, chosen: Chosen, strategy: Strategy, rules: Rules, state: RunState) -> Reports:
    """Return what the selector is told of its cohort, as far as it declares that it needs it."""
    choice, needs = chosen.choice, strategy.selector.declaration.needs
    signals = dict(_told(folded, needs))
    trained = signals.pop("clients")
    if folded.updates and "update" in needs:
        signals["update"] = np.stack([folded.updates[client] for client in sorted(folded.trained)])
    cohort = set(choice.cohort.tolist())
    failures = tuple(failure for failure in folded.failures if failure.client in cohort)
    judges = "score" in needs
    weights, score = (state.weights, rules.score) if judges else (None, None)
    return Reports(state.round + 1, trained, signals, failures, weights, score, choice, chosen.replies)


def rounds(
    grid: Grid, strategy: Strategy, rules: Rules, state: RunState, last: int
) -> Iterator[tuple[RunState, RoundRecord]]:
    """Do rounds up to number `last`, from wherever `state` stands.

    Yields
    ------
    state, record
        After each round. A caller that stops reading stops the run; one that starts again from a state it kept goes
        on as if nothing had been.
    """
    if not isinstance(grid, Keeping):  # what was under way when a server stopped does not come
        state = replace(state, due=Due.nobody())
    while state.round < last:
        state, record = one_round(grid, strategy, rules, state, state.round + 1 == last)
        yield state, record


def weights_from_client(grid: Grid, client: int, weights: Float32Array, rules: Rules, num_rounds: int) -> Float32Array:
    """Let one client train alone, and take its weights as the first global ones.

    Parameters
    ----------
    grid
        Reaches the clients.
    client
        Which one.
    weights
        (parameters,), those it starts from.
    rules
        Give seed and time-out.
    num_rounds
        How often it does a round's local training.

    Raises
    ------
    ClientError
        If it does not answer usefully, or has no training rows.
    """
    name = grid.clients()[client]
    alone = np.array([client])
    for number in range(num_rounds):
        own = {"factor": np.ones(1), "key": keys(rules.seed, f"first client {number}", 0, alone)}
        tasks = Tasks(TRAIN, 0, alone, {"weights": weights, "rate": np.ones(())}, own)
        replies, failures = answers(grid, [tasks], rules.timeout_s, rules.form(len(weights)))
        if failures:
            reason = failures[0].reason
            raise ClientError(f"{name} was to train the first weights (model.initial) and failed: {reason}")
        sums = Sums.empty(len(weights))
        for reply in replies:
            sums.add({UPDATE: reply.sums[UPDATE]}, reply.sums[WEIGHT].astype(np.float64))
        if not sums.weight > 0:
            raise ClientError(f"{name} was to train the first weights (model.initial) and has no training rows")
        trained = sums.mean() + weights
        if unusable_result(trained, {}):
            raise ClientError(f"{name} was to train the first weights (model.initial): {unusable_result(trained, {})}")
        weights = trained
    return weights
