"""What a plant allows: when it takes part, and which figures are over too few rows to leave it.

The server cannot override any of this. The functions that withhold take an answer's plain arrays and return what may
leave; they know nothing about messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.kinds import Kind
from werkbund.plant.bins import in_wide_bins
from werkbund.plant.leaving import USUAL
from werkbund.plant.settings import SIGNAL_NAMES, PlantSettings, PolicySection, minutes_of

BESIDE_ROUNDS = 20
"""Where rounds a day are limited, so many more questions of each other kind are answered: what begins and ends runs."""

Levels = Mapping[str, Mapping[str, int]]
"""Category column -> level -> rows that have it."""


@dataclass(frozen=True)
class Policy:
    """Hold what a plant allows; each entry is explained in `settings.PolicySection`.

    Parameters
    ----------
    signals
        Those that may leave.
    minimum_rows, minimum_failures, rounds_a_day, hours, pause, minimum_cell_rows
        As in the plant's file.
    known
        Names of all signals that it could allow.
    bundles
        SHA-256 of the app bundles that the plant approves beside its own version's.
    minimum_bin_rows, answers_a_day, answers_a_version, tasks, draws, epsilon, delta, unit
        As in the plant's file.
    """

    signals: frozenset[str] = frozenset(USUAL)
    minimum_rows: int = 20
    minimum_failures: int = 0
    rounds_a_day: int = 0
    hours: str = ""
    pause: bool = False
    bundles: frozenset[str] = frozenset()
    minimum_cell_rows: int = 0
    known: tuple[str, ...] = SIGNAL_NAMES
    minimum_bin_rows: int = 20
    answers_a_day: int = 5_000
    answers_a_version: int = 20_000
    tasks: frozenset[str] | None = None
    draws: str = "own"
    epsilon: float | None = None
    delta: float = 1e-5
    unit: str = "row"

    @classmethod
    def of(cls, settings: PlantSettings, known: Sequence[str] = SIGNAL_NAMES) -> Policy:
        """Return the policy in a plant's file; `known` are the names of the signals of what the plant does."""
        section = settings.policy
        values = {name: getattr(section, name) for name in PolicySection.model_fields}
        values["minimum_bin_rows"] = section.minimum_bin_rows or section.minimum_rows
        named = {name: values[name] for name in ("signals", "bundles", "tasks")}
        sets = {name: None if given is None else frozenset(given) for name, given in named.items()}
        return cls(**{**values, **sets}, known=tuple(known))

    def refusal(
        self, kind: Kind | None, now: datetime, counters: Mapping[str, int], under_way: bool = False
    ) -> str | None:
        """Return why the plant does not do a task now, or anything at all if no kind is given; None if it does.

        Parameters
        ----------
        kind
            Of the task.
        now
            The plant's local time.
        counters
            Rounds that it trained in, by local date in ISO 8601; see `PlantFolder.counters`.
        under_way
            Whether the task is of a round that is counted there already.
        """
        if self.pause:
            return "policy.pause is set: this plant takes no part until it is lifted"
        if kind is not None and self.tasks is not None and kind.name not in self.tasks:
            return f"policy.tasks does not hold {kind.name!r}: this plant does no such task"
        if not self._open(now):
            return f"policy.hours are {self.hours} in local time, and it is {now:%H:%M} here"
        trained = counters.get(now.date().isoformat(), 0)
        if kind and kind.trains and not under_way and self.rounds_a_day and trained >= self.rounds_a_day:
            return f"policy.rounds_a_day is {self.rounds_a_day}, and {trained} were trained here today"
        return None

    def refusal_of_budget(self, kind: Kind, today: Mapping[str, int], about: Mapping[str, int]) -> str | None:
        """Return which budget of answers is used up; None if the plant may answer one more.

        Parameters
        ----------
        kind
            Of the task.
        today, about
            Questions answered today, and about the rows as they are now, by kind; see `plant.budget`.
        """
        if sum(today.values()) >= self.answers_a_day:
            return f"policy.answers_a_day is {self.answers_a_day}, and as many questions were answered here today"
        if sum(about.values()) >= self.answers_a_version:
            return (
                f"policy.answers_a_version is {self.answers_a_version}, and as many questions were answered about "
                "these rows; new rows begin a new budget"
            )
        number, most = today.get(kind.name, 0), self.rounds_a_day + BESIDE_ROUNDS
        if self.rounds_a_day and not kind.trains and number >= most:
            return (
                f"policy.rounds_a_day is {self.rounds_a_day}, so that a day has {most} questions of each other kind, "
                f"and {number} of the kind {kind} were answered here today"
            )
        return None

    def refusal_of_signal(self, kind: Kind, failures: int) -> str | None:
        """Return why the plant never does a kind of task under this policy; None if it does.

        Parameters
        ----------
        kind
            Of the task.
        failures
            Among its training rows.
        """
        if kind.signal is None:
            return None
        if kind.signal.name not in self.signals:
            return (
                f'policy.signals does not hold "{kind.signal.name}": this does not leave the plant ({kind.signal.what})'
            )
        if failures < self.minimum_failures:
            return (
                f"policy.minimum_failures is {self.minimum_failures}, and there are {failures} failures among the "
                f"training rows here; an answer to a {kind} task would tell of each"
            )
        return None

    def for_server(self) -> dict[str, Any]:
        """Return what the server needs to know to plan with this plant, as plain values."""
        return {
            "refused": [signal for signal in self.known if signal not in self.signals],
            "minimum_rows": self.minimum_rows,
            "minimum_failures": self.minimum_failures,
            "minimum_cell_rows": self.minimum_cell_rows,
            "minimum_bin_rows": self.minimum_bin_rows,
            "rounds_a_day": self.rounds_a_day,
            "answers_a_day": self.answers_a_day,
            "hours": self.hours,
        }

    def _open(self, now: datetime) -> bool:
        minutes = minutes_of(self.hours)
        if minutes is None:
            return True
        (begin, end), time = minutes, 60 * now.hour + now.minute
        return begin <= time < end if begin < end else time >= begin or time < end  # the second over midnight


