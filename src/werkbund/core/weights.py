"""Weights as one flat vector with a layout, and the only arithmetic on them.

Aggregation, clipping, masking and norms are then linear algebra on vectors; a cohort's updates are one
(clients, parameters) matrix. The layout's fingerprint travels with every update: with another architecture the
average would have no meaning.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array
from werkbund.core.errors import ModelError
from werkbund.core.text import did_you_mean


@dataclass(frozen=True)
class Layout:
    """Say which slice of a flat vector is which named tensor.

    Parameters
    ----------
    names, shapes
        One entry a tensor, in the order in which they lie in the vector.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes) or len(set(self.names)) != len(self.names):
            raise ModelError(
                f"a layout needs one shape for each of its distinct names, got {self.names}, {self.shapes}"
            )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def num_parameters(self) -> int:
        """Number of parameters of all tensors together."""
        return sum(self.sizes)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as a name or a shape does."""
        text = json.dumps([self.names, self.shapes])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def slices(self) -> dict[str, slice]:
        """Return where each named tensor lies in the vector."""
        ends = np.cumsum((0, *self.sizes))
        return {name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(self.names)}

    def mask(self, patterns: Iterable[str]) -> BoolArray:
        """Return which parameters belong to tensors, or to the layers around them, of these names: (parameters,).

        Parameters
        ----------
        patterns
            Names such as `0` or `0.bias`, or patterns such as `norm*`.

        Raises
        ------
        ModelError
            If a pattern names nothing.

        Examples
        --------
        >>> Layout(("0.weight", "0.bias", "2.weight"), ((1, 2), (1,), (2,))).mask(["0"]).tolist()
        [True, True, True, False, False]
        """
        mask, where = np.zeros(self.num_parameters, np.bool_), self.slices()
        for pattern in patterns:
            named = [name for name in self.names if any(fnmatchcase(part, pattern) for part in _around(name))]
            if not named:
                raise ModelError(
                    f"layers must be among {', '.join(self.names)}, got {pattern!r}{did_you_mean(pattern, self.names)}"
                )
            for name in named:
                mask[where[name]] = True
        return mask

    def only(self, mask: BoolArray) -> Layout:
        """Return the layout of the tensors of which a mask (parameters,) holds all."""
        kept = [i for i, where in enumerate(self.slices().values()) if mask[where].all()]
        return Layout(tuple(self.names[i] for i in kept), tuple(self.shapes[i] for i in kept))

    def split(self, vector: Float32Array) -> dict[str, Float32Array]:
        """Return views into the vector, by name.

        Parameters
        ----------
        vector
            (..., parameters)
        """
        lead = vector.shape[:-1]
        where = self.slices()
        shaped = zip(self.names, self.shapes, strict=True)
        return {name: vector[..., where[name]].reshape((*lead, *shape)) for name, shape in shaped}

    def join(self, tensors: Mapping[str, npt.ArrayLike]) -> Float32Array:
        """Return the flat float32 vector of these tensors.

        Raises
        ------
        ModelError
            If a tensor is missing, unknown or of another shape.
        """
        shapes = {name: tuple(np.shape(tensor)) for name, tensor in tensors.items()}
        expected = dict(zip(self.names, self.shapes, strict=True))
        if shapes != expected:
            raise ModelError(f"tensors must be {expected}, got {shapes}")
        parts = [np.asarray(tensors[name], dtype=np.float32).ravel() for name in self.names]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _around(name: str) -> list[str]:
    """Return a tensor's name and those of the layers that it lies in."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def norm(vector: Float32Array) -> float:
    """Return the Euclidean norm, summed in double precision."""
    return float(np.sqrt(np.einsum("i,i->", vector, vector, dtype=np.float64)))


def norms(matrix: Float32Array) -> Float64Array:
    """Return the Euclidean norm of each row, summed in double precision: (clients,)."""
    squares: Float64Array = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    return np.sqrt(squares)
