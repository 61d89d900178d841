"""Scored rows of several clients, the counts of which the tests compare with oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array, Int64Array
from werkbund.evaluation import Counts
from werkbund.learner.counts import bins_of, count_scores


@dataclass(frozen=True)
class Scored:
    """Hold rows whose scores know something about their labels, divided among clients at random."""

    logits: Float64Array
    labels: Float64Array
    modes: BoolArray
    offsets: Int64Array

    @property
    def bins(self) -> Int64Array:
        return bins_of(self.logits)

    @property
    def arrays(self) -> dict[str, AnyArray]:
        return count_scores(self.logits, self.labels, self.modes, self.offsets)

    @property
    def counts(self) -> Counts:
        return Counts.from_arrays(self.arrays)


def make(seed: int, rows: int = 400, clients: int = 5, rate: float = 0.1, num_modes: int = 3) -> Scored:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < rate).astype(float)
    logits = rng.normal(-3.0, 2.0, rows) + rng.uniform(0.5, 4.0) * labels
    modes = rng.random((rows, num_modes)) < 0.4
    cuts = np.sort(rng.integers(0, rows + 1, clients - 1))
    return Scored(logits, labels, modes, np.concatenate(([0], cuts, [rows])))


@pytest.fixture
def scored() -> Callable[..., Scored]:
    return make
