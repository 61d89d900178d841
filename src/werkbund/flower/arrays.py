"""Named arrays as bytes and back: numbers raw and little-endian, texts as JSON; nothing that unpickles.

Whole numbers travel in the narrowest type that holds them, and the whole is deflated where that makes it shorter:
evaluation counts are mostly zeros.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.errors import ClientError

Array = npt.NDArray[Any]
_NARROW = ("|u1", "<u2", "<u4")
_TYPES = {*_NARROW, "|b1", "|i1", "<i2", "<i4", "<i8", "<u8", "<f4", "<f8"}
_TEXT = "text"
_HIGHEST_RANK = 4


@dataclass(frozen=True)
class Entry:
    """Describe one array in a body.

    Parameters
    ----------
    half
        Which part of a task or an answer it belongs to.
    name
        Its name there.
    dtype
        As it was: a type of NumPy's, or `text`.
    stored
        The type in which it travels.
    shape
        Its shape.
    length
        Bytes in the body.
    """

    half: str
    name: str
    dtype: str
    stored: str
    shape: tuple[int, ...]
    length: int

    def to_json(self) -> list[Any]:
        """Return plain values."""
        return [self.half, self.name, self.dtype, self.stored, list(self.shape), self.length]

    @classmethod
    def from_json(cls, values: Any) -> Entry:
        """Read and check what `to_json` wrote.

        Raises
        ------
        ClientError
            If a type is not allowed, or a length is not that of the shape.
        """
        try:
            half, name, dtype, stored, shape, length = values
            entry = cls(str(half), str(name), str(dtype), str(stored), tuple(int(n) for n in shape), int(length))
        except (TypeError, ValueError) as error:
            raise ClientError(f"an array's description must have six values, got {values!r}") from error
        if len(entry.shape) > _HIGHEST_RANK or min(entry.shape, default=0) < 0 or entry.length < 0:
            raise ClientError(f"array {name!r} cannot have the shape {entry.shape} and {entry.length} bytes")
        if entry.dtype != _TEXT:
            if not {entry.dtype, entry.stored} <= _TYPES:
                raise ClientError(f"array {name!r} must be of plain numbers, got {entry.dtype}, {entry.stored}")
            if math.prod(entry.shape) * np.dtype(entry.stored).itemsize != entry.length:
                raise ClientError(f"array {name!r} of shape {entry.shape} cannot have {entry.length} bytes")
        return entry


def pack(arrays: Iterable[tuple[str, str, Array]]) -> tuple[list[Entry], bytes]:
    """Return the descriptions and the body of arrays, each given as (half, name, array)."""
    entries, parts = [], []
    for half, name, array in arrays:
        stored, content = _content(array)
        dtype = _TEXT if stored == _TEXT else array.dtype.newbyteorder("<").str
        entries.append(Entry(half, name, dtype, stored, array.shape, len(content)))
        parts.append(content)
    body = b"".join(parts)
    deflated = zlib.compress(body, 6)
    return entries, b"z" + deflated if len(deflated) < len(body) else b"r" + body


def unpack(entries: list[Entry], body: bytes, largest: int) -> Iterator[tuple[str, str, Array]]:
    """Yield (half, name, array) of each array of a body.

    Parameters
    ----------
    entries
        Their descriptions.
    body
        What `pack` returned.
    largest
        Bytes that the inflated body may have at most.

    Raises
    ------
    ClientError
        If lengths do not fit, or more than `largest` bytes are announced.
    """
    total = sum(entry.length for entry in entries)
    inflated = sum(math.prod(entry.shape) * np.dtype(entry.dtype).itemsize for entry in entries if entry.dtype != _TEXT)
    if max(total, inflated) > largest:
        raise ClientError(f"a message's arrays must have at most {largest} bytes, got {max(total, inflated)}")
    raw = _inflated(body, total)
    end = 0
    for entry in entries:
        content, end = raw[end : end + entry.length], end + entry.length
        yield entry.half, entry.name, _array(entry, content)


def _content(array: Array) -> tuple[str, bytes]:
    if array.dtype.kind == "U":
        return _TEXT, json.dumps(array.ravel().tolist(), ensure_ascii=False).encode()
    stored = _narrowest(array)
    if stored not in _TYPES:
        raise ClientError(f"an array must be of plain numbers or texts, got {array.dtype}")
    return stored, np.ascontiguousarray(array, dtype=stored).tobytes()


def _narrowest(array: Array) -> str:
    own = array.dtype.newbyteorder("<").str
    if array.dtype.kind not in "iu" or not array.size or array.min() < 0:
        return own
    largest = int(array.max())
    fitting = [name for name in _NARROW if largest <= np.iinfo(name).max]
    return fitting[0] if fitting and np.dtype(fitting[0]).itemsize < array.dtype.itemsize else own


def _inflated(body: bytes, total: int) -> bytes:
    if body[:1] == b"z":
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(body[1:], total + 1)
        except zlib.error as error:
            raise ClientError(f"a message's body is damaged: {error}") from error
    else:
        raw = body[1:]
    if len(raw) != total:
        raise ClientError(f"a message's body must have {total} bytes, as its head says, got {len(raw)} or more")
    return raw


def _array(entry: Entry, content: bytes) -> Array:
    if entry.dtype != _TEXT:
        stored = np.frombuffer(content, entry.stored).reshape(entry.shape)
        return stored.astype(entry.dtype)
    try:
        texts = json.loads(content)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("not a list of texts")
        return np.array(texts, dtype=np.str_).reshape(entry.shape)
    except ValueError as error:
        raise ClientError(f"array {entry.name!r} must be a list of texts: {error}") from error
