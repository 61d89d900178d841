"""What of an answer is added under masks: which arrays, how wide their words are, and how they come back.

Whole numbers are added as they are. Numbers with a fraction that are few, such as sums of readings or losses, are cut
into pieces of 32 bits from 2^-128 up, so that their sum is exact and needs no bound that somebody must agree to. What
is as long as the weights is rounded to fixed point, by a bound that follows from the rows of a client.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Float64Array, Int64Array
from werkbund.core.errors import ClientError, FederationError
from werkbund.core.kinds import HELD_OUT, TRAINING_ROWS, Kind
from werkbund.core.types import Tasks
from werkbund.privacy.sums import UPDATE_BYTES, Addend, Words

MOST_CHANGE = 8.0
"""A client adds no update in which a weight changes by more than this, as others clip it to that."""

USUAL_ROWS = 2**24
"""So many rows a client has at most where nobody knows better."""

MOST_NUMBERS = 2**27
"""A client adds no more numbers than this at once, a gigabyte, whatever a server asks for."""

_GIVEN = "given"
"""Name of the words that say how many gave each array: who keeps one to itself adds zeros."""

_PIECES, _PIECE_BITS, _LOWEST = 8, 32, -128
_COUNTED_IN_ROWS = (TRAINING_ROWS, "rows")


def is_summed(kind: Kind) -> bool:
    """Say whether an answer to a kind of task holds anything that is meant to be added."""
    return any(field.half == "sums" for field in kind.answer)


def seen(asks: Mapping[Kind, Collection[str]], masked: bool) -> dict[str, list[str]]:
    """Return in words what a server learns of clients: in `sums` over several, and of `each`.

    Parameters
    ----------
    asks
        Kinds of tasks that a run asks, each with the names of what is told on request.
    masked
        Whether what is meant to be added comes in sums alone.
    """
    fields = [one for kind, names in asks.items() for one in kind.answer if not one.on_request or one.name in names]
    told: dict[str, list[str]] = {"sums": [], "each": []}
    for one in fields:
        words = told["sums" if masked and one.half == "sums" else "each"]
        words += [one.what] if one.what and one.what not in words else []
    return told


def sums_of(
    kind: Kind, num_parameters: int, folds: Collection[str], counts: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each sum of a client in an answer to a kind of task, by name, as far as it follows from this.

    Parameters
    ----------
    kind
        Of the task.
    num_parameters
        Of the weights.
    folds
        Names of what is folded beside the update.
    counts
        Shape of each evaluation count of a split, by name.
    """
    sums = [one for one in kind.answer if one.half == "sums"]
    wanted = [one for one in sums if not one.is_pattern and (not one.on_request or one.name in folds)]
    shapes: dict[str, tuple[int, ...]] = {}
    for one in wanted:
        known = [num_parameters if size == "parameters" else size for size in one.shape]
        if all(isinstance(size, int) for size in known):
            shapes[one.name] = tuple(int(size) for size in known)
    return shapes | (counts_of_splits(counts) if any(one.is_pattern for one in sums) else {})


