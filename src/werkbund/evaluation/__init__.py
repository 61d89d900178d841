"""What counts mean: exact pooled metrics, metrics of each client, costs, thresholds and intervals."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.evaluation.bootstrap import units_of
    from werkbund.evaluation.bounds import POSSIBLE_ERROR, Bounds, average_precision_bounds, roc_auc_bounds
    from werkbund.evaluation.calibration import Reliability, expected_calibration_error, reliability
    from werkbund.evaluation.clients import (
        Spread,
        WorstClient,
        mean_metrics,
        per_client,
        spread,
        values_of,
        worst_client,
    )
    from werkbund.evaluation.contest import FEDERATED, GLOBAL, Contest, Mean, PlantLine, mean_contest
    from werkbund.evaluation.contribution import contributions, shares_of
    from werkbund.evaluation.costs import Costs, cost_curve
    from werkbund.evaluation.counts import Confusion, Counts, lower_probabilities
    from werkbund.evaluation.edges import (
        LASTING_EDGES,
        asked_well,
        edges_after,
        possible_error,
        refined_edges,
        with_edge,
    )
    from werkbund.evaluation.effort import NEVER, Expenditure, LearningCurve, jain_index
    from werkbund.evaluation.habits import HABITS, cheapest_interval, inspected, work_of
    from werkbund.evaluation.intervals import Interval, mean_interval, paired_difference
    from werkbund.evaluation.judging import HeldOut, Showing, Summary, contest_of, hold_contest
    from werkbund.evaluation.measures import DIRECTIONS, RANGES, Gate, Metrics, metrics, score_counts
    from werkbund.evaluation.own import own_figures, own_threshold, own_thresholds
    from werkbund.evaluation.periods import ClientPeriods, change_of_roc_auc, compare_periods
    from werkbund.evaluation.ranking import Curve, average_precision, precision_recall_curve, roc_auc, roc_curve
    from werkbund.evaluation.ruling import ALONE, FEWEST_FAILURES, Outcome, Ruling, rule
    from werkbund.evaluation.seeds import rows_over_seeds
    from werkbund.evaluation.thresholds import Threshold, choose_threshold
    from werkbund.evaluation.watch import Nobody, RoundNews, Watcher
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "ALONE",
    "DIRECTIONS",
    "FEDERATED",
    "FEWEST_FAILURES",
    "GLOBAL",
    "HABITS",
    "LASTING_EDGES",
    "NEVER",
    "POSSIBLE_ERROR",
    "RANGES",
    "Bounds",
    "ClientPeriods",
    "Confusion",
    "Contest",
    "Costs",
    "Counts",
    "Curve",
    "Expenditure",
    "Gate",
    "HeldOut",
    "Interval",
    "LearningCurve",
    "Mean",
    "Metrics",
    "Nobody",
    "Outcome",
    "PlantLine",
    "Reliability",
    "RoundNews",
    "Ruling",
    "Showing",
    "Spread",
    "Summary",
    "Threshold",
    "Watcher",
    "WorstClient",
    "asked_well",
    "average_precision",
    "average_precision_bounds",
    "change_of_roc_auc",
    "cheapest_interval",
    "choose_threshold",
    "compare_periods",
    "contest_of",
    "contributions",
    "cost_curve",
    "edges_after",
    "expected_calibration_error",
    "hold_contest",
    "inspected",
    "jain_index",
    "lower_probabilities",
    "mean_contest",
    "mean_interval",
    "mean_metrics",
    "metrics",
    "own_figures",
    "own_threshold",
    "own_thresholds",
    "paired_difference",
    "per_client",
    "possible_error",
    "precision_recall_curve",
    "refined_edges",
    "reliability",
    "roc_auc",
    "roc_auc_bounds",
    "roc_curve",
    "rows_over_seeds",
    "rule",
    "score_counts",
    "shares_of",
    "spread",
    "units_of",
    "values_of",
    "with_edge",
    "work_of",
    "worst_client",
]
