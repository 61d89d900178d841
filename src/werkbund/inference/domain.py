"""The domain of a model: which rows it can know something of, by the range of each number and the levels of categories.

A row with a number out of range, a level that nobody had, or no reading where no client had gaps is *outside*: the
model has learnt nothing about such rows, and none of them gets a score. What is empty where clients had gaps is scored
as it was learnt, as unknown.

The range of a number is mean ± 8 standard deviations of the rows that all clients trained on, cut to the plausible
range that the federation declared. By Chebyshev's inequality at most one in 64 of these rows can lie beyond 8 standard
deviations, whatever their distribution is; smallest and largest readings, which would be tighter, are single rows and
do not leave a plant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.data.features import clean
from werkbund.data.preparation import Preparation
from werkbund.data.units import MISTAKEN, standard_unit

SPREADS = 8.0
"""Standard deviations from the mean at which a number's range ends."""

_NEAR = 4.0  # standard deviations within which a converted middle is taken for readings in another unit
_TOLD = 5  # rows that are named
_NAMED = 3  # columns that are named where the same is said of more


@dataclass(frozen=True)
class Oddity:
    """Say what is odd about some rows in one column.

    Parameters
    ----------
    column
        Its name.
    kind
        "range", "level" or "empty".
    rows
        Places of the rows, from 0.
    is_outside
        Whether the rows get no score for it.
    text
        One sentence for people: column, rows, values, range.
    """

    column: str
    kind: str
    rows: tuple[int, ...]
    is_outside: bool
    text: str


