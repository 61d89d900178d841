"""Whether new rows still look like those that a model was made with: each column, and the score.

Two statistics a column: the mean of its standardised bins, and the mean of their squares, each against the reference.
Both are sums over bins, so that a histogram is all that is needed of the reference. Their standard error counts rows
that linger as fewer (`model.reference.memory`, the larger of that of the reference and that of the new rows), in the
reference as in the new rows. Under no drift each is about normal; the level is shared out over all columns and both
statistics (Bonferroni), so that a look at rows that have not drifted gives an alarm with a chance of at most `LEVEL`.

What a plant's rows differ by from those of all plants is in the memory of a reference of all plants: one plant is then
held to differences between plants, and a reference of its own tells more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.inference.domain import Domain, number
from werkbund.inference.reasons import plain_name
from werkbund.inference.scorer import ScoredRows, Scorer
from werkbund.model.reference import LARGEST_LOGIT, BinnedColumn, ModelReference, memory

LEVEL = 0.05
"""Chance of an alarm about rows that have not drifted, of one look."""

FEWEST_ROWS = 100
"""Rows that a look needs."""

SCORE = "the score"
_SMALLEST = 1e-9
_PLACES = 40  # where a drift may have begun


@dataclass(frozen=True)
class Moved:
    """Hold how one column differs from the reference.

    Parameters
    ----------
    column
        Its name, or `SCORE`.
    chance
        Of a difference at least as large in either statistic without drift, counted once for all columns looked at.
    mean, usual
        Of its readings, now and in the reference.
    spread, usual_spread
        Their standard deviations.
    since
        Number of the row, from 1, from which on the difference is clearest.
    is_alarm
        Whether the chance is below `LEVEL`.
    text
        In words.
    """

    column: str
    chance: float
    mean: float
    usual: float
    spread: float
    usual_spread: float
    since: int
    is_alarm: bool
    text: str


@dataclass(frozen=True)
class Look:
    """Hold what a look at new rows found.

    Parameters
    ----------
    rows
        Number of rows.
    moved
        Each column that was compared, and the score, the least likely first.
    advice
        What to do, in words.
    """

    rows: int
    moved: tuple[Moved, ...]
    advice: str

    @property
    def alarms(self) -> tuple[Moved, ...]:
        """What has drifted."""
        return tuple(each for each in self.moved if each.is_alarm)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "rows": self.rows,
            "drift": bool(self.alarms),
            "level": LEVEL,
            "columns": [asdict(each) for each in self.moved],
            "advice": self.advice,
        }


def look(scorer: Scorer, reference: ModelReference, frame: pl.DataFrame) -> Look:
    """Compare new rows, in the order in which they were taken, with the reference of a model.

    Raises
    ------
    DataError
        If there are too few of them, or a column is missing.
    """
    if frame.height < FEWEST_ROWS:
        raise DataError(f"a look needs at least {FEWEST_ROWS} rows, got {frame.height}; wait for more")
    domain, scored = scorer.domain, scorer.score(frame)
    values = scorer.preparation.raw(frame)
    pairs = [
        (name, reference.columns[name], values[:, place])
        for place, name in enumerate(scorer.preparation.raw_names)
        if name in reference.columns
    ]
    if reference.score is not None and reference.fingerprint == scorer.fingerprint:
        pairs.append((SCORE, reference.score, _logits(scored)))
    compared = [pair for pair in pairs if _is_comparable(*pair[1:])]
    moved = [_moved(domain, *pair, 2 * len(compared)) for pair in compared]
    ordered = tuple(sorted(moved, key=lambda each: each.chance))
    return Look(frame.height, ordered, _advice(ordered))


def _is_comparable(column: BinnedColumn, values: Float64Array) -> bool:
    return column.rows >= FEWEST_ROWS and column.spread > 0 and int(np.isfinite(values).sum()) >= FEWEST_ROWS


def _logits(scored: ScoredRows) -> Float64Array:
    with np.errstate(divide="ignore"):
        logits = np.log(scored.probability) - np.log1p(-scored.probability)
    return np.asarray(np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT))


def _moved(domain: Domain, name: str, column: BinnedColumn, values: Float64Array, tests: int) -> Moved:
    known = np.isfinite(values)
    scores = column.scores(values[known])
    squares = (np.square(scores) - 1.0) / (column.spread_of_squares or 1.0)
    about = ((scores, column.memory), (squares, column.memory_of_spread))
    statistics = [_statistic(standard, column.rows, lasting) for standard, lasting in about]
    chances = [min(1.0, tests * 2.0 * NormalDist().cdf(-abs(statistic))) for statistic in statistics]
    which = 0 if chances[0] < LEVEL else int(np.argmin(chances))
    since = int(np.flatnonzero(known)[_since(about[which][0])]) + 1
    mean, spread = float(values[known].mean()), float(values[known].std())
    told = (min(chances), mean, column.mean, spread, column.spread, since)
    return Moved(name, *told, told[0] < LEVEL, _text(domain, name, *told, is_spread=which == 1))


def _statistic(scores: Float64Array, reference_rows: int, lasting: float) -> float:
    """Return the mean of standardised scores by its standard error under no drift."""
    lasting = max(lasting, memory(scores))
    error = np.sqrt(min(1.0, lasting / len(scores)) + min(1.0, lasting / reference_rows))
    return float(scores.mean() / error)


def _since(scores: Float64Array) -> int:
    """Return from which place on the mean of all that follows is farthest from 0 for its number."""
    starts = np.unique(np.linspace(0, len(scores) * 0.95, _PLACES).astype(int))
    sums = np.cumsum(scores[::-1])[::-1]
    return int(starts[np.argmax(np.abs(sums[starts]) / np.sqrt(len(scores) - starts))])


def _text(
    domain: Domain,
    name: str,
    chance: float,
    mean: float,
    usual: float,
    spread: float,
    usual_spread: float,
    since: int,
    *,
    is_spread: bool,
) -> str:
    unit = domain.unit_of(name)
    plain = plain_name(name, unit)
    behind = f" {unit}".rstrip()
    if is_spread:
        moved = f"spreads by {number(spread)}{behind} (usual {number(usual_spread)})"
    else:
        moved = f"is {number(mean)}{behind} on average (usual {number(usual)} ± {number(usual_spread)})"
    return f"{plain} {moved}, most clearly since row {since}; chance without drift {_chance(chance)}"


def _chance(chance: float) -> str:
    return f"{chance:.2g}" if chance > _SMALLEST else f"below {_SMALLEST:g}"


def _advice(moved: Sequence[Moved]) -> str:
    """Return what to do."""
    alarms = [each.column for each in moved if each.is_alarm]
    inputs = ", ".join(column for column in alarms if column != SCORE)
    if not alarms:
        return "No drift found. Look again when there are as many new rows."
    if SCORE not in alarms:
        return f"{inputs} moved, the scores did not: check that sensor; retrain if the change is real and stays."
    if not inputs:
        return "The scores moved though no single column did: compare decisions with what happened, and retrain soon."
    return (
        f"The scores moved with {inputs}: check the sensor first. If the change is real, the threshold no longer costs "
        "what it did: retrain with rows from after the change."
    )
