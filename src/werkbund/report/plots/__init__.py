"""The report's plots: each function turns a part of a run's folder into panels."""

from werkbund.report.plots.clients import gains, skew
from werkbund.report.plots.comparison import by_mode, comparison
from werkbund.report.plots.learning import learning, selection
from werkbund.report.plots.scores import scores
from werkbund.report.plots.theme import Panel

__all__ = ["Panel", "by_mode", "comparison", "gains", "learning", "scores", "selection", "skew"]
