"""What a selector notes beside its choice, so that it still knows when the reports come."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import Arrays, Float64Array
from werkbund.core.types import Choice
from werkbund.selection.contract import Reports


@dataclass(frozen=True)
class Noted(Choice):
    """Be a choice with notes: facts as they were when it was made, such as rows, or what was agreed, such as a payment.

    Parameters
    ----------
    notes
        Named arrays, (cohort,) each.
    """

    notes: Arrays = field(default_factory=dict)


def noted(reports: Reports, name: str, missing: float) -> Float64Array:
    """Return what was noted of those that answered, (answered,); `missing` where nothing was."""
    found = np.full(len(reports.clients), missing)
    choice = reports.choice
    if not isinstance(choice, Noted) or name not in choice.notes:
        return found
    known, at, place = np.intersect1d(choice.cohort, reports.clients, return_indices=True)
    del known
    found[place] = np.asarray(choice.notes[name], dtype=np.float64)[at]
    return found
