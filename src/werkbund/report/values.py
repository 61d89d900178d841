"""The parts of a run's folder as typed values.

Everything here is parsed once from JSON and then only read. A number that was not written, or that has no meaning
(the average precision of rows without a failure), is NaN; a list that was not written is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkbund.core import DataError
from werkbund.core.edges import STANDARD_EDGES
from werkbund.evaluation import POSSIBLE_ERROR, Bounds
from werkbund.report.text import number_text

Json = Mapping[str, Any]


def number(value: object, key: str) -> float:
    """Return a JSON number as a float, and NaN for null.

    Raises
    ------
    DataError
        If the value is neither.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{key} must be a number or null, got {value!r}; this run folder was edited or damaged")
    return float(value)


@dataclass(frozen=True)
class Scores:
    """Hold the metrics of one model on one set of rows; a metric that is not there reads as NaN.

    Parameters
    ----------
    values
        By metric: average_precision, roc_auc, f1, precision, recall, cost (per 1000 rows), rows, positives, ...
    recall_by_mode
        Share of the failures of each mode that are found, 0..1.
    """

    values: Mapping[str, float]
    recall_by_mode: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        return self.values.get(metric, math.nan)

    def known(self, metric: str) -> bool:
        """Say whether the metric has a finite value."""
        return math.isfinite(self[metric])

    def text(self, metric: str, digits: int = 3) -> str:
        """Return a metric as people read it, with what bins of scores allow it to be where that matters."""
        shown = number_text(self[metric], digits)
        if not self.in_doubt(metric):
            return shown
        low, high = (number_text(self[f"{metric}_{side}"], digits) for side in ("low", "high"))
        return f"{shown}, bins allow {low} to {high}"

    def in_doubt(self, metric: str) -> bool:
        """Say whether bins of scores allow a metric to be off by more than `POSSIBLE_ERROR`."""
        return Bounds(self[f"{metric}_low"], self[f"{metric}_high"]).error(self[metric]) > POSSIBLE_ERROR

    @classmethod
    def parse(cls, written: Json) -> Scores:
        """Read every entry that is a number; other entries belong to somebody else."""
        numeric = {
            k: v for k, v in written.items() if v is None or (isinstance(v, int | float) and not isinstance(v, bool))
        }
        modes = written.get("recall_by_mode") or {}
        return cls(
            {k: number(v, k) for k, v in numeric.items()},
            {str(k): number(v, f"recall_by_mode.{k}") for k, v in modes.items()},
        )


@dataclass(frozen=True)
class RoundLine:
    """Hold one line of rounds.jsonl; `scores` (by split) belong to the weights after round `scored`.

    Parameters
    ----------
    failures
        (client, reason) pairs; the client as a name or a number in digits.
    outlying
        (client, length of its update) pairs of those that were far longer than the middle one, `usual_norm`.
    refused
        Why the updates did not become the next weights; empty where they did.
    stale
        (client, rounds) pairs of those whose updates came so many rounds late and count.
    sum_trips
        Round trips that the round's secure sums took; 0 without any.
    """

    round: int
    scored: int
    cohort: tuple[int, ...]
    failures: tuple[tuple[str, str], ...]
    loss: float
    update_norm: float
    bytes_down: float
    bytes_up: float
    seconds: float
    scores: Mapping[str, Scores]
    simulated_seconds: float = 0.0
    joules: float = 0.0
    outlying: tuple[tuple[str, float], ...] = ()
    usual_norm: float = math.nan
    refused: str = ""
    stale: tuple[tuple[str, int], ...] = ()
    sum_trips: int = 0

    @classmethod
    def parse(cls, written: Json) -> RoundLine:
        """Read one line of rounds.jsonl, and check its fields."""
        failures = written.get("failures") or ()
        metrics = written.get("metrics") or {}
        return cls(
            round=int(written["round"]),
            scored=int(written.get("scored", written["round"])),
            cohort=tuple(int(client) for client in written.get("cohort") or ()),
            failures=tuple((str(failure.get("client")), str(failure.get("reason", ""))) for failure in failures),
            loss=number(written.get("loss"), "loss"),
            update_norm=number(written.get("update_norm"), "update_norm"),
            bytes_down=number(written.get("bytes_down"), "bytes_down"),
            bytes_up=number(written.get("bytes_up"), "bytes_up"),
            seconds=number(written.get("seconds"), "seconds"),
            scores={split: Scores.parse(scores) for split, scores in metrics.items() if scores},
            simulated_seconds=number(written.get("simulated_seconds", 0.0), "simulated_seconds"),
            joules=number(written.get("joules", 0.0), "joules"),
            outlying=tuple((str(client), number(length, "outlying")) for client, length in written.get("outlying", ())),
            usual_norm=number(written.get("usual_norm"), "usual_norm"),
            refused=str(written.get("refused") or ""),
            stale=tuple((str(client), int(rounds)) for client, rounds in written.get("stale", ())),
            sum_trips=int(written.get("sum_trips") or 0),
        )


