"""Homomorphic encryption: ciphertexts that a server adds without a key. The alternative where a plant takes no masks.

CKKS through TenSEAL (the extra `ckks`). What masks cost in messages it saves: who drops out costs nothing. What it
costs is custody of the key. All plants hold one secret key and the server must not: a plant that works together with
the server reads everybody's numbers, a plant that leaves keeps the key, and a plant must take the sum out. Threshold
keys, which would end this, are not in TenSEAL. Sums are approximate, so that trees are not the same to the bit.

References
----------
J. H. Cheon, A. Kim, M. Kim, Y. Song, "Homomorphic encryption for arithmetic of approximate numbers", ASIACRYPT 2017.
Decrypted numbers tell of the key where they are handed to others (B. Li, D. Micciancio, "On the security of homomorphic
encryption on approximate numbers", EUROCRYPT 2021): the sum is rounded before it leaves the plant that took it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError, FederationError

try:
    import tenseal
except ImportError:  # the extra is not installed
    tenseal = None

DEGREE = 8192
"""Degree of the polynomial modulus: 128 bits of security with the moduli below."""

SLOTS = DEGREE // 2
"""Numbers that one ciphertext holds."""

_MODULI = [60, 40, 60]  # bits; enough for additions, without a multiplication
_SCALE_BITS = 40
_ROUNDED_BITS = 20  # behind the point: coarser than the noise of encryption, which would tell of the key


class SharedKey:
    """Hold the secret key that all plants of a federation share, and the server must not have.

    Parameters
    ----------
    content
        As `to_bytes` wrote it; None to draw a new key.

    Raises
    ------
    ConfigError
        If TenSEAL is not installed.
    """

    def __init__(self, content: bytes | None = None) -> None:
        if tenseal is None:
            raise ConfigError('homomorphic encryption needs TenSEAL; install it with `pip install "werkbund[ckks]"`')
        self._context = _new_context() if content is None else tenseal.context_from(content)

    def to_bytes(self) -> bytes:
        """Return the key, for the other plants."""
        content: bytes = self._context.serialize(save_secret_key=True)
        return content

    def for_server(self) -> bytes:
        """Return what a server needs to add ciphertexts, and cannot open any with."""
        content: bytes = self._context.serialize(save_secret_key=False)
        return content

    def encrypted(self, numbers: Float64Array) -> list[bytes]:
        """Encrypt numbers, (numbers,), in ciphertexts of `SLOTS` each."""
        pieces = [numbers[begin : begin + SLOTS] for begin in range(0, len(numbers), SLOTS)]
        return [tenseal.ckks_vector(self._context, piece).serialize() for piece in pieces]

    def opened(self, ciphertexts: Sequence[bytes]) -> Float64Array:
        """Decrypt a sum, and round it to multiples of 2^-20: (numbers,)."""
        pieces = [tenseal.ckks_vector_from(self._context, one).decrypt() for one in ciphertexts]
        scaled = np.concatenate([np.asarray(piece, np.float64) for piece in pieces]) * 2.0**_ROUNDED_BITS
        return np.asarray(np.rint(scaled) / 2.0**_ROUNDED_BITS, np.float64)


def added(public: bytes, each: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Add ciphertexts of several plants, without a key that opens them.

    Parameters
    ----------
    public
        As `SharedKey.for_server` wrote it.
    each
        The ciphertexts of each plant, as many and as long for all.

    Raises
    ------
    FederationError
        If a plant sent fewer or more ciphertexts than another.
    """
    if len({len(ciphertexts) for ciphertexts in each}) != 1:
        raise FederationError("all plants must send as many ciphertexts, got different numbers of them")
    context = tenseal.context_from(public)
    return [_sum(context, column).serialize() for column in zip(*each, strict=True)]


def _sum(context: Any, column: Sequence[bytes]) -> Any:
    total = tenseal.ckks_vector_from(context, column[0])
    for one in column[1:]:
        total += tenseal.ckks_vector_from(context, one)
    return total


def _new_context() -> Any:
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=_MODULI)
    context.global_scale = 2.0**_SCALE_BITS
    return context
