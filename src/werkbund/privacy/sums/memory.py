"""What a plant remembers of secure sums: a few named arrays, which its owner keeps before an answer leaves.

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

import numpy as np

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError
from werkbund.privacy.sums.messages import as_bytes, numbers_in, raw
from werkbund.privacy.sums.primitives import KEY_BYTES
from werkbund.privacy.sums.register import Register
from werkbund.privacy.sums.session import Session

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
