"""Judge models and habits on the plants' own held-out rows: by these rows, or by what plants tell of them.

Where the rows are here, all contenders are judged on the same draws of them. Plants of a real federation tell figures
and no row; then the plants are the sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import stdtrit

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.evaluation.bootstrap import Resamples, percentile_interval, reach_of, units_of
from werkbund.evaluation.contest import FEDERATED, FIGURES, Contest, Mean, PlantLine
from werkbund.evaluation.costs import PER_ROWS, Costs
from werkbund.evaluation.intervals import Interval
from werkbund.evaluation.measures import RANGES

NUM_DRAWS = 1000
COVERS = (
    "Intervals of 95% stand for the chance of which machines were held out (bootstrap within each plant; a plant with "
    "few machines is drawn in runs of neighbouring rows). They do not stand for another training, plant or period."
)
COVERS_TOLD = (
    "Plants told their figures and no row, so intervals of 95% stand for the chance of which plants take part "
    "(Student's t over plants). Figures of plants that count scores in wide bins are rough."
)
_UNKNOWN = Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hold what is known of one plant's held-out rows.

    Parameters
    ----------
    name
        The plant's.
    labels
        (rows,), 0 or 1, in order of time.
    machines
        (rows,), each row's machine.
    numbers
        (rows,), the true number of each row where one is foretold; empty where none is.
    """

    name: str
    labels: FloatingArray
    machines: Int64Array
    numbers: FloatingArray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, eq=False)
class Showing:
    """Hold what one contender says of a plant's held-out rows.

    Parameters
    ----------
    alarms
        (rows,), which rows it calls a failure.
    scores
        (rows,), its ranking; None for a habit, which ranks nothing.
    numbers
        (rows,), what it foretells; None for one that foretells failures alone.
    """

    alarms: BoolArray
    scores: FloatingArray | None = None
    numbers: FloatingArray | None = None


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Hold one contender's figure: of each plant's rows, (plants,), and of each draw of these, (plants, draws).

    `units` says on how many of the units that are drawn each plant's figure rests: (plants,).
    """

    values: Float64Array
    draws: Float64Array
    units: Int64Array

    def minus(self, other: _Drawn) -> _Drawn:
        return _Drawn(self.values - other.values, self.draws - other.draws, self.units)

    def mean(self, weights: Float64Array) -> Interval:
        """Return the weighted mean over the plants that define the figure."""
        reach = reach_of(self.units[np.isfinite(self.values) & (weights > 0)])
        mean, drawn = _weighted(self.values, weights), _weighted(self.draws, weights)
        return percentile_interval(mean, drawn, self.known, reach=reach)

    @property
    def known(self) -> int:
        """Number of plants whose rows define it."""
        return int(np.isfinite(self.values).sum())

    def of_plant(self, place: int) -> Interval:
        """Return one plant's figure."""
        reach = reach_of(self.units[place : place + 1])
        return percentile_interval(float(self.values[place]), self.draws[place], 1, reach=reach)


def _weighted(values: Float64Array, weights: Float64Array) -> Any:
    """Return the weighted mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    weight = (weights if values.ndim == 1 else weights[:, None]) * known
    with np.errstate(invalid="ignore"):
        return (np.where(known, values, 0.0) * weight).sum(axis=0) / weight.sum(axis=0)


@dataclass(frozen=True, eq=False)
class _Plant:
    """Hold one plant's rows, and draws of these, the first of which is the rows themselves."""

    rows: HeldOut
    draws: Resamples

    @classmethod
    def of(cls, rows: HeldOut, rng: np.random.Generator) -> _Plant:
        drawn = Resamples.of(units_of(rows.machines), NUM_DRAWS, rng)
        return cls(rows, Resamples(drawn.units, np.insert(drawn.times, 0, 1.0, axis=0)))

    def figures(self, name: str, showing: Showing | None, costs: Costs) -> Float64Array:
        """Return a contender's figure of the rows, and of each draw: (1 + draws,)."""
        labels, unknown = self.rows.labels, np.full(len(self.draws.times), np.nan)
        if showing is None or not len(labels):
            return unknown
        if name == "cost":
            missed = costs.missed_failure * ((labels > 0) & ~showing.alarms)
            needless = costs.needless_inspection * ((labels <= 0) & showing.alarms)
            return PER_ROWS * self.draws.sums(missed + needless) / self.draws.rows
        if name == "rmse":
            return unknown if showing.numbers is None else self._errors(showing.numbers)
        return unknown if showing.scores is None else self.draws.average_precisions(showing.scores, labels)

    def evidence(self, name: str) -> int:
        """Return on how many units a figure rests: those with a failure, or all if it is an error or none failed."""
        return self._failing if self._failing and name != "rmse" else self.draws.times.shape[1]

    @cached_property
    def _failing(self) -> int:
        """Number of units with a failure."""
        return len(np.unique(self.draws.units[self.rows.labels > 0]))

    def _errors(self, foretold: FloatingArray) -> Float64Array:
        """Return the root of the mean squared error of the rows, and of each draw."""
        return np.sqrt(self.draws.sums((foretold - self.rows.numbers) ** 2) / self.draws.rows)


