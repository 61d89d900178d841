"""What training promises of a row, a machine or a plant, and what each round of it costs a client.

A promise is about training rows alone. What else leaves a client is not noised, and `NOT_CHARGED` says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from werkbund.aggregation.contract import Aggregator, half_of, needs_of
from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ConfigError
from werkbund.core.methods import name_of
from werkbund.engine.adapting import AdaptiveClip
from werkbund.engine.schedule import RateSchedule
from werkbund.learner.batches import Unit, UnitDraws, num_steps, sampling_rate
from werkbund.learner.objective import LocalObjective, NoisedUnits, UnitSum
from werkbund.learner.plan import TrainingPlan
from werkbund.privacy import Stack
from werkbund.privacy.accounting import GaussianRelease, Release, affordable, epsilon, noise_for
from werkbund.privacy.central import ClippedSum
from werkbund.privacy.shares import NoiseShare, RoundedGradients, RoundedUpdates
from werkbund.selection.contract import Selector

Protected = Literal["none", "row", "machine", "plant"]
"""What a promise is about."""

RELATION = "add or remove one"
"""How neighbouring tables differ."""

NOT_CHARGED = (
    "how many rows and machines a plant has",
    "counts, sums and levels for the common scaling, over training rows",
    "counts of scores of held-out rows, from which round, threshold and verdict follow",
    "durations, and who took part",
)
"""What leaves a client beside its update, without noise; the epsilon of a run does not cover it."""


class Promised(Protocol):
    """Say what is promised, as the configuration's section `privacy` does."""

    @property
    def unit(self) -> Protected:
        """Of what training must not tell."""

    @property
    def clip(self) -> float:
        """Longest gradient of a unit, or update of a plant."""

    @property
    def noise_multiplier(self) -> float | None:
        """Deviation of the noise in multiples of `clip`; None where it follows from the target."""

    @property
    def target_epsilon(self) -> float | None:
        """Epsilon that no plant exceeds; None for none."""

    @property
    def promised_delta(self) -> float:
        """Chance beside epsilon."""

    @property
    def seeded(self) -> bool:
        """Whether noise follows from the run's seed."""

    @property
    def shared_noise(self) -> bool:
        """Whether each plant adds a share of the noise inside secure sums."""

    @property
    def adaptive_clip(self) -> bool:
        """Whether the bound of a plant's update follows the lengths of updates."""


