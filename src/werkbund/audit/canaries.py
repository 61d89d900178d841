"""Canaries in noised training: whether clipping, sampling and noise are what the accountant was told.

A canary is a row, or all rows of a machine, whose gradient lies along an axis of its own, so that the attacker reads
from one run how much each of many canaries moved the sum, and adds nothing to a delivered model. Half of them are in,
by the toss of a coin; the others are rows whose gradient is nothing. What is played is the client's own code: the one
training loop, with the run's rule for gradients and its own draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import chi2, norm
from torch import nn

from werkbund.audit.bounds import Trials, guessed
from werkbund.audit.contract import AttackCard, Reached, noise_in_words
from werkbund.config.sections import Config
from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator, keys
from werkbund.federation.wiring import promise_of
from werkbund.learner import CohortTrainer, LocalObjective, NoisedUnits, TrainingPlan
from werkbund.partition.population import Population
from werkbund.privacy.accounting import GaussianRelease, epsilon

_STEEP = 20.0
"""Length of a canary's gradient before it is clipped, in multiples of the bound."""

_RATE = 1e-6
"""Learning rate: so small that each step meets the same weights."""

_CERTAIN = 0.999


@dataclass(frozen=True)
class Claim:
    """Say what noised training is said to be.

    Parameters
    ----------
    clip, noise
        Greatest length of a unit's gradient, and the noise in multiples of it.
    rate, steps
        Chance of each unit to be in a step, and how many steps.
    delta
        Of the promise.
    """

    clip: float
    noise: float
    rate: float
    steps: int
    delta: float

    @property
    def epsilon(self) -> float:
        """What the accountant says that it costs."""
        return epsilon([GaussianRelease(self.noise, self.steps, self.rate)], self.delta)


@dataclass(frozen=True)
class CanaryResult:
    """Hold what canaries told.

    Parameters
    ----------
    claim
        What was said.
    noise
        What the noise is in one step, in multiples of the bound.
    reach
        How far a unit moves the sum in one step on average, in multiples of the bound; the rate, if all is as claimed.
    is_known
        Whether the noise can be computed from what a server knows, and taken off.
    proven
        What epsilon is at least, at 95 %; where all units are in each step, as of Gaussian noise.
    faults
        What is not as claimed, in words; a claim that holds is taken for broken in one of a thousand plays each.
    """

    claim: Claim
    noise: float
    reach: float
    is_known: bool
    proven: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Canaries:
    """Try whether a run's noised training is what its epsilon was computed for, at a plant of middle size.

    Parameters
    ----------
    number
        How many canaries.
    steps
        At most so many steps are played, and the claim is about as many.
    """

    number: int = 500
    steps: int = 20

    card: ClassVar[AttackCard] = AttackCard(
        "canaries", "the server", "the updates of a plant, and canaries among its units", "Steinke and others, 2023"
    )

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what is proven of epsilon, beside what the accountant says, and what is not as claimed."""
        promise = promise_of(config)
        if promise is None or promise.objective.draws is None:
            raise ConfigError("canaries need privacy.unit row or machine, got none or plant; set it, or leave them out")
        rows = int(np.median(np.diff(population.splits["train"].offsets)))
        how, noise = promise.how(rows), promise.noise_at(rows)
        claim = Claim(promise.clip, noise, how.rate, min(how.steps, self.steps), promise.delta)
        rule = NoisedUnits(promise.clip, lambda rows: noise, promise.seeded)  # as at a plant of so many rows
        told = play_canaries(LocalObjective(rule=rule, draws=promise.objective.draws), claim, self.number)
        proven = f"of {claim.steps} steps epsilon is at least {told.proven:.2g}, at most {claim.epsilon:.2g}"
        says = "; ".join((proven, *told.faults)) if told.faults else f"{proven}; noise, bound and coins as claimed"
        yield Reached(self.card, noise_in_words(config), says, error=float(len(told.faults)))


def play_canaries(
    objective: LocalObjective, claim: Claim, canaries: int = 1000, seed: int = 0, rows_a_unit: int = 1
) -> CanaryResult:
    """Train on canaries once, and once more without any, and compare what comes out with what is claimed.

    Parameters
    ----------
    objective
        The client's: its rule for gradients, and how units enter steps.
    claim
        What the accountant is told of it.
    canaries
        How many; half of them are in, by chance.
    seed
        Of the tosses, and of what a server knows of the client's draws.
    rows_a_unit
        Rows of each canary, where the unit is a machine.
    """
    is_in = generator(seed, "canaries").random(canaries) < 0.5
    scores = _scores(objective, claim, is_in, seed, rows_a_unit)
    replayed = _scores(objective, claim, np.zeros(canaries, np.bool_), seed, rows_a_unit)
    is_known = bool(np.std((scores - replayed)[~is_in]) < 1e-3 * claim.noise * math.sqrt(claim.steps))
    noise = float(np.sqrt(np.mean(scores[~is_in] ** 2) / claim.steps))
    reach = float((scores[is_in].mean() - scores[~is_in].mean()) / claim.steps)
    proven = _proven(scores - replayed if is_known else scores, is_in, claim)
    told = CanaryResult(claim, noise, reach, is_known, proven, ())
    return CanaryResult(claim, noise, reach, is_known, proven, tuple(_faults(told, is_in)))


def _scores(objective: LocalObjective, claim: Claim, is_in: BoolArray, seed: int, rows_a_unit: int) -> Float64Array:
    """Return how far the sum was moved along each canary's axis, in multiples of the bound: (canaries,)."""
    canaries = len(is_in)
    rows = canaries * rows_a_unit
    machines = np.repeat(np.arange(canaries), rows_a_unit)
    features = np.zeros((rows, canaries), np.float32)
    steepness = 2 * _STEEP * claim.clip / rows_a_unit  # the slope of the loss is 1/2 where all weights are 0
    features[np.arange(rows), machines] = np.where(np.repeat(is_in, rows_a_unit), steepness, 0.0)
    modes = np.zeros((rows, 0), np.bool_)
    table = ClientTable(("canaries",), np.array([0, rows]), features, np.zeros(rows, np.float32), modes, (), machines)
    batch = max(round(claim.rate * rows), 1)
    plan = TrainingPlan("sgd", _RATE, weight_decay=0.0, steps=claim.steps, batch_size=batch)
    network = nn.Linear(canaries, 1, bias=False)
    trainer = CohortTrainer(network, plan, canaries, batched=True, compiled=False, objective=objective)
    first = np.zeros(1, np.int64)
    trained = trainer.train(table, first, np.zeros(canaries, np.float32), keys(seed, "training", 1, first))
    expected = canaries * batch / rows
    return np.asarray(-trained.weights[0], np.float64) * expected / (_RATE * claim.clip)


