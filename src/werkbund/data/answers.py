"""What clients are asked about their training rows, and whether an answer can be added to others'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from werkbund.core.arrays import AnyArray
from werkbund.core.kinds import ROWS, Field, Kind, Signal
from werkbund.core.types import Replies
from werkbund.data.plausibility import LARGEST_SQUARES, LARGEST_SUM, contradiction, rows_told, too_large
from werkbund.data.schema import Schema
from werkbund.data.statistics import category_names, feature_names

SUMMED_SQUARES = "squares"
"""Name of the sums of squares in an answer to `SQUARES`."""

VOCABULARY = Signal("vocabulary", "the levels of each category column")

SURVEY = Kind(
    "survey",
    "count and add up the training rows, for the common scaling",
    "once, for the common scaling",
    (),
    (
        Field("sums", "labels", "number of training rows without and with a failure", (2,), unit="rows"),
        Field("sums", "count", "number of values of each numeric feature", ("features",), unit="rows"),
        Field("sums", "missing", "number of missing values of each numeric feature", ("features",), unit="rows"),
        Field("sums", "sum", "sum of each numeric feature over all training rows", ("features",)),
        Field("clear", "rows", "number of training rows", (), unit="rows", signal=ROWS),
        Field("clear", "vocabulary", "levels of each category column", (), "U", signal=VOCABULARY),
    ),
)

SQUARES = Kind(
    "squares",
    "add up squared deviations from the common mean",
    "once, for the common scaling",
    (Field("shared", "mean", "the common mean of each feature", ("features",), "f"),),
    (Field("sums", SUMMED_SQUARES, "sum of squared deviations of each feature from the common mean", ("features",)),),
)

MOST_LEVELS = 1000
"""Levels of one category column that a client may tell, and no more than rows: each becomes an input of the network."""

_MOST_LETTERS = 200
_MOST_COUNTED = 2.0**48

Look = Callable[[Replies], str | None]
"""Says why an answer cannot be used, or None."""


def survey_shapes(schema: Schema) -> dict[str, tuple[int, ...]]:
    """Return the shape of each sum in a client's answer with counts and sums, by name."""
    width = (len(feature_names(schema)),)
    return {"labels": (2,), "count": width, "missing": width, "sum": width}


def usable_survey(schema: Schema) -> Look:
    """Return what looks at answers with counts and sums, and with levels and rows in clear."""
    shapes, names = survey_shapes(schema), category_names(schema)

    def check(replies: Replies) -> str | None:
        odd = _odd_sums(replies, shapes, counts=("labels", "count", "missing"))
        if odd or not _rows_are_told(replies):
            return f"its {odd or 'rows'} cannot be added to other clients'; it may run another version"
        figures = replies.figures
        large = too_large(figures["sum"], "sum", LARGEST_SUM, schema)
        return large or contradiction(figures, schema) or _odd_rows(replies) or _odd_vocabulary(replies, names)

    return check


def _odd_rows(replies: Replies) -> str | None:
    """Return why the rows that are told in clear are not those of the counts, or None."""
    told, counted = replies.clear.get("rows"), rows_told(replies.figures)
    if told is not None and len(counted) < len(told):  # of all together
        told = np.array([told.sum() if told.all() else 0])
    if told is None or not ((told != 0) & (told != counted) & ~np.isnan(counted)).any():
        return None
    return f"its rows, {told.max()}, are not those of its counts, {counted.max():g}"


def _odd_vocabulary(replies: Replies, names: tuple[str, ...]) -> str | None:
    """Return why the levels that are told are no levels of so many rows, or None."""
    texts = replies.clear.get("vocabulary")
    if texts is None:
        return None
    told = [levels_of(str(text), names) for text in texts.ravel() if str(text)]
    if None in told:
        return (
            f"its vocabulary must be at most {MOST_LEVELS} texts of at most {_MOST_LETTERS} letters for each category "
            "column of the federation; make a column of more levels a number, or name it under data.never"
        )
    most = np.broadcast_to(np.nan_to_num(rows_told(replies.figures), nan=np.inf), len(told))
    for levels, rows in zip(told, most.tolist(), strict=True):
        many = [name for name, own in (levels or {}).items() if len(own) > rows]
        if many:
            return f"its vocabulary of {', '.join(many)} has more levels than it has rows, {rows:g}"
    return None


def usable_squares(schema: Schema, name: str) -> Look:
    """Return what looks at answers with sums of squared deviations under a name."""
    shapes = {name: (len(feature_names(schema)),)}

    def check(replies: Replies) -> str | None:
        odd = _odd_sums(replies, shapes, counts=())
        figures = replies.figures
        if odd or bool((figures[name] < 0).any()):
            return "its squares cannot be added to other clients'; it may run another version"
        return too_large(figures[name], "sum of squares", LARGEST_SQUARES, schema)

    return check


def levels_of(text: str, names: tuple[str, ...]) -> Mapping[str, list[str]] | None:
    """Return the levels of each of these columns that a client's text names; None if it is no such text."""
    try:
        levels = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(levels, dict) and set(levels) == set(names) and all(map(_are_levels, levels.values()))
    return levels if fits else None


def all_levels(texts: Iterable[str], names: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the levels of each of these columns that any of the texts names, sorted."""
    levels: dict[str, set[str]] = {name: set() for name in names}
    for text in texts:
        for name, own in (levels_of(text, names) or {}).items():
            levels[name].update(own)
    return {name: sorted(union) for name, union in levels.items()}


def _are_levels(values: object) -> bool:
    return isinstance(values, list) and len(values) <= MOST_LEVELS and all(map(_is_text, values))


def _is_text(value: object) -> bool:
    """Say whether this is a short text that can be written down: half of a pair of surrogates cannot."""
    return (
        isinstance(value, str)
        and len(value) <= _MOST_LETTERS
        and not any("\ud800" <= letter <= "\udfff" for letter in value)
    )


def _odd_sums(replies: Replies, shapes: Mapping[str, tuple[int, ...]], counts: tuple[str, ...]) -> str:
    """Return the names of sums that are missing or of another form, and of counts that cannot be counts."""
    figures = replies.figures
    odd = [name for name, shape in shapes.items() if not _fits(figures.get(name), shape)]
    odd += [name for name in counts if name not in odd and not _countable(figures[name])]
    return ", ".join(odd)


def _fits(array: AnyArray | None, shape: tuple[int, ...]) -> bool:
    if array is None or array.shape[1:] != shape or array.dtype.kind not in "iuf":
        return False
    return not bool(np.isnan(array.astype(np.float64)).any())


def _rows_are_told(replies: Replies) -> bool:
    """Say whether the number of rows, where a client tells it, is one number a client."""
    rows = replies.clear.get("rows")
    return rows is None or (rows.shape == (len(replies),) and rows.dtype.kind in "iu" and _countable(rows))


def _countable(array: AnyArray) -> bool:
    return bool(((array >= 0) & (array <= _MOST_COUNTED)).all())