@dataclass(frozen=True)
class Promise:
    """Hold what a run promises of a unit, and count what it costs.

    Parameters
    ----------
    unit, clip, delta
        Of what training must not tell, its longest part of a sum, and the chance beside epsilon.
    noise
        Deviation of the noise in multiples of `clip`; None where it follows from `target`.
    target
        Epsilon that no client exceeds; None for none.
    plan
        How clients train.
    rounds
        That are planned.
    seeded
        Whether noise follows from the run's seed, and protects nobody.
    shared
        Whether clients add shares of the noise inside secure sums: a release is one sum over all of them, and with
        rows or machines a round is one step.
    adaptive
        Whether the bound of a plant's update follows the lengths of updates, and `clip` is the first one.
    """

    unit: Protected
    clip: float
    delta: float
    noise: float | None
    target: float | None
    plan: TrainingPlan
    rounds: int
    seeded: bool = False
    shared: bool = False
    adaptive: bool = False

    @staticmethod
    def of(terms: Promised, plan: TrainingPlan, rounds: int) -> Promise | None:
        """Return what a section promises of training by a plan; None where it names no unit."""
        if terms.unit == "none":
            return None
        noise, target = terms.noise_multiplier, terms.target_epsilon
        flags = bool(terms.seeded), bool(terms.shared_noise), bool(terms.adaptive_clip)
        return Promise(terms.unit, float(terms.clip), terms.promised_delta, noise, target, plan, rounds, *flags)

    @property
    def objective(self) -> LocalObjective:
        """What clients follow: noised units, where each noises for itself; sums of units, where they share noise."""
        if self.unit == "plant":
            return LocalObjective()
        unit: Unit = "row" if self.unit == "row" else "machine"
        if self.shared:
            return LocalObjective(pooled=UnitSum(unit, self.clip))
        return LocalObjective(
            rule=NoisedUnits(self.clip, self.noise_at, self.seeded), draws=UnitDraws(unit, self.seeded)
        )

    @property
    def share(self) -> NoiseShare | None:
        """The noise of which each client adds a share under masks; None where they add none there."""
        return NoiseShare(self.noise_at(1), self.adaptive) if self.shared else None

    @property
    def is_kept_by_clients(self) -> bool:
        """Whether clients add the noise, so that they need trust nobody else with it and can count what it costs."""
        return self.unit != "plant" or self.shared

    def stack(self, seed: int, schedule: RateSchedule) -> Stack:
        """Return the layers through which updates leave; none where each client noises for itself.

        Parameters
        ----------
        seed
            Of the run, by which the server's noise is drawn where it is seeded.
        schedule
            Of the learning rate.
        """
        if self.shared and self.unit != "plant":
            rate = self.plan.learning_rate
            return Stack((RoundedGradients(self.clip, lambda round: rate * schedule.factor(round)),))
        if self.unit != "plant":
            return Stack()
        if self.shared:
            return Stack((RoundedUpdates(self.clip, self.adaptive),))
        return Stack((ClippedSum(self.clip, self.noise_at(1), seed if self.seeded else None, self.adaptive),))

    def bounding(self, rule: Aggregator) -> Aggregator:
        """Return a rule of aggregation whose bound of updates follows their lengths, where that is promised."""
        return AdaptiveClip(rule, self.clip) if self.adaptive else rule

    def noise_at(self, rows: int) -> float:
        """Return the deviation of the noise at a client with so many training rows, in multiples of `clip`."""
        return float(self.noise) if self.noise is not None else _solved(self.how(rows), self.target or 0.0, self.delta)

    def release(self, rows: int, trainings: int) -> Release:
        """Return what a client with so many training rows releases when it trains in so many rounds."""
        return self.how(rows).release(self.noise_at(rows), trainings)

    def epsilon(self, rows: int, trainings: int) -> float:
        """Return the epsilon of a client with so many training rows that has trained in so many rounds."""
        return epsilon([self.release(rows, trainings)] if rows and trainings else [], self.delta)

    def most_trainings(self, rows: AnyArray) -> dict[int, int]:
        """Return in how many rounds each client may train within the target, by number; without those unknown.

        Parameters
        ----------
        rows
            (clients,), training rows of each; 0 or NaN where nobody knows.
        """
        sizes = {client: int(size) for client, size in enumerate(rows.tolist()) if size > 0}
        return {client: _most(self.how(size), self.noise, self.target, self.delta) for client, size in sizes.items()}

    def told(self, rows: AnyArray, trainings: Mapping[int, int], names: Sequence[str]) -> dict[str, Any]:
        """Return what people are told, as values that JSON holds.

        Parameters
        ----------
        rows
            (clients,), training rows of each; 0 or NaN where nobody knows.
        trainings
            In how many rounds each was asked to train, by number.
        names
            Of the clients.
        """
        sizes = [int(size) if size > 0 else 0 for size in rows.tolist()] or [0] * len(names)
        each = enumerate(zip(names, sizes, strict=True))
        spent = [self._spent(name, size, trainings.get(client, 0)) for client, (name, size) in each]
        known = [float(one["epsilon"]) for one in spent if one["epsilon"] is not None]
        return {
            "unit": self.unit,
            "relation": RELATION,
            "delta": self.delta,
            "clip": self.clip,
            "adaptive_clip": self.adaptive,
            "target": self.target,
            "mechanism": (_SHARED if self.shared else _MECHANISMS)[self.unit],
            "seeded": self.seeded,
            "epsilon": max(known, default=None) if all(map(math.isfinite, known)) else None,
            "clients": spent,
            "not_charged": list(NOT_CHARGED),
        }

    def _spent(self, name: str, rows: int, trainings: int) -> dict[str, Any]:
        noise, spent = (self.noise_at(rows), self.epsilon(rows, trainings)) if rows else (None, None)
        return {"client": name, "trainings": trainings, "noise": noise, "epsilon": spent}

    def how(self, rows: int) -> How:
        """Return how a client with so many training rows trains."""
        if self.unit == "plant" or self.shared:
            return How(1.0, 1, self.rounds, self.shared)
        steps = int(num_steps(np.array([rows]), self.plan)[0])
        return How(sampling_rate(rows, self.plan), steps, self.rounds)


