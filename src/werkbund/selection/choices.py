"""Choices as methods make them: of clients that count alike, and with notes that `observe` reads again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.core.types import Choice
from werkbund.selection.contract import Reports, View


def choice_of(cohort: Int64Array, probability: float, reasons: tuple[str, ...], equal: bool | None = None) -> Choice:
    """Return the choice of a cohort in which each client has the same inclusion probability and the factor 1.

    Parameters
    ----------
    cohort
        (cohort,), client numbers in any order.
    probability
        The inclusion probability of each.
    reasons
        One a client, in the order of `cohort`.
    equal
        Whether updates count alike or by rows; see `Choice`.
    """
    order = np.argsort(cohort, kind="stable")
    ones = np.ones(len(cohort))
    ordered = tuple(reasons[place] for place in order)
    return Choice(cohort[order].astype(np.int64), probability * ones, ones, ordered, equal=equal)


def choice_of_all(view: View, equal: bool | None = None) -> Choice:
    """Return the choice of all available clients, for where as many are wanted."""
    number = len(view.available)
    return choice_of(view.available, 1.0, ("as many are wanted as there are",) * number, equal)


@dataclass(frozen=True)
class AnnotatedChoice(Choice):
    """Be a choice with facts as they were when it was made, such as rows, which `observe` needs and cannot ask again.

    Parameters
    ----------
    notes
        Arrays by name, (cohort,) each.
    """

    notes: Arrays = field(default_factory=dict)


def notes_on(reports: Reports, name: str, missing: float) -> Float64Array:
    """Return a note on each client that answered, (answered,); `missing` where the choice has none on it."""
    values = np.full(len(reports.clients), missing)
    choice = reports.choice
    if not isinstance(choice, AnnotatedChoice) or name not in choice.notes:
        return values
    _, chosen, answered = np.intersect1d(choice.cohort, reports.clients, return_indices=True)
    values[answered] = np.asarray(choice.notes[name], dtype=np.float64)[chosen]
    return values
