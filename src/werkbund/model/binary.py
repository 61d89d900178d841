"""The last step of a binary model: from a logit to the probability of its label, and from there to a decision.

Every model of this package tells two classes apart. What follows from that for scoring a table stands here; networks
and trees differ only in how they come to the logit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ModelError


def sigmoid(logits: npt.ArrayLike) -> Float64Array:
    """Return 1 / (1 + exp(-logit)) in float64, without overflow at either end.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1000.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    z = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))


def decide(probabilities: Float64Array, threshold_probability: float) -> BoolArray:
    """Return whether each row is decided positive: whether its probability is at least the threshold, (rows,)."""
    return np.asarray(probabilities >= threshold_probability)


def check_threshold(threshold_probability: float) -> None:
    """Refuse a threshold that is no probability.

    Raises
    ------
    ModelError
        If it is not in [0, 1].
    """
    if not 0 <= threshold_probability <= 1:
        raise ModelError(
            f"threshold_probability must be in [0, 1], got {threshold_probability}; choose it on validation rows"
        )
