"""A line of a ledger: one JSON object in canonical form, chained to the line before it, and signed.

Each line holds the SHA-384 of the one before, so that a change anywhere shows in all that follows, and a signature of
the plant's key, so that no one else can write it. The form is that of RFC 8785 for what a ledger holds: texts, whole
numbers below 2**53, truths, nothing, lists, and objects with keys of ASCII. There are no floating-point numbers: what
has decimals is written as a text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkbund.core.errors import CheckpointError
from werkbund.core.keys import PrivateKey, PublicKey, fingerprint, is_signed, sign

FORMAT, LABEL = 1, "werkbund/ledger/1"
START = "0" * 96
"""What stands in the first line in place of the digest of one before."""

FIXED = ("v", "plant", "key", "seq", "time", "prev", "kind", "sig")
"""Keys that each line has."""

_SIGNATURE = "sig"
_MOST = 2**53


@dataclass(frozen=True)
class Head:
    """Say how far a ledger goes: the number of its last line, from 0, and that line's SHA-384 in hexadecimal digits."""

    seq: int
    digest: str

    @property
    def is_wellformed(self) -> bool:
        """Whether these can be a line's number and digest."""
        return 0 <= self.seq < _MOST and len(self.digest) == len(START) and set(self.digest) <= set("0123456789abcdef")


def canonical(value: Any) -> bytes:
    """Return a value as the one text of bytes that RFC 8785 gives for it.

    Raises
    ------
    ValueError
        If it holds anything but texts, whole numbers below 2**53, truths, nothing, lists, and objects with keys of
        ASCII; or half of a pair of surrogates, which is no text.

    References
    ----------
    Rundgren, Jordan, Erdtman, JSON Canonicalization Scheme, RFC 8785, 2020. Keys of ASCII are in the same order by
    UTF-16, which the scheme asks for, as by code point.
    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(line: bytes) -> str:
    """Return the SHA-384 of a line, without its line break, in hexadecimal digits."""
    return hashlib.sha384(line).hexdigest()


def signed_line(entry: Mapping[str, Any], key: PrivateKey) -> bytes:
    """Return an entry as a line, with its signature and without a line break."""
    signature = sign(key, LABEL, canonical(entry))
    return canonical({**entry, _SIGNATURE: base64.b64encode(signature).decode()})


def entry_in(line: bytes) -> dict[str, Any]:
    """Return the entry that a line holds, without looking at signature and chain.

    Raises
    ------
    CheckpointError
        If it is not written as a ledger's lines are.
    """
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or canonical(entry) != line:
            raise ValueError("it is not in canonical form")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"is no entry: {error}") from error
    missing = [name for name in FIXED if type(entry.get(name)) is not (int if name in ("v", "seq") else str)]
    if missing:
        raise CheckpointError(f"lacks {', '.join(missing)}")
    return entry


def is_by(entry: Mapping[str, Any], key: PublicKey) -> bool:
    """Say whether an entry names a key, and bears its signature."""
    try:
        signature = base64.b64decode(str(entry[_SIGNATURE]), validate=True)
    except binascii.Error:
        return False
    if base64.b64encode(signature).decode() != entry[_SIGNATURE]:  # the same signature, written in another way
        return False
    unsigned = {name: value for name, value in entry.items() if name != _SIGNATURE}
    return entry["key"] == fingerprint(key) and is_signed(key, LABEL, canonical(unsigned), signature)


def _check(value: Any) -> None:
    """Raise if a value is none that a ledger holds."""
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) >= _MOST:
            raise ValueError(f"a whole number must be below 2**53, got {value}")
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner)
    elif isinstance(value, Mapping) and all(isinstance(name, str) and name.isascii() for name in value):
        for inner in value.values():
            _check(inner)
    else:
        raise ValueError(f"must be made of texts, whole numbers, truths, lists and objects, got {type(value).__name__}")
