"""What a round leaves behind: who took part, who failed, what was told in clear, the counts, and what it all took."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from werkbund.aggregation.contract import UPDATE
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.kinds import HELD_OUT
from werkbund.core.types import Choice, Failure, Replies, RoundRecord, Tasks
from werkbund.core.weights import norm
from werkbund.engine.asking import payload, size_of
from werkbund.engine.choosing import Chosen, Spent, spent_on
from werkbund.engine.folding import Folded
from werkbund.engine.lengths import LengthLimits, Lengths
from werkbund.engine.state import RunState
from werkbund.engine.word import counts_of
from werkbund.selection.contract import NUMBERS
from werkbund.selection.questions import LOSS


@dataclass(frozen=True)
class Proceedings:
    """Hold how a round went.

    Parameters
    ----------
    chosen
        The choice, and the questions before it.
    sent
        The tasks after it.
    folded
        What came.
    needs
        The signals that the selector declares.
    simulated
        Whether a world says what it took.
    refused
        Why what was folded did not become the next weights; empty where it did.
    """

    chosen: Chosen
    sent: tuple[Tasks, ...]
    folded: Folded
    needs: frozenset[str]
    simulated: bool
    refused: str = ""


def record_of(proceedings: Proceedings, state: RunState, weights: Float32Array, seconds: float) -> RoundRecord:
    """Return the record of a round.

    Parameters
    ----------
    proceedings
        How it went.
    state, weights
        Before it, and what it made of the weights.
    seconds
        Wall-clock time that it took.
    """
    chosen, folded, choice = proceedings.chosen, proceedings.folded, proceedings.chosen.choice
    # What clients say of seconds and joules is no account.
    spent = chosen.spent + _spent_after(proceedings) if proceedings.simulated else Spent()
    counts, evaluated = gathered_counts(folded.replies)
    losses, rows, lengths = _total(folded, "loss"), _total(folded, "rows"), folded.lengths or Lengths(LengthLimits())
    return RoundRecord(
        round=state.round + 1,
        scored=state.round,
        cohort=tuple(choice.cohort.tolist()),
        failures=_failures(chosen, folded),
        counts=counts,
        evaluated=evaluated,
        loss=losses / rows if rows else None,
        update_norm=norm(weights - state.weights),
        weights_norm=norm(weights),
        bytes_down=sum(map(size_of, [*chosen.asked, *proceedings.sent]))
        + sum(reply.toll.bytes_down for reply in folded.replies),
        sum_trips=sum_trips(folded.replies),
        bytes_up=folded.bytes_up + sum(map(payload, chosen.replies)),
        seconds=seconds,
        reasons=choice.reasons,
        simulated_seconds=spent.seconds,
        joules=spent.joules,
        probed=chosen.probed,
        told=_signals_by_kind(proceedings),
        bytes_measuring=bytes_measuring(proceedings.sent, folded.replies),
        reward=_reward(choice, folded.trained),
        outlying=lengths.outlying,
        clipped=lengths.clipped,
        usual_norm=lengths.usual.get(UPDATE, 0.0),
        refused=proceedings.refused,
        edges=state.edges,
        stale=_stale(folded, state.round + 1),
        owing=tuple(folded.due.clients.tolist()),
    )


def merged(records: Sequence[RoundRecord], rows: Float64Array) -> RoundRecord:
    """Return the one record of federations that did the same round side by side; a single one as it is.

    Lengths of steps and weights are those of all weights together, the middle length of updates is the largest one.

    Parameters
    ----------
    records
        One at least, of different clients.
    rows
        (all clients,), training rows, by which the losses are weighted.
    """
    if len(records) == 1:
        return records[0]
    asked = sorted((client, why) for each in records for client, why in zip(each.cohort, each.reasons, strict=True))
    counts, evaluated = _side_by_side(
        {
            split: [(each.evaluated[split], each.counts[split]) for each in records if split in each.counts]
            for split in HELD_OUT
        }
    )
    known = [(each.loss, float(rows[list(each.cohort)].sum())) for each in records if each.loss is not None]
    total = math.fsum(weight for _, weight in known)
    return replace(
        records[0],
        cohort=tuple(client for client, _ in asked),
        reasons=tuple(why for _, why in asked),
        failures=tuple(sorted((one for each in records for one in each.failures), key=lambda one: one.client)),
        counts=counts,
        evaluated=evaluated,
        loss=math.fsum(loss * weight for loss, weight in known) / total if total else None,
        update_norm=math.hypot(*(each.update_norm for each in records)),
        weights_norm=math.hypot(*(each.weights_norm for each in records)),
        bytes_down=sum(each.bytes_down for each in records),
        bytes_up=sum(each.bytes_up for each in records),
        bytes_measuring=sum(each.bytes_measuring for each in records),
        seconds=math.fsum(each.seconds for each in records),
        probed=tuple(sorted(client for each in records for client in each.probed)),
        told=_merged_signals(records),
        reward=math.fsum(each.reward for each in records),
        outlying=tuple(sorted(one for each in records for one in each.outlying)),
        clipped=tuple(sorted(client for each in records for client in each.clipped)),
        usual_norm=max(each.usual_norm for each in records),
        refused="; ".join(each.refused for each in records if each.refused),
    )


def _merged_signals(records: Sequence[RoundRecord]) -> dict[str, Arrays]:
    """Return the numbers that selectors were given, by kind of task, as far as all of that kind were given them."""
    signals: dict[str, Arrays] = {}
    for kind in sorted({kind for each in records for kind in each.told}):
        parts = [each.told[kind] for each in records if kind in each.told]
        names = set.intersection(*(set(part) for part in parts))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in sorted(names)}
        signals[kind] = _in_order(columns, columns["clients"])
    return signals


def remarks_on(record: RoundRecord, names: Sequence[str]) -> dict[str, str]:
    """Return what stood out in a round, by the client's name; a round that was refused, by `all`."""
    usual, clipped = record.usual_norm, set(record.clipped)
    found = {}
    for client, length in record.outlying:
        times = length / usual if usual > 0 else math.inf
        tail = ", clipped" if client in clipped else ""
        found[names[client]] = f"its update is {times:.0f} times as long as the middle one{tail}"
    if record.refused:
        found["all"] = f"their updates were left out, and the weights stay as they were: {record.refused}"
    return found


