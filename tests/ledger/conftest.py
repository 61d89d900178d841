from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from werkbund.core.keys import PrivateKey, new_key
from werkbund.ledger import Ledger, Receipt, Verified, verified

KEY = new_key()


class Clock:
    """Go on by a second at each look, in all processes of a plant alike."""

    seconds = count()

    def __call__(self) -> datetime:
        return datetime(2026, 11, 30, 5, 44, 32, tzinfo=UTC) + timedelta(seconds=next(self.seconds))


def opened(path: Path, key: PrivateKey = KEY, plant: str = "augsburg") -> Ledger:
    """Return a ledger as a fresh process has it."""
    return Ledger(path, plant, key, Clock())


def written(path: Path, number: int = 4) -> list[Receipt]:
    """Write so many answers, and return the receipts of a server for them."""
    ledger = opened(path)
    heads = [ledger.add("answer", {"round": round, "left": []}) for round in range(number)]
    return [Receipt("augsburg", head, "train", round, "2026-11-30T05:44:40Z") for round, head in enumerate(heads)]


def checked(path: Path, receipts: list[Receipt] | None = None, key: PrivateKey = KEY) -> Verified:
    """Verify a ledger with the public half of a key."""
    return verified(path, [key.public_key()], receipts or [])
