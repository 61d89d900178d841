"""The figures by which a model is judged, all from counts, and whether a plant takes a model by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.target import ERROR_NAMES
from werkbund.evaluation.bounds import average_precision_bounds, roc_auc_bounds
from werkbund.evaluation.calibration import expected_calibration_error
from werkbund.evaluation.costs import PER_ROWS, Costs
from werkbund.evaluation.counts import Confusion, Counts
from werkbund.evaluation.ranking import average_precision, roc_auc
from werkbund.evaluation.thresholds import Threshold, choose_threshold

DIRECTIONS: dict[str, int] = {
    "average_precision": 1,
    "roc_auc": 1,
    "f1": 1,
    "precision": 1,
    "recall": 1,
    "cost": -1,
    "brier": -1,
    "log_loss": -1,
    "expected_calibration_error": -1,
    "rmse": -1,
    "mae": -1,
    "nasa_score": -1,
}
"""The metrics that rank models, by name: 1 if more is better, -1 if less is."""

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(DIRECTIONS, (0.0, 1.0)),
    "cost": (0.0, math.inf),
    "log_loss": (0.0, math.inf),
    **dict.fromkeys(("rmse", "mae", "nasa_score"), (0.0, math.inf)),
}
"""The least and the greatest value that each of them can have."""

_ALWAYS_DEFINED = "log_loss"
"""The metric that any row defines."""


@dataclass(frozen=True)
class Metrics:
    """Hold the figures of one model on some rows; NaN where the rows do not define one.

    Parameters
    ----------
    rows, positives
        Number of rows, and of those with a failure.
    average_precision, roc_auc
        Of the ranking; undefined without a positive row, `roc_auc` also without a negative one.
    f1, precision, recall
        At the threshold. `f1` and `recall` are undefined without a positive row, `precision` if no row is
        called a failure.
    threshold
        The least probability that is called a failure.
    cost
        At the threshold, per 1000 rows, in the currency of the costs.
    brier, log_loss
        Mean over rows of the squared error, and of -log(probability of the label).
    expected_calibration_error
        Over ten bins of the probability.
    recall_by_mode
        At the threshold, by failure mode; None for a mode that no positive row has.
    average_precision_low, average_precision_high, roc_auc_low, roc_auc_high
        Between what the ranking's figures lie, since rows are known by their bins alone; see `bounds`.
    rmse, mae, bias
        Of a number that is foretold, in its unit: root of the mean squared error, mean absolute error, and mean of
        foretold less true. Undefined where none is.
    nasa_score
        Sum over rows of `core.target.nasa_scores`.
    close
        Share of rows that are foretold within a fifth of the true number.
    """

    rows: int
    positives: int
    average_precision: float
    roc_auc: float
    f1: float
    precision: float
    recall: float
    threshold: float
    cost: float
    brier: float
    log_loss: float
    expected_calibration_error: float
    recall_by_mode: Mapping[str, float | None] = field(default_factory=dict)
    average_precision_low: float = math.nan
    average_precision_high: float = math.nan
    roc_auc_low: float = math.nan
    roc_auc_high: float = math.nan
    rmse: float = math.nan
    mae: float = math.nan
    bias: float = math.nan
    nasa_score: float = math.nan
    close: float = math.nan

    def to_json(self) -> dict[str, object]:
        """Return the figures for JSON, with None for one that is undefined."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def metrics(counts: Counts, threshold: Threshold, costs: Costs, mode_names: Sequence[str] = ()) -> Metrics:
    """Return the figures of these rows.

    Parameters
    ----------
    mode_names
        One a row of `counts.modes`.

    Raises
    ------
    DataError
        If the number of names is not that of the modes counted.
    """
    place = counts.bin_from(threshold.logit)
    confusion = counts.confusion(place)
    true_positives = confusion.true_positives
    precision_bounds, auc_bounds = average_precision_bounds(counts), roc_auc_bounds(counts)
    return Metrics(
        rows=counts.rows,
        positives=counts.positives,
        average_precision=average_precision(counts),
        roc_auc=roc_auc(counts),
        f1=_f1(confusion),
        precision=_ratio(true_positives, true_positives + confusion.false_positives),
        recall=_ratio(true_positives, counts.positives),
        threshold=threshold.probability,
        cost=_ratio(PER_ROWS * costs.of(confusion), counts.rows),
        brier=_ratio(counts.brier, counts.rows),
        log_loss=_ratio(counts.log_loss, counts.rows),
        expected_calibration_error=expected_calibration_error(counts),
        recall_by_mode=_recall_by_mode(counts, place, mode_names),
        average_precision_low=precision_bounds.low,
        average_precision_high=precision_bounds.high,
        roc_auc_low=auc_bounds.low,
        roc_auc_high=auc_bounds.high,
        **_of_errors(dict(zip(ERROR_NAMES, counts.errors.tolist(), strict=True))),
    )


