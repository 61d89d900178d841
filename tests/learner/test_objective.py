from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from werkbund.core import Layout
from werkbund.learner import ModelSpec, build_network, layout_of
from werkbund.learner.objective import Gradient, batched_gradient, can_be_batched, plain_gradient

CLIENTS, ROWS, FEATURES = 3, 6, 4


def _cohort(layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw weights and batches of which the last client's is shorter."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.5, (CLIENTS, layout.num_parameters)).astype(np.float32)
    features = rng.normal(size=(CLIENTS, ROWS, FEATURES)).astype(np.float32)
    labels = (rng.random((CLIENTS, ROWS)) < 0.4).astype(np.float32)
    present = np.ones((CLIENTS, ROWS), np.float32)
    present[-1, 2:] = 0
    return torch.tensor(weights), torch.tensor(features), torch.tensor(labels), torch.tensor(present)


@pytest.mark.parametrize("make", [plain_gradient, batched_gradient])
def test_the_gradient_of_logistic_regression_is_its_closed_form(
    make: Callable[[nn.Module, Layout, float], Gradient],
) -> None:
    network = build_network(ModelSpec("logistic"), FEATURES, 0)
    layout, factor = layout_of(network), 3.0
    weights, features, labels, present = _cohort(layout)
    gradient = make(network, layout, factor)
    for i in range(CLIENTS):
        one = slice(i, i + 1)
        slope, total = gradient(weights[one], features[one], labels[one], present[one])
        x = np.c_[features[i].numpy(), np.ones(ROWS)].astype(np.float64)
        y, here = labels[i].numpy().astype(np.float64), present[i].numpy().astype(np.float64)
        z = x @ weights[i].numpy()  # weight and bias lie in this order
        p = 1 / (1 + np.exp(-z))
        error = (p - y) * np.where(y > 0, factor, 1.0) * here
        loss = -(factor * y * np.log(p) + (1 - y) * np.log(1 - p)) * here
        np.testing.assert_allclose(slope[0].numpy(), error @ x / here.sum(), rtol=1e-5, atol=1e-6)
        assert float(total[0]) == pytest.approx(loss.sum(), rel=1e-5)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "residual-mlp"])
def test_the_batched_gradient_is_the_plain_one(kind: str) -> None:
    network = build_network(ModelSpec(kind), FEATURES, 0)
    layout = layout_of(network)
    cohort = _cohort(layout)
    slopes, totals = batched_gradient(network, layout, 2.0)(*cohort)
    plain = plain_gradient(network, layout, 2.0)
    for i in range(CLIENTS):
        slope, total = plain(*(part[i : i + 1] for part in cohort))
        # Single precision keeps seven digits; sums over rows and layers lose one or two.
        np.testing.assert_allclose(slopes[i], slope[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(totals[i], total[0], rtol=1e-5)


def test_rows_that_are_absent_change_nothing() -> None:
    network = build_network(ModelSpec("mlp"), FEATURES, 0)
    layout = layout_of(network)
    weights, features, labels, present = _cohort(layout)
    gradient = batched_gradient(network, layout, 1.0)
    before, loss_before = gradient(weights, features, labels, present)
    features[-1, 2:], labels[-1, 2:] = 99.0, 1.0
    after, loss_after = gradient(weights, features, labels, present)
    assert torch.equal(before, after)
    assert torch.equal(loss_before, loss_after)


def test_a_client_without_a_row_has_gradient_zero() -> None:
    network = build_network(ModelSpec("mlp"), FEATURES, 0)
    weights, features, labels, present = _cohort(layout_of(network))
    slopes, totals = batched_gradient(network, layout_of(network), 1.0)(weights, features, labels, 0 * present)
    assert not slopes.any()
    assert not totals.any()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ModelSpec("logistic"), True),
        (ModelSpec("mlp"), True),
        (ModelSpec("residual-mlp"), True),
        (ModelSpec("mlp", {"dropout": 0.3}), False),
        (ModelSpec("residual-mlp", {"dropout": 0.3}), False),
    ],
)
def test_networks_that_draw_no_random_numbers_can_be_batched(spec: ModelSpec, expected: bool) -> None:
    network = build_network(spec, FEATURES, 0).train()
    assert can_be_batched(network, layout_of(network), FEATURES) is expected
