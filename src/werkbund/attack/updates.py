"""Attacks that change a client's answer: alone, or with the others' updates in sight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np

from werkbund.attack.contract import Scene
from werkbund.core.arrays import Float64Array
from werkbund.core.methods import check_options, option

_KEY = "attack.options"

_NOISE = "Noise of each attacker's own, as a multiple of what it sends, so that none sends a copy of another."


def _disguised(scene: Scene, update: Float64Array, noise: float) -> Float64Array:
    """Return an update (P,) for each attacker, with noise of its own so many times as long: (m, P)."""
    if not noise:
        return scene.alike(update)
    size = len(update)
    drawn = np.stack([rng.standard_normal(size) for rng in scene.rngs])
    return np.asarray(update + drawn * (noise * float(np.linalg.norm(update)) / math.sqrt(max(size, 1))))


@dataclass(frozen=True)
class SignFlip:
    """Send the opposite of an honest update: -kappa * d."""

    kappa: float = option(5.0, "What the opposite of the honest update is multiplied by.", above=0)

    name: ClassVar[str] = "sign-flip"
    what: ClassVar[str] = "sends the opposite of its update, scaled"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return the opposite updates."""
        return -self.kappa * scene.own


@dataclass(frozen=True)
class Gaussian:
    """Send noise: N(0, s^2) for each parameter, s a multiple of the root mean square of the honest update.

    Parameters
    ----------
    scale
        That multiple: with 1, noise is as long as the update.
    additive
        Whether noise is added to the update, or stands in its place.

    References
    ----------
    Blanchard et al., "Machine Learning with Adversaries", NIPS 2017, section 5. Their s is a number, here it follows
    the update, so that one value fits any model.
    """

    scale: float = option(10.0, "Length of the noise as a multiple of the honest update's.", above=0)
    additive: bool = option(False, "Whether the noise is added to the update, or stands in its place.")

    name: ClassVar[str] = "gaussian"
    what: ClassVar[str] = "sends noise"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return the noise, drawn for each attacker and round."""
        size = scene.own.shape[1]
        lengths = np.linalg.norm(scene.own, axis=1, keepdims=True) / math.sqrt(max(size, 1))
        noise = self.scale * lengths * np.stack([rng.standard_normal(size) for rng in scene.rngs])
        return np.asarray(scene.own + noise if self.additive else noise)


@dataclass(frozen=True)
class InnerProduct:
    """Send -epsilon times the others' mean update.

    A small epsilon leaves the mean its direction and deceives rules by distance; a large one turns it round.

    References
    ----------
    Xie, Koyejo, Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation", UAI 2019.
    """

    epsilon: float = option(0.5, "What the others' mean update is multiplied by, with a minus.", above=0)
    noise: float = option(0.0, _NOISE, at_least=0)

    name: ClassVar[str] = "ipm"
    what: ClassVar[str] = "sends the opposite of the others' mean update, scaled (inner-product manipulation)"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return the opposite of the mean, for all attackers alike but for noise."""
        return _disguised(scene, -self.epsilon * scene.mean, self.noise)


