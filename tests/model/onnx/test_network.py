from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ModelError
from werkbund.model import TrainedModel, score_onnx

OWN_MODULES = """
import torch
from torch import nn
from torch.nn import functional as F


class Gated(nn.Module):
    def __init__(self, num_features, width=8):
        super().__init__()
        self.value, self.gate = nn.Linear(num_features, width), nn.Linear(num_features, width)

    def forward(self, rows):
        return (self.value(rows) * torch.sigmoid(self.gate(rows))).sum(-1)


class Waves(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(num_features, 6))
        self.frozen = nn.Parameter(torch.randn(6), requires_grad=False)
        self.out = nn.Linear(6, 1)

    def forward(self, rows):
        return self.out(torch.cos(rows @ self.frequencies + self.frozen))


class Sums(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.a = nn.Linear(num_features, 1)
        norm = nn.LayerNorm(num_features, elementwise_affine=False)
        self.b = nn.Sequential(norm, nn.Linear(num_features, 1, bias=False))

    def forward(self, rows):
        return torch.add(self.a(rows), self.b(rows))


class Moody(nn.Linear):
    def __init__(self, num_features):
        super().__init__(num_features, 1)

    def forward(self, rows):
        result = super().forward(rows)
        return result if rows.sum() > 0 else -result


class Restless(nn.Linear):
    def __init__(self, num_features):
        super().__init__(num_features, 1)

    def forward(self, rows):
        return F.dropout(super().forward(rows), 0.5, training=True)


class Exotic(nn.Linear):
    def __init__(self, num_features):
        super().__init__(num_features, 1)

    def forward(self, rows):
        return torch.special.bessel_j0(super().forward(rows))
"""


@pytest.fixture
def make_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model: Any) -> Any:
    name = f"own_modules_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN_MODULES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda kind: make_model(f"{name}:{kind}")


@pytest.mark.parametrize("kind", ["Gated", "Waves", "Sums"])
def test_a_module_of_ones_own_is_exported(kind: str, make_own: Any, table: pl.DataFrame) -> None:
    model = make_own(kind)
    probability, _ = score_onnx(model.to_onnx(), table)
    np.testing.assert_allclose(probability, model.score(table), rtol=0, atol=1e-5)


def test_tensors_that_do_not_train_are_kept(make_own: Any, table: pl.DataFrame, tmp_path: Path) -> None:
    model = make_own("Waves")
    assert set(model.constants) == {"frequencies", "frozen"}
    model.save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(table), model.score(table))
    assert loaded.fingerprint == model.fingerprint


@pytest.mark.parametrize("kind", ["Moody", "Restless"])
def test_a_module_that_the_graph_cannot_follow_is_refused(kind: str, make_own: Any) -> None:
    with pytest.raises(ModelError, match=r"must give the network's probabilities|must be exportable"):
        make_own(kind).to_onnx()


def test_a_module_that_pytorch_cannot_export_is_refused_by_name(make_own: Any) -> None:
    with pytest.raises(ModelError, match="network Exotic must be exportable to ONNX"):
        make_own("Exotic").to_onnx()
