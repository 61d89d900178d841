"""The rules of Oort as functions: utility, staleness, stragglers, pacer, cut-off, exploration and blacklist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array

_FLAT, _SHARP = 0.1, 5.0
_EDGE = 1e-9
_LOWERED, _NARROW = 0.999, 1e-4  # of the authors' code, not of the paper


def statistical_utility(rows: Float64Array, rms: Float64Array) -> Float64Array:
    """Return what each client teaches, (n,): its rows times the root of its mean squared loss, `rms`.

    Examples
    --------
    >>> statistical_utility(np.array([100.0]), np.array([0.5])).tolist()
    [50.0]
    """
    return np.asarray(rows * rms)


def normalised(utility: Float64Array, quantile: float) -> Float64Array:
    """Return utilities U as (min(U, clip) - 0.999 U_min) / (U_max - 0.999 U_min), (n,); 0 where U is NaN.

    The clip is the value at place ⌊q·n⌋ of the ascending order. U_max is not clipped: it is an outlier that gains
    nothing, and the others keep their proportions. U_min and U_max are over the positive utilities, and the width is
    1e-4 at least. All of it is as in the authors' code.

    Parameters
    ----------
    utility
        (n,), of tried and untried clients alike, not negative.
    quantile
        q in (0, 1]; below 1 / (1 - q) clients nothing is clipped.

    Examples
    --------
    >>> normalised(np.array([1.0, 2.0, np.nan]), 0.95).round(4).tolist(), normalised(np.full(2, 3.0), 0.95).tolist()
    ([0.001, 1.0, 0.0], [1.0, 1.0])
    """
    ordered = np.sort(utility[np.isfinite(utility) & (utility > 0)])
    if not len(ordered):
        return np.zeros(len(utility))
    clip = ordered[min(int(quantile * len(ordered) + _EDGE), len(ordered) - 1)]
    least = _LOWERED * ordered[0]
    width = max(ordered[-1] - least, _NARROW)
    return np.asarray(np.maximum((np.minimum(np.nan_to_num(utility), clip) - least) / width, 0.0))


def staleness_bonus(round: int, last: Float64Array) -> Float64Array:
    """Return sqrt(0.1 ln t / L), (n,), which grows while a client waits: t is this round, L that of its last turn.

    Examples
    --------
    >>> np.round(staleness_bonus(50, np.array([10.0])), 4).tolist()
    [0.1978]
    """
    return np.asarray(np.sqrt(0.1 * np.log(max(round, 1)) / np.maximum(last, 1.0)))


def preferred_seconds(seconds: Float64Array, percentile: float) -> float:
    """Return the duration that this percentage of the known ones do not exceed; inf from 100 on, or if none is known.

    Examples
    --------
    >>> preferred_seconds(np.array([30.0, 10.0, np.nan, 20.0]), 50.0)
    20.0
    """
    known = np.sort(seconds[np.isfinite(seconds)])
    if percentile >= 100.0 or not len(known):
        return np.inf
    return float(known[min(int(len(known) * percentile / 100.0), len(known) - 1)])


def straggler_factor(seconds: Float64Array, preferred: float, penalty: float) -> Float64Array:
    """Return the factor on each client's value, (n,): (T/D)^α where it takes longer than preferred, else 1.

    D is its duration, `seconds`, T the preferred one and α the penalty. The factor is 1 where D is unknown.

    Examples
    --------
    >>> straggler_factor(np.array([120.0, 60.0, np.nan]), 60.0, 2.0).tolist()
    [0.25, 1.0, 1.0]
    """
    slow = np.isfinite(seconds) & (seconds > preferred)
    ratio = np.divide(preferred, seconds, out=np.ones(len(seconds)), where=slow)
    return np.asarray(ratio**penalty)


def paced(percentile: float, gains: Sequence[float], window: int, step: float) -> float:
    """Return the percentile of durations that is preferred after the last two windows of rounds.

    Flat utility (a change of at most 10 %) relaxes it by a step, a change of at least five times tightens it.

    Parameters
    ----------
    percentile
        The one so far, 0 to 100.
    gains
        Utility of each round, the newest last; fewer than two windows change nothing.
    window
        Rounds in a window, W.
    step
        Percentage points, δ.
    """
    if len(gains) < 2 * window:
        return percentile
    before, now = sum(gains[-2 * window : -window]), sum(gains[-window:])
    change = abs(now - before)
    if change <= _FLAT * before:
        return min(100.0, percentile + step)
    if change >= _SHARP * before:
        return max(step, percentile - step)
    return percentile


def exploring(first: float, decay: float, least: float, round: int) -> float:
    """Return the explored share of a round, ε: it decays from the first round on by a factor, down to the least.

    Examples
    --------
    >>> exploring(0.9, 0.98, 0.2, 1), exploring(0.9, 0.98, 0.2, 1000)
    (0.9, 0.2)
    """
    return max(first * decay ** (round - 1), least)


def shared_out(number: int, explored: float, tried: int, untried: int) -> tuple[int, int]:
    """Return how many of a cohort were tried before, and how many were not.

    ⌊ε·k⌋ of the k are explored, where ε is `explored`; where one group is too small the other fills up.

    Examples
    --------
    >>> shared_out(10, 0.35, 50, 50), shared_out(10, 0.35, 2, 50), shared_out(10, 0.35, 50, 1)
    ((7, 3), (2, 8), (9, 1))
    """
    new = min(int(explored * number + _EDGE), untried)
    old = min(number - new, tried)
    return old, min(number - old, untried)


def above_cut_off(scores: Float64Array, number: int, share: float) -> Int64Array:
    """Return the places whose score is at least c times the score of the last of the `number` best, ascending.

    Parameters
    ----------
    scores
        (n,), not negative.
    number
        How many will be drawn of them, at most n; with all of them there is nothing to cut off.
    share
        c in [0, 1].
    """
    if number == 0:
        return np.empty(0, np.int64)
    last = np.sort(scores)[::-1][number - 1]
    return np.flatnonzero(scores >= share * last)


def foremost(priors: Float64Array, number: int, window: float) -> Int64Array:
    """Return the places of the `window` times `number` largest priors, ascending; ties by place."""
    return np.sort(np.argsort(-priors, kind="stable")[: int(window * number + _EDGE)])


def blacklisted(turns: Int64Array, after: int, share: float) -> BoolArray:
    """Return who is asked no more, (n,): those with more turns than `after`, the most used of them up to a share of n.

    Parameters
    ----------
    turns
        (n,)
    after
        B; 0 blacklists nobody.
    share
        In [0, 1).
    """
    out = np.zeros(len(turns), np.bool_)
    if after > 0:
        order = np.argsort(-turns, kind="stable")[: int(share * len(turns) + _EDGE)]
        out[order] = turns[order] > after
    return out
