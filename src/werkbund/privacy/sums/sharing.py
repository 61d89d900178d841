"""A secret in shares: so many of them give it back, and fewer say nothing.

References
----------
A. Shamir, "How to share a secret", Communications of the ACM 22 (1979). The field is that of the least prime above
2^256, so that a key of 32 bytes is one number; a share has 33 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from werkbund.core.errors import FederationError
from werkbund.privacy.sums.primitives import stream_bytes

PRIME = 2**256 + 297
"""Least prime above 2^256."""

SHARE_BYTES = 33
"""Length of a share."""

_WIDE = 48  # bytes of a coefficient before it is reduced: its distance from even is below 2^-127


def coefficients(secret: int, threshold: int, key: bytes) -> list[int]:
    """Return a polynomial whose value at 0 is a secret and whose other coefficients come from the stream of a key.

    Parameters
    ----------
    secret
        Below the prime.
    threshold
        How many shares give it back.
    key
        32 bytes that nobody else knows; used for this polynomial alone.
    """
    drawn = stream_bytes(key, _WIDE * (threshold - 1))
    pieces = (drawn[begin : begin + _WIDE] for begin in range(0, len(drawn), _WIDE))
    return [secret, *(int.from_bytes(piece, "big") % PRIME for piece in pieces)]


def share(polynomial: Sequence[int], number: int) -> int:
    """Return the share of the holder of a number, from 1: the polynomial's value there.

    Examples
    --------
    >>> [share([5, 7, 11], number) for number in (1, 2, 3)]
    [23, 63, 125]
    """
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * number + coefficient) % PRIME
    return value


def lagrange(numbers: Sequence[int], at: int = 0) -> list[int]:
    """Return what the shares of these holders are multiplied by and added up, to give the polynomial's value.

    Parameters
    ----------
    numbers
        Of the holders, from 1, each once.
    at
        Where the value is wanted; the secret is at 0.

    Raises
    ------
    FederationError
        If a number is none, or stands twice.
    """
    if len({number % PRIME for number in numbers} - {0}) < len(numbers):
        raise FederationError(f"holders of shares must have numbers of their own, from 1, got {list(numbers)}")
    weights = []
    for number in numbers:
        above, below = 1, 1
        for other in numbers:
            if other != number:
                above, below = above * (at - other) % PRIME, below * (number - other) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return weights


def combined(shares: Sequence[int], weights: Sequence[int]) -> int:
    """Return a polynomial's value from shares and the weights of their holders.

    Examples
    --------
    >>> combined([23, 63, 125], lagrange([1, 2, 3]))
    5
    """
    return sum(one * weight for one, weight in zip(shares, weights, strict=True)) % PRIME
