import json

import numpy as np
import numpy.typing as npt
import pytest

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.partition.assignment import Partition, PartitionSkew, client_names, skew


def _partition(assignment: npt.ArrayLike) -> Partition:
    numbers = np.asarray(assignment, dtype=np.int64)
    return Partition("test", client_names(int(numbers.max()) + 1), numbers)


def _measured(assignment: npt.ArrayLike, features: Float64Array, labels: npt.ArrayLike | None = None) -> PartitionSkew:
    rows = len(features)
    given = np.zeros(rows) if labels is None else np.asarray(labels, dtype=np.float64)
    return skew(_partition(assignment), given, features, np.zeros((rows, 0), dtype=bool), ())


def _brute_force_ks(own: Float64Array, pooled: Float64Array) -> float:
    """Compare both distribution functions at, and just before, every value there is."""
    points = np.concatenate([pooled, np.nextafter(pooled, -np.inf)])
    gaps = [abs(np.mean(own <= point) - np.mean(pooled <= point)) for point in points]
    return float(max(gaps))


@pytest.mark.parametrize("seed", range(6))
def test_feature_distance_is_the_mean_kolmogorov_smirnov_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assignment = np.concatenate([np.arange(4), rng.integers(-1, 4, 60)])
    features = np.stack([rng.normal(size=64), rng.integers(0, 3, 64), np.full(64, 7.0)], axis=1)
    measured = _measured(assignment, features)
    used = features[assignment >= 0]
    for client in range(4):
        own = features[assignment == client]
        expected = np.mean([_brute_force_ks(own[:, f], used[:, f]) for f in range(3)])
        assert measured.feature_distance[client] == pytest.approx(expected, abs=1e-12)


def test_counts_are_those_of_each_client() -> None:
    modes = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    labels = np.array([1, 0, 1, 0, 1], dtype=np.float32)
    measured = skew(_partition([0, 1, 1, 1, -1]), labels, np.zeros((5, 1)), modes, ("HDF", "PWF"))
    assert measured.rows.tolist() == [1, 3]
    assert measured.positives.tolist() == [1, 1]
    assert measured.modes.tolist() == [[1, 0], [1, 2]]


def test_label_distance_is_half_the_summed_difference_of_both_classes() -> None:
    labels = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0, 0])
    measured = _measured([0] * 4 + [1] * 6, np.zeros((10, 1)), labels)
    pooled = np.array([7, 3]) / 10
    for client, own in enumerate((np.array([2, 2]) / 4, np.array([5, 1]) / 6)):
        assert measured.label_distance[client] == pytest.approx(np.abs(own - pooled).sum() / 2)


def test_one_client_has_no_distance() -> None:
    rng = np.random.default_rng(0)
    measured = _measured(np.zeros(30), rng.normal(size=(30, 2)), rng.integers(0, 2, 30))
    assert measured.label_distance.tolist() == [0.0]
    assert measured.feature_distance == pytest.approx([0.0])


def test_clients_without_a_common_value_are_as_far_as_can_be() -> None:
    measured = _measured([0] * 10 + [1] * 90, np.repeat([[0.0], [1.0]], [10, 90], axis=0))
    assert measured.feature_distance == pytest.approx([0.9, 0.1])


def test_a_monotone_change_of_units_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    assignment, features = rng.permutation(np.arange(40) % 4), rng.normal(size=(40, 3))
    first, second = _measured(assignment, features), _measured(assignment, np.exp(3 * features + 1))
    np.testing.assert_allclose(first.feature_distance, second.feature_distance)


def test_missing_values_count_as_infinite() -> None:
    features = np.array([[1.0], [2.0], [np.nan], [3.0], [np.nan], [1.0]])
    instead = np.where(np.isnan(features), np.inf, features)
    numbers = [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(
        _measured(numbers, features).feature_distance, _measured(numbers, instead).feature_distance
    )


def test_no_features_mean_no_distance() -> None:
    assert _measured([0, 1], np.zeros((2, 0))).feature_distance.tolist() == [0.0, 0.0]


def test_json_has_one_object_a_client() -> None:
    modes = np.array([[True], [False], [True]])
    measured = skew(_partition([0, 0, 1]), np.array([1.0, 0.0, 1.0]), np.zeros((3, 1)), modes, ("HDF",))
    written = json.loads(json.dumps(measured.to_json()))
    assert [client["name"] for client in written["clients"]] == ["client-1", "client-2"]
    assert [client["modes"] for client in written["clients"]] == [{"HDF": 1}, {"HDF": 1}]
    assert written["clients"][0]["rows"] == 2
    assert "total variation" in written["label_measure"]
    assert "Kolmogorov" in written["feature_measure"]


def test_arrays_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="must have 2 rows"):
        skew(_partition([0, 1]), np.zeros(3), np.zeros((2, 1)), np.zeros((2, 0), dtype=bool), ())