def withhold_survey(
    arrays: Arrays, levels: Levels, minimum_rows: int, minimum_failures: int = 0
) -> tuple[dict[str, AnyArray], dict[str, tuple[str, ...]]]:
    """Withhold what a survey says about too few rows.

    Parameters
    ----------
    arrays
        `labels` (..., 2), `count`, `missing` and `sum` (..., features), as `data.statistics.survey_each` gives them.
    levels
        The levels of each category column, each with its rows.
    minimum_rows
        A column with fewer values says nothing but that all its rows are missing; a level with fewer rows is dropped;
        a table with fewer rows says nothing at all.
    minimum_failures
        With fewer failures, or fewer rows without, neither of the two numbers is told; 0: always told.

    Returns
    -------
    arrays, vocabulary
        In the same layout; the levels that are left, sorted.
    """
    labels, count, missing = arrays["labels"], arrays["count"], arrays["missing"]
    are_told = labels.sum(axis=-1, keepdims=True) >= minimum_rows  # (..., 1)
    enough = (count >= minimum_rows) & are_told
    split = are_told & (labels.min(axis=-1, keepdims=True) >= minimum_failures)
    kept = {
        "labels": np.where(split, labels, 0),
        "count": np.where(enough, count, 0),
        "missing": np.where(are_told, np.where(enough, missing, count + missing), 0),
        "sum": np.where(enough, arrays["sum"], 0.0),
    }
    all_told = bool(are_told.all())
    vocabulary = {
        name: tuple(sorted(level for level, rows in counted.items() if all_told and rows >= minimum_rows))
        for name, counted in levels.items()
    }
    return kept, vocabulary


def withhold_squares(squares: Float64Array, count: Int64Array, minimum_rows: int) -> Float64Array:
    """Withhold the squared deviations of columns with too few values.

    Parameters
    ----------
    squares
        (..., features), as `data.statistics.squares_each` gives them.
    count
        (..., features), values present, before or after the survey was cut down.
    minimum_rows
        A column with fewer values sends 0.
    """
    return np.where(count >= minimum_rows, squares, 0.0)


def withhold_counts(
    counts: Arrays,
    minimum_rows: int,
    minimum_failures: int,
    minimum_bin_rows: int = 1,
    edges: Float32Array = STANDARD_EDGES,
) -> dict[str, AnyArray]:
    """Withhold what evaluation counts say about too few rows.

    Parameters
    ----------
    counts
        Named `split.name`, as `engine.LocalWork` answers them, with a row a client or without that axis; other names
        pass through.
    minimum_rows
        A split with fewer rows is left out altogether.
    minimum_failures
        So is one with fewer failures; a failure mode with fewer is counted as if it had none. 0: never.
    minimum_bin_rows
        Bins of fewer rows are put together, see `bins.in_wide_bins`. 1: each stays as it is.
    edges
        The logits between bins.
    """
    kept: dict[str, AnyArray] = {}
    splits: dict[str, dict[str, AnyArray]] = {}
    for name, array in counts.items():
        split, dot, part = name.partition(".")
        (splits.setdefault(split, {}) if dot else kept)[part or name] = array
    for split, own in splits.items():
        if _enough(own.get("histogram"), minimum_rows, minimum_failures):
            told = in_wide_bins(own, minimum_bin_rows, edges)
            kept |= {f"{split}.{part}": array for part, array in told.items()}
            if "modes" in told:
                kept[f"{split}.modes"] = _with_enough_failures(told["modes"], minimum_failures)
    return kept


def _enough(histogram: AnyArray | None, minimum_rows: int, minimum_failures: int) -> bool:
    """Say whether a split has rows and failures enough, at each client; without a histogram (..., 2, bins) never."""
    if histogram is None:
        return False
    by_class = histogram.sum(axis=-1)
    return bool((by_class.sum(axis=-1) >= minimum_rows).all() and (by_class[..., 1] >= minimum_failures).all())


def _with_enough_failures(modes: AnyArray, minimum_failures: int) -> AnyArray:
    """Return the counts (..., modes, bins) without those of rare modes."""
    failures = modes.sum(axis=-1, keepdims=True)
    return np.where(failures >= minimum_failures, modes, 0)