def _proven(scores: Float64Array, is_in: BoolArray, claim: Claim) -> float:
    """Return what epsilon is at least: thresholds are chosen on one half of the canaries, and counted on the other."""
    half = len(scores) // 2
    chosen = _best_threshold(scores[:half], is_in[:half])
    said, true = scores[half:] > chosen, is_in[half:]
    hits, alarms = int((said & true).sum()), int((said & ~true).sum())
    trials = Trials(hits, int(true.sum()), alarms, int((~true).sum()))
    if claim.rate == 1:
        return trials.gaussian_epsilon(claim.delta)
    return max(trials.epsilon(claim.delta, 0.975), guessed(scores, is_in, len(scores) // 5).epsilon(claim.delta, 0.975))


def _best_threshold(scores: Float64Array, is_in: BoolArray) -> float:
    """Return the score above which most more members than others lie."""
    order = np.argsort(-scores)
    shares = np.where(is_in[order], 1 / max(is_in.sum(), 1), -1 / max((~is_in).sum(), 1))
    return float(scores[order][int(np.argmax(np.cumsum(shares)))]) - 1e-12


def _faults(told: CanaryResult, is_in: BoolArray) -> Iterator[str]:
    """Yield what is not as claimed, each at a level of .001."""
    claim, others = told.claim, int((~is_in).sum())
    most = told.noise * math.sqrt(others / float(chi2.ppf(1 - _CERTAIN, others)))
    if most < claim.noise:
        yield f"noise is {told.noise:.3g} times the bound and not {claim.noise:.3g}"
    spread = told.noise**2 * (1 / is_in.sum() + 1 / others) + claim.rate * (1 - claim.rate) / is_in.sum()
    least = told.reach - float(norm.ppf(_CERTAIN)) * math.sqrt(spread / claim.steps)
    if least > claim.rate:
        yield (
            f"a unit moves the sum by {told.reach:.3g} bounds a step and not by {claim.rate:.3g}: it is not clipped, "
            "or is in more steps"
        )
    if told.is_known:
        yield "the noise follows from what the server knows, which takes it off"
    if told.proven > claim.epsilon:
        yield f"epsilon is at least {told.proven:.3g} and not {claim.epsilon:.3g}"
