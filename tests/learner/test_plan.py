import math
from typing import Any

import numpy as np
import pytest
import torch

from werkbund.core import ConfigError
from werkbund.learner import TrainingPlan
from werkbund.learner.plan import optimizer_step, start_state

PLANS = [
    TrainingPlan("sgd", 0.1),
    TrainingPlan("sgd", 0.1, weight_decay=0.01),
    TrainingPlan("sgd", 0.1, momentum=0.9),
    TrainingPlan("sgd", 0.1, momentum=0.9, weight_decay=0.01),
    TrainingPlan("adam", 0.01),
    TrainingPlan("adam", 0.01, weight_decay=0.1),
    TrainingPlan("adamw", 0.01, weight_decay=0.1),
]


def _torchs(plan: TrainingPlan, leaf: torch.Tensor) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": plan.learning_rate, "weight_decay": plan.weight_decay}
    if plan.optimizer == "sgd":
        return torch.optim.SGD([leaf], momentum=plan.momentum, **common)
    return (torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW)([leaf], **common)


def _gradients(clients: int, steps: int) -> torch.Tensor:
    """Draw gradients over six orders of magnitude, which Adam must all turn into like steps."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(steps, clients, 7)) * 10.0 ** np.arange(-3, 4)
    return torch.tensor(drawn.astype(np.float32))


@pytest.mark.parametrize("plan", PLANS)
def test_a_step_is_pytorchs(plan: TrainingPlan) -> None:
    gradients = _gradients(1, 12)
    start = torch.linspace(-1, 1, 7)
    leaf = start.clone().requires_grad_()
    optimizer = _torchs(plan, leaf)
    weights, step = start[None].clone(), optimizer_step(plan)
    state = start_state(weights, plan)
    for gradient in gradients:
        leaf.grad = gradient[0].clone()
        optimizer.step()
        weights, state = step(weights, gradient, state)
        np.testing.assert_allclose(weights[0], leaf.detach(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("plan", PLANS)
def test_clients_do_not_disturb_one_another(plan: TrainingPlan) -> None:
    gradients = _gradients(3, 5)
    together = torch.linspace(-1, 1, 21).reshape(3, 7)
    alone = [together[i : i + 1].clone() for i in range(3)]
    step = optimizer_step(plan)
    state, states = start_state(together, plan), [start_state(one, plan) for one in alone]
    for gradient in gradients:
        together, state = step(together, gradient, state)
        for i in range(3):
            alone[i], states[i] = step(alone[i], gradient[i : i + 1], states[i])
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("plan", PLANS)
def test_a_step_leaves_its_arguments_as_they_were(plan: TrainingPlan) -> None:
    weights, gradients = torch.ones(2, 7), _gradients(2, 1)[0]
    copies = weights.clone(), gradients.clone()
    optimizer_step(plan)(weights, gradients, start_state(weights, plan))
    assert torch.equal(weights, copies[0])
    assert torch.equal(gradients, copies[1])


def test_adams_first_step_is_the_learning_rate_in_the_gradients_direction() -> None:
    plan = TrainingPlan("adam", 0.01)
    weights, gradients = torch.zeros(1, 4), torch.tensor([[1e-3, -1e3, 2.0, 0.0]])
    moved, _ = optimizer_step(plan)(weights, gradients, start_state(weights, plan))
    np.testing.assert_allclose(moved[0], [-0.01, 0.01, -0.01, 0.0], rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer", "lbfgs"),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-9),
        ("epochs", 0),
        ("epochs", -3),
        ("steps", 0),
        ("batch_size", 0),
        ("clip_norm", 0.0),
        ("clip_norm", math.nan),
        ("positive_weight", 0.0),
        ("positive_weight", math.inf),
        ("positive_weight", 1e12),
        ("positive_weight", 1e-9),
        ("proximal", -1.0),
        ("proximal", math.inf),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{name} must be .*got {value!r}"):
        TrainingPlan(**{name: value})


def test_what_may_be_left_out_may_be_left_out() -> None:
    plan = TrainingPlan()
    assert plan.steps is None
    assert plan.clip_norm is None
