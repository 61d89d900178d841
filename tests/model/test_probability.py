from __future__ import annotations

import numpy as np
import torch

from werkbund.model import sigmoid


def test_probabilities_equal_torchs_at_any_logit() -> None:
    logits = np.concatenate([np.linspace(-800, 800, 4001), [np.inf, -np.inf, 0.0]])
    expected = torch.sigmoid(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(sigmoid(logits), expected, rtol=1e-13, atol=1e-300)


def test_single_precision_logits_are_taken_in_double() -> None:
    single = np.array([0.1], dtype=np.float32)
    assert sigmoid(single).dtype == np.float64
    assert sigmoid(single)[0] == sigmoid([float(single[0])])[0]