def line_of(record: RoundRecord) -> dict[str, Any]:
    """Return what rounds.jsonl keeps of a round, without its scores: values that JSON holds, and arrays."""
    return {
        "round": record.round,
        "scored": record.scored,
        "cohort": record.cohort,
        "failures": [_failure_line(failure) for failure in record.failures],
        "loss": record.loss,
        "update_norm": record.update_norm,
        "weights_norm": record.weights_norm,
        "bytes_down": record.bytes_down,
        "bytes_up": record.bytes_up,
        "seconds": record.seconds,
        "reasons": record.reasons,
        **(
            {"simulated_seconds": record.simulated_seconds, "joules": record.joules} if record.simulated_seconds else {}
        ),
        **({"probed": record.probed} if record.probed else {}),
        **({"told": record.told} if record.told else {}),
        **({"outlying": record.outlying, "usual_norm": record.usual_norm} if record.outlying else {}),
        **({"clipped": record.clipped} if record.clipped else {}),
        **({"refused": record.refused} if record.refused else {}),
        **({"stale": record.stale} if record.stale else {}),
        **({"credits": record.credits} if record.credits else {}),
        **({"owing": record.owing} if record.owing else {}),
        **({"clusters": record.clusters} if record.clusters else {}),
        **({"sum_trips": record.sum_trips} if record.sum_trips else {}),
    }


def _failure_line(failure: Failure) -> dict[str, Any]:
    spent = {"seconds": failure.seconds, "joules": failure.joules} if failure.seconds else {}
    return {"client": failure.client, "reason": failure.reason, **spent}


def sum_trips(replies: Iterable[Replies]) -> int:
    """Return the round trips that secure sums took to these answers; 0 where none is one."""
    return sum(reply.toll.trips + 1 for reply in replies if reply.toll.trips)


def bytes_measuring(sent: Iterable[Tasks], replies: Iterable[Replies]) -> int:
    """Return the payload in bytes to and from those who were asked for nothing but their counts."""
    down = sum(size_of(tasks) for tasks in sent if tasks.kind.measures)
    return down + sum(payload(reply) for reply in replies if reply.kind.measures)


