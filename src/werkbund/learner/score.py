"""Logits of many rows under one set of weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from werkbund.core.arrays import Float32Array
from werkbund.learner.models import load_weights

_ROWS_A_PASS = 65_536


def logits_of(network: nn.Module, weights: Float32Array, features: Float32Array) -> Float32Array:
    """Score rows.

    Parameters
    ----------
    network
        Its own weights are overwritten by `weights`.
    weights
        (parameters,)
    features
        (rows, features), scaled.

    Returns
    -------
    logits
        (rows,)
    """
    load_weights(network, weights)
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            parts = [
                network(torch.from_numpy(features[first : first + _ROWS_A_PASS])).reshape(-1)
                for first in range(0, len(features), _ROWS_A_PASS)
            ]
    finally:
        network.train(training)
    return torch.cat(parts).numpy() if parts else np.empty(0, np.float32)
