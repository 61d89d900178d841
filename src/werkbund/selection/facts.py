"""What clients say of themselves, declared or answered, as numbers with the gaps filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.kinds import Kind
from werkbund.core.types import Replies
from werkbund.selection.contract import View
from werkbund.selection.ledger import column, entries, positions


def rows_of(view: View) -> Float64Array:
    """Return the rows of the available clients, (available,), not negative.

    A client that declared none counts as the mean of the others; where nobody did, everybody has one.
    """
    rows = view.fact("rows", np.nan)
    known = np.isfinite(rows) & (rows >= 0)
    usual = float(rows[known].mean()) if known.any() else 1.0
    return np.where(known, rows, usual)


def weights_of(view: View) -> tuple[Float64Array, bool]:
    """Return what each available client counts, (available,), and whether that is its rows.

    Where no client declared a positive number of rows, each counts 1.
    """
    known = bool((view.fact("rows") > 0).any())
    return (rows_of(view), True) if known else (np.ones(len(view.available)), False)


def shares(rows: Float64Array) -> Float64Array:
    """Return rows over their sum, (n,); equal shares where nobody has rows.

    Examples
    --------
    >>> shares(np.array([3.0, 1.0])).tolist(), shares(np.zeros(2)).tolist()
    ([0.75, 0.25], [0.5, 0.5])
    """
    total = rows.sum()
    return np.asarray(rows / total if total > 0 else np.full(len(rows), 1.0 / max(len(rows), 1)))


def durations(view: View) -> tuple[Float64Array, bool]:
    """Return the seconds that a round of each available client takes, (available,), and whether any are known.

    Measured where it has taken part (the state's `seconds`), else the sum of what it expects of receiving, training and
    sending, else NaN.
    """
    parts = [view.fact(f"seconds_{part}", np.nan) for part in ("down", "compute", "up")]
    expected = np.where(np.isnan(parts).all(axis=0), np.nan, np.nan_to_num(parts).sum(axis=0))
    measured = entries(column(view.state, "seconds"), view.available, np.nan)
    seconds = np.where(np.isfinite(measured), measured, expected)
    return seconds, bool(np.isfinite(seconds).any())


def registered(view: View) -> View:
    """Return the view as if everybody of whom anything is known were available, whether it can be asked now or not."""
    known = [*view.facts.values(), column(view.state, "seconds"), np.arange(view.available.max(initial=-1) + 1)]
    return replace(view, available=np.arange(max(len(values) for values in known)))


def answered(answers: tuple[Replies, ...], kind: Kind, signal: str) -> tuple[Int64Array, Float64Array]:
    """Return who answered a kind of question, (answered,) ascending, and its signal, (answered,); NaN without one."""
    fitting = [reply for reply in answers if reply.kind == kind]
    clients = np.concatenate([np.empty(0, np.int64), *(reply.clients for reply in fitting)])
    values = [_numbers(reply, signal) for reply in fitting]
    unique, first = np.unique(clients, return_index=True)
    return unique, np.concatenate([np.empty(0), *values])[first]


def answer_of(clients: Int64Array, answers: tuple[Replies, ...], kind: Kind, signal: str) -> Float64Array:
    """Return the signal with which each of these clients answered a kind of question, (clients,); NaN without one."""
    asked, values = answered(answers, kind, signal)
    places = positions(clients, asked)
    return np.where(places >= 0, np.append(values, np.nan)[places], np.nan)


def _numbers(reply: Replies, signal: str) -> Float64Array:
    """Return a signal, (replies,); NaN where it is not one number for each client."""
    values = reply.clear.get(signal)
    plain = values is not None and values.shape == (len(reply),) and values.dtype.kind in "fiu"
    return np.asarray(values, np.float64) if plain else np.full(len(reply), np.nan)
