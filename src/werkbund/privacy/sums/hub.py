"""The server's half of secure sums: it adds masked words, and takes the masks off the sum of who is in it.

A hub does no input or output: it says what a stage sends, and is given what each plant answers. A plant that answers
nothing is simply not given; one whose answer cannot be used is refused by name, and is missing from there on.

| stage | sends | takes |
| --- | --- | --- |
| `KEYS`, once a session | nothing | `take_keys` |
| `OFFERS`, once a session | `ask_offers` | `take_offers` |
| submit | `ask_sum` | `take_words` |
| `AGREE`, if strict | `ask_agreement` | `take_witness` |
| `OPEN`, to all members | `ask_opening` | `take_shares`, and then `opened` |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, UInt64Array
from werkbund.core.errors import ClientError, FederationError
from werkbund.privacy.sums.messages import (
    OFFER_BYTES,
    SEALED_BYTES,
    as_bytes,
    as_numbers,
    numbers_in,
    one_row,
    raw,
)
from werkbund.privacy.sums.opening import Recovery
from werkbund.privacy.sums.primitives import KEY_BYTES, SIGNATURE_BYTES
from werkbund.privacy.sums.register import Register
from werkbund.privacy.sums.session import Cohort, Session
from werkbund.privacy.sums.sharing import SHARE_BYTES
from werkbund.privacy.sums.words import Words

AHEAD = 4
"""Sums that plants make keys for ahead, so that one lost answer costs nothing."""

_REMEMBERED = 16  # sums whose signatures are kept, for who missed openings


@dataclass(frozen=True)
class Opened:
    """Hold an opened sum.

    Parameters
    ----------
    sums
        By name; see `Words.opened`.
    included
        Numbers of the plants that are in it, ascending.
    wrong
        Numbers of the plants that sent wrong shares, which did no harm.
    """

    sums: Mapping[str, AnyArray]
    included: tuple[int, ...]
    wrong: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Offer:
    """Hold a plant's keys for one sum: what it signed, and what it sealed for each member."""

    content: bytes
    signature: bytes
    parcels: Mapping[int, bytes]


@dataclass
class _Sum:
    """Hold a sum under way."""

    cohort: Cohort
    words: Words
    total: UInt64Array
    arrived: set[int] = field(default_factory=set)
    included: tuple[int, ...] | None = None
    witnesses: dict[int, bytes] = field(default_factory=dict)
    shares: dict[int, list[bytes]] = field(default_factory=dict)


