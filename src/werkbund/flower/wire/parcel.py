"""One message as bytes: a head in JSON, a body of small named arrays, and one vector.

In the body numbers are raw and little-endian, texts are JSON. Whole numbers travel in the narrowest type that holds
them, and the whole is deflated where that makes it shorter: evaluation counts are mostly zeros. Nothing here unpickles,
and nothing is read before its length is checked.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from werkbund.core.arrays import AnyArray
from werkbund.core.errors import ClientError

_LENGTHS = struct.Struct("<QQQ")
LARGEST = 2**32
"""No part of a parcel may be longer, in bytes."""

_NARROW = ("|u1", "<u2", "<u4")
_TYPES = {*_NARROW, "|b1", "|i1", "<i2", "<i4", "<i8", "<u8", "<f4", "<f8"}
_TEXT = "text"
_HIGHEST_RANK, _LONGEST_NAME = 4, 100
LONGEST_TEXTS = 2**21
"""Bytes of JSON that the texts of a message may have: as Python's objects they are many times as long."""


@dataclass(frozen=True)
class Parcel:
    """Hold the content of one message.

    Parameters
    ----------
    head
        JSON in UTF-8: what is asked or answered, and the names, types and shapes of the arrays.
    body
        The small arrays, one behind the other.
    vector
        Weights or an update: raw little-endian float32.
    """

    head: bytes
    body: bytes = b""
    vector: bytes = b""

    @property
    def num_bytes(self) -> int:
        """Length of all parts."""
        return len(self.head) + len(self.body) + len(self.vector)

    def to_bytes(self) -> bytes:
        """Return all parts as one text of bytes, for a file."""
        buffer = io.BytesIO()
        write_parcel(buffer, self)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Parcel:
        """Return what `to_bytes` wrote.

        Raises
        ------
        ClientError
            If it was cut short.
        """
        parcel = read_parcel(io.BytesIO(content))
        if parcel is None:
            raise ClientError("a stored parcel must not be empty; remove the file")
        return parcel


def write_parcel(stream: BinaryIO, parcel: Parcel) -> None:
    """Write a parcel to a pipe: three lengths, then the three parts."""
    stream.write(_LENGTHS.pack(len(parcel.head), len(parcel.body), len(parcel.vector)))
    for part in (parcel.head, parcel.body, parcel.vector):
        stream.write(part)
    stream.flush()


