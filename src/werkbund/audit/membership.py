"""Who was a member: whether a row was among those that a model was trained on, told from the model alone.

Members and others are halves of the same clients' training rows, drawn by chance, so that they differ in nothing but
membership; rows of other machines would be told apart by what these machines are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.stats import norm

from werkbund.audit.bounds import Roc, roc_of
from werkbund.audit.contract import AttackCard
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.federation.families.family import family_of
from werkbund.federation.training import train
from werkbund.partition.population import Population, RawTable

_LONGEST = float(np.log(1e7))
"""Probabilities are cut at 1e-7, where single precision ends."""

_ENOUGH_SHADOWS = 64
"""Models of each sort from which on each row has a spread of its own."""

_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Shadows:
    """Hold how sure models are of the true class of each row, and which rows each was trained on.

    Parameters
    ----------
    confidence
        (models, rows), logit of the probability of the true class. The first model is the one that is attacked; the
        second has the other half of the rows, and is left out, so that each row is in as many of the rest as it is not.
    is_in
        (models, rows).
    """

    confidence: Float64Array
    is_in: BoolArray


def shadows(config: Config, population: Population, models: int) -> Shadows:
    """Train the federation again and again, each time on a half of the training rows of each client.

    Parameters
    ----------
    config
        Of the run; where it promises privacy, so do these.
    population
        The clients' rows.
    models
        How many, the attacked one among them; an even number, so that each row is in half of them.

    Raises
    ------
    ConfigError
        If it is odd or below 4.
    """
    if models < 4 or models % 2:
        raise ConfigError(
            f"--shadows must be an even number, 4 or more, got {models}: each row is in half of the models beside the "
            "attacked one"
        )
    if not config.privacy.shared_noise:  # else the model is the same without them
        config = changed(config, privacy={"secure_sums": False})
    halves = np.concatenate([_halves(population, config.federation.seed, pair) for pair in range(models // 2)])
    confidence = [_confidence(config, population, half, number) for number, half in enumerate(halves)]
    return Shadows(np.stack(confidence), halves)


@dataclass(frozen=True)
class LossThreshold:
    """Take a row for a member if the model is sure of its class.

    References
    ----------
    Yeom, Giacomelli, Fredrikson, Jha, "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", CSF
    2018, adversary 2, with every threshold.
    """

    card: ClassVar[AttackCard] = AttackCard(
        "loss threshold", "an outsider", "the delivered model, and the row with its label", "Yeom and others, CSF 2018"
    )

    def scores(self, seen: Shadows) -> Float64Array:
        """Return how likely each row is a member of the attacked model's: (rows,)."""
        return np.asarray(-np.logaddexp(0.0, -seen.confidence[0]))


@dataclass(frozen=True)
class LikelihoodRatio:
    """Compare how sure a model is of a row with how sure others are that were, or were not, trained on it.

    Below 64 models of each sort all rows share one spread, for members and for others each: the official code for a
    fixed variance takes that of the members for both, which is a mistake.

    References
    ----------
    Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First Principles", S&P 2022,
    algorithm 1 (online), and equation 4 (offline).
    """

    offline: bool = False

    card: ClassVar[AttackCard] = AttackCard(
        "likelihood ratio (LiRA)",
        "another plant",
        "the delivered model, the row with its label, and rows enough to train models alike",
        "Carlini and others, S&P 2022",
    )

    def scores(self, seen: Shadows) -> Float64Array:
        """Return how likely each row is a member of the attacked model's: (rows,)."""
        value, others, is_in = seen.confidence[0], seen.confidence[2:], seen.is_in[2:]
        inside, outside = np.where(is_in, others, np.nan), np.where(is_in, np.nan, others)
        mean, spread = _normal(outside)
        if self.offline:
            return np.asarray(norm.cdf((value - mean) / spread))
        mean_in, spread_in = _normal(inside)
        return np.asarray(norm.logpdf(value, mean_in, spread_in) - norm.logpdf(value, mean, spread))


MEMBERSHIP: tuple[LossThreshold | LikelihoodRatio, ...] = (LossThreshold(), LikelihoodRatio())


def members_told(seen: Shadows, attacks: Sequence[LossThreshold | LikelihoodRatio] = MEMBERSHIP) -> Iterator[Roc]:
    """Yield how well each attack tells members from others."""
    for attack in attacks:
        yield roc_of(attack.scores(seen), seen.is_in[0])


def _normal(values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return median and standard deviation of each row over models, (models, rows) with NaN where it is not counted."""
    mean = np.nanmedian(values, axis=0)
    few = np.isfinite(values).sum(axis=0).min() < _ENOUGH_SHADOWS
    spread = np.full(values.shape[1], np.nanstd(values - mean)) if few else np.nanstd(values, axis=0)
    return mean, np.maximum(spread, _LEAST_SPREAD)


def _halves(population: Population, seed: int, pair: int) -> BoolArray:
    """Return a half of each client's training rows and the other half: (2, rows)."""
    offsets = population.splits["train"].offsets
    first = np.zeros(int(offsets[-1]), np.bool_)
    for client in range(len(offsets) - 1):
        begin, end = int(offsets[client]), int(offsets[client + 1])
        drawn = generator(seed, "members", pair, client).permutation(end - begin)
        first[begin + drawn[: (end - begin) // 2]] = True
    return np.stack([first, ~first])


def _confidence(config: Config, population: Population, half: BoolArray, number: int) -> Float64Array:
    """Train on a half of the training rows, and return how sure the model is of the class of each of them all."""
    table = population.splits["train"]
    seeded = changed(config, federation={"seed": config.federation.seed + number})
    splits = {**population.splits, "train": subset(table, half)}
    setup = family_of(config).simulate(seeded, replace(population, splits=splits))
    trained = train(setup)
    frame = table.frame[table.rows]
    logits = setup.model(trained.learnt, trained.threshold.probability, population.schema.label).logits(frame)
    signs = np.where(population.schema.labels(frame) > 0, 1.0, -1.0)
    return np.asarray(np.clip(signs * np.asarray(logits, np.float64), -_LONGEST, _LONGEST))


def subset(table: RawTable, kept: BoolArray) -> RawTable:
    """Return the rows of a table, (rows,), that are kept."""
    before = np.concatenate([[0], np.cumsum(kept)])
    return RawTable(table.frame, table.rows[kept], before[table.offsets], table.modes)