@dataclass(frozen=True)
class ClientLine:
    """Hold what one client gets, on its own test rows: the federated model, and its own if one was trained."""

    name: str
    federated: Scores
    local: Scores | None = None

    @classmethod
    def parse(cls, written: Json) -> ClientLine:
        """Read one entry; the federated metrics lie beside the name, or under "federated"."""
        local = written.get("local")
        return cls(
            str(written["name"]),
            Scores.parse(written.get("federated") or written),
            Scores.parse(local) if local else None,
        )


@dataclass(frozen=True)
class Curves:
    """Hold the pooled scores of the final model on one split.

    Parameters
    ----------
    histogram
        (2, bins): rows without and with a failure, by bin of the logit.
    edges
        (bins - 1,): the logits between bins.
    calibration
        (bins, 3): number of rows, sum of probabilities, sum of labels; empty if not counted.
    """

    histogram: tuple[tuple[float, ...], tuple[float, ...]]
    calibration: tuple[tuple[float, ...], ...] = ()
    edges: tuple[float, ...] = tuple(STANDARD_EDGES.tolist())

    @classmethod
    def parse(cls, written: Json) -> Curves:
        """Read one split's curves."""
        histogram = written.get("histogram") or ((), ())
        if len(histogram) != 2 or len(histogram[0]) != len(histogram[1]):
            raise DataError("curve.histogram must have two rows of one length; rebuild it by running the evaluation")
        without, with_failure = (tuple(number(v, "histogram") for v in row) for row in histogram)
        rows = written.get("calibration") or ()
        edges = tuple(number(v, "edges") for v in written.get("edges") or STANDARD_EDGES.tolist())
        calibration = tuple(tuple(number(v, "calibration") for v in row) for row in rows)
        return cls((without, with_failure), calibration, edges)


@dataclass(frozen=True)
class SeedRow:
    """Hold one metric of one contender over several seeds, with its interval.

    A row of "federated minus X" holds the differences paired by seed.
    """

    who: str
    metric: str
    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def is_difference(self) -> bool:
        """Whether this compares two contenders rather than describing one."""
        return self.who.startswith("federated minus ")

    @classmethod
    def parse(cls, written: Json) -> SeedRow:
        """Read one row of comparison.json."""
        mean, low, high = (number(written.get(key), key) for key in ("mean", "low", "high"))
        values = tuple(number(v, "values") for v in written.get("values") or ())
        return cls(str(written["who"]), str(written["metric"]), mean, low, high, values)


@dataclass(frozen=True)
class ClientSkew:
    """Hold how the clients' rows differ.

    Parameters
    ----------
    names, rows, positives
        One entry a client.
    modes
        Number of rows of each failure mode, by mode: (clients,).
    label_distance, feature_distance
        Distance of a client's labels and features from those of all rows: (clients,); empty if not measured.
    label_measure, feature_measure
        What the distances are.
    """

    names: tuple[str, ...]
    rows: tuple[float, ...]
    positives: tuple[float, ...]
    modes: Mapping[str, tuple[float, ...]]
    label_distance: tuple[float, ...] = ()
    feature_distance: tuple[float, ...] = ()
    label_measure: str = ""
    feature_measure: str = ""

    @classmethod
    def parse(cls, written: Json) -> ClientSkew:
        """Read the skew that a partition reports: one object a client under "clients"."""
        clients = written.get("clients") or ()
        by_mode = [client.get("modes") or {} for client in clients]
        modes = dict.fromkeys(mode for counts in by_mode for mode in counts)

        def column(key: str) -> tuple[float, ...]:
            return tuple(number(client.get(key), key) for client in clients)

        return cls(
            tuple(str(client["name"]) for client in clients),
            column("rows"),
            column("positives"),
            {mode: tuple(number(counts.get(mode, 0), mode) for counts in by_mode) for mode in modes},
            _measured(column("label_distance")),
            _measured(column("feature_distance")),
            str(written.get("label_measure", "")),
            str(written.get("feature_measure", "")),
        )


def _measured(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values, or nothing if none of them is known."""
    return values if any(math.isfinite(v) for v in values) else ()
