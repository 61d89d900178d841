"""Small federations that every test of this folder can afford."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from werkbund.federation import Config, check_config

Small = Callable[..., Config]

SMALL: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 4, "seed": 3},
    "data": {"source": "generator", "rows": 1500, "plants": 3},
    "model": {"kind": "mlp", "hidden": [8]},
    "training": {"batch_size": 64},
}


@pytest.fixture
def small() -> Small:
    """Return a builder of small configurations; sections given replace single keys."""

    def build(**sections: dict[str, Any]) -> Config:
        values = {name: dict(keys) for name, keys in SMALL.items()}
        for name, keys in sections.items():
            values[name] = {**values.get(name, {}), **keys}
        return check_config(values)

    return build
