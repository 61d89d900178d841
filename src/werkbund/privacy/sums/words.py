"""Numbers as words that can be added under masks, and back: whole numbers as they are, others in fixed point.

A word is a whole number modulo 2^(8 width), in two's complement. Masks are drawn and added modulo 2^64; what is cut to
the lowest bytes afterwards is masked as well. How many bytes an array needs follows from how large its numbers may be
and how many clients may add up, so that no sum overflows. Two more words, 1 and a constant, show whether the masks of
an opened sum matched.

With f bits behind the point, a number is rounded to the nearest multiple of 2^-f: a sum over U clients is at most
U 2^-f / 2 away from the sum of the numbers, but for the rounding of the result to float64.
f = 8 width - 2 - ceil(log2(clients most)).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Int64Array, UInt8Array, UInt64Array
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.privacy.sums.primitives import digest

CHECK = 0x5745524B
"""The constant that each client adds as its last word."""

WIDEST = 8
"""Bytes of the widest word."""

UPDATE_BYTES = 5
"""Bytes a number of an update, beside four that it has in clear: the rounding is finer than that of float32."""

_CHECKS = 2


@dataclass(frozen=True)
class Addend:
    """Declare one named array of a sum.

    Parameters
    ----------
    name
        Of the array.
    shape
        One client's.
    most
        Largest magnitude of its numbers at one client; None for whole numbers of eight bytes that are added modulo
        2^64 as they are.
    is_whole
        Whether its numbers are whole: then they are added exactly.
    width
        Bytes a number.
    """

    name: str
    shape: tuple[int, ...]
    most: float | None
    is_whole: bool
    width: int = WIDEST

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Words:
    """Turn the arrays of a client into words, and the sum of such words into the sums of the arrays.

    Parameters
    ----------
    addends
        The arrays, in the order of the words.
    clients
        How many may add up at the most.
    about
        What all whose words add up were told alike, as a digest in hexadecimal digits: it is a part of the layout's
        digest, to which masks are bound, so that nobody's words match those of one who was told otherwise.

    Raises
    ------
    ConfigError
        If a sum could overflow.

    Examples
    --------
    >>> words = Words((Addend("rows", (2,), 1000, True, 3), Addend("update", (1,), 2.0, False, 5)), clients=10)
    >>> one = words.of({"rows": np.array([3, 0]), "update": np.array([0.1])})
    >>> two = words.of({"rows": np.array([4, 9]), "update": np.array([-0.4])})
    >>> total = words.opened(one + two, 2)
    >>> total["rows"].tolist(), round(float(total["update"][0]), 6), words.error("update", 2) < 1e-9
    ([7, 9], -0.3, True)
    """

    addends: tuple[Addend, ...]
    clients: int
    about: str = ""

    def __post_init__(self) -> None:
        for addend in self.addends:
            self._check(addend)

    @classmethod
    def from_json(cls, text: str) -> Words:
        """Return what `to_json` wrote.

        Raises
        ------
        ClientError
            If the text describes no words.
        """
        try:
            value = json.loads(text)
            each = [Addend(**{**one, "shape": tuple(one["shape"])}) for one in value["addends"]]
            return cls(tuple(each), value["clients"], value["about"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ClientError(f"a layout of words must be one of this version, got {text!r}") from error

    def to_json(self) -> str:
        """Return the layout as text, alike for alike layouts."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> bytes:
        """What server and plants must have alike: 32 bytes."""
        return digest("words", self.to_json())

    @property
    def num_words(self) -> int:
        """How many words there are, with those that show whether masks matched."""
        return sum(addend.size for addend in self.addends) + _CHECKS

    @property
    def num_bytes(self) -> int:
        """How many bytes leave a client."""
        return sum(addend.size * addend.width for addend in self.addends) + _CHECKS * WIDEST

    def error(self, name: str, clients: int) -> float:
        """Return how far a sum over so many clients may be from the exact one, in each number; 0 for whole numbers.

        Each client rounds to a multiple of 2^-f; the sum is rounded once more, to what float64 can hold.
        """
        addend = next(one for one in self.addends if one.name == name)
        most = addend.most or 0.0
        return 0.0 if addend.is_whole else clients * (2.0 ** -(self.fraction_bits(addend) + 1) + most * 2.0**-53)

    def fraction_bits(self, addend: Addend) -> int:
        """Return f: with how many bits behind the point numbers that are not whole are added."""
        most = 1.0 if addend.most is None else addend.most
        return 8 * addend.width - 2 - math.ceil(math.log2(self.clients * most))

    def of(self, arrays: Arrays) -> UInt64Array:
        """Return the words of a client's arrays: (words,).

        Parameters
        ----------
        arrays
            Those that are declared, by name.

        Raises
        ------
        ClientError
            If an array is missing, has another shape, or a number that is not finite, not whole where it must be, or
            beyond what is declared: nothing of it leaves.
        """
        words = np.empty(self.num_words, np.uint64)
        for addend, place in self._places():
            words[place] = self._worded(addend, arrays.get(addend.name))
        words[-_CHECKS:] = 1, CHECK
        return words

    def packed(self, words: UInt64Array) -> UInt8Array:
        """Return words as the bytes that leave: of each its lowest ones, as many as its array declares."""
        columns = np.ascontiguousarray(words, "<u8").view(np.uint8).reshape(-1, WIDEST)
        pieces = [columns[place, :width].ravel() for place, width in self._widths()]
        return np.concatenate(pieces)

    def unpacked(self, packed: UInt8Array) -> UInt64Array:
        """Return the words of bytes that came, with zeros above.

        Raises
        ------
        ClientError
            If they are not as many bytes as the layout has.
        """
        if packed.dtype != np.uint8 or packed.shape != (self.num_bytes,):
            raise ClientError(f"masked words must be {self.num_bytes} bytes, got {packed.dtype}{list(packed.shape)}")
        columns, begin = np.zeros((self.num_words, WIDEST), np.uint8), 0
        for place, width in self._widths():
            size = (place.stop - place.start) * width
            columns[place, :width] = packed[begin : begin + size].reshape(-1, width)
            begin += size
        return columns.view("<u8")[:, 0]

    def opened(self, total: UInt64Array, clients: int) -> dict[str, AnyArray]:
        """Return the sums of the arrays.

        Parameters
        ----------
        total
            (words,), the sum of all clients' words without masks; what is above a word's width does not count.
        clients
            How many are in it.

        Returns
        -------
        sums
            By name, each in its shape: int64 for whole numbers, float64 for others.

        Raises
        ------
        FederationError
            If the last two words do not show so many clients: the masks did not match.
        """
        if total[-_CHECKS:].tolist() != [clients, clients * CHECK]:
            raise FederationError(
                f"the masks of {clients} plants did not match: the opened sum is not theirs and is thrown away; "
                "one of them sent other words than it masked, or the server mixed up answers"
            )
        return {addend.name: self._summed(addend, total[place]) for addend, place in self._places()}

    def _check(self, addend: Addend) -> None:
        name, most, bits = addend.name, addend.most, 8 * addend.width - 1
        if not 1 <= addend.width <= WIDEST:
            raise ConfigError(f"a word of {name} must have 1 to {WIDEST} bytes, got {addend.width}")
        if most is None and (not addend.is_whole or addend.width < WIDEST):
            raise ConfigError(f"{name} must say how large its numbers may be, unless they are whole and of 8 bytes")
        if most is not None and not (0 < most < math.inf):
            raise ConfigError(f"{name} must say how large its numbers may be, above 0, got {most}")
        if most is not None and addend.is_whole and self.clients * most >= 2**bits:
            raise ConfigError(
                f"{name} must have wider words than {addend.width} bytes: {self.clients} clients of {most:g} at most "
                "could overflow; raise the width"
            )

    def _worded(self, addend: Addend, array: AnyArray | None) -> UInt64Array:
        """Return the words of one array, flat."""
        if array is None or array.shape != addend.shape or array.dtype.kind not in "iufb":
            got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise ClientError(f"{addend.name} must be numbers of shape {list(addend.shape)}, got {got}")
        flat = array.ravel()
        if addend.most is None:
            return _modulo(addend.name, flat)
        largest = max(abs(flat.min(initial=0).item()), abs(flat.max(initial=0).item()))
        if not largest <= addend.most or np.isnan(flat).any():
            raise ClientError(
                f"{addend.name} must be finite and no larger than {addend.most:g} to be added under masks, got "
                f"{largest:g}; nothing of it has left; raise the bound of the federation"
            )
        return self._fixed(addend, flat).view(np.uint64)

    def _fixed(self, addend: Addend, numbers: AnyArray) -> Int64Array:
        if not addend.is_whole:
            return np.rint(np.ldexp(numbers.astype(np.float64), self.fraction_bits(addend))).astype(np.int64)
        whole = numbers.astype(np.int64)
        if (whole != numbers).any():
            raise ClientError(f"{addend.name} must be whole numbers, got others; declare it with a fraction")
        return whole

    def _summed(self, addend: Addend, words: UInt64Array) -> AnyArray:
        unused = 8 * (WIDEST - addend.width)
        signed = (words << np.uint64(unused)).view(np.int64) >> np.int64(unused)
        numbers = signed if addend.is_whole else np.ldexp(signed.astype(np.float64), -self.fraction_bits(addend))
        return numbers.reshape(addend.shape)

    def _places(self) -> Iterator[tuple[Addend, slice]]:
        begin = 0
        for addend in self.addends:
            yield addend, slice(begin, begin + addend.size)
            begin += addend.size

    def _widths(self) -> Iterator[tuple[slice, int]]:
        yield from ((place, addend.width) for addend, place in self._places())
        yield slice(self.num_words - _CHECKS, self.num_words), WIDEST


def _modulo(name: str, numbers: AnyArray) -> UInt64Array:
    """Return whole numbers of eight bytes as they are, modulo 2^64."""
    if numbers.dtype.kind not in "iu" or numbers.dtype.itemsize != WIDEST:
        raise ClientError(f"{name} must be whole numbers of 8 bytes, got {numbers.dtype}")
    return np.ascontiguousarray(numbers).view(np.uint64)