def counts_of_splits(counts: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each count of a client by its name in an answer, with the split in front."""
    return {f"{split}.{name}": shape for split in HELD_OUT for name, shape in counts.items()}


def words_for(tasks: Tasks, num_clients: int, most_rows: int, about: str = "", whole: Collection[str] = ()) -> Words:
    """Return how the sums that tasks want become words.

    Parameters
    ----------
    tasks
        Their `shapes` say what is wanted.
    num_clients
        How many may add up at the most.
    most_rows
        Rows that no client has more of.
    about
        What all are told alike, see `Words`.
    whole
        Names of sums that layers of privacy made whole numbers.

    Raises
    ------
    FederationError
        If a sum that is wanted is none that the kind declares.
    """
    alike = bool(tasks.shared.get("equal", False))
    weight = float(np.max(tasks.own.get("factor", 1.0), initial=0.0)) * (1 if alike else most_rows)
    bound = _power_above(MOST_CHANGE * weight)
    each = [
        Addend(name, shape, None, True)
        if name in whole
        else _addend(tasks.kind, name, shape, bound, float(most_rows), num_clients)
        for name, shape in sorted(tasks.shapes.items())
    ]
    return Words((*each, Addend(_GIVEN, (len(each),), 1.0, True, _width(1.0, num_clients))), num_clients, about)


def _addend(kind: Kind, name: str, shape: tuple[int, ...], bound: float, most_rows: float, num_clients: int) -> Addend:
    declared = kind.answered("sums", name)
    if declared is None or name == _GIVEN:
        raise FederationError(f"an answer to {kind} has no sum {name!r}; the server and its clients are not of a kind")
    if "parameters" in declared.shape:
        return Addend(name, shape, bound, False, UPDATE_BYTES)
    if declared.unit in _COUNTED_IN_ROWS:
        return Addend(name, shape, most_rows, True, _width(most_rows, num_clients))
    if declared.dtype in ("iu", "i", "u", "b"):
        return Addend(name, shape, None, True)
    return Addend(name, (*shape, _PIECES), None, True)


def _width(most: float, num_clients: int) -> int:
    """Return the fewest bytes in which so many such numbers cannot overflow."""
    return next(width for width in range(1, 9) if num_clients * most < 2 ** (8 * width - 1))


def _power_above(number: float) -> float:
    return 2.0 ** math.ceil(math.log2(number)) if number > 0 else 1.0


def addends_of(words: Words, kind: Kind, sums: Arrays) -> dict[str, AnyArray]:
    """Return a client's sums as the arrays that words are made of; zeros for what it keeps to itself.

    Parameters
    ----------
    words
        As the server wants them.
    kind
        Of the task, which declares what may leave.
    sums
        The client's, (...) by name.

    Raises
    ------
    ClientError
        If the server wants what is not declared, or too much, or a number cannot be added.
    """
    wanted = words.addends[:-1]
    if (numbers := sum(one.size for one in words.addends)) > MOST_NUMBERS:
        raise ClientError(f"the server wants {numbers} numbers of one client, which adds {MOST_NUMBERS} at the most")
    strange = [one.name for one in wanted if kind.answered("sums", one.name) is None]
    if strange or words.addends[-1:] != (Addend(_GIVEN, (len(wanted),), 1.0, True, words.addends[-1].width),):
        raise ClientError(f"the server wants {', '.join(strange) or 'words'} of {kind} that no client has")
    arrays: dict[str, AnyArray] = {one.name: _as_addend(one, sums.get(one.name)) for one in wanted}
    return {**arrays, _GIVEN: np.array([one.name in sums for one in wanted], np.int64)}


def _as_addend(addend: Addend, array: AnyArray | None) -> AnyArray:
    if array is None:
        return np.zeros(addend.shape, np.int64 if addend.is_whole else np.float64)
    if addend.most is None and array.dtype.kind == "f":
        return pieces_of(array.astype(np.float64))
    return array.astype(np.int64) if addend.most is None else array


def opened_sums(
    kind: Kind, words: Words, sums: Mapping[str, AnyArray], num_clients: int, whole: Collection[str] = ()
) -> dict[str, AnyArray]:
    """Return opened words as the sums that the kind declares, in the type of its numbers.

    What some clients kept to themselves is left out; but counts of held-out rows stay, as those of clients that have
    such rows.

    Parameters
    ----------
    kind
        Of the task.
    words
        How numbers became words.
    sums
        As `Words.opened` gives them.
    num_clients
        How many are in the sum.
    whole
        Names of sums that layers of privacy made whole numbers, which come as they are.
    """
    given = sums[_GIVEN].tolist()
    told = zip(words.addends[:-1], given, strict=True)
    kept = [one.name for one, many in told if many == num_clients or (many and "." in one.name)]
    return {name: sums[name] if name in whole else _typed(kind, name, sums[name]) for name in kept}


def _typed(kind: Kind, name: str, array: AnyArray) -> AnyArray:
    declared = kind.answered("sums", name)
    if declared is None:
        raise FederationError(f"an answer to {kind} has no sum {name!r}")
    whole = declared.dtype in ("iu", "i", "u", "b") or declared.unit in _COUNTED_IN_ROWS
    numbers = array if whole or "parameters" in declared.shape else number_of(array)
    return numbers.astype({"f4": np.float32, "f": np.float64}.get(declared.dtype, numbers.dtype))


def pieces_of(numbers: Float64Array) -> Int64Array:
    """Return numbers cut into pieces that add up: (..., 8), of 32 bits each from 2^-128 up, with the number's sign.

    Raises
    ------
    ClientError
        If one is not finite, or beyond 2^127.

    Examples
    --------
    >>> pieces_of(np.array([1.5, -2.0]))[:, 3:5].tolist()
    [[2147483648, 1], [0, -2]]
    """
    if not (np.abs(numbers) < 2.0**127).all():
        raise ClientError(f"numbers must be finite and below 2^127 to be added under masks, got {numbers.max():g}")
    pieces = np.zeros((numbers.size, _PIECES), np.int64)
    for row, number in zip(pieces, numbers.ravel().tolist(), strict=True):
        whole = round(math.ldexp(abs(number), -_LOWEST))
        row[:] = [(whole >> _PIECE_BITS * place) % 2**_PIECE_BITS for place in range(_PIECES)]
        if number < 0:
            np.negative(row, out=row)
    return pieces.reshape(*numbers.shape, _PIECES)


def number_of(pieces: AnyArray) -> Float64Array:
    """Return the numbers of summed pieces, (..., 8), rounded once: (...).

    Examples
    --------
    >>> float(number_of(pieces_of(np.array([1e16])) + pieces_of(np.array([0.5])) + pieces_of(np.array([-1e16])))[0])
    0.5
    """
    rows = pieces.reshape(-1, _PIECES).tolist()
    whole = (sum(piece << _PIECE_BITS * place for place, piece in enumerate(row)) for row in rows)
    return np.array([number / 2**-_LOWEST for number in whole], np.float64).reshape(pieces.shape[:-1])
