"""Models and habits side by side, each plant on its own held-out rows, every figure and difference with its interval.

A plant asks what a model does on its machines, not on those of others. A mean over plants is weighted by their rows;
beside it stands the plain mean over plants, where a large one counts as much as a small one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from werkbund.core.arrays import plain
from werkbund.evaluation.clients import known_mean
from werkbund.evaluation.intervals import Interval

FEDERATED = "federated"
GLOBAL = "global"
"""The contender that is the common model, where the federation's is each plant's own."""
FIGURES = ("average_precision", "cost")
"""The figures of each contest; cost is per 1000 rows."""
MEASURES = {"rmse": -1, "average_precision": 1}
"""What decides, the first of these that the federated model has: 1 if more is better, -1 if less is."""


@dataclass(frozen=True)
class PlantLine:
    """Hold what the contest says of one plant.

    Parameters
    ----------
    name, rows, failures, machines
        The plant, and what its figures rest on.
    figures
        By contender: average precision and cost; NaN where the rows do not define one.
    minus
        By rival and figure: the federated model's figure minus the rival's.
    """

    name: str
    rows: int
    failures: int
    machines: int
    figures: Mapping[str, Mapping[str, float]]
    minus: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class Mean:
    """Hold a mean over plants, weighted by their rows and plain."""

    by_rows: Interval
    by_plants: Interval


@dataclass(frozen=True)
class Contest:
    """Hold all contenders on the plants' own held-out rows.

    Parameters
    ----------
    plants
        One a plant.
    figures
        By contender and figure: the mean over plants that define it.
    minus
        By rival and figure: the mean over plants of the federated model's figure minus the rival's.
    covers
        What the intervals stand for, in words; empty if there are none.
    """

    plants: tuple[PlantLine, ...]
    figures: Mapping[str, Mapping[str, Mean]]
    minus: Mapping[str, Mapping[str, Mean]]
    covers: str = ""

    @property
    def measure(self) -> str:
        """What decides: the error of a number where one is foretold, else how failures are ranked."""
        own = self.figures.get(FEDERATED, {})
        return next((name for name in MEASURES if name in own), "average_precision")

    def ahead(self, difference: Interval) -> Interval:
        """Return a difference of the measure so turned that the federated model is better above 0."""
        return difference if MEASURES[self.measure] > 0 else difference.turned()

    def evidence(self, line: PlantLine) -> int:
        """Return on how many rows a plant's measure rests: all of them, or where failures are ranked those of these."""
        return line.rows if self.measure == "rmse" else line.failures

    @property
    def failures(self) -> int:
        """Number of failures that it rests on."""
        return sum(line.failures for line in self.plants)

    @property
    def rows(self) -> int:
        """Number of rows that it rests on."""
        return sum(line.rows for line in self.plants)

    def to_json(self) -> dict[str, Any]:
        """Return values that JSON holds, with None for NaN."""
        written: dict[str, Any] = plain(asdict(self))
        return {**written, "failures": self.failures, "rows": self.rows}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Contest:
        """Return what `to_json` described."""
        lines = tuple(_line(line) for line in written["plants"])
        return cls(lines, _means(written["figures"]), _means(written["minus"]), str(written["covers"]))


def _number(written: float | None) -> float:
    return math.nan if written is None else float(written)


def _interval(written: Mapping[str, Any]) -> Interval:
    mean, low, high = (_number(written[name]) for name in ("mean", "low", "high"))
    return Interval(mean, low, high, int(written["n"]))


def _line(written: Mapping[str, Any]) -> PlantLine:
    rows, failures, machines = (int(written[name]) for name in ("rows", "failures", "machines"))
    figures = {who: {name: _number(value) for name, value in of.items()} for who, of in written["figures"].items()}
    minus = {who: {name: _interval(value) for name, value in of.items()} for who, of in written["minus"].items()}
    return PlantLine(str(written["name"]), rows, failures, machines, figures, minus)


def _means(written: Mapping[str, Any]) -> dict[str, dict[str, Mean]]:
    return {
        who: {name: Mean(*(_interval(mean[field.name]) for field in fields(Mean))) for name, mean in of.items()}
        for who, of in written.items()
    }


def mean_contest(contests: Sequence[Contest]) -> Contest:
    """Return the mean of contests of several seeds on one table, and of the ends of their intervals.

    The seeds draw from the same rows, so that more of them make no interval of the mean narrower: each end is the mean
    of theirs, as if the runs went wrong together. A plant's line is that of the runs that have it.
    """
    lines: dict[str, list[PlantLine]] = {}
    for contest in contests:
        for line in contest.plants:
            lines.setdefault(line.name, []).append(line)
    covers = f"Each is the mean over {len(contests)} seeds, which are divisions of one table. {contests[0].covers}"
    figures, minus = (_mean_of_means([getattr(c, name) for c in contests]) for name in ("figures", "minus"))
    return Contest(tuple(map(_mean_line, lines.values())), figures, minus, covers)


def _mean_line(lines: Sequence[PlantLine]) -> PlantLine:
    rows, failures, machines = (
        round(known_mean([getattr(line, name) for line in lines])) for name in ("rows", "failures", "machines")
    )
    figures = {
        who: {name: known_mean([line.figures[who][name] for line in lines]) for name in of}
        for who, of in lines[0].figures.items()
    }
    minus = {
        who: {name: _mean_interval([line.minus[who][name] for line in lines]) for name in of}
        for who, of in lines[0].minus.items()
    }
    return PlantLine(lines[0].name, rows, failures, machines, figures, minus)


def _mean_of_means(all_means: Sequence[Mapping[str, Mapping[str, Mean]]]) -> dict[str, dict[str, Mean]]:
    return {
        who: {name: _mean_mean([means[who][name] for means in all_means if name in means.get(who, {})]) for name in of}
        for who, of in all_means[0].items()
    }


def _mean_mean(means: Sequence[Mean]) -> Mean:
    return Mean(*(_mean_interval([getattr(mean, field.name) for mean in means]) for field in fields(Mean)))


def _mean_interval(intervals: Sequence[Interval]) -> Interval:
    mean, low, high = (
        known_mean([getattr(interval, name) for interval in intervals]) for name in ("mean", "low", "high")
    )
    return Interval(mean, low, high, max(interval.n for interval in intervals))
