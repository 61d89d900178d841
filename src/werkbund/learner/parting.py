"""Which layers of a network are common to all clients and which stay at each, and how both make a whole again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import nn

from werkbund.core.arrays import BoolArray, Float32Array
from werkbund.core.errors import ConfigError
from werkbund.core.weights import Layout
from werkbund.learner.models import layout_of, weights_of

_NORMALISING = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,
)


@dataclass(frozen=True, eq=False)
class Parting:
    """Part the weights of a network, as vectors, into those that travel and those that stay.

    Parameters
    ----------
    layout
        Of the whole network.
    leaves
        (parameters,), which travel.
    first
        (parameters,), the values that what stays begins with.
    """

    layout: Layout
    leaves: BoolArray
    first: Float32Array

    @staticmethod
    def of(network: nn.Module, staying: tuple[str, ...] = ()) -> Parting:
        """Part a network's layers.

        Parameters
        ----------
        network
            Its own weights are what the layers that stay begin with.
        staying
            Names or patterns of these layers.

        Raises
        ------
        ModelError
            If one names nothing.
        """
        layout = layout_of(network)
        return Parting(layout, ~layout.mask(staying), weights_of(network))

    @property
    def is_whole(self) -> bool:
        """Whether all layers travel."""
        return bool(self.leaves.all())

    @cached_property
    def common(self) -> Layout:
        """The layout of what travels."""
        return self.layout if self.is_whole else self.layout.only(self.leaves)

    def names(self, stays: bool) -> tuple[str, ...]:
        """Return the names of the tensors that stay, or of those that travel."""
        return self.layout.only(~self.leaves if stays else self.leaves).names

    def travelling(self, whole: Float32Array) -> Float32Array:
        """Return what travels of vectors, (..., parameters)."""
        return whole if self.is_whole else whole[..., self.leaves]

    def staying(self, whole: Float32Array) -> Float32Array:
        """Return what stays of vectors, (..., parameters)."""
        return whole[..., ~self.leaves]

    def whole(self, common: Float32Array, own: Float32Array | None = None) -> Float32Array:
        """Return whole vectors.

        Parameters
        ----------
        common
            What travels: (common parameters,), or (clients, common parameters). Vectors that are whole already, such
            as those of a client that trained alone, come back as they are.
        own
            What stays, in the same shape but for its last axis; None for what it begins with.
        """
        if common.shape[-1] == len(self.leaves):
            return common
        stays = self.first[~self.leaves] if own is None else own
        rows = np.broadcast_shapes(common.shape[:-1], stays.shape[:-1])
        whole = np.empty((*rows, len(self.leaves)), np.float32)
        whole[..., self.leaves], whole[..., ~self.leaves] = common, stays
        return whole

    def widened(self, common: Float32Array) -> Float32Array:
        """Return vectors over what travels, (..., common parameters), as whole ones that are 0 in what stays."""
        return self.whole(common, np.zeros((*common.shape[:-1], int((~self.leaves).sum())), np.float32))


def last_layer(network: nn.Module) -> str:
    """Return the name of the last layer that trains."""
    return layout_of(network).names[-1].rpartition(".")[0] or layout_of(network).names[-1]


def normalising_layers(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers that normalise and have something to train.

    Raises
    ------
    ConfigError
        If there is none.
    """
    trained = {name.rpartition(".")[0] for name in layout_of(network).names}
    named = [name for name, part in network.named_modules() if isinstance(part, _NORMALISING) and name in trained]
    if not named:
        raise ConfigError(
            "strategy.personal.name = 'fedbn' needs a network with layers that normalise, got one of "
            f"{', '.join(layout_of(network).names)}; take model.kind = residual-mlp, or a network of your own with "
            "LayerNorm, GroupNorm or RMSNorm"
        )
    return tuple(named)
