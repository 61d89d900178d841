"""Rows whose values can be recognised wherever they turn up, and the search for them in what a client sent.

How sure a find is depends on its length. Eight bytes of a float64, or a decimal number of 12 digits or more, do not
turn up by chance: 5,000 values in 5 MB of random bytes give 2 * 5,000 * 5e6 / 2^64 = 3e-9 finds in both byte orders.
The four bytes of a float32 do: 2 * 5,000 * 5e6 / 2^32 = 12 finds. So do numbers of 6 to 11 digits: 1,000 readings of
one sensor lie so close that a number of six digits in their range meets one of them perhaps one time in ten.

A short find therefore counts only beside another: a find of another value in the same encoding at most 64 bytes away,
as neighbours in a row, in a column, or in a list of numbers would be. Two of the 12 chance finds lie that close about
once in 1,000 such captures; and a real capture is far from random, being mostly small weights, counts and protocol,
none of which begins like a reading. What lone short finds are worth, `lone` and `expected_lone` say together: how many
there are, and how many the same capture gives of values of the same size which are in no table.
An array that was decoded from a message needs none of this: `in_array` compares each number by itself.

Not found are values in another form, such as half precision, base64, integers of a thousandth, or a decimal comma.
Scaled features are other numbers: search for them by giving these.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.data.ai4i import AI4I_SCHEMA, generated_table
from werkbund.data.features import clean, number_matrix
from werkbund.data.rules import AIR, COLUMNS, PROCESS, PRODUCT, SPEED, TORQUE, WEAR

NUMBERS = (AIR, PROCESS, SPEED, TORQUE, WEAR)
_STEPS = np.array([0.1, 0.1, 1.0, 0.1, 1.0])  # what the published file is rounded to, by column

FEWEST_DIGITS, _SURE_DIGITS, _NEAR_BYTES = 6, 12, 64
_LONGEST_TOKEN = 40
_NUMBER = re.compile(rb"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2}(?![0-9]))?")
_PACKED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_PIECE = 2**16
_FEWEST_INFLATED = 4


@dataclass(frozen=True)
class Marked:
    """Hold a plant's rows.

    Parameters
    ----------
    frame
        The columns of AI4I's published file.
    values
        (rows, 5), the numbers of each row, in the order of `NUMBERS`; no two are alike, not even as float32.
    derived
        (rows, 3), the features that AI4I's schema derives from them.
    products
        (rows,), texts that are in no other table.
    """

    frame: pl.DataFrame
    values: Float64Array
    derived: Float64Array
    products: tuple[str, ...]


def marked_table(rows: int = 1000, seed: int = 0) -> Marked:
    """Return generated rows of one plant whose numbers have all the digits that a float64 has.

    Each is what the generator drew, moved by less than the step to which the published file is rounded, so that
    failures still follow the rules and tools still wear.
    """
    frame = generated_table(rows=rows, plants=1, seed=seed).frame.select(COLUMNS)
    rng = np.random.default_rng(seed)
    drawn = frame.select(pl.col(NUMBERS).cast(pl.Float64)).to_numpy()
    values = drawn + _STEPS * rng.random(drawn.shape)
    while (poor := _repeated(values) | _short(values)).any():
        values[poor] = (drawn + _STEPS * rng.random(drawn.shape))[poor]
    products = tuple(f"{old[0]}{number:012d}" for old, number in zip(frame[PRODUCT], _serials(rng, rows), strict=True))
    columns = [pl.Series(name, values[:, place]) for place, name in enumerate(NUMBERS)]
    frame = frame.with_columns(*columns, pl.Series(PRODUCT, products))
    cleaned = clean(frame, NUMBERS, ())
    return Marked(frame, values, number_matrix(cleaned, (), AI4I_SCHEMA.derived), products)


def _repeated(values: Float64Array) -> BoolArray:
    """Say which values came before, as float32."""
    flat = values.astype(np.float32).ravel()
    _, first = np.unique(flat, return_index=True)
    repeated = np.ones(len(flat), dtype=bool)
    repeated[first] = False
    return repeated.reshape(values.shape)


def _short(values: Float64Array) -> BoolArray:
    """Say which values end in a nought when they are rounded to six digits: written out, they would lose it."""
    tens = 10.0 ** (np.floor(np.log10(values)) - FEWEST_DIGITS + 1)
    return np.asarray(np.round(values / tens) % 10 == 0)


def _serials(rng: np.random.Generator, rows: int) -> list[int]:
    numbers: set[int] = set()
    while len(numbers) < rows:
        numbers |= set(rng.integers(10**11, 10**12, rows - len(numbers)).tolist())
    return sorted(numbers)


@dataclass(frozen=True)
class Leak:
    """Hold one find.

    Parameters
    ----------
    value
        Which value.
    encoding
        Such as `float32 <` for little-endian, or `text`.
    offset
        Where, in bytes from the beginning.
    stream
        0 for the capture itself; else which of the compressed streams in it, and `offset` counts in what came out.
    sure
        Whether it is too long for chance.
    """

    value: float
    encoding: str
    offset: int
    stream: int = 0
    sure: bool = True


def leaks(captured: bytes, values: Float64Array) -> list[Leak]:
    """Return where values are in a capture: all sure finds, and short ones that have a neighbour.

    Searched are all offsets, and whatever inflates as zlib or gzip from where it begins.

    Parameters
    ----------
    captured
        Bytes as they left a client, or decoded bodies.
    values
        Any shape; of at least six digits each.

    Raises
    ------
    ValueError
        If a value is short or not finite: it would be found everywhere.
    """
    hits = list(_hits(captured, values))
    near = _with_neighbours(hits)
    return [hit for hit in hits if hit.sure or hit in near]


def lone(captured: bytes, values: Float64Array) -> list[Leak]:
    """Return the short finds that have no neighbour, of which chance makes some; see `expected_lone`."""
    counted = set(leaks(captured, values))
    return [hit for hit in _hits(captured, values) if hit not in counted]


def expected_lone(captured: bytes, values: Float64Array, seed: int = 0, draws: int = 20) -> float:
    """Return how many lone short finds chance makes: the mean over sets of values that are in no table.

    A set has each value moved by up to a thousandth of itself, so that it lies among the values, and looks like them.
    """
    rng = np.random.default_rng(seed)
    sets = (values * (1 + rng.uniform(-1e-3, 1e-3, values.shape)) for _ in range(draws))
    return sum(len(lone(captured, others)) for others in sets) / draws


def in_array(array: npt.NDArray[np.number], values: Float64Array) -> list[float]:
    """Return the values that an array holds, as float32 or better; an array is decoded, so that one find is enough.

    Parameters
    ----------
    array
        Any shape and type.
    values
        Any shape.
    """
    wanted = _checked(values)
    held = np.isin(wanted.astype(np.float32), np.asarray(array, dtype=np.float32).ravel())
    return [float(value) for value in wanted[held]]


def texts_in(captured: bytes, texts: Sequence[str]) -> list[str]:
    """Return the texts that are in a capture, in UTF-8, also in what was compressed."""
    contents = list(_contents(captured))
    return [text for text in texts if any(text.encode() in content for content in contents)]


def _checked(values: Float64Array) -> Float64Array:
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not len(flat):
        raise ValueError("there must be at least one value to search for")
    short = [v for v in flat.tolist() if not np.isfinite(v) or float(f"{v:.{FEWEST_DIGITS - 2}e}") == v]
    if short:
        raise ValueError(f"values must be finite and have at least {FEWEST_DIGITS} digits, got {short[:3]}")
    return flat


def _hits(captured: bytes, values: Float64Array) -> Iterator[Leak]:
    wanted = _checked(values)
    for stream, content in enumerate(_contents(captured)):
        for width, sure in ((8, True), (4, False)):
            for order in "<>":
                for leak in _binary(content, wanted, width, order):
                    yield replace(leak, stream=stream, sure=sure)
        for leak in _decimal(content, wanted):
            yield replace(leak, stream=stream)


def _binary(content: bytes, wanted: Float64Array, width: int, order: str) -> Iterator[Leak]:
    """Yield where the bytes of values are: each offset is the beginning of one word."""
    kind = f"{order}u{width}"
    patterns = wanted.astype(f"{order}f{width}").view(kind).astype(f"=u{width}")
    rank = np.argsort(patterns)
    patterns = patterns[rank]
    for shift in range(min(width, len(content))):
        words = np.frombuffer(content, kind, (len(content) - shift) // width, shift).astype(f"=u{width}")
        # A look-up for each word would be slow; most lie outside of the values' range.
        places = np.flatnonzero((words >= patterns[0]) & (words <= patterns[-1]))
        candidates = np.searchsorted(patterns, words[places])
        hit = patterns[candidates] == words[places]
        for place, which in zip(places[hit].tolist(), candidates[hit].tolist(), strict=True):
            value = float(wanted[rank[which]])
            yield Leak(value, f"float{8 * width} {order}", shift + place * width)


def _decimal(content: bytes, wanted: Float64Array) -> Iterator[Leak]:
    """Yield where values are written out, rounded to six digits or more, or as float32; signs do not count."""
    tokens = [
        (match.start(), match.group()) for match in _NUMBER.finditer(content) if len(match.group()) <= _LONGEST_TOKEN
    ]
    digits = np.array([_digits(token) for _, token in tokens], dtype=np.int64)
    known = np.flatnonzero(digits >= FEWEST_DIGITS)
    if not len(known):
        return
    read = np.array([float(tokens[place][1]) for place in known.tolist()])
    units = np.array([_unit(tokens[place][1]) for place in known.tolist()])
    sizes = np.concatenate([[-np.inf], np.sort(np.abs(wanted)), [np.inf]])
    after = np.searchsorted(sizes, read)
    with np.errstate(over="ignore"):  # chance writes numbers that float32 does not have
        short = read.astype(np.float32)
    for value in (sizes[after - 1], sizes[after]):  # the next smaller and the next larger
        exact = np.abs(value - read) <= units / 2 + np.spacing(read)
        for place in np.flatnonzero(exact | (value.astype(np.float32) == short)).tolist():
            sure = bool(exact[place]) and int(digits[known[place]]) >= _SURE_DIGITS
            yield Leak(float(value[place]), "text", tokens[known[place]][0], sure=sure)


def _digits(token: bytes) -> int:
    """Count significant digits."""
    return len(re.split(b"[eE]", token)[0].replace(b".", b"").lstrip(b"0"))


def _unit(token: bytes) -> float:
    """Return what one more in the last digit is."""
    mantissa, _, exponent = token.lower().partition(b"e")
    _, _, decimals = mantissa.partition(b".")
    return float(10.0 ** (int(exponent or b"0") - len(decimals)))


def _with_neighbours(hits: Sequence[Leak]) -> set[Leak]:
    """Return the hits beside which there is another value in the same encoding."""
    near: set[Leak] = set()
    ordered = sorted(hits, key=lambda leak: (leak.stream, leak.encoding, leak.offset))
    for at, leak in enumerate(ordered):
        for other in ordered[at + 1 :]:
            same = (leak.stream, leak.encoding) == (other.stream, other.encoding)
            if not same or other.offset - leak.offset > _NEAR_BYTES:
                break
            if other.value != leak.value:
                near |= {leak, other}
    return near


def _contents(captured: bytes) -> Iterator[bytes]:
    """Yield the capture, then what inflates in it, and in that."""
    waiting = [captured]
    while waiting:
        content = waiting.pop(0)
        yield content
        inner = (_inflated(content, match.start()) for match in _PACKED.finditer(content))
        waiting += [part for part in inner if len(part) >= _FEWEST_INFLATED]


def _inflated(content: bytes, at: int) -> bytes:
    """Return what a zlib or gzip stream holds, as far as it is one."""
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    parts = []
    while at < len(content) and not inflater.eof:
        try:
            parts.append(inflater.decompress(content[at : at + _PIECE]))
        except zlib.error:
            break
        at += _PIECE
    return b"".join(parts)
