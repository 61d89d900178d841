"""Whether a plant takes a model that it is offered: not if it is worse there than what the plant has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from werkbund.core.errors import ConfigError
from werkbund.evaluation.metrics import DIRECTIONS, Metrics

_ALWAYS_DEFINED = "log_loss"


@dataclass(frozen=True)
class Gate:
    """Judge an offered model by one metric on the plant's own held-out rows.

    Parameters
    ----------
    metric
        Name of the metric, one of `DIRECTIONS`.
    tolerance
        By how much the offered model may be worse and still be taken, at least 0, in the metric's own unit.
    """

    metric: str = "average_precision"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.metric not in DIRECTIONS:
            raise ConfigError(f"acceptance.metric must be one of {', '.join(DIRECTIONS)}, got {self.metric!r}")
        if not self.tolerance >= 0:
            raise ConfigError(f"acceptance.tolerance must be at least 0, got {self.tolerance}")

    def verdict(self, offered: Metrics, present: Metrics | None, what: str) -> tuple[bool, str]:
        """Say whether the offered model is taken, and why.

        Parameters
        ----------
        offered, present
            Figures of the offered model and of what the plant has, on the same rows; None if it has nothing.
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
