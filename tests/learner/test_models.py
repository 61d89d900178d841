from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from werkbund.core import ModelError
from werkbund.learner import ModelSpec, build_network, layout_of, load_weights, logits_of, models, weights_of
from werkbund.learner.models import ACTIVATIONS

Own = Callable[[str], str]

IMPORTS = """
import torch
from torch import nn
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    """Write a module of a user's own; return the import path of its class `Net`."""

    def write(source: str) -> str:
        (tmp_path / "plant_networks.py").write_text(IMPORTS + dedent(source))
        monkeypatch.delitem(sys.modules, "plant_networks", raising=False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(str(tmp_path))
        return "plant_networks:Net"

    yield write
    sys.modules.pop("plant_networks", None)


def _message(kind: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build_network(ModelSpec(kind, options), 4, 0)
    return str(caught.value)


def test_the_seed_decides_the_initial_weights() -> None:
    first, again, other = (weights_of(build_network(ModelSpec("mlp"), 4, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_building_leaves_pytorchs_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    build_network(ModelSpec("mlp", {"dropout": 0.5}), 4, 1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_mlp_has_the_widths_that_were_asked_for() -> None:
    network = build_network(ModelSpec("mlp", {"hidden": [5, 3]}), 4, 0)
    assert layout_of(network).shapes == ((5, 4), (5,), (3, 5), (3,), (1, 3), (1,))


def test_an_mlp_without_hidden_layers_is_logistic_regression() -> None:
    network = build_network(ModelSpec("mlp", {"hidden": []}), 4, 0)
    assert layout_of(network).shapes == layout_of(build_network(ModelSpec("logistic"), 4, 0)).shapes


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["mlp", "residual-mlp"])
def test_every_activation_can_be_used(kind: str, activation: str) -> None:
    network = build_network(ModelSpec(kind, {"activation": activation}), 4, 0)
    assert any(isinstance(part, ACTIVATIONS[activation]) for part in network.modules())


def test_a_residual_block_of_zero_weights_is_the_identity() -> None:
    network = build_network(ModelSpec("residual-mlp", {"width": 6, "depth": 1}), 4, 0)
    block = list(network.children())[1]
    rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, tensor in block.named_parameters():
            if name.startswith("branch"):
                tensor.zero_()
        assert torch.equal(block(rows), rows)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("mlp", {"hidden": [0]}, "model.hidden must be whole numbers >= 1"),
        ("mlp", {"hidden": [8.5]}, "model.hidden must be whole numbers >= 1"),
        ("mlp", {"hidden": 8}, "cannot be built"),
        ("mlp", {"dropout": 1.0}, "model.dropout must be in [0, 1), got 1.0"),
        ("mlp", {"dropout": float("nan")}, "model.dropout must be in [0, 1), got nan"),
        ("mlp", {"activation": "swish"}, "model.activation must be one of relu, gelu, tanh, silu, got 'swish'"),
        ("residual-mlp", {"activation": "swish"}, "model.activation must be one of"),
        ("residual-mlp", {"depth": 0}, "model.width, model.depth must be whole numbers >= 1, got [64, 0]"),
        ("logistic", {"hidden": [3]}, "unexpected keyword argument 'hidden'"),
        ("perceptron", {}, "must be one of logistic, mlp, residual-mlp or 'package.module:Class', got 'perceptron'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_rule(kind: str, options: dict[str, Any], said: str) -> None:
    assert said in _message(kind, **options)


@pytest.mark.parametrize("kind", ["no.such_module:Net", "torch:NoSuchNet", "torch.nn:", ":Net", ".relative:Net"])
def test_a_path_that_does_not_import_says_what_to_give(kind: str) -> None:
    message = _message(kind)
    assert f"model.kind = {kind!r} does not import" in message
    assert "PYTHONPATH" in message


def test_a_module_of_ones_own_is_built_by_its_import_path(own: Own) -> None:
    kind = own(
        """
        class Net(nn.Module):
            def __init__(self, num_features, width=3):
                super().__init__()
                self.down, self.up = nn.Linear(num_features, width), nn.Linear(width, 1)
                self.gain = nn.Parameter(torch.tensor(1.0))

            def forward(self, rows):
                return self.gain * self.up(torch.tanh(self.down(rows))).squeeze(-1)
        """
    )
    network = build_network(ModelSpec(kind, {"width": 2}), 4, 0)
    layout = layout_of(network)
    assert dict(zip(layout.names, layout.shapes, strict=True))["gain"] == ()
    wanted = np.arange(layout.num_parameters, dtype=np.float32)
    load_weights(network, wanted)
    np.testing.assert_array_equal(weights_of(network), wanted)


def test_a_module_with_an_error_in_it_is_a_model_error(own: Own) -> None:
    message = _message(own("raise KeyError('sensor')"))
    assert "does not import" in message
    assert "sensor" in message


def test_a_file_that_is_no_python_is_a_model_error(own: Own) -> None:
    assert "does not import" in _message(own("class Net(:"))


def test_a_constructor_that_fails_is_a_model_error_with_its_signature(own: Own) -> None:
    message = _message(
        own(
            """
            class Net(nn.Module):
                def __init__(self, num_features, width=3):
                    super().__init__()
                    assert width > 5
            """
        )
    )
    assert "cannot be built" in message
    assert "width=3" in message


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        ("return rows @ self.weight, 1", "got tuple"),
        ("return rows", "got (3, 4)"),
        ("return (rows @ self.weight).sum()", "got ()"),
        ("return {}['missing']", "fails on a batch of 3 rows of 4 features"),
        ("assert False", "fails on a batch of 3 rows of 4 features"),
        ("return (rows - rows.mean(0)) @ self.weight", "must score each row by itself"),
        ("return rows[:3] @ self.weight + rows[2] @ self.weight", "batch of one row"),
    ],
)
def test_a_network_that_does_not_score_rows_is_refused(own: Own, forward: str, said: str) -> None:
    kind = own(
        f"""
        class Net(nn.Module):
            def __init__(self, num_features):
                super().__init__()
                self.weight = nn.Parameter(torch.arange(float(num_features)))

            def forward(self, rows):
                {forward}
        """
    )
    assert said in _message(kind)


@pytest.mark.parametrize("statistics", [True, False])
def test_batch_normalisation_is_refused_with_what_to_use_instead(own: Own, statistics: bool) -> None:
    kind = own(
        f"""
        class Net(nn.Sequential):
            def __init__(self, num_features):
                norm = nn.BatchNorm1d(num_features, track_running_stats={statistics})
                super().__init__(norm, nn.Linear(num_features, 1))
        """
    )
    assert "LayerNorm or GroupNorm instead of BatchNorm" in _message(kind)


def test_a_network_without_a_trainable_tensor_is_refused(own: Own) -> None:
    kind = own(
        """
        class Net(nn.Module):
            def __init__(self, num_features):
                super().__init__()

            def forward(self, rows):
                return rows[:, 0]
        """
    )
    assert "has no trainable tensor" in _message(kind)


def test_what_is_no_network_is_refused() -> None:
    assert "must build a torch.nn.Module, got dict" in _message("builtins:dict")


def test_frozen_tensors_do_not_travel() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    network[0].requires_grad_(False)
    assert layout_of(network).names == ("1.weight", "1.bias")


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
    monkeypatch.setattr(models, "_ROWS_A_PASS", 3)
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
