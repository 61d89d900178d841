"""How much the clients of a partition differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.core.errors import DataError
from werkbund.partition.assignment import Partition

LABEL_MEASURE = "total variation distance of the label's distribution from that of all rows"
FEATURE_MEASURE = "Kolmogorov-Smirnov distance from all rows, mean over features"


@dataclass(frozen=True)
class PartitionSkew:
    """Say what each client has, and how far it is from all clients together.

    Parameters
    ----------
    kind
        Name of the partitioner.
    names
        One a client.
    rows, positives
        (clients,), numbers of rows.
    modes
        (clients, modes), number of rows of each failure mode.
    mode_names
        One a column of `modes`.
    label_distance
        (clients,), in [0, 1], see `LABEL_MEASURE`; for two classes the difference of the failure rates.
    feature_distance
        (clients,), in [0, 1], see `FEATURE_MEASURE`; 0 where there are no features.
    """

    kind: str
    names: tuple[str, ...]
    rows: Int64Array
    positives: Int64Array
    modes: Int64Array
    mode_names: tuple[str, ...]
    label_distance: Float64Array
    feature_distance: Float64Array

    def to_json(self) -> dict[str, object]:
        """Return the skew as a JSON object with one object a client."""
        columns = (self.rows, self.positives, self.modes, self.label_distance, self.feature_distance)
        keys = ("rows", "positives", "modes", "label_distance", "feature_distance")
        clients = []
        for name, *values in zip(self.names, *(column.tolist() for column in columns), strict=True):
            figures = dict(zip(keys, values, strict=True))
            figures["modes"] = dict(zip(self.mode_names, figures["modes"], strict=True))
            clients.append({"name": name, **figures})
        return {
            "kind": self.kind,
            "label_measure": LABEL_MEASURE,
            "feature_measure": FEATURE_MEASURE,
            "clients": clients,
        }


def skew(
    partition: Partition,
    labels: FloatingArray,
    features: FloatingArray,
    modes: BoolArray,
    mode_names: tuple[str, ...],
) -> PartitionSkew:
    """Measure how far each client's rows are from those of all clients together.

    Rows that the partition does not use are left out everywhere.

    Parameters
    ----------
    labels
        (rows,), 0 or 1.
    features
        (rows, features); a missing value counts as infinite.
    modes
        (rows, modes).
    """
    rows = len(partition.assignment)
    if len(labels) != rows or len(features) != rows or modes.shape != (rows, len(mode_names)):
        raise DataError(
            f"labels, features and modes must have {rows} rows, one mode a name, "
            f"got {len(labels)}, {features.shape}, {modes.shape} and {len(mode_names)} names"
        )
    order, sizes = partition.order, partition.sizes
    positives = _sums(labels[order] > 0.5, partition)
    mode_counts = [_sums(modes[order, mode], partition) for mode in range(len(mode_names))]
    rate = positives.sum() / len(order)
    distances = [_ks_distances(features[order, feature], partition) for feature in range(features.shape[1])]
    none = np.zeros(partition.num_clients)
    return PartitionSkew(
        kind=partition.kind,
        names=partition.names,
        rows=sizes,
        positives=positives,
        modes=np.stack(mode_counts, axis=1) if mode_counts else np.zeros((len(sizes), 0), np.int64),
        mode_names=mode_names,
        label_distance=np.abs(positives / sizes - rate),
        feature_distance=np.mean(distances, axis=0) if distances else none,
    )


def _sums(flags: BoolArray, partition: Partition) -> Int64Array:
    """Count true flags, given in client order, for each client: (clients,)."""
    return np.add.reduceat(flags.astype(np.int64), partition.offsets[:-1])


def _ks_distances(values: FloatingArray, partition: Partition) -> Float64Array:
    """Return each client's largest difference of distribution functions to all rows: (clients,).

    Both functions are steps, so the largest difference lies at, or just before, one of the client's own
    values.

    Parameters
    ----------
    values
        (used rows,), one feature in client order.
    """
    num_rows = len(values)
    known = np.where(np.isnan(values), np.inf, values)
    by_value = np.argsort(known, kind="stable")
    ranked = known[by_value]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))  # of each run of equal values
    counts = np.diff(np.append(starts, num_rows))
    client = np.repeat(np.arange(partition.num_clients, dtype=np.int32), partition.sizes)
    by_client = np.argsort(client[by_value], kind="stable")  # by client, then by value
    upto = np.repeat((starts + counts) / num_rows, counts)[by_client]
    below = np.repeat(starts / num_rows, counts)[by_client]
    place = np.arange(num_rows) - np.repeat(partition.offsets[:-1], partition.sizes)
    size = np.repeat(partition.sizes, partition.sizes)
    gap = np.maximum((place + 1) / size - upto, below - place / size)
    return np.maximum.reduceat(gap, partition.offsets[:-1])
