"""What travels in one message, before it is a record of Flower's: a head in JSON, a body, and one vector.

Nothing here unpickles, and nothing is read before its length is checked.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from werkbund.core.errors import ClientError

_LENGTHS = struct.Struct("<QQQ")
LARGEST = 2**32
"""No part of a parcel may be longer, in bytes."""


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
