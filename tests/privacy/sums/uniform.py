"""What masked bytes are looked at for: whatever tells them from even noise."""

from __future__ import annotations

import numpy as np
from scipy import stats

from werkbund.core.arrays import UInt8Array

SUSPICIOUS = 1e-6
"""A p value below which noise is no even noise; even noise has one as low in one of a million looks."""


def suspicions(rounds: UInt8Array) -> dict[str, float]:
    """Return the p value of each look at (rounds, bytes): small where the bytes are not even noise.

    `bytes`: chi square of their values. `runs`: how often neighbouring bits differ (Wald and Wolfowitz). `differences`:
    chi square of what is between two rounds in a row, where a mask that is used again cancels. `repeats`: whether a
    word of eight bytes comes twice, as it does with a generator of few seeds.
    """
    differences = np.diff(rounds.astype(np.int16), axis=0).astype(np.uint8)
    return {
        "bytes": _evenness(rounds),
        "runs": _runs(np.unpackbits(rounds)),
        "differences": _evenness(differences) if len(differences) else 1.0,
        "repeats": _repeats(rounds),
    }


def _evenness(values: UInt8Array) -> float:
    return float(stats.chisquare(np.bincount(values.ravel(), minlength=256)).pvalue)


def _runs(bits: UInt8Array) -> float:
    ones, number = int(bits.sum()), len(bits)
    runs, zeros = 1 + int((bits[1:] != bits[:-1]).sum()), number - ones
    expected = 1 + 2 * ones * zeros / number
    variance = (expected - 1) * (expected - 2) / (number - 1)
    return float(2 * stats.norm.sf(abs(runs - expected) / np.sqrt(variance)))


def _repeats(rounds: UInt8Array) -> float:
    words = np.ascontiguousarray(rounds[:, : rounds.shape[1] // 8 * 8]).view(np.uint64).ravel()
    pairs = len(words) ** 2 / 2
    repeated = len(words) - len(np.unique(words))
    return float(stats.poisson.sf(repeated - 1, pairs / 2.0**64)) if repeated else 1.0
