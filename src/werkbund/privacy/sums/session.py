"""What plants and server of one session know alike, and what every signature, mask and seal of it is bound to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from werkbund.core.arrays import AnyArray, Arrays
from werkbund.core.errors import ClientError
from werkbund.privacy.sums.messages import (
    OFFER_BYTES,
    as_bytes,
    as_numbers,
    as_row,
    number_in,
    numbers_in,
    one_row,
    raw,
)
from werkbund.privacy.sums.primitives import KEY_BYTES, SIGNATURE_BYTES, agreed, derived, digest, joined
from werkbund.privacy.sums.register import Register, Thresholds


@dataclass(frozen=True)
class Session:
    """Hold who shares secrets with whom from one exchange of keys to the next.

    Its digest holds everybody's new key, so that nothing of another session, run or register fits into it.

    Parameters
    ----------
    register
        Who may take part.
    run
        Names the run.
    members
        Numbers of those that do, ascending.
    exchanges
        (members,), the public key under which shares are sealed for each.
    """

    register: Register
    run: str
    members: tuple[int, ...]
    exchanges: tuple[bytes, ...]

    @classmethod
    def of(cls, register: Register, run: str, message: Arrays) -> Session:
        """Return the session of a message that holds all members' keys.

        Raises
        ------
        ClientError
            If a key is not signed by its plant's registered key.
        ConfigError
            If there are too few members.
        """
        members = numbers_in(message, "members", register.numbers)
        exchanges = raw(message, "exchanges", KEY_BYTES, len(members))
        signatures = raw(message, "signatures", SIGNATURE_BYTES, len(members))
        for number, exchange, signature in zip(members, exchanges, signatures, strict=True):
            register.check_exchange(run, number, exchange, signature)
        session = cls(register, run, members, tuple(exchanges))
        session.thresholds()
        return session

    @cached_property
    def digest(self) -> bytes:
        """What every signature, mask and seal is bound to: 32 bytes."""
        plants = (part for plant in zip(self.members, self.exchanges, strict=True) for part in plant)
        return digest("session", self.run, self.register.digest, *plants)

    def exchange(self, number: int) -> bytes:
        """Return the public key under which shares are sealed for a member."""
        return self.exchanges[self.members.index(number)]

    def thresholds(self, cohort: int | None = None) -> Thresholds:
        """Return what a sum over so many members needs; all of them unless said otherwise."""
        return self.register.thresholds(len(self.members), cohort)

    def offer_signed(self, number: int, turn: int, offer: bytes) -> tuple[bytes | int, ...]:
        """Return what a plant signs of its keys for a sum."""
        return self.digest, turn, number, offer

    def check_offer(self, number: int, turn: int, offer: bytes, signature: bytes) -> None:
        """Raise ClientError unless a member signed these keys for this sum."""
        if not self.register.is_signed(number, signature, "offer", *self.offer_signed(number, turn, offer)):
            name = self.register.name(number)
            raise ClientError(
                f"the keys of {name} for sum {turn} are not signed by its registered key; somebody put in others"
            )

    def cohort(self, turn: int, numbers: Sequence[int], offers: Sequence[bytes], layout: bytes) -> Cohort:
        """Return those who are asked for numbers, each with its keys for this sum, and how these become words."""
        return Cohort(self, turn, tuple(numbers), tuple(offers), layout)

    def cohort_in(self, message: Arrays) -> Cohort:
        """Return the cohort that a message names.

        Raises
        ------
        ClientError
            If it names none, or fewer than a sum needs, or somebody who is no member.
        """
        turn, numbers = number_in(message, "turn"), numbers_in(message, "cohort", self.members)
        layout = one_row(message, "layout", KEY_BYTES)
        cohort = self.cohort(turn, numbers, raw(message, "offers", OFFER_BYTES, len(numbers)), layout)
        cohort.check_size(len(numbers), "were asked")
        return cohort

    def share_context(self, turn: int, sender: int, receiver: int, offer: bytes) -> bytes:
        """Return what the key of sealed shares is derived for, and what they are bound to: other secrets, another key.

        Parameters
        ----------
        turn, sender, receiver
            Whose shares for whom.
        offer
            The sender's keys for this sum.
        """
        return joined(self.digest, turn, sender, receiver, offer)


@dataclass(frozen=True)
class Cohort:
    """Hold those who are asked for numbers for one sum, and their keys for it.

    Parameters
    ----------
    session
        In which they share secrets.
    turn
        Its number in the session, from 1.
    numbers
        (cohort,), ascending.
    offers
        (cohort,), public mask key and commitment of each.
    layout
        Digest of how numbers become words, and of what all were asked: masks of those who were told otherwise match
        nobody's.
    """

    session: Session
    turn: int
    numbers: tuple[int, ...]
    offers: tuple[bytes, ...]
    layout: bytes

    @cached_property
    def digest(self) -> bytes:
        """What masks are bound to: 32 bytes."""
        plants = (part for plant in zip(self.numbers, self.offers, strict=True) for part in plant)
        return digest("cohort", self.session.digest, self.turn, self.layout, *plants)

    @cached_property
    def thresholds(self) -> Thresholds:
        """What the sum needs."""
        return self.session.thresholds(len(self.numbers))

    @property
    def message(self) -> dict[str, AnyArray]:
        """The arrays by which each message names it."""
        offers = as_bytes(*self.offers, length=OFFER_BYTES)
        numbers, layout = as_numbers(self.numbers), as_row(self.layout)
        return {"turn": np.array(self.turn), "layout": layout, "cohort": numbers, "offers": offers}

    def mask_public(self, number: int) -> bytes:
        """Return the public key by which others mask with a plant."""
        return self.offer(number)[:KEY_BYTES]

    def commitment(self, number: int) -> bytes:
        """Return what binds a plant to the seed of its own mask."""
        return self.offer(number)[KEY_BYTES:]

    def mask_key(self, private: X25519PrivateKey, one: int, other: int) -> bytes:
        """Return the key of the mask that two plants share, by the private key of the first."""
        pair = min(one, other), max(one, other)
        secret = agreed(private, self.mask_public(other))
        return derived(secret, "mask", self.session.digest, self.turn, self.digest, *pair)

    def included_digest(self, included: Sequence[int]) -> bytes:
        """Return what a plant signs of who is in the sum: 32 bytes."""
        return digest("included", self.digest, *included)

    def included_in(self, message: Arrays) -> tuple[int, ...]:
        """Return who is in the sum by a message.

        Raises
        ------
        ClientError
            If they are too few, or not of the cohort.
        """
        included = numbers_in(message, "included", self.numbers)
        self.check_size(len(included), "are in the sum")
        return included

    def check_size(self, size: int, what: str) -> None:
        """Raise ClientError if so few are fewer than the sum needs."""
        if size < self.thresholds.least:
            raise ClientError(
                f"sum {self.turn} needs {self.thresholds.least} plants of {len(self.numbers)}, and {size} {what}; "
                "a sum over fewer would tell too much of each"
            )

    def offer(self, number: int) -> bytes:
        """Return a plant's keys for the sum."""
        return self.offers[self.numbers.index(number)]