def signals_in(answers: Iterable[Replies], names: Collection[str]) -> Arrays:
    """Return `clients`, (answered,) and ascending, and each of these signals that any of them sent, (answered,).

    Parameters
    ----------
    answers
        No client twice.
    names
        Of `NUMBERS`. A client that does not send one, by its policy or because it cannot, has NaN there.
    """
    given = [reply for reply in answers if len(reply)]
    clients = np.concatenate([np.empty(0, np.int64), *(reply.clients for reply in given)])
    order = np.argsort(clients, kind="stable")
    sent = {name for reply in given for name in reply.clear} & set(names)
    columns = {name: np.concatenate([_column(reply, name) for reply in given])[order] for name in sorted(sent)}
    return {"clients": clients[order], **columns}


def gathered_counts(replies: Iterable[Replies]) -> tuple[dict[str, Arrays], dict[str, Int64Array]]:
    """Return each split's counts, and the clients that are counted in them.

    Counts that came for each client are in ascending order of clients; counts that came added over several clients
    make one row an answer.
    """
    answers = sorted((reply for reply in replies if len(reply)), key=lambda reply: int(reply.clients[0]))
    return _side_by_side(
        {split: [(reply.clients, part) for reply in answers if (part := counts_of(reply, split))] for split in HELD_OUT}
    )


def _side_by_side(
    parts: Mapping[str, Sequence[tuple[Int64Array, Arrays]]],
) -> tuple[dict[str, Arrays], dict[str, Int64Array]]:
    """Return each split's counts of several groups of clients as one, and its clients, ascending."""
    counts: dict[str, Arrays] = {}
    evaluated: dict[str, Int64Array] = {}
    for split, groups in parts.items():
        if groups:
            clients = np.concatenate([numbers for numbers, _ in groups])
            columns = {name: _joined([part[name] for _, part in groups]) for name in groups[0][1]}
            counts[split], evaluated[split] = _in_order(columns, clients), np.sort(clients)
    return counts, evaluated


def _column(reply: Replies, name: str) -> Float64Array:
    return np.asarray(reply.clear.get(name, np.full(len(reply), np.nan)), dtype=np.float64)


def _joined(arrays: list[AnyArray]) -> AnyArray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _in_order(columns: Arrays, clients: Int64Array) -> Arrays:
    rows = len(next(iter(columns.values())))
    if rows != len(clients) or bool((clients[1:] > clients[:-1]).all()):
        return columns
    order = np.argsort(clients, kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _stale(folded: Folded, round: int) -> tuple[tuple[int, int], ...]:
    updates = [reply for reply in folded.replies if reply.kind.updates and reply.round < round]
    return tuple(sorted((client, round - reply.round) for reply in updates for client in reply.clients.tolist()))


def _reward(choice: Choice, trained: list[int]) -> float:
    return 0.0 if choice.payments is None else float(choice.payments[np.isin(choice.cohort, trained)].sum())


def _spent_after(proceedings: Proceedings) -> Spent:
    """Return what the work after the choice took; measuring costs nothing."""
    folded = proceedings.folded
    return spent_on((reply for reply in folded.replies if reply.kind.updates), folded.failures)


def _failures(chosen: Chosen, folded: Folded) -> tuple[Failure, ...]:
    """Return who failed, each client once: in the round's work, or else when it was asked before the choice."""
    late = {failure.client for failure in folded.failures}
    before = {failure.client: failure for failure in chosen.failures if failure.client not in late}
    return tuple(sorted([*folded.failures, *before.values()], key=lambda failure: failure.client))


def _signals_by_kind(proceedings: Proceedings) -> dict[str, Arrays]:
    """Return the numbers that the selector was given, by name of the kind of task, with the clients that sent them."""
    chosen, needs = proceedings.chosen, proceedings.needs
    columns_by_kind: dict[str, Arrays] = {}
    for kind in dict.fromkeys(tasks.kind for tasks in (*chosen.asked, proceedings.sent[0])):
        answers = [reply for reply in (*chosen.replies, *proceedings.folded.replies) if reply.kind == kind]
        columns = signals_in(answers, (needs | {LOSS.name} if kind == LOSS else needs) & NUMBERS)
        if len(columns) > 1:
            columns_by_kind[kind.name] = columns
    return columns_by_kind


def _total(folded: Folded, name: str) -> float:
    """Return the sum over the clients that say how much and of how many rows, exact in any order of arrival."""
    complete = [figures for reply in folded.replies if {"loss", "rows"} <= (figures := reply.figures).keys()]
    return math.fsum(value for figures in complete for value in figures[name].tolist())
