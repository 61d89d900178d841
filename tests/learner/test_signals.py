from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from werkbund.core.errors import ConfigError
from werkbund.learner.signals import local_centroids, loss_signals, losses_of

GROUPS = np.concatenate([np.full((30, 2), 5.0), np.full((12, 2), -5.0), np.full((3, 2), [50.0, 0.0])])


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("least", "told"), [(1, [3, 12, 30]), (4, [12, 30]), (13, [30]), (31, [])])
def test_a_cluster_of_few_rows_has_no_centroid(least: int, told: list[int]) -> None:
    rows = GROUPS + _rng().normal(0.0, 0.1, GROUPS.shape)
    centroids, sizes = local_centroids(rows, 3, _rng(), least)
    finite = np.isfinite(centroids).all(axis=1)
    assert sorted(sizes[finite].tolist()) == told
    assert np.isnan(centroids[~finite]).all()


def test_a_value_that_few_rows_of_a_cluster_have_is_in_no_centroid() -> None:
    rows = _rng().normal(3.0, 1.0, (40, 3))
    rows[5:, 1] = 0.0  # missing in all rows but five
    rows[:, 2] = np.arange(40) < 20
    whole, _ = local_centroids(rows, 1, _rng())
    told, _ = local_centroids(rows, 1, _rng(), least=20)
    np.testing.assert_allclose(whole[0], rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(told[0], [rows[:, 0].mean(), 0.0, 0.5], rtol=1e-6)


def test_the_least_number_of_clusters_is_one() -> None:
    with pytest.raises(ConfigError, match="k must be >= 1"):
        local_centroids(GROUPS, 0, _rng())


@pytest.mark.parametrize("weight", [0.25, 1.0, 7.5, 300.0])
def test_losses_are_those_of_torch_with_the_weight_of_failures(weight: float) -> None:
    logits = _rng().normal(0.0, 4.0, 200).astype(np.float32)
    labels = (_rng().random(200) < 0.2).astype(np.float32)
    expected = binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(labels), reduction="none", pos_weight=torch.tensor(weight)
    )
    np.testing.assert_allclose(losses_of(logits, labels, weight), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_signals_of_losses_are_means_spreads_and_roots_client_by_client() -> None:
    losses, sizes = _rng().gamma(1.0, 2.0, 12), np.array([5, 0, 7])
    signals = loss_signals(losses, sizes, ("loss", "loss_std", "loss_rms", "train_loss"))
    parts = (losses[:5], losses[5:])
    assert set(signals) == {"loss", "loss_std", "loss_rms"}
    for name, rule in (("loss", np.mean), ("loss_std", np.std), ("loss_rms", lambda x: np.sqrt(np.mean(x**2)))):
        np.testing.assert_allclose(signals[name][[0, 2]], [rule(part) for part in parts])
        assert np.isnan(signals[name][1])
