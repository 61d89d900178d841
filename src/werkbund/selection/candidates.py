"""Candidates and their losses: who is asked, and whose loss is highest. Shared by the forms of power of choice."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.contract import CohortSize, View
from werkbund.selection.draws import largest, successive_inclusion, successively
from werkbund.selection.methods.proportional import rows_of

_LOSS = "loss"


def check_candidates(candidates: int | None) -> None:
    """Raise unless a number of candidates is one.

    Raises
    ------
    ConfigError
        If it is below 1.
    """
    if candidates is not None and candidates < 1:
        raise ConfigError(f"strategy.selection.candidates must be >= 1 or left out, got {candidates}")


def num_candidates(candidates: int | None, cohort: int, available: int) -> int:
    """Return d: what was asked for, or twice the cohort; not less than the cohort, nor more than are available.

    Examples
    --------
    >>> num_candidates(None, 5, 100), num_candidates(3, 5, 100), num_candidates(80, 5, 20)
    (10, 5, 20)
    """
    wanted = 2 * cohort if candidates is None else candidates
    return min(max(wanted, cohort), available)


def told(answers: tuple[Replies, ...], available: Int64Array) -> Float64Array:
    """Return the losses that clients answered with, (available,); NaN for all others."""
    fitting = [reply for reply in answers if _LOSS in reply.clear]
    losses = np.full(len(available), np.nan)
    if fitting:
        clients = np.concatenate([reply.clients for reply in fitting])
        values = np.concatenate([reply.clear[_LOSS] for reply in fitting])
        here = np.isin(clients, available)
        losses[np.searchsorted(available, clients[here])] = values[here]
    return np.where(np.isfinite(losses), losses, np.nan)


def highest(losses: Float64Array, rows: Float64Array, number: int, rng: np.random.Generator) -> Int64Array:
    """Return the places of the highest losses; places without one follow, drawn in proportion to their rows.

    Parameters
    ----------
    losses
        (n,), NaN where unknown, inf for who comes first.
    rows
        (n,)
    number
        How many.
    rng
        Breaks ties, and draws those that follow.
    """
    known, unknown = np.flatnonzero(~np.isnan(losses)), np.flatnonzero(np.isnan(losses))
    ranked = known[largest(losses[known], number, rng)]
    rest = unknown[successively(rows[unknown], number - len(ranked), rng)]
    return np.sort(np.concatenate([ranked, rest]))


def question(
    size: CohortSize,
    candidates: int | None,
    view: View,
    answers: tuple[Replies, ...],
    rng: np.random.Generator,
    shared: Arrays,
) -> Tasks | None:
    """Ask the candidates for their loss, once; nobody where all candidates would train anyway.

    Parameters
    ----------
    size, candidates
        k and d.
    view, answers, rng
        As a selector gets them.
    shared
        What the question says beside, such as over how many rows.
    """
    number = size.of(len(view.available))
    d = num_candidates(candidates, number, len(view.available))
    if answers or d <= number:
        return None
    asked = view.available[np.sort(successively(rows_of(view), d, rng))]
    return Tasks(_LOSS, view.round, asked, shared)


def chosen(
    size: CohortSize,
    candidates: int | None,
    view: View,
    losses: Float64Array,
    rng: np.random.Generator,
    reason: str,
) -> Choice:
    """Return those of the highest losses, (available,), NaN where unknown, to train and count alike.

    Parameters
    ----------
    size, candidates
        k and d.
    view, rng
        As a selector gets them.
    losses
        What the rule goes by.
    reason
        Says what a loss means; `{}` stands for it.
    """
    number, rows = size.of(len(view.available)), rows_of(view)
    places = highest(losses, rows, number, rng)
    chance = successive_inclusion(rows, num_candidates(candidates, number, len(rows)))[places]
    return Choice(
        view.available[places],
        np.maximum(chance, np.finfo(float).tiny),
        np.ones(number),
        tuple(_reason(loss, reason) for loss in losses[places].tolist()),
        equal=True,
    )


def _reason(loss: float, text: str) -> str:
    if np.isinf(loss):
        return "never trained yet"
    return "drawn in proportion to its rows" if np.isnan(loss) else text.format(loss)