def hold_contest(
    plants: Sequence[HeldOut],
    showings: Mapping[str, Sequence[Showing | None]],
    costs: Costs,
    rngs: Iterable[np.random.Generator],
) -> Contest:
    """Judge all contenders.

    Parameters
    ----------
    plants
        Whose rows they are judged on.
    showings
        By contender, one a plant; None where a plant has no such contender. The federated model's is `federated`.
    costs
        How decisions are priced.
    rngs
        Draw the machines, one a plant.
    """
    drawn_by = [_Plant.of(rows, rng) for rows, rng in zip(plants, rngs, strict=True)]
    names = (*FIGURES, "rmse") if any(len(rows.numbers) for rows in plants) else FIGURES
    drawn = {who: {name: _drawn(drawn_by, name, shown, costs) for name in names} for who, shown in showings.items()}
    minus = {
        who: {name: drawn[FEDERATED][name].minus(figure) for name, figure in of.items()}
        for who, of in drawn.items()
        if who != FEDERATED
    }
    weights = np.array([len(rows.labels) for rows in plants], np.float64)
    lines = tuple(_line(place, rows, drawn, minus) for place, rows in enumerate(plants))
    return Contest(lines, _means(drawn, weights), _means(minus, weights), COVERS)


def _drawn(plants: Sequence[_Plant], name: str, showings: Sequence[Showing | None], costs: Costs) -> _Drawn:
    figures = [plant.figures(name, showing, costs) for plant, showing in zip(plants, showings, strict=True)]
    both = np.array(figures).reshape(len(plants), 1 + NUM_DRAWS)
    return _Drawn(both[:, 0], both[:, 1:], np.array([plant.evidence(name) for plant in plants], np.int64))


def _means(drawn: Mapping[str, Mapping[str, _Drawn]], weights: Float64Array) -> dict[str, dict[str, Mean]]:
    return {
        who: {
            name: Mean(figure.mean(weights), figure.mean(np.ones_like(weights)))
            for name, figure in of.items()
            if figure.known
        }
        for who, of in drawn.items()
    }


def _line(
    place: int,
    rows: HeldOut,
    drawn: Mapping[str, Mapping[str, _Drawn]],
    minus: Mapping[str, Mapping[str, _Drawn]],
) -> PlantLine:
    return PlantLine(
        rows.name,
        len(rows.labels),
        int((rows.labels > 0).sum()),
        len(np.unique(rows.machines)),
        {who: {name: float(figure.values[place]) for name, figure in of.items()} for who, of in drawn.items()},
        {who: {name: figure.of_plant(place) for name, figure in of.items()} for who, of in minus.items()},
    )


@dataclass(frozen=True)
class Summary:
    """Hold what one plant tells.

    Parameters
    ----------
    name, rows, failures
        The plant, its held-out rows, and the failures among them.
    figures
        By contender, such as `federated` and `local_mean`: `average_precision`, `cost`, and of a number `rmse`; NaN
        where not known.
    """

    name: str
    rows: int
    failures: int
    figures: Mapping[str, Mapping[str, float]]


def contest_of(summaries: Sequence[Summary], costs: Costs) -> Contest:
    """Return the contest of these plants, with what inspecting nothing and every row would cost them.

    Parameters
    ----------
    summaries
        Of plants that tell the federated model's figures.
    costs
        How decisions are priced.
    """
    lines = tuple(_line_told(summary, costs) for summary in summaries)
    contenders = list(dict.fromkeys(who for line in lines for who in line.figures))
    weights = np.array([line.rows for line in lines], np.float64)
    names = list(dict.fromkeys(name for line in lines for of in line.figures.values() for name in of))
    values = {
        who: {name: np.array([line.figures.get(who, {}).get(name, math.nan) for line in lines]) for name in names}
        for who in contenders
    }
    minus = {
        who: {name: values[FEDERATED][name] - of[name] for name in names}
        for who, of in values.items()
        if who != FEDERATED
    }
    differences = dict.fromkeys(names, (-math.inf, math.inf)) | {"average_precision": (-1.0, 1.0)}
    return Contest(lines, _means_told(values, weights, RANGES), _means_told(minus, weights, differences), COVERS_TOLD)


def _line_told(summary: Summary, costs: Costs) -> PlantLine:
    share = summary.failures / summary.rows if summary.rows else math.nan
    habits = {
        "nothing": {"cost": PER_ROWS * costs.missed_failure * share},
        "everything": {"cost": PER_ROWS * costs.needless_inspection * (1 - share)},
    }
    unknown = dict.fromkeys([*FIGURES, *summary.figures.get(FEDERATED, {})], math.nan)
    figures = {who: {**unknown, **of} for who, of in {**summary.figures, **habits}.items()}
    minus = {
        who: {name: Interval(figures[FEDERATED][name] - of[name], math.nan, math.nan, 1) for name in unknown}
        for who, of in figures.items()
        if who != FEDERATED
    }
    return PlantLine(summary.name, summary.rows, summary.failures, 0, figures, minus)


def _means_told(
    values: Mapping[str, Mapping[str, Float64Array]], weights: Float64Array, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, dict[str, Mean]]:
    equal = np.ones_like(weights)
    return {
        who: {
            name: Mean(*(weighted_interval(of, by).within(*ranges[name]) for by in (weights, equal)))
            for name, of in by_name.items()
            if np.isfinite(of).any()
        }
        for who, by_name in values.items()
    }


def weighted_interval(values: Float64Array, weights: Float64Array, level: float = 0.95) -> Interval:
    """Return a weighted mean over plants with its interval by Student's t; equal weights give `mean_interval`.

    Parameters
    ----------
    values
        (plants,), NaN where a plant does not define it.
    weights
        (plants,), above 0.

    References
    ----------
    Cochran, "Sampling Techniques", 1977, section 6.4: the variance of a ratio of means, linearised.
    """
    known = np.isfinite(values) & (weights > 0)
    n, values, weights = int(known.sum()), values[known], weights[known]
    if n == 0:
        return _UNKNOWN
    mean = float((values * weights).sum() / weights.sum())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    spread = math.sqrt(n / (n - 1) * float((weights**2 * (values - mean) ** 2).sum())) / float(weights.sum())
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * spread
    return Interval(mean, mean - half, mean + half, n)
