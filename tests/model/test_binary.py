from __future__ import annotations

import numpy as np
import pytest
import torch

from werkbund.core.errors import ModelError
from werkbund.model import sigmoid
from werkbund.model.binary import check_threshold, decide


def test_probabilities_equal_torchs_at_any_logit() -> None:
    logits = np.concatenate([np.linspace(-800, 800, 4001), [np.inf, -np.inf, 0.0]])
    expected = torch.sigmoid(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(sigmoid(logits), expected, rtol=1e-13, atol=1e-300)


def test_single_precision_logits_are_taken_in_double() -> None:
    single = np.array([0.1], dtype=np.float32)
    assert sigmoid(single).dtype == np.float64
    assert sigmoid(single)[0] == sigmoid([float(single[0])])[0]


def test_a_probability_at_the_threshold_is_decided_positive() -> None:
    assert decide(np.array([0.1, 0.3, 0.5]), 0.3).tolist() == [False, True, True]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ModelError, match=r"threshold_probability must be in \[0, 1\]"):
        check_threshold(threshold)
