"""What a client may tell of itself beside its update, where a selector asks for it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, FloatingArray, Int64Array

FROM_LOSSES = ("loss", "loss_std", "loss_rms")
"""Signals that follow from the loss of each training row under the received weights."""


def losses_of(logits: FloatingArray, labels: AnyArray) -> Float64Array:
    """Return the log loss of each row, (rows,): log(1 + exp(-z)) for a failure with logit z, log(1 + exp(z)) else."""
    z = np.asarray(logits, dtype=np.float64)
    signed = np.where(np.asarray(labels) > 0.5, -z, z)
    return np.maximum(signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))


def loss_signals(losses: Float64Array, sizes: Int64Array, wanted: Collection[str]) -> dict[str, Float64Array]:
    """Return what is wanted of `FROM_LOSSES`, (clients,) each; NaN for a client without rows.

    Parameters
    ----------
    losses
        (rows,), client after client.
    sizes
        (clients,), rows of each.
    wanted
        Names of signals; others are passed over.
    """
    client = np.repeat(np.arange(len(sizes)), sizes)
    number = len(sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(client, losses, number) / sizes
        square = np.bincount(client, losses**2, number) / sizes
        found = {"loss": mean, "loss_rms": np.sqrt(square)}
        if "loss_std" in wanted:
            spread = np.bincount(client, (losses - mean[client]) ** 2, number) / sizes
            found["loss_std"] = np.sqrt(spread)
    return {name: values for name, values in found.items() if name in wanted}
