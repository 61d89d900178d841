"""What a bench's folder holds, as typed values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.core import DataError
from werkbund.evaluation import Interval
from werkbund.report.values import Json, number

ALL, UNIFORM = "all", "uniform"


@dataclass(frozen=True)
class BenchLine:
    """Hold what one selector did in one setting, or over all of them (`all`).

    Parameters
    ----------
    momentum
        Of the server, chosen for the method; NaN where there was nothing to choose.
    equal, verdicts
        By currency: average precision minus what uniform reaches for the same cost, and what that says.
    equal_cohort
        Average precision minus uniform's with the same cohort, whatever each cost.
    cost
        By currency: multiples of what uniform takes with the same cohort.
    figures, savings
        By name; savings are multiples of what uniform takes to the target.
    """

    selector: str
    setting: str
    momentum: float
    reached: int
    runs: int
    equal: Mapping[str, Interval]
    verdicts: Mapping[str, str]
    equal_cohort: Interval
    cost: Mapping[str, Interval]
    figures: Mapping[str, Interval]
    savings: Mapping[str, Interval]
    errors: tuple[str, ...]

    @classmethod
    def parse(cls, written: Json) -> BenchLine:
        """Read one entry of `lines` in bench.json."""
        return cls(
            str(written["selector"]),
            str(written["setting"]),
            number(written["momentum"], "momentum"),
            int(written["reached"]),
            int(written["runs"]),
            _intervals(written["equal"]),
            {name: str(verdict) for name, verdict in written["verdicts"].items()},
            interval(written["equal_cohort"]),
            _intervals(written["cost"]),
            _intervals(written["figures"]),
            _intervals(written["savings"]),
            tuple(str(error) for error in written.get("errors") or ()),
        )

    @property
    def standing(self) -> tuple[int, float]:
        """In how many currencies it beats uniform less those in which it does worse; then its mean difference."""
        points = {"better": 1, "worse": -1}
        known = [span.mean for span in self.equal.values() if math.isfinite(span.mean)]
        mean = sum(known) / len(known) if known else -math.inf
        return sum(points.get(verdict, 0) for verdict in self.verdicts.values()), mean


@dataclass(frozen=True)
class BenchFolder:
    """Hold what a bench wrote for people.

    Parameters
    ----------
    about
        bench.json as it stands.
    lines
        One a selector and setting.
    courses
        By setting and selector, the mean score after each round.
    """

    path: Path
    about: Mapping[str, Any]
    lines: tuple[BenchLine, ...]
    courses: Mapping[str, Mapping[str, tuple[float, ...]]]

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings, without `all`."""
        return tuple(str(name) for name in self.about["settings"])

    @property
    def currencies(self) -> tuple[str, ...]:
        """Names of the currencies in which cost is equal."""
        return tuple(str(name) for name in self.about["currencies"])

    @property
    def overall(self) -> str:
        """The setting that sums up: `all`, or the only one."""
        return ALL if len(self.settings) > 1 else self.settings[0]

    def of(self, setting: str) -> tuple[BenchLine, ...]:
        """Return the lines of a setting."""
        return tuple(line for line in self.lines if line.setting == setting)

    def line(self, selector: str, setting: str) -> BenchLine | None:
        """Return the line of a selector in a setting; None if it did not run there."""
        return next((line for line in self.of(setting) if line.selector == selector), None)

    @property
    def ranked(self) -> tuple[BenchLine, ...]:
        """The summing lines of all methods but uniform, the best first."""
        return best_first(line for line in self.of(self.overall) if line.selector != UNIFORM)


def best_first(lines: Iterable[BenchLine]) -> tuple[BenchLine, ...]:
    """Return lines by their standing, those that cannot be judged last."""
    return tuple(sorted(lines, key=lambda line: line.standing, reverse=True))


def read_bench(path: Path) -> BenchFolder:
    """Read a bench's folder.

    Raises
    ------
    DataError
        If it is none, or cannot be read.
    """
    file = path / "bench.json"
    if not file.is_file():
        raise DataError(f"{path} must be the folder of a finished bench with bench.json; run the bench again to finish")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        lines = tuple(BenchLine.parse(line) for line in about["lines"])
        courses = {
            setting: {name: tuple(number(value, "courses") for value in scores) for name, scores in by_selector.items()}
            for setting, by_selector in about["courses"].items()
        }
        return BenchFolder(path, about, lines, courses)
    except Exception as error:  # what is wrong shows wherever it is first looked at
        raise DataError(f"{file} was not written by this version, or was edited: {error!r}; run it again") from error


def _intervals(written: Json) -> dict[str, Interval]:
    return {name: interval(span) for name, span in written.items()}


def interval(written: Json) -> Interval:
    """Read an interval as `Interval.to_json` writes it."""
    mean, low, high = (number(written.get(key), key) for key in ("mean", "low", "high"))
    return Interval(mean, low, high, int(written.get("n") or 0))