@dataclass(frozen=True)
class LittleIsEnough:
    """Send the others' mean less z of their standard deviations, which hides among them.

    With n clients asked and m attackers: s = floor(n/2 + 1) - m, p = (n - m - s) / (n - m), z = quantile of the normal
    distribution at p. Below 0 it counts as 0: then the attack does nothing. With s <= 0 the attackers own the median,
    and z is `most`.

    Parameters
    ----------
    z
        In place of the formula's; None for the formula.
    most
        What the formula's z is cut at.

    References
    ----------
    Baruch, Baruch, Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed Learning", NeurIPS 2019,
    algorithm 3. Standard deviations are divided by the number of updates, not by one less.
    """

    z: float | None = option(None, "Standard deviations; left out, as many as the formula says.", at_least=0)
    most: float = option(3.0, "What the formula's standard deviations are cut at.", above=0)
    noise: float = option(0.0, _NOISE, at_least=0)

    name: ClassVar[str] = "alie"
    what: ClassVar[str] = "sends the others' mean less a few of their standard deviations (a little is enough)"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def strength(self, num_clients: int, num_attackers: int) -> float:
        """Return the z that is used where so many clients are asked, attackers among them."""
        if self.z is not None:
            return self.z
        honest = num_clients - num_attackers
        share = 1.0 if honest < 1 else (honest - (num_clients // 2 + 1 - num_attackers)) / honest
        if share >= 1:
            return self.most
        return min(max(NormalDist().inv_cdf(share), 0.0), self.most) if share > 0 else 0.0

    def sent(self, scene: Scene) -> Float64Array:
        """Return the same update for all attackers, but for noise."""
        strength = self.strength(scene.num_clients, len(scene.own))
        return _disguised(scene, scene.mean - strength * scene.spread, self.noise)


Direction = Literal["unit", "sign", "std"]

_DIRECTIONS: dict[str, Callable[[Scene], Float64Array]] = {
    "unit": lambda scene: -scene.mean / max(float(np.linalg.norm(scene.mean)), np.finfo(np.float64).tiny),
    "sign": lambda scene: -np.sign(scene.mean),
    "std": lambda scene: -scene.spread,
}


def _distances(updates: Float64Array) -> Float64Array:
    """Return the squared distance of each two updates: (b, b)."""
    centred = updates - updates.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    return np.asarray(np.maximum(squares[:, None] + squares[None, :] - 2.0 * centred @ centred.T, 0.0))


def _along(scene: Scene, direction: str) -> tuple[Float64Array, float, Float64Array, Float64Array]:
    """Return the direction p, and of |mean + gamma p - x_i|^2 the factors of gamma^2 and gamma and the rest: (b,)."""
    pushed = _DIRECTIONS[direction](scene)
    apart = scene.mean - scene.benign
    return pushed, float(pushed @ pushed), 2.0 * (apart @ pushed), np.einsum("ij,ij->i", apart, apart)


def _largest(square: float, linear: Float64Array, rest: Float64Array) -> float:
    """Return the largest gamma >= 0 with square * gamma^2 + linear * gamma + rest <= 0 for each of these; 0 if none."""
    if square == 0:
        return 0.0
    roots = (-linear + np.sqrt(np.maximum(linear**2 - 4.0 * square * rest, 0.0))) / (2.0 * square)
    return max(float(roots.min()), 0.0)


_PUSH = "Where the update is pushed: against the mean (unit), its signs (sign), or the standard deviations (std)."


@dataclass(frozen=True)
class MinMax:
    """Send mean + gamma * p, as far as no benign update is further away than the two furthest are from one another.

    References
    ----------
    Shejwalkar, Houmansadr, "Manipulating the Byzantine", NDSS 2021, equation 6. Gamma is the root of the quadratic
    inequality, where the paper halves intervals.
    """

    direction: Direction = option("std", _PUSH)
    noise: float = option(0.0, _NOISE, at_least=0)

    name: ClassVar[str] = "min-max"
    what: ClassVar[str] = "pushes the others' mean as far as the two furthest of them are apart"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return the same update for all attackers, but for noise."""
        pushed, square, linear, rest = _along(scene, self.direction)
        gamma = _largest(square, linear, rest - float(_distances(scene.benign).max()))
        return _disguised(scene, scene.mean + gamma * pushed, self.noise)


@dataclass(frozen=True)
class MinSum:
    """Send mean + gamma * p, as far as its squared distances sum to no more than those of any benign update.

    References
    ----------
    Shejwalkar, Houmansadr, "Manipulating the Byzantine", NDSS 2021, equation 7: the bound is the largest of the benign
    updates' sums; the authors' code takes the smallest. Gamma is the root of the quadratic inequality.
    """

    direction: Direction = option("std", _PUSH)
    noise: float = option(0.0, _NOISE, at_least=0)

    name: ClassVar[str] = "min-sum"
    what: ClassVar[str] = "pushes the others' mean as far as the sum of distances of one of them"
    watches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return the same update for all attackers, but for noise."""
        pushed, square, linear, rest = _along(scene, self.direction)
        bound = float(_distances(scene.benign).sum(axis=1).max())
        gamma = _largest(len(rest) * square, linear.sum(keepdims=True), rest.sum(keepdims=True) - bound)
        return _disguised(scene, scene.mean + gamma * pushed, self.noise)


@dataclass(frozen=True)
class FreeRider:
    """Send no work of one's own, but count with all rows: nothing, or noise that looks like an update.

    Noise is N(0, (phi / t)^2) for each parameter in round t, phi being the standard deviation of the last change of the
    weights that the client was sent; before it knows one, it sends nothing.

    References
    ----------
    Fraboni, Vidal, Lorenzi, "Free-rider Attacks on Model Aggregation in Federated Learning", AISTATS 2021, section 3.
    There phi stays as it was in the first round; here it follows the weights.
    """

    disguised: bool = option(False, "Whether it sends noise that looks like an update, or nothing.")

    name: ClassVar[str] = "free-rider"
    what: ClassVar[str] = "does no work, and takes the model"
    watches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def sent(self, scene: Scene) -> Float64Array:
        """Return zeros, or noise."""
        nothing = np.zeros_like(scene.own)
        if not self.disguised:
            return nothing
        noise = np.stack([rng.standard_normal(scene.own.shape[1]) for rng in scene.rngs])
        return np.asarray(scene.moved[:, None] / scene.round * noise)
