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
    equal_cost, equal_cohort
        Average precision minus uniform's, with as many clients asked and trained, and with the same cohort.
    figures, savings
        By name; savings are multiples of what uniform takes to the target.
    """

    selector: str
    setting: str
    verdict: str
    reached: int
    runs: int
    equal_cost: Interval
    equal_cohort: Interval
    figures: Mapping[str, Interval]
    savings: Mapping[str, Interval]
    errors: tuple[str, ...]

    @classmethod
    def parse(cls, written: Json) -> BenchLine:
        """Read one entry of `lines` in bench.json."""
        return cls(
            str(written["selector"]),
            str(written["setting"]),
            str(written["verdict"]),
            int(written["reached"]),
            int(written["runs"]),
            _interval(written["equal_cost"]),
            _interval(written["equal_cohort"]),
            {name: _interval(figure) for name, figure in written["figures"].items()},
            {name: _interval(figure) for name, figure in written["savings"].items()},
            tuple(str(error) for error in written.get("errors") or ()),
        )


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
        """The summing lines of all methods but uniform, the best at equal cost first."""
        return best_first(line for line in self.of(self.overall) if line.selector != UNIFORM)


def best_first(lines: Iterable[BenchLine]) -> tuple[BenchLine, ...]:
    """Return lines by average precision at equal cost, those that cannot be judged last."""

    def loss(line: BenchLine) -> float:
        return -line.equal_cost.mean if math.isfinite(line.equal_cost.mean) else math.inf

    return tuple(sorted(lines, key=loss))


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


def _interval(written: Json) -> Interval:
    """Read an interval as `Interval.to_json` writes it."""
    mean, low, high = (number(written.get(key), key) for key in ("mean", "low", "high"))
    return Interval(mean, low, high, int(written.get("n") or 0))
