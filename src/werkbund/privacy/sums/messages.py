"""What server and plants say to one another for secure sums, as named arrays; bytes travel as uint8.

n plants of the session, k of the cohort, u in the sum, o offers, w witnesses.

| stage | the server sends | a plant answers |
| --- | --- | --- |
| `KEYS` | | `exchange` (32), `signature` (96) |
| `OFFERS` | `members` (n), `exchanges` (n, 32), `signatures` (n, 96), `through` () | `numbers` (o), `offers` (o, 64), `signatures` (o, 96), `sealed` (o, n, 82) |
| submit, with the usual task | `turn` (), `layout` (32), `cohort` (k), `offers` (k, 64), `signatures` (k, 96), `witnessed`, `witnesses` (w), `witness_signatures` (w, 96) | `masked` (bytes) |
| `AGREE`, if strict | `turn` (), `layout` (32), `cohort` (k), `offers` (k, 64), `included` (u) | `witness` (96) |
| `OPEN` | as `AGREE`, and `through` (), `witnessed`, `witnesses` (w), `witness_signatures` (w, 96); each its own `sealed` (k, 82) | `shares` (k, 33), `witness` (96), and offers as above |

An offer is a plant's public mask key (32) and the commitment to the seed of its own mask (32) for one sum. `sealed`
holds both shares of each member, for its eyes alone; the row of the sender is zeros. A row of `shares` is 255 where
nothing could be unsealed. `members`, `cohort`, `included` are plants' numbers, ascending. A witness says of one sum who
is in it; of the last sum that each of the cohort may have opened, t of them are sent.

The usual round trips of a sum are two: submit and open. `KEYS` and `OFFERS` come once a session, before its first sum;
`OFFERS` alone brings new keys of a plant that has none left because it missed openings.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from werkbund.core.arrays import Arrays, Int64Array, UInt8Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Effort, Field, Kind, Sizes, nothing
from werkbund.privacy.sums.primitives import KEY_BYTES, SIGNATURE_BYTES
from werkbund.privacy.sums.sharing import SHARE_BYTES

OFFER_BYTES = 2 * KEY_BYTES
"""Length of an offer: a public mask key and a commitment."""

SEALED_BYTES = 2 * SHARE_BYTES + 16
"""Length of two sealed shares."""

NOTHING = 255
"""Byte of a share that could not be unsealed."""

_MESSAGE_BYTES = 4096.0  # what a message of a stage weighs, roughly, for ten plants; words are not among it


def _small(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of a stage without words: a little traffic, and no training."""
    return Effort(nothing(sizes), _MESSAGE_BYTES, _MESSAGE_BYTES)


def _sent(name: str, what: str, *shape: int | str, dtype: str = "u1") -> Field:
    return Field("shared", name, what, shape, dtype)


def _answered(name: str, what: str, *shape: int | str, dtype: str = "u1") -> Field:
    return Field("clear", name, what, shape, dtype, needed=True)


_OFFERED = (
    _answered("numbers", "sums that keys are for", "offers", dtype="iu"),
    _answered("offers", "public keys and commitments, one a sum", "offers", OFFER_BYTES),
    _answered("signatures", "of these keys, by the plant's registered key", "offers", SIGNATURE_BYTES),
    _answered("sealed", "shares of its secrets, sealed for each plant", "offers", "plants", SEALED_BYTES),
)
_SUM = (
    _sent("turn", "number of the sum", dtype="iu"),
    _sent("layout", "digest of how numbers become words, and of what all are asked", KEY_BYTES),
    _sent("cohort", "who was asked for numbers", "cohort", dtype="iu"),
    _sent("offers", "their keys and commitments", "cohort", OFFER_BYTES),
)
_INCLUDED = _sent("included", "who is in the sum", "included", dtype="iu")
_THROUGH = _sent("through", "sums that keys are wanted for, up to this one", dtype="iu")
_WITNESSES = (
    _sent("witnessed", "number of a sum, for each signature of who is in it", "witnesses", dtype="iu"),
    _sent("witnesses", "plants that signed it", "witnesses", dtype="iu"),
    _sent("witness_signatures", "of these plants", "witnesses", SIGNATURE_BYTES),
)
_WITNESS = _answered("witness", "who is in the sum, signed by the plant's registered key", SIGNATURE_BYTES)

KEYS = Kind(
    "sum-keys",
    "a new key under which shares can be sealed for the plant",
    "before the first secure sum of a run, and after a break",
    (),
    (
        _answered("exchange", "a public key", KEY_BYTES),
        _answered("signature", "of this key, by the plant's registered key", SIGNATURE_BYTES),
    ),
    cost=_small,
)
OFFERS = Kind(
    "sum-offers",
    "keys for the next secure sums",
    "before the first secure sum of a run, and where a plant has no keys left",
    (
        _sent("members", "who takes part", "plants", dtype="iu"),
        _sent("exchanges", "their public keys", "plants", KEY_BYTES),
        _sent("signatures", "of these keys", "plants", SIGNATURE_BYTES),
        _THROUGH,
    ),
    _OFFERED,
    cost=_small,
)
SUBMIT: tuple[Field, ...] = (
    *_SUM,
    _sent("signatures", "of the keys", "cohort", SIGNATURE_BYTES),
    *_WITNESSES,
)
"""What stands in a task whose answer is to be masked, beside what it holds anyway."""

