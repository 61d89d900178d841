"""A plant's half of secure sums: it masks its numbers, holds shares for others, and refuses a server that cheats.

Whatever the server says, a plant gives out shares of one of the two secrets of each other plant at the most, once a
sum, for a cohort and a sum that are large enough, under keys that the others' registered keys have signed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from werkbund.core.arrays import AnyArray, Arrays, UInt64Array
from werkbund.core.errors import ClientError
from werkbund.privacy.sums.memory import DIGEST, UNSUMMED, Memory, Secrets
from werkbund.privacy.sums.messages import (
    NOTHING,
    OFFER_BYTES,
    SEALED_BYTES,
    as_bytes,
    as_numbers,
    as_row,
    number_in,
    one_row,
    raw,
    witnesses_in,
)
from werkbund.privacy.sums.primitives import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    add_stream,
    agreed,
    derived,
    digest,
    private_key,
    public_of,
    signed,
    unsealed,
)
from werkbund.privacy.sums.register import Register
from werkbund.privacy.sums.session import Cohort, Session
from werkbund.privacy.sums.sharing import SHARE_BYTES
from werkbund.privacy.sums.words import Words

MOST_AHEAD = 16
"""Sums that keys are made for ahead, at the most."""

MOST_QUESTIONS = 20_000
"""Questions that a plant remembers; one more is refused."""

_LOST = bytes([NOTHING]) * SHARE_BYTES


class Participant:
    """Take part in the secure sums of a run.

    Parameters
    ----------
    register
        All plants and their keys, from the plant's own kit.
    number
        The plant's own, from 1.
    key
        Its registered private key.
    run
        Names the run.
    arrays
        What it remembers, see `memory`; empty at first. Each answer changes it, and it is to be kept before the answer
        leaves. It must not go back to what it was before.
    draw
        Returns so many random bytes.
    """

    def __init__(
        self,
        register: Register,
        number: int,
        key: ec.EllipticCurvePrivateKey,
        run: str,
        arrays: MutableMapping[str, AnyArray],
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.register, self.number, self.run = register, number, run
        self._key, self._memory, self._draw = key, Memory(arrays), draw

    def keys(self) -> dict[str, AnyArray]:
        """Begin a session: forget the one before and its secrets, and make a key under which shares can be sealed."""
        self._memory.begin_session()
        private = self._draw(KEY_BYTES)
        self._memory.put("exchange", private)
        public = public_of(private_key(private))
        signature = signed(self._key, "exchange", *self.register.exchange_signed(self.run, self.number, public))
        return {"exchange": as_row(public), "signature": as_row(signature)}

    def offers(self, message: Arrays) -> dict[str, AnyArray]:
        """Return keys and sealed shares for the next sums.

        Parameters
        ----------
        message
            All members' keys, signed; see `messages`.

        Raises
        ------
        ClientError
            If a key is not signed by its plant, this plant's own is another, there are too few members, or the session
            has begun with others.
        """
        session = Session.of(self.register, self.run, message)
        if "session" in self._memory.arrays and self._memory.content("session") != session.digest:
            raise ClientError("the session has begun with other keys; the server must ask all plants for new keys")
        mine = public_of(self._exchange)
        if self.number not in session.members or session.exchange(self.number) != mine:
            raise ClientError("the server shows others another key than this plant's; nothing is shared under it")
        through = number_in(message, "through")
        self._memory.keep_session(session)
        self._make_roots(through)
        return self._offered(session, self._ahead(through))

    def honest(self, message: Arrays) -> int:
        """Return over how many honest plants the sum that a message begins is at the least, whatever the server says.

        Raises
        ------
        ClientError
            If the message names no cohort, or one that is too small.
        """
        return self._session().cohort_in(message).thresholds.honest(agreed=self.register.strict)

    def submit(self, message: Arrays, words: Words, arrays: Arrays, question: bytes) -> dict[str, AnyArray]:
        """Return a client's arrays as masked words.

        Parameters
        ----------
        message
            The cohort and its keys; see `messages`.
        words
            How numbers become words, by the plant's own reading of the task.
        arrays
            What is to be added.
        question
            32 bytes that follow from all that the answer depends on: weights, what is asked, who draws which rows.

        Raises
        ------
        ClientError
            If the server asks for what a plant refuses, or the numbers do not fit into words; nothing has left then.
        """
        cohort = self._session().cohort_in(message)
        if one_row(message, "layout", DIGEST) != words.digest:
            raise ClientError("server and plant turn numbers into words in different ways; they run other versions")
        secrets = self._secrets(cohort)
        self._check_submission(cohort, secrets, message)
        self._check_question(cohort, question)
        masked = words.of(arrays)
        self._add_masks(cohort, secrets, masked)
        self._memory.forget_before(cohort.turn)
        self._memory.arrays["submitted"] = np.array(cohort.turn)
        self._memory.put("submission", cohort.digest + question)
        self._memory.note_question(question, self._who(cohort.numbers))
        return {"masked": words.packed(masked)}

    def agree(self, message: Arrays) -> dict[str, AnyArray]:
        """Return a signature of who is in a sum.

        Raises
        ------
        ClientError
            If the server asks for what a plant refuses.
        """
        cohort, included = self._included(message)
        self._check_told("agreed", cohort, included)
        self._note_told("agreed", "agreement", cohort, included)
        return {"witness": self._witness(cohort, included)}

    def open(self, message: Arrays) -> dict[str, AnyArray]:
        """Return shares: of the seed of its own mask for who is in the sum, of the mask key for who is not.

        Parameters
        ----------
        message
            Who is in the sum, and the shares that were sealed for this plant; see `messages`.

        Raises
        ------
        ClientError
            If the server asks for what a plant refuses.
        """
        cohort, included = self._included(message)
        parcels = raw(message, "sealed", SEALED_BYTES, len(cohort.numbers))
        through = number_in(message, "through")
        if self.register.strict:
            self._check_witnesses(cohort.session, message, cohort.turn, cohort.included_digest(included))
        self._check_told("opened", cohort, included)
        self._note_summed(cohort, included)
        self._note_told("opened", "opening", cohort, included)
        self._memory.forget_before(cohort.turn)
        pairs = zip(cohort.numbers, parcels, strict=True)
        exchange = self._exchange
        shares = [self._share(exchange, cohort, number, parcel, number in included) for number, parcel in pairs]
        opened = {"shares": as_bytes(*shares, length=SHARE_BYTES), "witness": self._witness(cohort, included)}
        return {**opened, **self._offered(cohort.session, self._make_roots(through))}

    @property
    def _exchange(self) -> X25519PrivateKey:
        return private_key(self._memory.content("exchange"))

    def _session(self) -> Session:
        return self._memory.session(self.register, self.run)

    def _make_roots(self, through: int) -> list[int]:
        """Draw what the secrets of sums up to one are derived from, and return for which sums that is new."""
        last, roots = self._memory.last, self._memory.roots()
        ahead = self._ahead(through)
        new = [turn for turn in ahead if turn not in roots]
        kept = {turn: root for turn, root in roots.items() if turn == last or turn in ahead}
        self._memory.keep_roots({**kept, **{turn: self._draw(KEY_BYTES) for turn in new}})
        return new

    def _ahead(self, through: int) -> range:
        """Return the sums that keys are made for: those to come, and not too many."""
        return range(max(self._memory.last, through - MOST_AHEAD) + 1, through + 1)

    def _offered(self, session: Session, sums: Sequence[int]) -> dict[str, AnyArray]:
        """Return the keys for some sums, signed, and both secrets' shares, sealed for each member."""
        exchange, roots = self._exchange, self._memory.roots()
        each = [Secrets(session, turn, self.number, roots[turn]) for turn in sums]
        signatures = [
            signed(self._key, "offer", *session.offer_signed(self.number, one.turn, one.offer)) for one in each
        ]
        secrets = [agreed(exchange, public) for public in session.exchanges] if each else []
        pairs = list(zip(secrets, session.members, strict=False))
        parcels = [one.sealed(secret, other) for one in each for secret, other in pairs]
        return {
            "numbers": as_numbers(sums),
            "offers": as_bytes(*(one.offer for one in each), length=OFFER_BYTES),
            "signatures": as_bytes(*signatures, length=SIGNATURE_BYTES),
            "sealed": as_bytes(*parcels, length=SEALED_BYTES).reshape(len(each), len(session.members), SEALED_BYTES),
        }

    def _secrets(self, cohort: Cohort) -> Secrets:
        """Return this plant's secrets for a sum.

        Raises
        ------
        ClientError
            If it has none, the server shows others other keys of it, or it is not asked.
        """
        root = self._memory.roots().get(cohort.turn)
        if root is None:
            raise ClientError(f"this plant has no keys for sum {cohort.turn}; the server must ask it for new ones")
        if self.number not in cohort.numbers:
            raise ClientError(f"sum {cohort.turn} is not for this plant, which is not among those that are asked")
        secrets = Secrets(cohort.session, cohort.turn, self.number, root)
        if cohort.offer(self.number) != secrets.offer:
            raise ClientError("the server shows others other keys than this plant's; nothing is masked with them")
        return secrets

    def _check_submission(self, cohort: Cohort, secrets: Secrets, message: Arrays) -> None:
        """Raise if a plant must not mask its numbers so."""
        if cohort.turn <= self._memory.last:
            raise ClientError(f"sum {cohort.turn} is over: this plant has answered sum {self._memory.last}")
        signatures = raw(message, "signatures", SIGNATURE_BYTES, len(cohort.numbers))
        for number, offer, signature in zip(cohort.numbers, cohort.offers, signatures, strict=True):
            cohort.session.check_offer(number, cohort.turn, offer, signature)
        if not self.register.strict and self._memory.number("opened"):
            opened = self._memory.number("opened")
            self._check_witnesses(cohort.session, message, opened, self._memory.content("opening"))

    def _check_witnesses(self, session: Session, message: Arrays, turn: int, included: bytes) -> None:
        """Raise unless enough members signed that the same plants are in a sum as this plant was told."""
        told = {number: one for number, one in witnesses_in(message, turn).items() if number in session.members}
        num_agreeing = sum(self.register.is_signed(number, one, "included", included) for number, one in told.items())
        needed = session.thresholds().threshold
        if num_agreeing < needed:
            raise ClientError(
                f"{needed} plants must have signed who is in the sum as this plant was told, and {num_agreeing} "
                "have; the server told plants different things, or must ask all for new keys"
            )

    def _check_question(self, cohort: Cohort, question: bytes) -> None:
        known = self._memory.questions().get(question)
        if known is None and len(self._memory.questions()) >= MOST_QUESTIONS:
            raise ClientError(f"{MOST_QUESTIONS} questions were answered in secure sums, which is the most")
        is_whole = len(cohort.numbers) == len(cohort.session.members)
        if known is not None and (known[0] != self._who(cohort.numbers) or not is_whole):
            raise ClientError(
                "this question was answered in a secure sum of other plants, or may be summed over others; the "
                "difference of two such sums is one plant's own answer"
            )

    def _note_summed(self, cohort: Cohort, included: Sequence[int]) -> None:
        """Note over whom this plant's question is summed; raise if it was summed over others before."""
        if self._memory.number("submitted") != cohort.turn:
            return
        question, who = self._memory.content("submission")[DIGEST:], self._who(included)
        asked, summed = self._memory.questions()[question]
        if summed not in (UNSUMMED, who):
            raise ClientError(
                "this question was summed over other plants before; the difference of two such sums is one plant's "
                "own answer"
            )
        self._memory.note_question(question, asked, who)

    def _included(self, message: Arrays) -> tuple[Cohort, tuple[int, ...]]:
        """Return who was asked and who is in a sum by a message, as far as this plant can tell that it is true."""
        cohort, submitted = self._session().cohort_in(message), self._memory.number("submitted")
        included = cohort.included_in(message)
        if cohort.turn < submitted or (cohort.turn > submitted and self.number in included):
            raise ClientError(f"sum {cohort.turn} cannot be opened here: this plant's last numbers are of {submitted}")
        if cohort.turn == submitted and cohort.digest != self._memory.content("submission")[:DIGEST]:
            raise ClientError(f"sum {cohort.turn} was masked here among other plants, or under other keys of theirs")
        return cohort, included

    def _check_told(self, stage: str, cohort: Cohort, included: Sequence[int]) -> None:
        """Raise if this plant was told that others are in the sum, or has answered a later one."""
        memory, told = self._memory, cohort.included_digest(included)
        for known, name in (("agreed", "agreement"), ("opened", "opening")):
            if memory.number(known) == cohort.turn and memory.content(name) != told:
                raise ClientError(
                    f"this plant was told that others are in sum {cohort.turn}; it answers one of the two"
                )
        if cohort.turn < memory.number(stage):
            raise ClientError(f"sum {cohort.turn} is over: this plant has answered sum {memory.number(stage)}")

    def _note_told(self, stage: str, name: str, cohort: Cohort, included: Sequence[int]) -> None:
        self._memory.arrays[stage] = np.array(cohort.turn)
        self._memory.put(name, cohort.included_digest(included))

    def _add_masks(self, cohort: Cohort, secrets: Secrets, words: UInt64Array) -> None:
        """Add a plant's own mask and those that it shares with each other of the cohort; the lower number adds."""
        add_stream(secrets.seed, words)
        for other in cohort.numbers:
            if other != self.number:
                key = cohort.mask_key(secrets.private, self.number, other)
                add_stream(key, words, 1 if self.number < other else -1)

    def _share(self, exchange: X25519PrivateKey, cohort: Cohort, number: int, parcel: bytes, is_seed: bool) -> bytes:
        """Return this plant's share of one of a member's two secrets; see `NOTHING`."""
        session, offer = cohort.session, cohort.offer(number)
        if number == self.number:
            root = self._memory.roots().get(cohort.turn)
            secrets = None if root is None else Secrets(session, cohort.turn, number, root)
            return secrets.share(number, is_seed) if secrets and secrets.offer == offer else _LOST
        secret = agreed(exchange, session.exchange(number))
        context = session.share_context(cohort.turn, number, self.number, offer)
        both = unsealed(derived(secret, "share", context), parcel, context)
        return _LOST if both is None else both[SHARE_BYTES:] if is_seed else both[:SHARE_BYTES]

    def _witness(self, cohort: Cohort, included: Sequence[int]) -> AnyArray:
        return as_row(signed(self._key, "included", cohort.included_digest(included)))

    def _who(self, numbers: Sequence[int]) -> bytes:
        """Return a digest of plants that is the same in every session and run."""
        return digest("who", *(self.register.keys[number - 1] for number in numbers))
