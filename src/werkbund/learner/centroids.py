"""What a client tells of its rows for one-shot federated clustering: a few local centroids."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float32Array, FloatingArray, Int64Array
from werkbund.core.errors import ConfigError


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

        found = KMeans(min(k, distinct), n_init=4, random_state=seed).fit(rows)
        number = len(found.cluster_centers_)
        centroids[:number] = found.cluster_centers_
        sizes[:number] = np.bincount(found.labels_, minlength=number)
        present = np.stack([(rows[found.labels_ == cluster] != 0).sum(axis=0) for cluster in range(number)])
        centroids[:number][present < least] = 0.0
        centroids[sizes < least] = np.nan
    return centroids, sizes
