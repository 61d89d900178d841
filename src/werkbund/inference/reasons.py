"""Why a row has its score, in words: what the model went by, with values, units, and what is usual.

Inputs that are one quantity are one reason, and no input is counted twice:

1. Of the derived features that speak for the decision the one that speaks loudest takes with it the raw numbers that
   it is computed from and that speak for it too; then the next does.
2. A raw number that is left goes to a derived feature that is computed from it and lies two standard deviations or
   more from the mean; to the farthest.

Usual is mean ± one standard deviation of all rows that the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.data.features import number_matrix
from werkbund.data.nodes import columns
from werkbund.data.preparation import Preparation
from werkbund.inference.domain import Domain, number, with_unit
from werkbund.model.contract import Explanation

MOST = 3
"""Reasons that are told of a row."""

_LEAST_SHARE = 0.05  # of all that speaks for the decision
_UNUSUAL = 2.0  # standard deviations from the mean


@dataclass(frozen=True)
class Reason:
    """Hold one quantity that speaks for the decision on a row.

    Parameters
    ----------
    name
        Of the derived feature, raw number or category.
    share
        Of all that speaks for the decision.
    text
        In words.
    """

    name: str
    share: float
    text: str


@dataclass(frozen=True)
class Reasons:
    """Tell reasons from what inputs moved scores by.

    Parameters
    ----------
    preparation
        Of the model.
    """

    preparation: Preparation

    def of(self, frame: pl.DataFrame, explanation: Explanation, towards: BoolArray) -> list[tuple[Reason, ...]]:
        """Return the reasons of each row, the weightiest first, at most three, none with a share below a twentieth.

        Parameters
        ----------
        frame
            (rows, columns), in raw units.
        explanation
            What each input moved each row's score by.
        towards
            (rows,), whether the decision is that the label comes, which what raises the score speaks for.
        """
        learnt = self.preparation
        cleaned = self._domain.clean(frame)
        numbers = number_matrix(cleaned, learnt.numeric, learnt.derived)
        levels = [cleaned[name].to_list() for name, _ in learnt.categories]
        parts = explanation.parts * np.where(towards, 1.0, -1.0)[:, None]
        far = self._distances(numbers)
        return [
            self._of_row(
                dict(zip(explanation.names, parts[row].tolist(), strict=True)),
                dict(zip(learnt.numbers, far[row].tolist(), strict=True)),
                dict(zip(learnt.raw_names, [*numbers[row].tolist(), *(column[row] for column in levels)], strict=True)),
            )
            for row in range(frame.height)
        ]

    def _distances(self, numbers: Float64Array) -> Float64Array:
        """Return how far each number is from usual, in standard deviations, 0 where it is missing: (rows, numbers)."""
        with np.errstate(over="ignore"):
            far = np.abs(numbers - self.preparation.mean) / self.preparation.scale
        return np.nan_to_num(far, nan=0.0)

    @cached_property
    def _computed_from(self) -> dict[str, list[str]]:
        return {feature.name: sorted(columns(feature.tree)) for feature in self.preparation.derived}

    def _of_row(
        self, parts: dict[str, float], far: Mapping[str, float], values: Mapping[str, float | str | None]
    ) -> tuple[Reason, ...]:
        grouped = self._grouped(parts, far)
        total = sum(part for part in grouped.values() if part > 0)
        first = sorted(grouped, key=lambda name: -grouped[name])[:MOST]
        shares = {name: grouped[name] / total for name in first if grouped[name] > _LEAST_SHARE * total}
        return tuple(Reason(name, share, self._text(name, values)) for name, share in shares.items())

    def _grouped(self, parts: dict[str, float], far: Mapping[str, float]) -> dict[str, float]:
        """Return what speaks for a decision by quantity: above 0 for it, below 0 against it."""
        groups, left = dict[str, float](), dict(parts)
        for name in sorted(self._computed_from, key=lambda name: -parts[name]):
            groups[name] = left.pop(name)
            if groups[name] > 0:
                for raw in self._computed_from[name]:
                    groups[name] += left.pop(raw) if left.get(raw, 0.0) > 0 else 0.0
        for raw, part in left.items():
            unusual = [name for name, below in self._computed_from.items() if raw in below and far[name] >= _UNUSUAL]
            goes_to = max(unusual, key=lambda name: far[name]) if unusual and part > 0 else raw
            groups[goes_to] = max(groups.get(goes_to, 0.0), 0.0) + part
        return groups

    def _text(self, name: str, values: Mapping[str, float | str | None]) -> str:
        if name not in self._usual:
            return f"{name} {values[name] or 'unknown'}"
        usual = f"usual {' to '.join(number(end) for end in self._usual[name])}"
        below = [self._with_value(raw, values) for raw in self._computed_from.get(name, ()) if raw in self._usual]
        return f"{self._with_value(name, values)} ({'; from '.join([usual, *([', '.join(below)] if below else [])])})"

    def _with_value(self, name: str, values: Mapping[str, float | str | None]) -> str:
        value, unit = float(values[name] or 0.0), self._domain.unit_of(name)
        return f"{plain_name(name, unit)} {with_unit(value, unit) if np.isfinite(value) else 'unknown'}"

    @cached_property
    def _usual(self) -> dict[str, tuple[float, float]]:
        learnt = self.preparation
        pairs = zip(learnt.numbers, learnt.mean, learnt.scale, strict=True)
        return {name: (mean - spread, mean + spread) for name, mean, spread in pairs}

    @cached_property
    def _domain(self) -> Domain:
        return Domain(self.preparation)


def sentence(reasons: tuple[Reason, ...], label: str, towards: bool) -> str:
    """Return reasons for or against the label as one line, each with its share; empty without any."""
    told = "; ".join(f"{reason.text}: {reason.share:.0%}" for reason in reasons)
    return f"{'for' if towards else 'against'} {label}: {told}" if told else ""


def plain_name(name: str, unit: str) -> str:
    """Return a column's name without the unit that stands in brackets behind it, and without underscores.

    Examples
    --------
    >>> plain_name("Torque [Nm]", "Nm"), plain_name("temperature_difference", "K")
    ('Torque', 'temperature difference')
    """
    for bracketed in (f" [{unit}]", f" ({unit})"):
        name = name.removesuffix(bracketed)
    return name.replace("_", " ")