class Hub:
    """Lead a run's secure sums.

    Parameters
    ----------
    register
        All plants and their keys.
    run
        Names the run.
    ahead
        Sums that plants make keys for ahead.
    """

    def __init__(self, register: Register, run: str, ahead: int = AHEAD) -> None:
        self.register, self.run, self.ahead = register, run, ahead
        self.begin_session()

    def begin_session(self) -> None:
        """Forget all keys: every plant is to be asked for new ones."""
        self._exchanges: dict[int, tuple[bytes, bytes]] = {}
        self._session: Session | None = None
        self._offers: dict[int, dict[int, _Offer]] = {}
        self._witnesses: dict[int, dict[int, bytes]] = {}
        self._unsure: dict[int, set[int]] = {}
        self._last = 0
        self._under_way: _Sum | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the plants of the session, ascending; empty before there is one."""
        return () if self._session is None else self._session.members

    @property
    def ready(self) -> tuple[int, ...]:
        """Numbers of the plants that have keys for the next sum, ascending."""
        return tuple(sorted(self._offers.get(self._last + 1, {})))

    def take_keys(self, number: int, answer: Arrays) -> None:
        """Take a plant's answer to `KEYS`.

        Raises
        ------
        ClientError
            If it is not signed by this plant's registered key.
        """
        exchange, signature = one_row(answer, "exchange", KEY_BYTES), one_row(answer, "signature", SIGNATURE_BYTES)
        self.register.check_exchange(self.run, number, exchange, signature)
        if self._session is not None:
            raise ClientError("its key came after the session began; it takes part from the next one on")
        self._exchanges[number] = exchange, signature

    def ask_offers(self) -> dict[str, AnyArray]:
        """Return what `OFFERS` sends: the first time the session begins with those whose keys came.

        Raises
        ------
        ConfigError
            If too few came.
        """
        members = self.members or sorted(self._exchanges)
        pairs = [self._exchanges[number] for number in members]
        message: dict[str, AnyArray] = {
            "members": as_numbers(members),
            "exchanges": as_bytes(*(exchange for exchange, _ in pairs), length=KEY_BYTES),
            "signatures": as_bytes(*(signature for _, signature in pairs), length=SIGNATURE_BYTES),
            "through": np.array(self._last + self.ahead),
        }
        self._session = self._session or Session.of(self.register, self.run, message)
        return message

    def take_offers(self, number: int, answer: Arrays) -> None:
        """Take a plant's answer to `OFFERS`, or the part of that to `OPEN`.

        Raises
        ------
        ClientError
            If it is not signed by this plant, or has another form.
        """
        session, sums = self._in_session(number), numbers_in(answer, "numbers")
        offers = raw(answer, "offers", OFFER_BYTES, len(sums))
        signatures = raw(answer, "signatures", SIGNATURE_BYTES, len(sums))
        size, sealed = len(session.members), answer.get("sealed")
        if sealed is None or sealed.shape != (len(sums), size, SEALED_BYTES):
            raise ClientError(f"sealed shares must be for {len(sums)} sums and {size} plants; its keys are not used")
        for turn, offer, signature, rows in zip(sums, offers, signatures, sealed, strict=True):
            session.check_offer(number, turn, offer, signature)
            parcels = dict(zip(session.members, raw({"sealed": rows}, "sealed", SEALED_BYTES), strict=True))
            if self._last < turn <= self._last + self.ahead:
                self._offers.setdefault(turn, {})[number] = _Offer(offer, signature, parcels)

    def ask_sum(self, cohort: Collection[int], words: Words) -> dict[str, AnyArray]:
        """Begin a sum, and return what stands in the task of each of the cohort.

        Parameters
        ----------
        cohort
            Numbers of plants, all of which are `ready`.
        words
            How their numbers become words.

        Raises
        ------
        FederationError
            If one has no keys, or they are too few.
        """
        lacking = {*cohort} - {*self.ready}
        if self._session is None or lacking:
            raise FederationError(f"plants must have keys before a sum, and {self.register.called(lacking)} have none")
        self._last += 1
        offers = {number: self._offers[self._last][number] for number in sorted(cohort)}
        contents = [offer.content for offer in offers.values()]
        asked = self._session.cohort(self._last, tuple(offers), contents, words.digest)
        asked.check_size(len(offers), "are asked")
        self._under_way = _Sum(asked, words, np.zeros(words.num_words, np.uint64))
        for turn in [turn for turn in self._offers if turn < self._last]:
            del self._offers[turn]
        signatures = [offer.signature for offer in offers.values()]
        signed = as_bytes(*signatures, length=SIGNATURE_BYTES)
        wanted = sorted({turn for number in offers for turn in self._unsure.get(number, ())})
        shown = _shown({turn: self._witnesses[turn] for turn in wanted if turn in self._witnesses})
        return {**asked.message, "signatures": signed, **shown}

    def take_words(self, number: int, answer: Arrays) -> None:
        """Take the masked words of one of the cohort.

        Raises
        ------
        ClientError
            If it was not asked, has answered, comes too late, or sent another number of bytes.
        """
        under_way = self._sum
        if number not in under_way.cohort.numbers or number in under_way.arrived or under_way.included is not None:
            raise ClientError(f"sum {self._last} takes one answer of each that was asked before it is closed")
        packed = answer.get("masked")
        if packed is None:
            raise ClientError("an answer to a secure sum must hold masked words; it is not added")
        under_way.total += under_way.words.unpacked(packed)
        under_way.arrived.add(number)

    def ask_agreement(self) -> dict[str, AnyArray]:
        """Close a sum, and return what `AGREE` sends to all members.

        Raises
        ------
        FederationError
            If too few answered: then nobody learns anything.
        """
        under_way = self._sum
        if under_way.included is None:
            under_way.cohort.check_size(len(under_way.arrived), "have answered")
            under_way.included = tuple(sorted(under_way.arrived))
        return {**under_way.cohort.message, "included": as_numbers(under_way.included)}

    def take_witness(self, number: int, answer: Arrays) -> None:
        """Take a member's signature of who is in the sum.

        Raises
        ------
        ClientError
            If it signed something else.
        """
        self._in_session(number)
        signature = one_row(answer, "witness", SIGNATURE_BYTES)
        included = self._sum.cohort.included_digest(self._included)
        if not self.register.is_signed(number, signature, "included", included):
            raise ClientError("its signature is not of who is in the sum; its shares are not used")
        self._sum.witnesses[number] = signature

    def ask_opening(self) -> tuple[dict[str, AnyArray], dict[int, dict[str, AnyArray]]]:
        """Close a sum if it is open, and return what `OPEN` sends to all members alike, and to each its own.

        Raises
        ------
        FederationError
            If too few answered, or, where the register is strict, too few signed.
        """
        message, under_way = self.ask_agreement(), self._sum
        if self.register.strict:
            self._check_enough(len(under_way.witnesses), "have signed who is in it")
        shown = _shown({self._last: self._enough(under_way.witnesses)} if self.register.strict else {})
        for member in self.members:
            self._unsure.setdefault(member, set()).add(self._last)
        offers = self._offers[self._last]
        own = {
            member: {
                "sealed": as_bytes(
                    *(offers[number].parcels[member] for number in under_way.cohort.numbers), length=SEALED_BYTES
                )
            }
            for member in self.members
        }
        return {**message, "through": np.array(self._last + self.ahead), **shown}, own

    def take_shares(self, number: int, answer: Arrays) -> None:
        """Take a member's answer to `OPEN`.

        Raises
        ------
        ClientError
            If it signed other plants than those in the sum, or its shares have another form.
        """
        shares = raw(answer, "shares", SHARE_BYTES, len(self._sum.cohort.numbers))
        self.take_witness(number, answer)
        self._sum.shares[number] = shares
        self._unsure[number] = {self._last}
        self.take_offers(number, answer)

    def opened(self) -> Opened:
        """Take the masks off, and return the sum.

        Raises
        ------
        FederationError
            If too few gave shares, a secret cannot be put together, or the masks did not match. Then this sum is lost,
            and the next one begins with `begin_session`.
        """
        under_way, included = self._sum, self._included
        try:
            self._check_enough(len(under_way.shares), "have given shares")
            recovery = Recovery(under_way.cohort, under_way.shares)
            recovery.unmask(under_way.total, included)
            sums = under_way.words.opened(under_way.total, len(included))
        except FederationError:
            self.begin_session()
            raise
        self._witnesses[self._last] = self._enough(under_way.witnesses)
        for turn in [turn for turn in self._witnesses if turn <= self._last - _REMEMBERED]:
            del self._witnesses[turn]
        return Opened(sums, included, tuple(sorted(recovery.wrong)))

    @property
    def _sum(self) -> _Sum:
        if self._under_way is None:
            raise FederationError("a sum must be begun before it is answered or opened")
        return self._under_way

    @property
    def _included(self) -> tuple[int, ...]:
        if self._sum.included is None:
            raise FederationError(f"sum {self._last} must be closed before it is opened")
        return self._sum.included

    def _in_session(self, number: int) -> Session:
        if self._session is None or number not in self._session.members:
            raise ClientError("it is in no session of secure sums; it takes part from the next one on")
        return self._session

    def _check_enough(self, size: int, what: str) -> None:
        cohort = self._sum.cohort
        needed = cohort.thresholds.threshold
        if size < needed:
            raise FederationError(
                f"sum {cohort.turn} needs {needed} of {len(self.members)} plants to be opened, and {size} {what}; "
                "nobody has learnt anything of it, and its numbers must be asked for anew"
            )

    def _enough(self, witnesses: Mapping[int, bytes]) -> dict[int, bytes]:
        needed = self._sum.cohort.thresholds.threshold
        return {number: witnesses[number] for number in sorted(witnesses)[:needed]}


def _shown(witnesses: Mapping[int, Mapping[int, bytes]]) -> dict[str, AnyArray]:
    """Return signatures of who is in some sums, by sum and plant, as a message has them."""
    rows = [(turn, number, one) for turn, each in witnesses.items() for number, one in sorted(each.items())]
    return {
        "witnessed": np.array([turn for turn, _, _ in rows], np.int64),
        "witnesses": np.array([number for _, number, _ in rows], np.int64),
        "witness_signatures": as_bytes(*(one for _, _, one in rows), length=SIGNATURE_BYTES),
    }
