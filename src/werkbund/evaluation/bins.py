"""The grid of logits on which clients count scores: 1024 bins of width 1/32 in -16..16, the outer ones open.

The code that counts states it too; here it stands again so that reading a run's counts needs no training.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float64Array

NUM_BINS = 1024
BINS_PER_LOGIT = 32
LOWEST_LOGIT = -16.0
NUM_DECILES = 10


def lower_probabilities() -> Float64Array:
    """Return the probability at which each bin begins: (NUM_BINS,), rising from 0, the lowest bin being open.

    Examples
    --------
    >>> lower_probabilities()[[0, 512]].tolist()
    [0.0, 0.5]
    """
    logits = np.arange(NUM_BINS) / BINS_PER_LOGIT + LOWEST_LOGIT
    probabilities: Float64Array = 1.0 / (1.0 + np.exp(-logits))
    probabilities[0] = 0.0
    return probabilities
