"""A plant's own secrets for one sum, and what it shares of them."""

from __future__ import annotations

from functools import cached_property

from werkbund.privacy.sums.messages import SEALED_BYTES
from werkbund.privacy.sums.primitives import commitment, derived, private_key, public_of, sealed
from werkbund.privacy.sums.session import Session
from werkbund.privacy.sums.sharing import SHARE_BYTES, coefficients, share


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
