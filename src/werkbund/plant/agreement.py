"""What was settled at a plant's first contact and stays: how its rows are divided, and by whose stream they are drawn.

A server's later words change none of it. Another division is a new agreement, which a person at the plant makes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from werkbund.config.reading import leaves_of
from werkbund.config.sections import Config
from werkbund.core.stored import read_stored, write_stored
from werkbund.federation.population import split_of
from werkbund.partition.split import Split
from werkbund.plant.agreed import RefusedError
from werkbund.plant.whitelist import AGREED

_FILE, _DIVISION = "agreement.json", "division.npz"


class SettledSplit(BaseModel):
    """Hold what agreement.json says of a `Split`."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["machines", "time"]
    test: float
    validation: float
    later: float
    gap: float
    after: float = 0.0
    whole: bool = False


class Settled(BaseModel):
    """Hold what agreement.json says."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    number: int
    split: SettledSplit
    file: str
    stream: int
    since: str


@dataclass(frozen=True)
class Agreement:
    """Hold what was settled.

    Parameters
    ----------
    seed, number
        Of the run and of the client at first contact: they say which machines are held out.
    split
        How rows are held out.
    file
        Digest of what the federation's file in the kit says about rows.
    stream
        Secret of the plant, which its own draws and the marks of its rows follow.
    since
        When it was settled, ISO 8601.
    """

    seed: int
    number: int
    split: Split
    file: str
    stream: int
    since: str

    @property
    def name(self) -> str:
        """Eight hexadecimal digits that name this agreement among the plant's."""
        text = json.dumps(asdict(self))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @classmethod
    def settle(cls, agreed: Config, seed: int, number: int, now: datetime) -> Agreement:
        """Return a new agreement about the file in the kit, with a secret of its own."""
        since = now.isoformat(timespec="seconds")
        return cls(seed, number, split_of(agreed), file_digest(agreed), secrets.randbits(63), since)


def file_digest(agreed: Config) -> str:
    """Return sixteen hexadecimal digits that differ as soon as what the kit's file says about rows does."""
    values = leaves_of(agreed)
    keys = [key for key in AGREED if not key.startswith(("federation.", "privacy."))]
    about_rows = json.dumps({key: values[key] for key in keys}, sort_keys=True)
    return hashlib.sha256(about_rows.encode()).hexdigest()[:16]


def agreement_in(state: Path) -> Agreement | None:
    """Return the agreement that a plant's state holds; None before the first contact.

    Raises
    ------
    CheckpointError
        If the file was damaged: a division that is not known is not dealt anew silently.
    """
    path = state / _FILE
    if not path.exists():
        return None
    kept = read_stored(path, Settled, _REMEDY)
    return Agreement(**{**kept, "split": Split(**kept["split"])})


def settled(state: Path, agreed: Config, seed: int, number: int, now: datetime) -> Agreement:
    """Return the agreement in force, which is made now where there is none.

    Parameters
    ----------
    state
        The plant's.
    agreed
        The federation's file in its kit.
    seed, number
        What the server says now; of no matter once something is settled.
    now
        The plant's time.

    Raises
    ------
    RefusedError
        If the file in the kit says something else about rows than when it was settled.
    CheckpointError
        If the agreement was damaged.
    """
    known = agreement_in(state)
    if known is None:
        known = Agreement.settle(agreed, seed, number, now)
        write_stored(state / _FILE, asdict(known))
    elif known.file != file_digest(agreed):
        raise RefusedError(
            f"the federation's file in its kit says something else about rows than when this plant agreed to it on "
            f"{known.since}; a person at the plant looks at `werkbund client check` and runs `werkbund client agree`"
        )
    return known


def dissolve(state: Path) -> None:
    """Forget the agreement and the division of rows, so that the next contact settles a new one."""
    for name in (_FILE, _DIVISION):
        (state / name).unlink(missing_ok=True)


def division_file(state: Path) -> Path:
    """Return where a plant keeps how its rows are divided."""
    return state / _DIVISION


_REMEDY = "restore it from a backup, or run `werkbund client agree --renew`"
