"""A question as the plant takes it: what is declared of it, with the plant's own minima and the plant's own draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from werkbund.core.arrays import AnyArray, UInt64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Field, Half, Kind
from werkbund.core.rng import keys
from werkbund.core.types import Tasks
from werkbund.plant.policy import Policy

MOST_NUMBERS = 2**24
"""Numbers that one array of a task may have."""


@dataclass(frozen=True)
class Draws:
    """Say by whose random stream rows are drawn.

    Parameters
    ----------
    secret
        Of the plant, which the server does not know.
    purpose
        What the draw is for: run, round, and how it trains; other words give other rows.
    """

    secret: int
    purpose: str

    def keys(self, told: AnyArray) -> UInt64Array:
        """Return the plant's own keys in place of those that came: equal where those are equal, and else unlike."""
        _, number = np.unique(told, return_inverse=True)
        return keys(self.secret, self.purpose, 0, number).reshape(np.shape(told))


def as_taken(tasks: Tasks, policy: Policy, num_rows: int, draws: Draws | None) -> Tasks:
    """Return a question as the plant answers it.

    Parameters
    ----------
    tasks
        One task, as it came. What its kind does not declare is left out.
    policy
        Gives the minima: each array that its kind declares as a number of rows is raised to the entry of the policy
        that it names, and added where it is missing and the kind says so.
    num_rows
        Training rows here.
    draws
        Give the streams by which rows are drawn; None leaves those that came.

    Raises
    ------
    ClientError
        If an array has another form than its kind declares.
    """
    shared, own = _declared(tasks.kind, "shared", tasks.shared), _declared(tasks.kind, "own", tasks.own)
    for field in tasks.kind.request:
        half = shared if field.half == "shared" else own
        if field.minimum and (field.added or field.name in half):
            least = int(getattr(policy, field.minimum))
            half[field.name] = _raised(half.get(field.name), field, least, num_rows)
        if field.stream and draws is not None and field.name in half:
            half[field.name] = draws.keys(half[field.name])
    return replace(tasks, shared=shared, own=own)


def _declared(kind: Kind, half: Half, arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return the arrays that a kind declares, each in the form that it declares."""
    kept = {}
    for name, array in arrays.items():
        if half == "own" and name == kind.vector_asked:  # each client may start elsewhere
            kept[name] = np.asarray(array)
        field = kind.asked(half, name)
        if field is not None:
            kept[name] = _checked(np.asarray(array), field, half)
    return kept


def _checked(array: AnyArray, field: Field, half: Half) -> AnyArray:
    axes = array.ndim - (half == "own")
    is_one = not field.shape and array.size == 1
    wrong_axes = axes != len(field.shape) and not is_one and not field.is_pattern
    if wrong_axes or (field.dtype and array.dtype.kind not in field.dtype) or array.size > MOST_NUMBERS:
        raise ClientError(
            f"{field.name} of a task must have {len(field.shape)} axes and numbers of kind {field.dtype or 'any'}, at "
            f"most {MOST_NUMBERS}, got {array.dtype} {array.shape}; the server runs other code"
        )
    if not _is_within(array, field):
        raise ClientError(f"{field.name} of a task must be within {field.least} and {field.most}")
    return array


def _is_within(array: AnyArray, field: Field) -> bool:
    """Say whether numbers are within the bounds that are declared for them; without bounds any are."""
    above = field.least is None or bool((array >= field.least).all())
    return above and (field.most is None or bool((array <= field.most).all()))


def _raised(told: AnyArray | None, field: Field, least: int, num_rows: int) -> AnyArray:
    """Return a number of rows that is at least the plant's minimum.

    Of a sample it is a whole multiple of the minimum, and all rows where fewer would be left over: so two samples of
    the plant's rows are equal or differ in as many.
    """
    raised = np.maximum(least if told is None else told, least)
    if not field.sample:
        return np.asarray(raised)
    whole = -(-raised // least) * least
    return np.asarray(np.where(num_rows - whole < least, max(num_rows, least), whole))
