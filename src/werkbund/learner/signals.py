"""What a client may tell of itself beside its update, where a selector asks for it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, FloatingArray, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.target import Loss

FROM_LOSSES = ("loss", "loss_std", "loss_rms")
"""Signals that follow from the loss of each training row under the received weights, as the objective counts it."""


def losses_of(
    logits: FloatingArray, labels: AnyArray, positive_weight: float = 1.0, loss: Loss = "logistic"
) -> Float64Array:
    """Return the loss of each row as it is trained, (rows,).

    It is log(1 + exp(z)), or w log(1 + exp(-z)) for a failure; or (z - y)² / 2, w times that where y >= 0.

    Parameters
    ----------
    logits
        z, (rows,).
    labels
        (rows,), 1 for a failure; or y, the true risk.
    positive_weight
        w, the plan's; 1 is the log loss.
    loss
        Which of them.

    Examples
    --------
    >>> losses_of(np.zeros(2), np.array([0.0, 1.0]), 3.0).round(4).tolist()
    [0.6931, 2.0794]
    """
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if loss == "squared":
        return np.asarray(np.where(y >= 0, positive_weight, 1.0) * (z - y.astype(np.float64)) ** 2 / 2)
    failed = y > 0.5
    signed = np.where(failed, -z, z)
    plain = np.maximum(signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))
    return np.asarray(np.where(failed, positive_weight, 1.0) * plain)


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
        signals = {"loss": mean, "loss_rms": np.sqrt(square)}
        if "loss_std" in wanted:
            spread = np.bincount(client, (losses - mean[client]) ** 2, number) / sizes
            signals["loss_std"] = np.sqrt(spread)
    return {name: values for name, values in signals.items() if name in wanted}


def local_centroids(
    features: FloatingArray, k: int, rng: np.random.Generator, least: int = 1
) -> tuple[Float32Array, Int64Array]:
    """Cluster a client's rows by k-means.

    Parameters
    ----------
    features
        (rows, features), prepared, so that all have a like scale; rows that are not finite are left out.
    k
        Number of clusters k'; fewer where there are fewer distinct rows.
    rng
        Seeds k-means.
    least
        A cluster of fewer rows has no centroid. A feature that is other than 0 in fewer rows of a cluster is 0 in its
        centroid: a prepared feature is 0 where a value is missing or a level absent, so no entry is over fewer values.

    Returns
    -------
    centroids
        (k, features), NaN where there are fewer clusters, so that all clients' answers have one shape, and where a
        cluster has too few rows.
    sizes
        (k,), rows of each cluster; 0 where there is none.

    Raises
    ------
    ConfigError
        If k is less than 1.

    References
    ----------
    Dennis, Li, Smith, "Heterogeneity for the Win: One-Shot Federated Clustering", ICML 2021, algorithm 1 and the first
    step of algorithm 2. The paper clusters with the method of Awasthi and Sheffet (projection, then Lloyd); this is
    k-means++ with Lloyd's iterations, the best of four starts.
    """
    if k < 1:
        raise ConfigError(f"k must be >= 1, got {k}")
    centroids, sizes = np.full((k, features.shape[1]), np.nan, np.float32), np.zeros(k, np.int64)
    rows = features[np.isfinite(features).all(axis=1)].astype(np.float64)
    distinct = len(np.unique(rows, axis=0))
    if distinct:
        seed = int(rng.integers(2**31))
        from sklearn.cluster import KMeans  # slow to import

        clusters = KMeans(min(k, distinct), n_init=4, random_state=seed).fit(rows)
        num_found = len(clusters.cluster_centers_)
        centroids[:num_found] = clusters.cluster_centers_
        sizes[:num_found] = np.bincount(clusters.labels_, minlength=num_found)
        present = np.stack([(rows[clusters.labels_ == cluster] != 0).sum(axis=0) for cluster in range(num_found)])
        centroids[:num_found][present < least] = 0.0
        centroids[sizes < least] = np.nan
    return centroids, sizes
