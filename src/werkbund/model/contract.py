"""What prediction, export, delivery, card and report see of a model: nobody of them asks of which kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array, FloatingArray
from werkbund.core.target import NumberTarget, Target
from werkbund.data.preparation import Preparation


@dataclass(frozen=True)
class Explanation:
    """Say what moved each row's score.

    Parameters
    ----------
    names
        Of the inputs: raw numbers, derived features, categories.
    parts
        (rows, names), what each input moved the score by, up or down.
    expected
        The score where nothing is known of a row.
    scale
        What is moved: `logit` or `probability`.
    additive
        Whether a row's parts and `expected` add up to its score.
    """

    names: tuple[str, ...]
    parts: Float64Array
    expected: float
    scale: str
    additive: bool


class Model(Protocol):
    """Score machines from a table in raw units."""

    @property
    def preparation(self) -> Preparation:
        """From raw units to what is learnt from."""

    @property
    def threshold_probability(self) -> float:
        """A row is decided positive if its probability is at least this."""

    @property
    def label(self) -> str:
        """Name of what the probability is about."""

    @property
    def target(self) -> Target:
        """What is foretold."""

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as anything that decides a score does."""

    def logits(self, frame: pl.DataFrame) -> FloatingArray:
        """Return one logit for each row of a table in raw units: (rows,)."""

    def score(self, frame: pl.DataFrame) -> Float64Array:
        """Return the probability of each row: (rows,)."""

    def foretell(self, frame: pl.DataFrame) -> Float64Array | None:
        """Return the number that is foretold for each row, (rows,); None where none is."""

    def decide(self, frame: pl.DataFrame) -> BoolArray:
        """Return whether each row's probability reaches the threshold: (rows,)."""

    def explain(self, frame: pl.DataFrame) -> Explanation:
        """Return for each row how much each feature moved its score."""

    def about(self) -> Mapping[str, Any]:
        """Return what the card says of it: kind, options, number of parameters, features."""

    def to_onnx(self) -> bytes:
        """Return the model as one ONNX graph that takes raw units."""

    def save(self, folder: Path) -> None:
        """Write the model as files that hold values and no code; `load_model` reads them."""


def numbers_of(model: Model, frame: pl.DataFrame) -> Float64Array | None:
    """Return the numbers that a model's risks foretell, (rows,); None where it foretells failures."""
    target = model.target
    return target.numbers(model.logits(frame)) if isinstance(target, NumberTarget) else None