def read_parcel(stream: BinaryIO) -> Parcel | None:
    """Read the next parcel from a pipe; None at its end.

    Raises
    ------
    ClientError
        If the pipe ends within a parcel, or a length is beyond `LARGEST`.
    """
    lengths = stream.read(_LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        raise ClientError("a parcel was cut short; the process at the other end of the pipe has died")
    sizes = _LENGTHS.unpack(lengths)
    if max(sizes) > LARGEST:
        raise ClientError(f"a part of a parcel must have at most {LARGEST} bytes, got {max(sizes)}")
    parts = [stream.read(size) for size in sizes]
    if any(len(part) < size for part, size in zip(parts, sizes, strict=True)):
        raise ClientError("a parcel was cut short; the process at the other end of the pipe has died")
    return Parcel(*parts)


@dataclass(frozen=True)
class ArrayEntry:
    """Describe one array in the body of a parcel.

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
        """Return the fields as a list for the head."""
        return [self.half, self.name, self.dtype, self.stored, list(self.shape), self.length]

    @classmethod
    def from_json(cls, values: Any) -> ArrayEntry:
        """Return the description that `to_json` wrote as a list.

        Raises
        ------
        ClientError
            If it is no such list, a type is not allowed, or a length is not that of the shape.
        """
        if not isinstance(values, list) or len(values) != 6:
            raise ClientError("an array's description must have six values; the sender runs other code")
        *words, shape, length = values
        numbers = [*shape, length] if isinstance(shape, list) else [None]
        if not all(isinstance(word, str) for word in words) or not all(type(number) is int for number in numbers):
            raise ClientError("an array's description must be four texts, a shape and a length")
        half, name, dtype, stored = words
        if max(map(len, words)) > _LONGEST_NAME:
            raise ClientError(f"an array's name must have at most {_LONGEST_NAME} letters")
        entry = cls(half, name, dtype, stored, tuple(shape), length)
        if len(entry.shape) > _HIGHEST_RANK or min(entry.shape, default=0) < 0 or entry.length < 0:
            raise ClientError(f"array {name!r} cannot have the shape {entry.shape} and {entry.length} bytes")
        if entry.dtype != _TEXT:
            if not _fit(entry.dtype, entry.stored):
                raise ClientError(f"array {name!r} must be of plain numbers, got {entry.dtype}, {entry.stored}")
            if math.prod(entry.shape) * np.dtype(entry.stored).itemsize != entry.length:
                raise ClientError(f"array {name!r} of shape {entry.shape} cannot have {entry.length} bytes")
        return entry


def pack(arrays: Iterable[tuple[str, str, AnyArray]]) -> tuple[list[ArrayEntry], bytes]:
    """Return the descriptions and the body of arrays, each given as (half of the message, name, array)."""
    entries, parts = [], []
    for half, name, array in arrays:
        stored, content = _content(array)
        dtype = _TEXT if stored == _TEXT else array.dtype.newbyteorder("<").str
        entries.append(ArrayEntry(half, name, dtype, stored, array.shape, len(content)))
        parts.append(content)
    body = b"".join(parts)
    deflated = zlib.compress(body, 6)
    return entries, b"z" + deflated if len(deflated) < len(body) else b"r" + body


def unpack(entries: list[ArrayEntry], body: bytes, largest: int) -> Iterator[tuple[str, str, AnyArray]]:
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
    texts = sum(entry.length for entry in entries if entry.dtype == _TEXT)
    if texts > LONGEST_TEXTS:
        raise ClientError(f"a message's texts must have at most {LONGEST_TEXTS} bytes, got {texts}")
    raw = _inflated(body, total)
    end, room = 0, largest - inflated
    for entry in entries:
        content, end = raw[end : end + entry.length], end + entry.length
        array = _texts(entry, content, room) if entry.dtype == _TEXT else _numbers(entry, content)
        room -= array.nbytes if entry.dtype == _TEXT else 0
        yield entry.half, entry.name, array


def _fit(dtype: str, stored: str) -> bool:
    """Say whether an array of one type may travel in another: the same, or for whole numbers a narrower one."""
    if dtype == stored:
        return dtype in _TYPES
    whole = {name for name in _TYPES if name[1] in "iu"}
    return dtype in whole and stored in _NARROW and np.dtype(stored).itemsize < np.dtype(dtype).itemsize


def _content(array: AnyArray) -> tuple[str, bytes]:
    if array.dtype.kind == "U":
        return _TEXT, json.dumps(array.ravel().tolist(), ensure_ascii=False).encode()
    stored = _narrowest(array)
    if stored not in _TYPES:
        raise ClientError(f"an array must be of plain numbers or texts, got {array.dtype}")
    return stored, np.ascontiguousarray(array, dtype=stored).tobytes()


def _narrowest(array: AnyArray) -> str:
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
        if len(raw) == total and (not inflater.eof or inflater.unused_data):
            raise ClientError("a message's body is damaged: it does not end where its arrays do")
    else:
        raw = body[1:]
    if len(raw) != total:
        raise ClientError(f"a message's body must have {total} bytes, as its head says, got {len(raw)} or more")
    return raw


def _numbers(entry: ArrayEntry, content: bytes) -> AnyArray:
    stored = "|u1" if entry.stored == "|b1" else entry.stored  # any byte but 0 is a truth
    try:
        return np.frombuffer(content, stored).reshape(entry.shape).astype(entry.dtype)
    except ValueError as error:  # without a number in it, a shape may still be beyond NumPy
        raise ClientError(f"array {entry.name!r} cannot have the shape {entry.shape}") from error


def _texts(entry: ArrayEntry, content: bytes, room: int) -> AnyArray:
    """Return an array of texts that takes at most `room` bytes: NumPy gives each the space of the longest."""
    try:
        texts = json.loads(content)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("not a list of texts")
        for text in texts:
            text.encode()  # half of a pair of surrogates is no text
        if 4 * len(texts) * max(map(len, texts), default=0) > room:
            raise ValueError("they take too much space")
        return np.array(texts, dtype=np.str_).reshape(entry.shape)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ClientError(f"array {entry.name!r} must be a list of texts: {error}") from error
