"""Who takes part in secure sums, by which keys they are known, and how many of them a sum needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.keys import read_public_key
from werkbund.privacy.sums.primitives import digest, is_signed

LEAST = 3
"""Plants that a sum is over at the least: of two, each takes its own from the sum."""


def usual_colluding(plants: int) -> int:
    """Return how many colluding plants are reckoned with where nothing else is said: fewer than a third."""
    return -(-plants // 3) - 1


@dataclass(frozen=True)
class Thresholds:
    """Hold how many plants a sum needs.

    Both secrets of one plant need 2(t - c) answers of honest plants, each of which answers once; with 2t > n + c there
    are not enough. The same inequality lets one sum only be opened, whatever a server says to whom.

    Parameters
    ----------
    holders
        Plants that hold shares, n.
    cohort
        Plants that were asked for numbers.
    colluding
        Plants that may work together with the server, c.
    threshold
        Shares that open a secret, t.
    least
        Plants that a sum is over at the least, u.
    """

    holders: int
    cohort: int
    colluding: int
    threshold: int
    least: int

    @classmethod
    def of(cls, holders: int, colluding: int, cohort: int | None = None) -> Thresholds:
        """Return what a sum over a cohort, all holders unless another is given, needs.

        Raises
        ------
        ConfigError
            If there are too few plants for so many that collude.
        """
        cohort, threshold = holders if cohort is None else cohort, (holders + colluding) // 2 + 1
        if holders < max(LEAST, colluding + 2):
            raise ConfigError(
                f"privacy.colluding must leave two honest plants of at least {LEAST} that take part, got {colluding} "
                f"of {holders}; lower it, or wait for more plants"
            )
        partial = max(colluding + 3, (cohort + colluding) // 2 + 1)
        return cls(holders, cohort, colluding, threshold, max(LEAST, threshold if cohort == holders else partial))

    def honest(self, agreed: bool) -> int:
        """Return over how many honest plants an opened sum is at the least.

        Parameters
        ----------
        agreed
            Whether plants agree on who is in the sum before they open it.
        """
        if agreed:
            return self.least - self.colluding
        others = self.holders - self.colluding
        shown = others * (self.cohort - self.least) // (self.threshold - self.colluding)
        return self.cohort - self.colluding - shown


@dataclass(frozen=True)
class Register:
    """Hold the plants that may take part, in the order of their numbers, from 1.

    Each plant has it from its own kit, not from the server.

    Parameters
    ----------
    names
        Of the plants.
    keys
        Their public keys (ECDSA on P-384) in DER.
    colluding
        Plants that may work together with the server; None: fewer than a third.
    strict
        Whether plants agree on who is in a sum before they open it: one more round trip.

    Raises
    ------
    ConfigError
        If names or keys are not as many, or one stands twice.
    """

    names: tuple[str, ...]
    keys: tuple[bytes, ...]
    colluding: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if len(self.names) != len(self.keys) or len({*self.names}) < len(self.names):
            raise ConfigError(f"a register of secure sums must have one key a plant, got {', '.join(self.names)}")
        if len({*self.keys}) < len(self.keys):
            raise ConfigError("each plant in a register must have a key of its own; provision them anew")
        self.thresholds(len(self.names))

    @classmethod
    def read(cls, folder: Path, colluding: int | None = None, strict: bool = False) -> Register:
        """Read the plants' keys, files `NAME.pub` of OpenSSH, in the order of their names.

        Raises
        ------
        ConfigError
            If there are none, or one is no key of an elliptic curve.
        """
        paths = sorted(folder.glob("*.pub"), key=lambda path: path.stem)
        if not paths:
            raise ConfigError(
                f"{folder} must hold the public keys of all plants, which secure sums need, got none; copy the folder "
                "from a kit of `werkbund provision`"
            )
        return cls(tuple(path.stem for path in paths), tuple(map(_key_in, paths)), colluding, strict)

    @cached_property
    def digest(self) -> bytes:
        """What all plants must have alike: 32 bytes."""
        plants = (part for plant in zip(self.names, self.keys, strict=True) for part in plant)
        return digest("register", self._colluding, self.strict, *plants)

    @property
    def numbers(self) -> range:
        """The plants' numbers."""
        return range(1, len(self.names) + 1)

    def number(self, name: str) -> int:
        """Return the number of a plant.

        Raises
        ------
        ConfigError
            If it is not in the register.
        """
        if name not in self.names:
            raise ConfigError(
                f"{name} must have a key among those of all plants, which are {', '.join(self.names)}; copy its file "
                "into the folder plants of every kit"
            )
        return self.names.index(name) + 1

    def name(self, number: int) -> str:
        """Return the name of a plant."""
        return self.names[number - 1]

    def called(self, numbers: Collection[int]) -> str:
        """Return the names of some plants, for people."""
        return ", ".join(self.name(number) for number in sorted(numbers))

    def thresholds(self, holders: int, cohort: int | None = None) -> Thresholds:
        """Return what a sum needs whose shares are held by so many plants; see `Thresholds.of`."""
        return Thresholds.of(holders, self._colluding, cohort)

    def is_signed(self, number: int, signature: bytes, use: str, *parts: bytes | str | int) -> bool:
        """Say whether a plant signed parts for one use."""
        return number in self.numbers and is_signed(self.keys[number - 1], signature, use, *parts)

    def exchange_signed(self, run: str, number: int, exchange: bytes) -> tuple[bytes | str | int, ...]:
        """Return what a plant signs of its key for a session."""
        return run, self.digest, number, exchange

    def check_exchange(self, run: str, number: int, exchange: bytes, signature: bytes) -> None:
        """Raise ClientError unless a plant signed this key for a session of this run."""
        if not self.is_signed(number, signature, "exchange", *self.exchange_signed(run, number, exchange)):
            raise ClientError(
                f"the key of {self.name(number)} is not signed by its registered key; somebody put in another"
            )

    @property
    def _colluding(self) -> int:
        return usual_colluding(len(self.names)) if self.colluding is None else self.colluding


def _key_in(path: Path) -> bytes:
    key = read_public_key(path)
    if not isinstance(key.curve, ec.SECP384R1):
        raise ConfigError(f"{path} must be a key on the curve P-384; its plant makes one with `werkbund client keygen`")
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
