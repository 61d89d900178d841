"""From a file's bytes to its text: unpacked, decoded, with line feeds at line ends."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

import charset_normalizer

from werkbund.core.errors import DataError

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How workbooks begin: new ones, and old ones."""

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 65_536  # bytes
_MOST_ZEROS = 0.05  # of the bytes of a text in which single ones were lost
_WESTERN = re.compile(r"[\x00-\x7fÄÖÜäöüßéèêàâçñáíóúØøÅåæÆ°²³µ±·€§–“”„’…×½¼\xa0]*")
_CANDIDATES = ["cp1252", "cp850", "cp1250", "cp1251", "mac_roman", "cp437"]
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")
_HIGH = re.compile(rb"[\x80-\xff]")


def unpacked(data: bytes, path: Path) -> bytes:
    """Return the bytes of a file, those inside if it is a gzip file.

    Raises
    ------
    DataError
        If a gzip file is damaged.
    """
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} must be a whole gzip file, but cannot be unpacked: {error}; copy it again") from None


def decode(data: bytes, path: Path, encoding: str | None = None) -> tuple[str, str, int]:
    """Return the text of a file, without byte order mark and with line feeds alone at line ends.

    Parameters
    ----------
    data
        As `unpacked` returns them.
    path
        For messages.
    encoding
        As it is said to be; None to find it out.

    Returns
    -------
    text, encoding
        The text, and how it was encoded.
    zeros
        Number of NUL characters that were left out.

    Raises
    ------
    DataError
        If the file is empty, of another encoding than is said, or no text at all.
    """
    if data.startswith(_PARQUET):
        raise DataError(f"{path} must be delimited text, but looks like a Parquet file; name it .parquet")
    name = encoding or _encoding_of(data, path)
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        raise DataError(_undecodable(data, path, name, error)) from None
    zeros = text.count("\0")
    if zeros > _MOST_ZEROS * len(text):
        raise DataError(f"{path} must be delimited text, but {zeros} of {len(text)} characters are NUL; export it anew")
    text = text.replace("\0", "").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{path} must have a header and rows, but is empty")
    return text, "utf-8" if name == "utf-8-sig" else name, zeros


def _encoding_of(data: bytes, path: Path) -> str:
    """Return how a file's text is encoded: by its mark, by its zeros, or by what its bytes spell."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 8 and min(even, odd) <= max(even, odd) // 20:
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        high = len(_HIGH.findall(data))
        if sum(map(len, _SEQUENCE.findall(data))) > high // 2:
            raise DataError(_undecodable(data, path, "utf-8", error)) from None
        return _eight_bit(data)
    return "utf-8"


def _eight_bit(data: bytes) -> str:
    """Return the encoding of a text with one byte a character: the Western one if nothing speaks against it."""
    try:
        western = _WESTERN.fullmatch(data.decode("cp1252")) is not None
    except UnicodeDecodeError:
        western = False
    if western:
        return "cp1252"
    lines = b"\n".join(line for line in data.splitlines() if _HIGH.search(line))[:_SAMPLE]
    best = charset_normalizer.from_bytes(lines, cp_isolation=_CANDIDATES).best()
    return "latin-1" if best is None else best.encoding


def _undecodable(data: bytes, path: Path, name: str, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    return (
        f"{path}: line {line} holds the byte 0x{data[error.start]:02x}, which is none of {name}, as the rest is; "
        "export the file anew, or name its encoding (data.encoding)"
    )