def _of_errors(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a number that is foretold; none where no row has one."""
    rows = sums["rows"]
    if not rows:
        return {}
    mean = {name: total / rows for name, total in sums.items()}
    return {
        "rmse": math.sqrt(mean["squared"]),
        "mae": mean["absolute"],
        "bias": 2 * mean["over"] - mean["absolute"],
        "nasa_score": sums["nasa"],
        "close": mean["close"],
    }


def _f1(confusion: Confusion) -> float:
    """Return the harmonic mean of precision and recall: twice the hits over twice the hits plus all errors."""
    positives = confusion.true_positives + confusion.false_negatives
    wrong = confusion.false_positives + confusion.false_negatives
    return _ratio(2 * confusion.true_positives, 2 * confusion.true_positives + wrong) if positives else math.nan


def _recall_by_mode(counts: Counts, place: int, mode_names: Sequence[str]) -> dict[str, float | None]:
    if len(mode_names) != len(counts.modes):
        raise DataError(
            f"mode_names must name {len(counts.modes)} failure modes, got {list(mode_names)}; name each row"
        )
    hits, totals = counts.modes[:, place:].sum(axis=1), counts.modes.sum(axis=1)
    by_mode = zip(mode_names, hits.tolist(), totals.tolist(), strict=True)
    return {name: hit / total if total else None for name, hit, total in by_mode}


def _ratio(numerator: float, denominator: float) -> float:
    """Return a quotient, NaN over 0."""
    return numerator / denominator if denominator else math.nan


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True)
class Gate:
    """Decide whether a plant takes a model that it is offered: not if it is worse there than what the plant has.

    Parameters
    ----------
    metric
        Name of the metric, one of `DIRECTIONS`.
    tolerance
        By how much the offered model may be worse and still be taken, at least 0, in the metric's own unit.
    """

    metric: str
    tolerance: float

    def __post_init__(self) -> None:
        if self.metric not in DIRECTIONS:
            raise ConfigError(f"acceptance.metric must be one of {', '.join(DIRECTIONS)}, got {self.metric!r}")
        if not self.tolerance >= 0:
            raise ConfigError(
                f"acceptance.tolerance must be at least 0, got {self.tolerance}; 0 takes no model that is worse"
            )

    def verdict(self, offered: Metrics, present: Metrics | None, what: str) -> tuple[bool, str]:
        """Say whether the offered model is taken, and why.

        Parameters
        ----------
        offered, present
            Figures of the offered model and of what the plant has, on the same held-out rows of its own; None if it
            has nothing.
        what
            What it has, for people.
        """
        if present is None:
            return True, "there is no other model to compare it with"
        if offered.rows == 0:
            return True, "there are no held-out rows to judge it by"
        metric = self._defined(offered, present)
        new, old = getattr(offered, metric), getattr(present, metric)
        ahead = (new - old) * DIRECTIONS[metric]
        figures = f"{metric.replace('_', ' ')} {new:.4f} against {old:.4f} of {what}"
        if ahead >= -self.tolerance:
            return True, figures
        return False, f"{figures}, worse by more than the tolerance of {self.tolerance:g}"

    def _defined(self, offered: Metrics, present: Metrics) -> str:
        """Return the metric, or log loss where the rows do not define it: without a failure nothing is ranked."""
        values = getattr(offered, self.metric), getattr(present, self.metric)
        return self.metric if all(math.isfinite(value) for value in values) else _ALWAYS_DEFINED


def score_counts(
    counts: Mapping[str, Arrays], edges: Float32Array, costs: Costs, mode_names: Sequence[str]
) -> tuple[dict[str, Metrics], Threshold]:
    """Return the pooled metrics of each split, counted on these edges, at the threshold of the validation rows."""
    pooled = {split: Counts.from_arrays(arrays, edges=edges) for split, arrays in counts.items()}
    threshold = choose_threshold(pooled.get("validation", Counts.empty(len(mode_names), edges)), costs)
    return {split: metrics(counted, threshold, costs, mode_names) for split, counted in pooled.items()}, threshold
