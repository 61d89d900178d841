"""From logits to probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import Float64Array


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
