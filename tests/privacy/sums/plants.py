"""Plants that take part in secure sums in one process, and drop out where a test says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from werkbund.core.arrays import AnyArray, Arrays
from werkbund.privacy.sums import Addend, Hub, Opened, Participant, Register, Words

RUN = "a run"
NOBODY: frozenset[int] = frozenset()


@cache
def registered(number: int) -> ec.EllipticCurvePrivateKey:
    """Return a plant's registered key, the same for all tests of a session."""
    return ec.generate_private_key(ec.SECP384R1())


def register(plants: int, colluding: int | None = None, strict: bool = False) -> Register:
    """Return a register of so many plants."""
    public = [registered(number).public_key() for number in range(1, plants + 1)]
    keys = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in public]
    return Register(tuple(f"plant {number}" for number in range(1, plants + 1)), tuple(keys), colluding, strict)


def question(*parts: Any) -> bytes:
    """Return a digest of a question."""
    return hashlib.sha256(repr(parts).encode()).digest()


WORDS = Words((Addend("count", (2,), None, True), Addend("update", (3,), 100.0, False, 5)), clients=100)


def numbers_of(number: int, turn: int) -> dict[str, AnyArray]:
    """Return what a plant adds in a sum."""
    rng = np.random.default_rng([number, turn])
    return {"count": rng.integers(-(2**63), 2**63 - 1, 2, dtype=np.int64), "update": rng.normal(0, 10, 3)}


@dataclass
class Federation:
    """Lead sums among plants of one process; a test may look at, or change, each message."""

    register: Register
    words: Words = WORDS
    memories: dict[int, dict[str, AnyArray]] = field(default_factory=dict)
    change: Callable[[str, int, dict[str, AnyArray]], Arrays] = lambda stage, number, message: message
    masked: dict[int, AnyArray] = field(default_factory=dict)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.hub = Hub(self.register, RUN)

    def plant(self, number: int) -> Participant:
        """Return a plant, which knows nothing but its memory."""
        memory = self.memories.setdefault(number, {})
        return Participant(self.register, number, registered(number), RUN, memory)

    def sent(self, stage: str, number: int, message: Arrays) -> Arrays:
        """Return what a plant gets."""
        return self.change(stage, number, dict(message))

    def set_up(self, keys: Collection[int] = NOBODY, offers: Collection[int] = NOBODY) -> None:
        """Begin a session without those that answer not in these stages."""
        self.hub.begin_session()
        for number in {*self.register.numbers} - {*keys}:
            self.hub.take_keys(number, self.plant(number).keys())
        message = self.hub.ask_offers()
        for number in {*self.hub.members} - {*offers}:
            self.hub.take_offers(number, self.plant(number).offers(self.sent("offers", number, message)))

    def sum(
        self,
        cohort: Collection[int] | None = None,
        submit: Collection[int] = NOBODY,
        late: Collection[int] = NOBODY,
        agree: Collection[int] = NOBODY,
        opening: Collection[int] = NOBODY,
        numbers: Callable[[int, int], Mapping[str, AnyArray]] = numbers_of,
        asked: bytes | None = None,
    ) -> Opened:
        """Lead a sum without those that answer not in these stages; the masked words of some come too late."""
        cohort = self.hub.ready if cohort is None else cohort
        message = self.hub.ask_sum(cohort, self.words)
        turn = int(message["turn"])
        self.asked, self.masked = turn, {}
        for number in sorted({*cohort} - {*submit}):
            mine = self.sent("submit", number, message)
            what = numbers(number, turn)
            answer = self.plant(number).submit(
                mine, self.words, what, asked or question(turn, self.memories[number]["session"].tobytes())
            )
            self.masked[number] = answer["masked"]
            if number not in late:
                self.hub.take_words(number, answer)
        if self.register.strict:
            agreement = self.hub.ask_agreement()
            for number in {*self.hub.members} - {*agree}:
                self.hub.take_witness(number, self.plant(number).agree(self.sent("agree", number, agreement)))
        shared, own = self.hub.ask_opening()
        for number in sorted({*self.hub.members} - {*opening}):
            answer = self.plant(number).open(self.sent("open", number, {**shared, **own[number]}))
            self.hub.take_shares(number, answer)
        return self.hub.opened()


def plain(included: Collection[int], turn: int) -> dict[str, AnyArray]:
    """Return the sums over some plants without masks: modulo 2^64, and in double precision."""
    each = [numbers_of(number, turn) for number in included]
    count = np.sum([one["count"].view(np.uint64) for one in each], axis=0, dtype=np.uint64).view(np.int64)
    return {"count": count, "update": np.sum([one["update"] for one in each], axis=0)}