class How(NamedTuple):
    """Hold the chance of a unit to be in a release, releases a round, rounds, and whether noise is shared."""

    rate: float
    steps: int
    rounds: int = 1
    shared: bool = False

    def release(self, noise: float, trainings: int) -> Release:
        """Return what so many trainings with this noise release."""
        if self.shared:
            return NoiseShare(noise).release(self.steps * trainings)
        return GaussianRelease(noise, self.steps * trainings, self.rate)


_MECHANISMS: Mapping[str, str] = {
    "row": "each plant clips the gradient of each row and adds Gaussian noise to each step's sum (DP-SGD)",
    "machine": "each plant clips the gradient of each machine, all its rows together, and adds Gaussian noise to each "
    "step's sum (DP-SGD)",
    "plant": "each plant clips its update, and the server adds Gaussian noise to the sum: it is trusted to do so",
}
_SHARED: Mapping[str, str] = {
    "row": "each plant clips the gradient of each row, and adds a share of Skellam noise to their sum under masks: a "
    "round is one step over the rows of all plants",
    "machine": "each plant clips the gradient of each machine, all its rows together, and adds a share of Skellam "
    "noise to their sum under masks: a round is one step over the machines of all plants",
    "plant": "each plant clips its update, and adds a share of Skellam noise to it under masks",
}


@lru_cache(maxsize=4096)
def _most(how: How, noise: float | None, target: float | None, delta: float) -> int:
    if noise is None or target is None:
        return how.rounds
    return affordable(how.release(noise, how.rounds), [], target, delta) // how.steps


@lru_cache(maxsize=4096)
def _solved(how: How, target: float, delta: float) -> float:
    return noise_for(target, delta, lambda noise: [how.release(noise, how.rounds)])


_OF_ROWS = frozenset({"loss", "loss_std", "loss_rms", "train_loss", "norm", "change", "centroids"})
"""Signals of training rows, which nothing noises."""


def check_promise(promise: Promise, selector: Selector, aggregator: Aggregator) -> None:
    """Refuse a method that learns more of training rows than a promise covers, by what it declares.

    Raises
    ------
    ConfigError
        If there is one; names both, and others.
    """
    names = [name_of(one) for one in (selector, aggregator)]
    declared = selector.declaration
    hidden = _OF_ROWS | ({"update"} if promise.unit == "plant" else frozenset[str]())
    if odd := sorted((declared.needs & hidden) | {kind.name for kind in declared.asks}):
        raise ConfigError(
            f"strategy.selection.name must be a method that needs no {', '.join(odd)} with privacy.unit = "
            f"{promise.unit!r}, got {names[0]!r}: nothing noises it; choose all, uniform or md, or drop the unit"
        )
    if odd := sorted(needs_of(aggregator) & hidden):
        raise ConfigError(f"{_rule(promise, names[1])}: it needs the {', '.join(odd)}, which nothing noises; {_OTHERS}")
    if half_of(aggregator) is not None:
        raise ConfigError(f"{_rule(promise, names[1])}: what clients add to their updates is not noised; {_OTHERS}")
    if promise.shared and promise.unit != "plant" and aggregator.weighting != "examples":
        raise ConfigError(
            f"{_rule(promise, names[1])} with weighting {aggregator.weighting!r}: with privacy.shared_noise all rows "
            "count alike; set strategy.aggregation.weighting = 'examples'"
        )
    if promise.unit == "plant" and (aggregator.sees != "sum" or aggregator.weighting != "equal"):
        raise ConfigError(
            f"{_rule(promise, names[1])} with weighting {aggregator.weighting!r}: noise fits a sum in which all plants "
            "count alike; choose fedavg or fedadam with strategy.aggregation.weighting = 'equal'"
        )


_OTHERS = "choose fedavg, fedadam or fedyogi, with training.proximal for FedProx, or drop the unit"


def _rule(promise: Promise, name: str) -> str:
    return f"strategy.aggregation.name must be a rule that fits privacy.unit = {promise.unit!r}, got {name!r}"
