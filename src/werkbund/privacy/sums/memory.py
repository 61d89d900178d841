"""What a plant keeps to itself of secure sums: its secrets for one, and a few named arrays, kept before answers leave.

| name | |
| --- | --- |
| `exchange` (32) | its private key of the session, under which shares are sealed for it |
| `session` (32), `members` (n), `exchanges` (n, 32) | the session, once it is known |
| `offered` (o), `roots` (o, 32) | sums that it has keys for, and what its secrets are derived from |
| `submitted` (), `submission` (64) | its last masked sum; digests of its cohort and question |
| `agreed`, `opened` (), `agreement`, `opening` (32) | the last sum that it signed or opened; digest of who is in it |
| `questions` (q, 96) | digests of each question, of who was asked, and of who was in the opened sum |

Roots of earlier sums are deleted when a later one is masked or opened. Questions outlive sessions and runs.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cached_property

import numpy as np

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError
from werkbund.privacy.sums.messages import SEALED_BYTES, as_bytes, numbers_in, raw
from werkbund.privacy.sums.primitives import KEY_BYTES, commitment, derived, private_key, public_of, sealed
from werkbund.privacy.sums.register import Register
from werkbund.privacy.sums.session import Session
from werkbund.privacy.sums.sharing import SHARE_BYTES, coefficients, share

DIGEST = 32
"""Length of a digest."""

_OF_A_SESSION = {"exchange", "session", "members", "exchanges", "offered", "roots"}
_OF_A_SESSION |= {"submitted", "submission", "agreed", "agreement", "opened", "opening"}

UNSUMMED = bytes(DIGEST)
"""Stands for those in the sum of a question that was not opened."""


class Memory:
    """Read and write a plant's arrays.

    Parameters
    ----------
    arrays
        By name; changed in place.
    """

    def __init__(self, arrays: MutableMapping[str, AnyArray]) -> None:
        self.arrays = arrays

    def begin_session(self) -> None:
        """Forget everything but the questions: keys and secrets, and what was answered with them."""
        for name in _OF_A_SESSION & self.arrays.keys():
            del self.arrays[name]

    @property
    def last(self) -> int:
        """Number of the last sum that was masked or opened; 0 before the first."""
        return max(self.number("submitted"), self.number("opened"))

    def session(self, register: Register, run: str) -> Session:
        """Return the session in which the plant is.

        Raises
        ------
        ClientError
            If it is in none.
        """
        known = self.content("session")
        members, exchanges = numbers_in(self.arrays, "members"), raw(self.arrays, "exchanges", KEY_BYTES)
        session = Session(register, run, members, tuple(exchanges))
        if session.digest != known:
            raise ClientError("this plant's session of secure sums is of another run; the server must ask for new keys")
        return session

    def keep_session(self, session: Session) -> None:
        """Keep the session in which the plant is."""
        self.put("session", session.digest)
        self.arrays["members"] = np.array(session.members, np.int64)
        self.arrays["exchanges"] = as_bytes(*session.exchanges, length=KEY_BYTES)

    def roots(self) -> dict[int, bytes]:
        """Return what the secrets of each sum are derived from, by its number."""
        sums = self.arrays["offered"].tolist() if "offered" in self.arrays else []
        return dict(zip(sums, raw(self.arrays, "roots", KEY_BYTES), strict=True)) if sums else {}

    def keep_roots(self, roots: dict[int, bytes]) -> None:
        """Keep these roots, and no others."""
        self.arrays["offered"] = np.array(sorted(roots), np.int64)
        self.arrays["roots"] = as_bytes(*(roots[turn] for turn in sorted(roots)), length=KEY_BYTES)

    def forget_before(self, turn: int) -> None:
        """Delete the roots of earlier sums."""
        self.keep_roots({number: root for number, root in self.roots().items() if number >= turn})

    def questions(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Return who was asked each question, and over whom it was summed, as digests."""
        rows = raw(self.arrays, "questions", 3 * DIGEST) if "questions" in self.arrays else []
        return {row[:DIGEST]: (row[DIGEST : 2 * DIGEST], row[2 * DIGEST :]) for row in rows}

    def note_question(self, question: bytes, asked: bytes, summed: bytes = UNSUMMED) -> None:
        """Note who is asked a question, and over whom it is summed if that is known."""
        questions = self.questions()
        _, before = questions.get(question, (asked, summed))
        questions[question] = asked, before if summed == UNSUMMED else summed
        rows = (question + asked + summed for question, (asked, summed) in questions.items())
        self.arrays["questions"] = as_bytes(*rows, length=3 * DIGEST)

    def number(self, name: str) -> int:
        """Return a number that is kept under a name; 0 for none."""
        return int(self.arrays[name]) if name in self.arrays else 0

    def content(self, name: str) -> bytes:
        """Return bytes that are kept under a name.

        Raises
        ------
        ClientError
            If there are none: the plant is in no session.
        """
        if name not in self.arrays:
            raise ClientError("this plant is in no session of secure sums; the server must ask all for new keys")
        return self.arrays[name].tobytes()

    def put(self, name: str, content: bytes) -> None:
        """Keep bytes under a name."""
        self.arrays[name] = np.frombuffer(content, np.uint8).copy()


class Secrets:
    """Derive from one draw the mask key, the seed of a plant's own mask, and the shares of both.

    So the same keys can be sent again where an answer was lost, and deleting the draw deletes everything.

    Parameters
    ----------
    session, turn
        Which sum of which session they are for.
    number
        The plant's.
    root
        32 bytes that it drew for this sum.
    """

    def __init__(self, session: Session, turn: int, number: int, root: bytes) -> None:
        self.turn, self.number = turn, number
        self._session, self._root = session, root
        self._private, self.seed = self._derived("mask-key"), self._derived("self-mask")
        self.private = private_key(self._private)

    @cached_property
    def offer(self) -> bytes:
        """The public mask key, and the commitment to the seed."""
        return public_of(self.private) + commitment(self.seed)

    def share(self, number: int, is_seed: bool) -> bytes:
        """Return a member's share of the seed of the plant's own mask, or of its mask key."""
        return share(self._polynomials[is_seed], number).to_bytes(SHARE_BYTES, "big")

    def sealed(self, secret: bytes, other: int) -> bytes:
        """Return both shares of a member, sealed for it.

        Parameters
        ----------
        secret
            That the two agreed on for the session.
        other
            The member; for the plant itself they are zeros, because it derives its own shares.
        """
        if other == self.number:
            return bytes(SEALED_BYTES)
        context = self._session.share_context(self.turn, self.number, other, self.offer)
        return sealed(derived(secret, "share", context), self.share(other, False) + self.share(other, True), context)

    @cached_property
    def _polynomials(self) -> tuple[list[int], list[int]]:
        threshold = self._session.thresholds().threshold
        private, seed = (int.from_bytes(secret, "big") for secret in (self._private, self.seed))
        return (
            coefficients(private, threshold, self._derived("mask-key-shares")),
            coefficients(seed, threshold, self._derived("self-mask-shares")),
        )

    def _derived(self, use: str) -> bytes:
        return derived(self._root, use, self._session.digest, self.turn)
