"""Which of the clients' counts can be added: a client may run other code, or mean ill, and must not end a run."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from werkbund.core.arrays import AnyArray
from werkbund.core.types import Replies
from werkbund.data import Schema
from werkbund.data.statistics import category_names, feature_names
from werkbund.engine import Check

MOST_LEVELS = 10_000
"""Levels of one category column that a client may tell: each becomes an input of the network."""

_MOST_ROWS = 2.0**48
_LARGEST_SUM = 1e300  # sums of as many clients as there may be stay finite


def usable_survey(schema: Schema) -> Check:
    """Return what looks at the answers to `survey`."""
    width = (len(feature_names(schema)),)
    shapes = {"labels": (2,), "count": width, "missing": width, "sum": width}
    names = category_names(schema)

    def check(replies: Replies) -> str | None:
        odd = _odd(replies, shapes, counts=("labels", "count", "missing"))
        if odd or not _rows_are_told(replies):
            return f"its {odd or 'rows'} cannot be added to other clients'; it may run another version"
        texts = replies.clear.get("vocabulary")
        if texts is not None and not all(levels_of(str(text), names) is not None for text in texts.ravel()):
            return f"its vocabulary must be at most {MOST_LEVELS} texts for each category column of the federation"
        return None

    return check


def usable_squares(schema: Schema) -> Check:
    """Return what looks at the answers to `squares`."""
    shapes = {"squares": (len(feature_names(schema)),)}

    def check(replies: Replies) -> str | None:
        odd = _odd(replies, shapes, counts=())
        if odd or bool((replies.sums["squares"] < 0).any()):
            return "its squares cannot be added to other clients'; it may run another version"
        return None

    return check


def levels_of(text: str, names: tuple[str, ...]) -> Mapping[str, list[str]] | None:
    """Return the levels of each of these columns that a client's text names; None if it is no such text."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(told, dict) and set(told) == set(names) and all(map(_are_levels, told.values()))
    return told if fits else None


def _are_levels(values: object) -> bool:
    return isinstance(values, list) and len(values) <= MOST_LEVELS and all(map(_is_text, values))


def _is_text(value: object) -> bool:
    """Say whether this is a text that can be written down: half of a pair of surrogates cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _odd(replies: Replies, shapes: Mapping[str, tuple[int, ...]], counts: tuple[str, ...]) -> str:
    """Return the names of sums that are missing or of another form, and of counts that cannot be counts."""
    odd = [name for name, shape in shapes.items() if not _fits(replies.sums.get(name), shape)]
    odd += [name for name in counts if name not in odd and not _countable(replies.sums[name])]
    return ", ".join(odd)


def _fits(array: AnyArray | None, shape: tuple[int, ...]) -> bool:
    if array is None or array.shape[1:] != shape or array.dtype.kind not in "iuf":
        return False
    return bool((np.abs(array.astype(np.float64)) <= _LARGEST_SUM).all())


def _rows_are_told(replies: Replies) -> bool:
    """Say whether the number of rows, where a client tells it, is one number a client."""
    rows = replies.clear.get("rows")
    return rows is None or (rows.shape == (len(replies),) and rows.dtype.kind in "iu" and _countable(rows))


def _countable(array: AnyArray) -> bool:
    return bool(((array >= 0) & (array <= _MOST_ROWS)).all())
