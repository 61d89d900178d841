from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from werkbund.core.errors import ModelError
from werkbund.learner import ModelSpec, build_network, layout_of
from werkbund.learner.chains import ACTIVATIONS, Chain, chain_of


class Doubled(nn.Linear):
    def forward(self, rows: Tensor) -> Tensor:
        return 2 * super().forward(rows)


def _shared() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 1))


def _frozen() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    network[0].weight.requires_grad_(False)
    return network


def _hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    network[1].register_forward_hook(lambda module, rows, result: result + 1)
    return network


@pytest.mark.parametrize("activation", ACTIVATIONS.values())
def test_the_shipped_mlp_is_a_chain(activation: str) -> None:
    network = build_network(ModelSpec("mlp", {"hidden": [5, 3], "activation": activation}), 7, 0)
    chain = chain_of(network)
    assert chain == Chain((7, 5, 3, 1), activation)
    assert chain.num_parameters == layout_of(network).num_parameters


def test_logistic_regression_is_a_chain_without_hidden_layers() -> None:
    assert chain_of(build_network(ModelSpec("logistic"), 7, 0)) == Chain((7, 1))


def test_nested_sequences_and_parts_that_do_nothing_are_seen_through() -> None:
    inner = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.0), nn.Tanh())
    assert chain_of(nn.Sequential(inner, nn.Identity(), nn.Linear(4, 1))) == Chain((3, 4, 1), "tanh")


@pytest.mark.parametrize(
    "network",
    [
        build_network(ModelSpec("residual-mlp"), 4, 0),
        build_network(ModelSpec("mlp", {"dropout": 0.5}), 4, 0),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(3, 4), nn.GELU("tanh"), nn.Linear(4, 1)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), Doubled(4, 1)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.ReLU()),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double(),
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 1)),
        nn.Sequential(),
        _shared(),
        _frozen(),
        _hooked(),
    ],
)
def test_everything_else_is_no_chain(network: nn.Module) -> None:
    assert chain_of(network) is None


@pytest.mark.parametrize("arguments", [((3,),), ((3, 2),), ((0, 1),), ((3, 1), "softplus")])
def test_a_chain_checks_itself(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ModelError, match="must be"):
        Chain(*arguments)


def test_recognising_leaves_the_random_stream_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    chain_of(nn.Identity())
    assert torch.equal(torch.rand(1), expected)
