"""Randomness by address: every draw is a function of (seed, purpose, round, client).

There is no global generator. A resumed run, another grid, or another order of arrival asks for the same address and
gets the same numbers. Keys for many clients are computed at once, and a shuffle is a sort by hashed keys, so that a
whole cohort draws its batches in a few vector operations and a single client draws exactly the same ones. The one
exception is `secret_generator`, for noise that nobody may draw again.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import Int64Array, UInt64Array

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: UInt64Array) -> UInt64Array:
    """Scramble 64-bit integers with the finaliser of SplitMix64.

    References
    ----------
    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17 (constants of
    variant 13 by D. Stafford).
    """
    z = values.copy()
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def keys(seed: int, purpose: str, round: int, clients: npt.ArrayLike) -> UInt64Array:
    """Return one 64-bit key for each client number, for this seed, purpose and round.

    Examples
    --------
    >>> a = keys(1, "batches", 3, [0, 1, 2])
    >>> bool(a[2] == keys(1, "batches", 3, [2])[0])
    True
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{round}".encode(), digest_size=8).digest()
    base = np.uint64(int.from_bytes(digest, "little"))
    numbers = np.atleast_1d(np.asarray(clients)).astype(np.uint64)
    return mix(mix((numbers + np.uint64(1)) * _GOLDEN) ^ base)


def generator(seed: int, purpose: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """Return NumPy's generator for one address."""
    return np.random.Generator(np.random.PCG64(int(keys(seed, purpose, round, client)[0])))


def stream(key: int) -> np.random.Generator:
    """Return the generator of a key that came with a task."""
    return np.random.Generator(np.random.PCG64(int(key)))


def secret_generator() -> np.random.Generator:
    """Return a generator that nobody can make again, from 256 bits of the operating system's entropy.

    PCG64 DXSM is no cryptographic generator: a state of it must not be guessed from what it drew, which noise on sums
    of unknown numbers does not show.
    """
    seed = int.from_bytes(os.urandom(32), "little")
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))


def derived_seed(seed: int, purpose: str, round: int = 0, client: int = 0) -> int:
    """Return a 63-bit seed for one address, for libraries that take nothing but an integer."""
    return int(keys(seed, purpose, round, client)[0] >> np.uint64(1))


def derived_keys(client_keys: UInt64Array, purpose: str, number: int) -> UInt64Array:
    """Return a key for each client's key, this purpose and this number, such as that of a step: (clients,).

    Examples
    --------
    >>> many = keys(0, "training", 1, [3, 4])
    >>> bool(derived_keys(many, "noise", 5)[1] == derived_keys(many[1:], "noise", 5)[0])
    True
    """
    digest = hashlib.blake2b(f"{purpose}/{number}".encode(), digest_size=8).digest()
    return mix(mix(client_keys + _GOLDEN) ^ np.uint64(int.from_bytes(digest, "little")))


def shuffles(client_keys: UInt64Array, epoch: int, sizes: npt.ArrayLike) -> Int64Array:
    """Shuffle each client's row numbers 0..n-1.

    Parameters
    ----------
    client_keys
        (clients,)
    epoch
        Number of the pass over the rows; each pass has its own order.
    sizes
        (clients,), number of rows n of each client.

    Returns
    -------
    orders
        (clients, largest n). The first n entries of a row are a permutation of 0..n-1, and the same whatever the
        other clients' sizes; those behind are numbers >= n.

    Examples
    --------
    >>> many = shuffles(keys(0, "batches", 0, [7, 8]), 0, [5, 9])
    >>> alone = shuffles(keys(0, "batches", 0, [7]), 0, [5])
    >>> bool((many[0, :5] == alone[0]).all()), sorted(many[1].tolist()) == list(range(9))
    (True, True)
    """
    lengths = np.atleast_1d(np.asarray(sizes, dtype=np.int64))
    width = int(lengths.max(initial=0))
    steps = (np.arange(width, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    offset = mix(np.atleast_1d(np.uint64(epoch)) + np.uint64(1))
    hashed = mix((client_keys ^ offset)[:, None] + steps[None, :])
    hashed[np.arange(width)[None, :] >= lengths[:, None]] = np.iinfo(np.uint64).max
    return np.argsort(hashed, axis=1, kind="stable").astype(np.int64)
