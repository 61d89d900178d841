"""Edges of bins that follow the scores: where rows crowd bins are split, and where nothing is lost they are merged.

The counts of one question choose the edges of the next. An edge between two bins is worth the doubt that their figures
would have more without it, and so is each more part that a bin is cut into; the edges that are worth most are taken.
Every eighth of the standard edges always is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from werkbund.core.arrays import Arrays, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.edges import LARGEST_EDGE, NUM_BINS, STANDARD_EDGES, of_one_score
from werkbund.evaluation.bounds import POSSIBLE_ERROR, average_precision_bounds, roc_auc_bounds
from werkbund.evaluation.counts import Counts
from werkbund.evaluation.ranking import average_precision, roc_auc

LASTING_EDGES = STANDARD_EDGES[7::8]
"""The edges that no choice leaves out."""

_NEAR = 32.0  # so far an open bin is cut in equal steps, and then in equal ratios
_HALVINGS = 40
_MORE_QUESTIONS = 6

Answer = TypeVar("Answer")

MUCH = 10 * POSSIBLE_ERROR
"""A run's rounds count on other edges than before only where figures may be off by more: the best round is chosen by
them, and differences this small do not matter there."""


def possible_error(counts: Counts) -> float:
    """Return by how much average precision or ROC AUC may be off because rows share bins; 0 where neither is defined.

    Rows of several bins that clients have put together have no part in it: no edges would tell them apart.
    """
    alone = counts.without_outer()
    figures = (average_precision(alone), average_precision_bounds(alone)), (roc_auc(alone), roc_auc_bounds(alone))
    return max((bounds.error(figure) for figure, bounds in figures if not np.isnan(figure)), default=0.0)


def asked_well(
    ask: Callable[[Float32Array], Answer],
    read: Callable[[Answer], Sequence[Counts]],
    edges: Float32Array,
    keep: Sequence[float] = (),
) -> Answer:
    """Ask for counts, and again on finer edges as long as figures may be off, and return the best answer.

    Parameters
    ----------
    ask
        Returns an answer on the edges that it is given.
    read
        Returns the counts of an answer, by which it is judged; one that is over fewer rows than the first is no better.
    edges
        Those of the first question.
    keep
        Logits among these edges that stay edges.
    """
    best = answer = ask(edges)
    for _ in range(_MORE_QUESTIONS):
        splits = read(answer)
        if not _worst_error(splits) > POSSIBLE_ERROR:
            return answer
        answer = ask(refined_edges(splits, keep))
        if _rows(read(answer)) < _rows(splits):
            return best
        if _worst_error(read(answer)) <= _worst_error(read(best)):
            best = answer
    return best


def edges_after(counts: Mapping[str, Arrays], edges: Float32Array) -> Float32Array:
    """Return the edges of a run's next question: those of the last, unless its figures may be off by `MUCH`.

    Parameters
    ----------
    counts
        By split, what clients counted on these edges; counts of other targets than two classes are left alone.
    """
    splits = [Counts.from_arrays(arrays, edges=edges) for arrays in counts.values() if "histogram" in arrays]
    return refined_edges(splits) if _worst_error(splits) > MUCH else edges


def with_edge(edges: Float32Array, logit: float) -> Float32Array:
    """Return edges of which the nearest one that may go is moved to a logit, unless one is there already."""
    if np.float32(logit) in edges:
        return edges
    loose = np.setdiff1d(edges, LASTING_EDGES)
    moved = np.delete(loose, np.argmin(np.abs(loose - np.float32(logit))))
    return np.union1d(np.union1d(LASTING_EDGES, moved), np.float32(logit)).astype(np.float32)


def _worst_error(splits: Sequence[Counts]) -> float:
    return max(map(possible_error, splits), default=0.0)


def _rows(splits: Sequence[Counts]) -> int:
    return sum(counts.rows for counts in splits)


def refined_edges(splits: Sequence[Counts], keep: Sequence[float] = ()) -> Float32Array:
    """Return the edges on which the same rows are counted with the least doubt, as far as their counts tell.

    Parameters
    ----------
    splits
        Counts of the sets of rows that are asked for together, on the same edges, at least one.
    keep
        Logits that stay edges, such as that of a threshold.

    Returns
    -------
    edges
        (NUM_BINS - 1,), as `core.edges` has them.
    """
    edges = splits[0].edges
    histograms = [counts.histogram for counts in splits]
    doubt = np.sum([_doubt(histogram) for histogram in histograms], axis=0) * ~of_one_score(edges)
    occupied = np.flatnonzero(np.sum(histograms, axis=(0, 1)))
    between = occupied[1:] - 1  # the edge below each occupied bin but the lowest
    worth = np.sum([_worth(histogram[:, occupied]) for histogram in histograms], axis=0)
    fixed = np.union1d(LASTING_EDGES, np.asarray(keep, np.float32))
    least = _least_worth(doubt, worth, NUM_BINS - 1 - len(fixed))
    chosen = [fixed, edges[between[_kept(worth, least)]]]
    parts = _parts(doubt, least)
    chosen += [_cuts(edges, place, int(parts[place])) for place in np.flatnonzero(parts > 1).tolist()]
    return _filled_up(np.unique(np.concatenate(chosen)), fixed, edges)


def _doubt(histogram: Int64Array) -> Float64Array:
    """Return how much of the doubt about both figures comes from each bin: (bins,), bins rising."""
    negatives, positives = (own[::-1].astype(np.float64) for own in histogram)
    total = positives.sum()
    if not total:
        return np.zeros(len(negatives))
    found, false_alarms = np.cumsum(positives), np.cumsum(negatives)
    best = found / np.maximum(found + false_alarms - negatives, 1.0)
    worst = (found - positives / 2) / np.maximum(found - positives / 2 + false_alarms, 0.5)
    doubt = positives * np.maximum(best - worst, 0.0) / total
    pairs = negatives * positives / (total * max(negatives.sum(), 1.0))
    several = negatives + positives > 1
    return np.asarray(np.where(several, doubt + pairs, 0.0)[::-1])


def _worth(histogram: Int64Array) -> Float64Array:
    """Return how much more doubt there were without the edge between each two neighbouring bins: (bins - 1,)."""
    own, merged = _doubt(histogram), np.zeros(max(histogram.shape[1] - 1, 0))
    for first in (0, 1):  # every other pair at once
        last = histogram.shape[1] - (histogram.shape[1] - first) % 2
        pairs = histogram[:, first:last].reshape(2, -1, 2).sum(axis=2)
        whole = np.concatenate((histogram[:, :first], pairs, histogram[:, last:]), axis=1)
        merged[first : last - 1 : 2] = _doubt(whole)[first : first + pairs.shape[1]]
    return np.asarray(np.maximum(merged - own[1:] - own[:-1], 0.0))


def _least_worth(doubt: Float64Array, worth: Float64Array, most: int) -> float:
    """Return the least that an edge must be worth so that there are at most so many."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high) if low else high / 1e3
        number = _kept(worth, middle).sum() + (_parts(doubt, middle) - 1).sum()
        low, high = (middle, high) if number > most else (low, middle)
    return high