AGREE = Kind(
    "sum-agree",
    "a signature that says who is in a secure sum",
    "after masked numbers came, where plants agree on who is in the sum before they open it",
    (*_SUM, _INCLUDED),
    (_WITNESS,),
    cost=_small,
)
OPEN = Kind(
    "sum-open",
    "shares that take the masks off a sum",
    "after masked numbers came",
    (*_SUM, _INCLUDED, _THROUGH, *_WITNESSES, Field("own", "sealed", "shares for it", ("cohort", SEALED_BYTES), "u1")),
    (_answered("shares", "of the cohort's secrets, one each", "cohort", SHARE_BYTES), _WITNESS, *_OFFERED),
    cost=_small,
    repeatable=False,
)
SUM_KINDS = (KEYS, OFFERS, AGREE, OPEN)
"""The stages that have tasks of their own."""


def as_bytes(*rows: bytes, length: int) -> UInt8Array:
    """Return rows of bytes of one length: (rows, length)."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), length).copy()


def as_row(content: bytes) -> UInt8Array:
    """Return one row of bytes: (length,)."""
    return np.frombuffer(content, np.uint8).copy()


def as_numbers(numbers: Iterable[int]) -> Int64Array:
    """Return plants' numbers, ascending."""
    return np.array(sorted(numbers), np.int64)


def raw(arrays: Arrays, name: str, length: int, rows: int | None = None) -> list[bytes]:
    """Return the rows of bytes of a message under a name.

    Parameters
    ----------
    arrays
        Of the message.
    name
        Of the array.
    length
        Of a row.
    rows
        How many there must be; None for any number.

    Raises
    ------
    ClientError
        If the message has no such array, or one of another shape.
    """
    array = arrays.get(name)
    fits = array is not None and array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] == length
    if array is None or not fits or (rows is not None and len(array) != rows):
        wanted = f"{'any number of' if rows is None else rows} rows of {length} bytes"
        raise ClientError(f"a message of secure sums must hold {name}, {wanted}; its sender may run another version")
    return [row.tobytes() for row in array]


def numbers_in(arrays: Arrays, name: str, within: Sequence[int] | range | None = None) -> tuple[int, ...]:
    """Return the numbers of a message under a name.

    Parameters
    ----------
    arrays
        Of the message.
    name
        Of the array.
    within
        Numbers among which they must be; None for any from 1.

    Raises
    ------
    ClientError
        If the message has none, or they do not ascend, or one is not among those.
    """
    array = arrays.get(name)
    if array is None or array.ndim != 1 or array.dtype.kind not in "iu":
        raise ClientError(
            f"a message of secure sums must hold {name}, whole numbers; its sender may run another version"
        )
    found = tuple(int(number) for number in array.tolist())
    odd = {*found} - {*within} if within is not None else {number for number in found if number < 1}
    if odd or list(found) != sorted({*found}):
        raise ClientError(f"{name} must be plants' numbers that ascend, got {list(found)}; the server is refused")
    return found


def witnesses_in(arrays: Arrays, turn: int) -> dict[int, bytes]:
    """Return the signatures of who is in a sum, by the number of the plant that is said to have signed.

    Raises
    ------
    ClientError
        If the message has them in another form.
    """
    columns = [arrays.get(name) for name in ("witnessed", "witnesses")]
    signatures = raw(arrays, "witness_signatures", SIGNATURE_BYTES)
    shape = (len(signatures),)
    if any(column is None or column.dtype.kind not in "iu" or column.shape != shape for column in columns):
        raise ClientError("signatures of a sum must say by whom and of which; their sender may run another version")
    turns, numbers = ([int(number) for number in column.tolist()] for column in columns if column is not None)
    rows = zip(turns, numbers, signatures, strict=True)
    return {number: signature for witnessed, number, signature in rows if witnessed == turn}


def number_in(arrays: Arrays, name: str) -> int:
    """Return the one number of a message under a name; see `numbers_in`."""
    array = arrays.get(name)
    if array is None or array.shape != () or array.dtype.kind not in "iu" or not 0 < int(array) < 2**62:
        raise ClientError(f"a message of secure sums must hold {name}, one number; its sender may run another version")
    return int(array)


def one_row(arrays: Arrays, name: str, length: int) -> bytes:
    """Return the bytes of a message under a name where there is one row of them; see `raw`."""
    array = arrays.get(name)
    return raw({} if array is None else {name: array[None]}, name, length, 1)[0]
