"""Whether what clients counted can be true: it fits itself, the plausible ranges, and what the other clients counted.

One absurd number in a sum of all is in the common scale for ever, and with it in every later round.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Float64Array
from werkbund.core.kinds import MOST_ROWS
from werkbund.data.schema import Schema
from werkbund.data.statistics import feature_names
from werkbund.data.units import MISTAKEN, standard_unit

FAR = 10_000.0
"""A figure so many times as far from the middle of all clients as the middle itself is large is no reading."""

FEWEST = 3
"""Clients of which a middle says what is usual."""

REMEDY = (
    "name what stands for no reading under data.missing, as a mark ([1e30]) or by a plausible range "
    '(["< -40", "> 200"]), or under missing of the column in the plant\'s client.toml; or leave the plant out '
    "(data.without)"
)
"""What can be done about an absurd figure."""

LARGEST_SUM, LARGEST_SQUARES = 1e140, 1e300
"""Largest sum of a column, and of its squared deviations: with as many plants as there may be all stays finite."""

_SLACK = 1e-6


def rows_told(arrays: Arrays) -> Float64Array:
    """Return how many rows each client's survey is over, (clients,); NaN where it does not say.

    Parameters
    ----------
    arrays
        `labels` (clients, 2), `count` and `missing` (clients, features). A figure over few rows may be withheld as 0.
    """
    by_column = np.asarray(arrays["count"], np.float64) + arrays["missing"]
    told = np.maximum(arrays["labels"].sum(axis=-1, dtype=np.float64), by_column.max(axis=-1, initial=0.0))
    return np.where(told > 0, told, np.nan)


def contradiction(arrays: Arrays, schema: Schema) -> str | None:
    """Return what is wrong with some clients' surveys by themselves, or None.

    Parameters
    ----------
    arrays
        As for `rows_told`, and `sum` (clients, features): finite numbers, none of the counts below 0.
    schema
        What the columns mean.
    """
    counts = {name: np.asarray(arrays[name], np.float64) for name in ("labels", "count", "missing")}
    odd = [name for name, array in counts.items() if (np.rint(array) != array).any()]
    if odd:
        return f"its {', '.join(odd)} must be whole numbers"
    rows = np.nan_to_num(rows_told(arrays))
    if (rows > MOST_ROWS).any():
        return f"its survey is over {rows.max():g} rows, more than the {MOST_ROWS:g} that any plant has"
    by_label, by_column = counts["labels"].sum(axis=-1), counts["count"] + counts["missing"]
    if ((by_label != 0) & (by_label != rows)).any() or ((by_column != 0) & (by_column != rows[:, None])).any():
        return "its labels, count and missing are not over the same rows"
    if ((counts["count"] == 0) & (arrays["sum"] != 0)).any():
        return "its sum must be 0 where it counted no value"
    return _out_of_range(_means(arrays), schema)


def plausible_ranges(schema: Schema) -> tuple[Float64Array, Float64Array]:
    """Return the lower and upper end of each number feature's plausible range, infinite where none is declared."""
    columns = {column.name: column for column in schema.features}
    ends = [
        (column.low, column.high) if (column := columns.get(name)) else (None, None) for name in feature_names(schema)
    ]
    low = np.array([-np.inf if low is None else low for low, _ in ends])
    high = np.array([np.inf if high is None else high for _, high in ends])
    return low, high


def too_large(sums: AnyArray, what: str, most: float, schema: Schema) -> str | None:
    """Return which column's sum, (clients, features), is beyond `most` somewhere, and what to do; None if none is."""
    for name, own in zip(feature_names(schema), np.abs(sums.astype(np.float64)).T, strict=True):
        if (own > most).any():
            return f"the {what} of its {name}, {own.max():g}, is too large for any reading; {REMEDY}"
    return None


def _out_of_range(means: Float64Array, schema: Schema) -> str | None:
    """Return which column's mean is outside the plausible range; `means` (clients, features), NaN where unknown."""
    units = {column.name: column.unit for column in schema.features}
    for name, own, low, high in zip(feature_names(schema), means.T, *plausible_ranges(schema), strict=True):
        outside = own[(own < low) | (own > high)]
        if len(outside):
            return (
                f"the mean of its {name}, {outside[0]:g}, is outside the plausible range {low:g} to {high:g}"
                f"{_other_unit(units.get(name, ''), float(outside[0]), low, high)}; {REMEDY}"
            )
    return None


def _other_unit(unit: str, mean: float, low: float, high: float) -> str:
    """Return that a mean looks like one in another unit, and what the plant writes then; nothing if it does not."""
    likely = (each for each in MISTAKEN.get(standard_unit(unit), ()) if low <= each.apply(mean) <= high)
    return next((f' and looks like {each.other} (unit = "{each.other}" in its client.toml)' for each in likely), "")


def unlike_the_others(arrays: Arrays, schema: Schema) -> dict[int, str]:
    """Return at which places clients' surveys are far from all others', each with why.

    Parameters
    ----------
    arrays
        As for `contradiction`, of all clients that answered.
    schema
        What the columns mean.
    """
    return _far(_means(arrays), "mean", schema, np.zeros(len(feature_names(schema))))


def odd_squares(squares: Float64Array, survey: Arrays, mean: Float64Array, schema: Schema) -> dict[int, str]:
    """Return at which places clients' squared deviations cannot be, or are far from all others', each with why.

    Parameters
    ----------
    squares
        (clients, features), of the same clients as `survey`.
    survey
        What they counted before.
    mean
        (features,), the common mean.
    schema
        What the columns mean.
    """
    count, own = np.asarray(survey["count"], np.float64), _means(survey)
    with np.errstate(over="ignore", invalid="ignore"):
        least = np.where(count > 0, count * np.square(own - mean), 0.0)
        slack = _SLACK * (least + count * np.square(_SLACK * mean)) + np.finfo(np.float64).tiny
        root = np.sqrt(np.where(count > 0, squares / np.maximum(count, 1), np.nan))
    found = _far(root, "spread", schema, np.abs(mean))
    names = np.array(feature_names(schema))
    for place, column in np.argwhere((squares > 0) & (squares < least - slack)).tolist():
        found.setdefault(place, f"its {names[column]} has a smaller spread than its own mean allows")
    for place, column in np.argwhere((squares > 0) & (count == 0)).tolist():
        found.setdefault(place, f"its {names[column]} has a spread, and no value was counted")
    return found


def _means(arrays: Arrays) -> Float64Array:
    count = np.asarray(arrays["count"], np.float64)
    return np.where(count > 0, arrays["sum"] / np.maximum(count, 1), np.nan)


def _far(figures: Float64Array, what: str, schema: Schema, least: Float64Array) -> dict[int, str]:
    """Return at which places a figure, (clients, features), is far from the middle of those that are known."""
    found: dict[int, str] = {}
    for column, (name, own) in enumerate(zip(feature_names(schema), figures.T, strict=True)):
        known = own[np.isfinite(own)]
        if len(known) < FEWEST:
            continue
        middle = float(np.median(known))
        unit = max(abs(middle), float(np.median(np.abs(known - middle))), float(least[column]), 1.0)
        for place in _beyond(own, middle, FAR * unit).nonzero()[0].tolist():
            why = f"the {what} of its {name}, {own[place]:g}, is far from the other plants', {middle:g}; {REMEDY}"
            found.setdefault(place, why)
    return found


def _beyond(own: Float64Array, middle: float, most: float) -> BoolArray:
    with np.errstate(over="ignore", invalid="ignore"):
        beyond: BoolArray = np.abs(own - middle) > most
    return beyond