def _kept(worth: Float64Array, least: float) -> BoolArray:
    """Return which edges between bins stay; of neighbours that are worth too little, every other one does."""
    kept, free = worth > least, worth <= 0.0
    places = np.arange(len(worth))
    after = np.append(True, (kept | free)[:-1]) if len(worth) else kept  # where a run of little worth may begin
    dropped = places - np.maximum.accumulate(np.where(after, places, 0))  # how many of its run stand before each
    return np.asarray(kept | (~free & (dropped % 2 == 1)))


def _parts(doubt: Float64Array, least: float) -> Int64Array:
    """Return into how many parts each bin is cut: one more part is worth doubt / parts²."""
    return np.maximum(np.sqrt(doubt / least), 1.0).clip(max=NUM_BINS).astype(np.int64)


def _cuts(edges: Float32Array, place: int, parts: int) -> Float32Array:
    """Return the edges by which a bin is cut into equal parts, and its own."""
    steps = np.linspace(0.0, 1.0, parts + 1)
    if 0 < place < len(edges):
        low, high = edges[place - 1 : place + 1].astype(np.float64)
        return np.asarray(low + steps * (high - low), np.float32)
    near = np.linspace(0.0, _NEAR, parts // 2 + 1)
    far = np.geomspace(_NEAR, LARGEST_EDGE, parts - parts // 2 + 1)[1:]
    away = np.concatenate((near, far))
    cuts = edges[0] - away if place == 0 else edges[-1] + away
    return np.asarray(np.clip(cuts, -LARGEST_EDGE, LARGEST_EDGE), np.float32)


def _filled_up(chosen: Float32Array, fixed: Float32Array, edges: Float32Array) -> Float32Array:
    """Return exactly as many edges as there must be: some of those before or of the standard ones besides, or fewer."""
    missing = NUM_BINS - 1 - len(chosen)
    for others in (edges, STANDARD_EDGES):
        spare = np.setdiff1d(others, chosen)
        if missing > 0:
            chosen = np.union1d(chosen, spare[:missing])
            missing = NUM_BINS - 1 - len(chosen)
    loose = np.setdiff1d(chosen, fixed)
    if missing < 0:
        loose = loose[np.linspace(0, len(loose) - 1, len(loose) + missing).astype(np.int64)]
    return np.asarray(np.union1d(fixed, loose), np.float32)
