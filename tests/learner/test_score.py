import numpy as np
import pytest
import torch
from torch import nn

from werkbund.core import ModelError
from werkbund.learner import ModelSpec, build_network, logits_of, score, weights_of


def _rows(rows: int, features: int = 4) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)


def test_logits_are_the_networks_own() -> None:
    network = build_network(ModelSpec("mlp"), 4, 0)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(_rows(10)))[:, 0].numpy()
    np.testing.assert_array_equal(logits_of(network, weights_of(network), _rows(10)), expected)


def test_the_given_weights_count_not_the_networks() -> None:
    first, second = (build_network(ModelSpec("mlp"), 4, seed) for seed in (0, 1))
    wanted, rows = weights_of(second), _rows(10)
    np.testing.assert_array_equal(logits_of(first, wanted, rows), logits_of(second, wanted, rows))


def test_many_rows_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(ModelSpec("logistic"), 4, 0)
    weights, rows = weights_of(network), _rows(10)
    whole = logits_of(network, weights, rows)
    monkeypatch.setattr(score, "_ROWS_A_PASS", 3)
    np.testing.assert_allclose(logits_of(network, weights, rows), whole, rtol=1e-6)


def test_no_rows_give_no_logits() -> None:
    network = build_network(ModelSpec("mlp"), 4, 0)
    assert logits_of(network, weights_of(network), _rows(0)).shape == (0,)


def test_dropout_is_off_while_scoring_and_as_before_afterwards() -> None:
    network = build_network(ModelSpec("mlp", {"dropout": 0.5}), 4, 0).train()
    weights = weights_of(network)
    first, second = (logits_of(network, weights, _rows(50)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert network.training


class _Fails(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - PyTorch's own name
        raise RuntimeError("on purpose")


def test_a_network_that_fails_is_left_in_its_mode() -> None:
    network = _Fails(4, 1).train()
    with pytest.raises(RuntimeError, match="on purpose"):
        logits_of(network, weights_of(network), _rows(3))
    assert network.training


def test_read_only_weights_can_be_scored() -> None:
    network = build_network(ModelSpec("mlp"), 4, 0)
    weights = weights_of(network)
    weights.flags.writeable = False
    assert logits_of(network, weights, _rows(3)).shape == (3,)


def test_weights_of_another_length_are_refused() -> None:
    network = build_network(ModelSpec("logistic"), 4, 0)
    with pytest.raises(ModelError, match=r"must have 5 parameters, got shape \(6,\)"):
        logits_of(network, np.zeros(6, np.float32), _rows(1))