@dataclass(frozen=True)
class Domain:
    """Tell rows that a model can score from others.

    Parameters
    ----------
    preparation
        Of the model.
    """

    preparation: Preparation

    def range_of(self, name: str) -> tuple[float, float]:
        """Return the least and the largest value of a raw number column with which a row is scored."""
        place = self.preparation.numeric.index(name)
        mean, far = self.preparation.mean[place], SPREADS * self.preparation.scale[place]
        low, high = dict(self.preparation.ranges).get(name, (None, None))
        ends = (
            (mean - far if low is None else max(low, mean - far)),
            (mean + far if high is None else min(high, mean + far)),
        )
        return ends if ends[0] <= ends[1] else (mean - far, mean + far)  # a declared range that the readings broke

    def unit_of(self, name: str) -> str:
        """Return the unit of a raw number or derived feature, empty where it has none."""
        return self._units.get(name, "")

    @cached_property
    def _units(self) -> dict[str, str]:
        learnt = self.preparation
        derived = {feature.name: feature.unit for feature in learnt.derived}
        return dict(zip(learnt.numeric, learnt.units, strict=False)) | derived

    def clean(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns that the model reads, of rows in raw units, missing numbers NaN and missing texts null.

        Raises
        ------
        DataError
            If a column is missing, or holds text where the model reads numbers.
        """
        learnt = self.preparation
        return clean(frame, learnt.numeric, [name for name, _ in learnt.categories], dict(learnt.marks))

    def check(self, cleaned: pl.DataFrame) -> tuple[Oddity, ...]:
        """Return what is odd about rows that `clean` returned, column by column."""
        learnt = self.preparation
        numbers = (odd for name in learnt.numeric for odd in self._of_number(name, cleaned[name].to_numpy()))
        levels = (odd for name, known in learnt.categories for odd in _of_levels(name, known, cleaned[name]))
        return (*numbers, *levels)

    def _of_number(self, name: str, values: Float64Array) -> Iterator[Oddity]:
        (low, high), unit = self.range_of(name), self.unit_of(name)
        present = np.isfinite(values)
        out = present & ~((values >= low) & (values <= high))
        if out.any():
            what = f"outside {number(low)} to {with_unit(high, unit)}"
            hint = self._other_unit(name, values[present])
            yield _oddity(name, "range", out, True, what, [number(value) for value in values[out][:_TOLD]], hint)
        if not present.all():
            known = name in self.preparation.missing
            what = "without a reading" + (", scored as unknown" if known else ", where no client had gaps")
            yield _oddity(name, "empty", ~present, not known, what)

    def _other_unit(self, name: str, values: Float64Array) -> str:
        """Return that a whole column looks like readings in another unit; nothing where it does not."""
        place, (low, high) = self.preparation.numeric.index(name), self.range_of(name)
        mean, near = self.preparation.mean[place], _NEAR * self.preparation.scale[place]
        middle, unit = float(np.median(values)), standard_unit(self.unit_of(name))
        if low <= middle <= high:
            return ""
        likely = (each for each in MISTAKEN.get(unit, ()) if abs(each.apply(middle) - mean) <= near)
        return next(
            (f"; it looks like {each.other}: convert it, or name the unit in a row of units" for each in likely), ""
        )


def together(oddities: Sequence[Oddity]) -> list[str]:
    """Return the sentences of oddities, one for all columns of which the same is to be said.

    Examples
    --------
    >>> together([Oddity(name, "empty", (0,), True, f"{name}: 1 row without a reading: row 1") for name in "abcde"])
    ["5 columns ('a', 'b', 'c', ...): 1 row without a reading: row 1"]
    """
    columns: dict[str, list[str]] = {}
    for odd in oddities:
        columns.setdefault(odd.text.removeprefix(f"{odd.column}: "), []).append(odd.column)
    return [f"{_listed(names)}: {text}" for text, names in columns.items()]


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return f"{len(names)} columns ({shown}{', ...' if len(names) > _NAMED else ''})"


def outside(oddities: tuple[Oddity, ...], rows: int) -> BoolArray:
    """Return which of so many rows get no score: (rows,)."""
    mask = np.zeros(rows, np.bool_)
    for odd in oddities:
        if odd.is_outside:
            mask[list(odd.rows)] = True
    return mask


def _of_levels(name: str, known: tuple[str, ...], column: pl.Series) -> Iterator[Oddity]:
    texts = column.to_list()
    empty = np.array([text is None for text in texts], np.bool_)
    strange = ~empty & np.array([text not in known for text in texts], np.bool_)
    if strange.any():
        what = f"with a level that no client had (known: {', '.join(known) or 'none'})"
        told = [repr(texts[place]) for place in np.flatnonzero(strange)[:_TOLD].tolist()]
        yield _oddity(name, "level", strange, True, what, told)
    if empty.any():
        yield _oddity(name, "empty", empty, False, "without a level, scored as unknown")


def _oddity(
    column: str,
    kind: str,
    mask: BoolArray,
    is_outside: bool,
    what: str,
    values: list[str] | None = None,
    hint: str = "",
) -> Oddity:
    places = np.flatnonzero(mask).tolist()
    shown = [str(place + 1) for place in places[:_TOLD]]
    more = ", ..." if len(places) > _TOLD else ""
    told = [f"{row} ({value})" for row, value in zip(shown, values, strict=True)] if values else shown
    rows = f"{len(places)} row{'' if len(places) == 1 else 's'}"
    ends = "no score for them" if len(places) > 1 else "no score for it"
    text = f"{column}: {rows} {what}: row {', '.join(told)}{more}{hint}{f'; {ends}' if is_outside else ''}"
    return Oddity(column, kind, tuple(places), is_outside, text)


def number(value: float) -> str:
    """Return a number as people read it: four digits, thousands apart.

    Examples
    --------
    >>> [number(value) for value in (13405.0, 68.1234, 0.0, -2.5, 0.000123)]
    ['13,400', '68.12', '0', '-2.5', '0.000123']
    """
    digits = 3 if abs(value) >= 10_000 else 4
    short = float(f"{value:.{digits}g}")
    return f"{short:,.0f}" if abs(short) >= 1000 else f"{short:g}"


def with_unit(value: float, unit: str) -> str:
    """Return a number with its unit behind it, where it has one."""
    return f"{number(value)} {unit}".rstrip()
