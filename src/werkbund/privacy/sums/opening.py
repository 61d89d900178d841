"""Secrets put together from shares, each checked against what its plant was bound to, and masks taken off with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from werkbund.core.arrays import UInt64Array
from werkbund.core.errors import FederationError
from werkbund.privacy.sums.messages import NOTHING
from werkbund.privacy.sums.primitives import KEY_BYTES, add_stream, commitment, private_key, public_of
from werkbund.privacy.sums.session import Cohort
from werkbund.privacy.sums.sharing import SHARE_BYTES, combined, lagrange

_TRIES = 2000
"""Sets of shares that are tried where one is wrong."""

_LOST = bytes([NOTHING]) * SHARE_BYTES


class Recovery:
    """Hold the shares that members gave for a sum.

    Parameters
    ----------
    cohort
        Of the sum.
    given
        For each member that answered, its share of one secret of each of the cohort.
    """

    def __init__(self, cohort: Cohort, given: Mapping[int, Sequence[bytes]]) -> None:
        self._cohort, self._given = cohort, given
        self._weights: dict[tuple[int, ...], list[int]] = {}
        self.wrong: set[int] = set()
        """Members that gave a wrong share."""

    def unmask(self, total: UInt64Array, included: Sequence[int]) -> None:
        """Take the masks off the sum of masked words, in place.

        Parameters
        ----------
        total
            (words,)
        included
            Numbers of the plants whose words are in it; the others of the cohort are missing.

        Raises
        ------
        FederationError
            If a secret cannot be put together.
        """
        for number in self._cohort.numbers:
            secret = self._secret(number, number in included)
            if number in included:
                add_stream(secret, total, -1)
            else:
                self._take_off(private_key(secret), number, included, total)

    def _take_off(self, private: X25519PrivateKey, missing: int, included: Sequence[int], total: UInt64Array) -> None:
        """Take off the masks that those in the sum share with one who is missing."""
        for number in included:
            key = self._cohort.mask_key(private, missing, number)
            add_stream(key, total, -1 if number < missing else 1)

    def _secret(self, number: int, is_seed: bool) -> bytes:
        """Return a plant's seed or mask key, and note who gave a wrong share of it."""
        place = self._cohort.numbers.index(number)
        given = {giver: shares[place] for giver, shares in self._given.items() if shares[place] != _LOST}
        shares = {giver: int.from_bytes(content, "big") for giver, content in given.items()}
        for tried, givers in enumerate(islice(self._sets(sorted(shares)), _TRIES)):
            secret = self._combined(givers, shares)
            if secret is not None and self._fits(number, secret, is_seed):
                if tried:
                    self._find_wrong(givers, shares)
                return secret
        name = self._cohort.session.register.name(number)
        raise FederationError(
            f"the shares of {name} for sum {self._cohort.turn} do not fit its keys: it shared others, or too many gave "
            "wrong ones; the sum is lost"
        )

    def _sets(self, givers: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Yield sets of as many givers as are needed, leaving out none, then one, then two: the trusted ones first."""
        trusted = sorted(givers, key=lambda giver: (giver in self.wrong, giver))
        needed = self._cohort.thresholds.threshold
        for num_left_out in range(len(trusted) - needed + 1):
            for left_out in combinations(trusted, num_left_out):
                yield tuple([giver for giver in trusted if giver not in left_out][:needed])

    def _combined(self, givers: tuple[int, ...], shares: Mapping[int, int]) -> bytes | None:
        if givers not in self._weights:
            self._weights[givers] = lagrange(givers)
        value = combined([shares[giver] for giver in givers], self._weights[givers])
        return value.to_bytes(KEY_BYTES, "big") if value < 2 ** (8 * KEY_BYTES) else None

    def _fits(self, number: int, secret: bytes, is_seed: bool) -> bool:
        if is_seed:
            return commitment(secret) == self._cohort.commitment(number)
        return public_of(private_key(secret)) == self._cohort.mask_public(number)

    def _find_wrong(self, right: tuple[int, ...], shares: Mapping[int, int]) -> None:
        """Note whose shares do not lie on the polynomial of those that are right."""
        values = [shares[giver] for giver in right]
        others = (giver for giver in shares if giver not in right)
        self.wrong |= {giver for giver in others if combined(values, lagrange(right, giver)) != shares[giver]}
