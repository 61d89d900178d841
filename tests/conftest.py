"""Small tables of prepared rows, for every test that trains something."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from werkbund.core import ClientSplits, ClientTable

MakeTable = Callable[..., ClientTable]
MakeSplits = Callable[..., ClientSplits]


def _table(sizes: Sequence[int], num_features: int = 4, seed: int = 0, num_modes: int = 1) -> ClientTable:
    """Draw rows whose label follows a noisy linear rule that differs a little from client to client."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(np.asarray(sizes, dtype=np.int64))))
    rows = int(offsets[-1])
    client = np.repeat(np.arange(len(sizes)), sizes)
    features = (rng.normal(size=(rows, num_features)) + 0.2 * client[:, None]).astype(np.float32)
    signal = features @ np.linspace(1, -1, num_features) + rng.normal(0, 0.5, rows)
    labels = (signal > 0.5).astype(np.float32)
    modes = (labels[:, None] > 0) & (rng.random((rows, num_modes)) < 0.5)
    names = tuple(f"plant {i}" for i in range(len(sizes)))
    return ClientTable(names, offsets, features, labels, modes, tuple(f"mode {i}" for i in range(num_modes)))


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Build a table: `make_table(sizes, num_features=4, seed=0, num_modes=1)`."""
    return _table


@pytest.fixture(scope="session")
def make_splits() -> MakeSplits:
    """Build train rows of these sizes, with half as many rows for validation and for testing."""

    def make(sizes: Sequence[int], num_features: int = 4, seed: int = 0) -> ClientSplits:
        half = [size // 2 for size in sizes]
        return ClientSplits(
            _table(sizes, num_features, seed),
            _table(half, num_features, seed + 1),
            _table(half, num_features, seed + 2),
        )

    return make
