"""A Gaussian process over clients' loss changes: embeddings by marginal likelihood, and the choice it leads to.

The covariance of two clients' changes is the inner product of their embeddings, plus a little noise. It has as few
dimensions as an embedding, so that fitting and choosing take time in proportion to the number of clients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.core.rng import generator

_LEAST = 1e-12  # lower bound of a conditioned variance, against rounding


@dataclass(frozen=True)
class Evidence:
    """Hold loss changes that were seen, prepared for the likelihood.

    Parameters
    ----------
    residuals
        (events, clients), changes less their weighted mean; 0 where none was seen.
    masks
        (distinct, clients), who was seen, one row for each set of clients.
    mask_of
        (events,), the row of `masks` of each event.
    weights
        (events,), what each event counts.
    """

    residuals: Float64Array
    masks: Float64Array
    mask_of: Int64Array
    weights: Float64Array


def evidence(changes: AnyArray, ages: Int64Array, discount: float) -> Evidence:
    """Return changes (events, clients) less the discounted mean of each client; NaN is one that was not seen.

    Parameters
    ----------
    changes
        (events, clients)
    ages
        (events,), in rounds; an event counts discount ** age.
    discount
        gamma
    """
    weights = discount ** ages.astype(np.float64)
    seen = np.isfinite(changes)
    filled = np.where(seen, changes, 0.0).astype(np.float64)
    counted = weights @ seen
    mean = np.divide(weights @ filled, counted, out=np.zeros(len(counted)), where=counted > 0)
    masks, mask_of = np.unique(seen, axis=0, return_inverse=True)
    return Evidence(np.where(seen, filled - mean, 0.0), masks.astype(np.float64), mask_of.reshape(-1), weights)


def likelihood(embeddings: Float64Array, seen: Evidence, noise: float) -> tuple[float, Float64Array]:
    """Return the weighted negative log marginal likelihood, and its gradient by the embeddings, (clients, dimension).

    For an event with residuals r of n clients and K = X X' + noise² I, it is (r' K⁻¹ r + log |K| + n log 2 pi) / 2; K⁻¹
    and |K| come of the small matrix noise² I + X' X (Woodbury).

    References
    ----------
    Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, equations 5.8 and 5.9.
    """
    dimension, variance = embeddings.shape[1], noise**2
    outer = (embeddings[:, :, None] * embeddings[:, None, :]).reshape(len(embeddings), -1)
    inner = variance * np.eye(dimension) + (seen.masks @ outer).reshape(-1, dimension, dimension)
    inverse = np.linalg.inv(inner)[seen.mask_of]
    projected = seen.residuals @ embeddings
    solved = np.einsum("eij,ej->ei", inverse, projected)
    dual = seen.masks[seen.mask_of] * (seen.residuals - solved @ embeddings.T) / variance  # K⁻¹ r: (events, clients)
    numbers = seen.masks.sum(axis=1)
    volumes = (np.linalg.slogdet(inner)[1] + (numbers - dimension) * np.log(variance))[seen.mask_of]
    fits = np.einsum("en,en->e", dual, seen.residuals)
    constant = numbers[seen.mask_of] * np.log(2 * np.pi)
    value = 0.5 * float(seen.weights @ (fits + volumes + constant))
    per_mask = np.zeros((len(seen.masks), dimension, dimension))
    np.add.at(per_mask, seen.mask_of, seen.weights[:, None, None] * inverse)
    spread = (seen.masks.T @ per_mask.reshape(len(per_mask), -1)).reshape(-1, dimension, dimension)
    gradient = np.einsum("nd,ndf->nf", embeddings, spread) - (dual * seen.weights[:, None]).T @ (dual @ embeddings)
    return value, gradient


def fit(embeddings: Float64Array, seen: Evidence, noise: float, steps: int, learning_rate: float) -> Float64Array:
    """Return the embeddings after so many steps of Adam on the negative log marginal likelihood.

    References
    ----------
    Kingma, Ba, "Adam", ICLR 2015, algorithm 1, with its constants.
    """
    found, mean, square = embeddings.copy(), np.zeros_like(embeddings), np.zeros_like(embeddings)
    for step in range(1, steps + 1):
        _, gradient = likelihood(found, seen, noise)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        found = found - learning_rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return found


def first_embeddings(clients: Int64Array, dimension: int) -> Float64Array:
    """Return where embeddings begin, (clients, dimension): normal numbers of length about 1, the same in any run."""
    drawn = [generator(0, "fedcor embeddings", 0, client).standard_normal(dimension) for client in clients.tolist()]
    begun: Float64Array = np.array(drawn).reshape(len(clients), dimension) / np.sqrt(dimension)
    return begun


def correlated(
    embeddings: Float64Array, noise: float, weights: Float64Array, annealing: Float64Array, wanted: int
) -> tuple[list[int], list[float]]:
    """Return places in the order in which they are chosen, and the score of each.

    Take i with the largest a_i / sqrt(S_ii) x sum_j p_j S_ji, then condition on it: S <- S - S_i S_i' / S_ii.

    Parameters
    ----------
    embeddings
        (clients, dimension); S is their inner products plus noise² I.
    noise
        Standard deviation of what the embeddings do not explain.
    weights, annealing
        (clients,) each, p and a.
    wanted
        How many.

    References
    ----------
    Tang, Ning, Wang, Sun, Wang, Li, Chen, CVPR 2022, the client selection of algorithm 1.
    """
    number, least = len(embeddings), max(noise**2, _LEAST)
    variance = (embeddings**2).sum(axis=1) + noise**2
    covered = embeddings @ (weights @ embeddings) + noise**2 * weights
    free, taken, scores = np.ones(number, np.bool_), list[int](), list[float]()
    columns = np.empty((min(wanted, number), number))
    for turn in range(len(columns)):
        gain = np.where(free, annealing * covered / np.sqrt(np.maximum(variance, least)), -np.inf)
        place = int(gain.argmax())
        now = embeddings @ embeddings[place] - columns[:turn, place] @ columns[:turn]
        now[place] += noise**2
        columns[turn] = now / np.sqrt(max(float(now[place]), least))
        covered = covered - columns[turn] * float(columns[turn] @ weights)
        variance = variance - columns[turn] ** 2
        free[place] = False
        taken.append(place)
        scores.append(float(gain[place]))
    return taken, scores
