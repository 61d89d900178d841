"""How well an attack tells members from others, and what epsilon that proves at least.

An accountant bounds epsilon from above; an attack that succeeds bounds it from below. If the lower bound lies above the
upper one, the mechanism is not the one that was accounted for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import beta, binom
from sklearn.metrics import roc_auc_score, roc_curve

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.privacy.accounting import gaussian_epsilon

_MOST_EPSILON = 60.0


@dataclass(frozen=True)
class Roc:
    """Hold how well scores tell members from others.

    Parameters
    ----------
    auc
        Area under the curve of true against false positive rates; .5 is chance.
    at_1_percent
        True positive rate where at most 1 % of the others are taken for members; the threshold is chosen in hindsight.
    advantage
        The largest difference of the two rates.
    members, others
        How many there were.
    """

    auc: float
    at_1_percent: float
    advantage: float
    members: int
    others: int


def roc_of(scores: Float64Array, is_member: BoolArray) -> Roc:
    """Return how well scores, (rows,), tell members from others.

    Raises
    ------
    ConfigError
        If there are no members, or none but members.
    """
    members, others = int(is_member.sum()), int((~is_member).sum())
    if not members or not others:
        raise ConfigError(f"an attack needs members and others to tell apart, got {members} and {others} rows")
    false, true, _ = roc_curve(is_member, scores)
    best = float(true[false <= 0.01].max(initial=0.0))
    return Roc(float(roc_auc_score(is_member, scores)), best, float((true - false).max()), members, others)


@dataclass(frozen=True)
class Trials:
    """Hold guesses about a canary over many runs, with a threshold that was chosen on other runs.

    Parameters
    ----------
    hits, runs_with
        How often it was said to be in, among the runs that it was in.
    alarms, runs_without
        How often it was said to be in, among the others.
    """

    hits: int
    runs_with: int
    alarms: int
    runs_without: int

    def rates(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return a lower bound of the true and an upper bound of the false positive rate, both at once.

        References
        ----------
        Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 1934; half of 1 - confidence each.
        """
        each = (1 - confidence) / 2
        hits, alarms = self.hits, self.alarms
        true = float(beta.ppf(each, hits, self.runs_with - hits + 1)) if hits else 0.0
        is_full = alarms == self.runs_without
        false = 1.0 if is_full else float(beta.ppf(1 - each, alarms + 1, self.runs_without - alarms))
        return true, false

    def epsilon(self, delta: float, confidence: float = 0.95) -> float:
        """Return what epsilon is at least, for whatever mechanism.

        References
        ----------
        Jagielski, Ullman, Oprea, "Auditing Differentially Private Machine Learning", NeurIPS 2020; both sides of the
        trade-off as in Nasr and others, "Tight Auditing of Differentially Private Machine Learning", USENIX 2023.
        """
        true, false = self.rates(confidence)
        sides = ((true - delta, false), (1 - false - delta, 1 - true))
        return max([0.0, *(math.log(above / below) for above, below in sides if above > 0 and below > 0)])

    def gaussian_epsilon(self, delta: float, confidence: float = 0.95) -> float:
        """Return what epsilon is at least if the mechanism adds Gaussian noise once, which tells much more.

        References
        ----------
        Nasr and others, "Tight Auditing of Differentially Private Machine Learning", USENIX 2023, section 4.
        """
        true, false = self.rates(confidence)
        return gaussian_epsilon(float(ndtri(true) - ndtri(false)), delta)


@dataclass(frozen=True)
class OneRun:
    """Hold guesses about many canaries in one run, each of which was in it by the toss of a coin.

    Parameters
    ----------
    canaries
        How many were tossed for.
    guesses
        About how many of them something was said; fixed before.
    right
        How many of these guesses were right.
    """

    canaries: int
    guesses: int
    right: int

    def chance(self, epsilon: float, delta: float) -> float:
        """Return a bound of the chance of as many right guesses if a mechanism keeps epsilon and delta.

        References
        ----------
        Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, theorem 5.2.
        """
        right = 1 / (1 + math.exp(-epsilon))
        below = binom.cdf(self.right - 1 - np.arange(self.right + 1), self.guesses, right)
        at_least = float(binom.sf(self.right - 1, self.guesses, right))
        if not self.right or not delta:
            return min(at_least, 1.0)
        steps = np.arange(1, self.right + 1)
        return min(at_least + 2 * self.canaries * delta * float(((below[0] - below[1:]) / steps).max()), 1.0)

    def epsilon(self, delta: float, confidence: float = 0.95) -> float:
        """Return what epsilon is at least."""

        def excess(epsilon: float) -> float:
            return self.chance(epsilon, delta) - (1 - confidence)

        if excess(0.0) >= 0:
            return 0.0
        return float(brentq(excess, 0.0, _MOST_EPSILON, xtol=1e-9)) if excess(_MOST_EPSILON) > 0 else _MOST_EPSILON


def guessed(scores: Float64Array, is_in: BoolArray, guesses: int) -> OneRun:
    """Return the guesses that scores give: in for the highest, out for the lowest, nothing said of those between.

    Parameters
    ----------
    scores
        (canaries,), higher where the attacker takes it to be in.
    is_in
        (canaries,), whether it was.
    guesses
        How many are made, half of them either way; fixed before.
    """
    order, half = np.argsort(-scores, kind="stable"), guesses // 2
    right = int(is_in[order[:half]].sum()) + int((~is_in[order[len(order) - half :]]).sum())
    return OneRun(len(scores), 2 * half, right)
