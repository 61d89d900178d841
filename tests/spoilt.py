"""Answers as a broken, strange or ill-meaning client would give them, made from a good one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from tests.deployed import Answerer
from tests.wire import read_answer, read_ask
from werkbund.core.arrays import AnyArray
from werkbund.flower.wire.codec import MOST_SMALL_BYTES, Ask, encode_answer
from werkbund.flower.wire.parcel import Parcel

Spoil = Callable[[Ask, Parcel], Parcel]
"""Makes another answer out of a good one."""


def spoilt(desk: Answerer, spoil: Callable[[Ask], Spoil | None]) -> Answerer:
    """Return a desk whose answers are spoilt, each in the way that `spoil` gives for its task; None for not at all."""

    def answer(parcel: Parcel) -> Parcel:
        ask, reply = read_ask(parcel), desk(parcel)
        how = spoil(ask)
        return reply if how is None else how(ask, reply)

    return answer


def head(**values: Any) -> Spoil:
    """Say something else in the head."""

    def spoil(ask: Ask, parcel: Parcel) -> Parcel:
        return replace(parcel, head=json.dumps(json.loads(parcel.head) | values).encode())

    return spoil


def without(*keys: str) -> Spoil:
    """Leave something out of the head."""

    def spoil(ask: Ask, parcel: Parcel) -> Parcel:
        left = {key: value for key, value in json.loads(parcel.head).items() if key not in keys}
        return replace(parcel, head=json.dumps(left).encode())

    return spoil


def parts(**changes: Callable[[bytes], bytes]) -> Spoil:
    """Change whole parts of the parcel."""

    def spoil(ask: Ask, parcel: Parcel) -> Parcel:
        return replace(parcel, **{name: change(getattr(parcel, name)) for name, change in changes.items()})

    return spoil


def arrays(half: str, **changes: Any) -> Spoil:
    """Replace arrays of a half by others, by functions of what they were, or by nothing (None)."""

    def spoil(ask: Ask, parcel: Parcel) -> Parcel:
        answer = read_answer(parcel)
        assert answer.replies is not None
        held: dict[str, AnyArray] = dict(getattr(answer.replies, half))
        for name, change in changes.items():
            before = held.pop(name.replace("__", "."), None)
            if change is not None:
                held[name.replace("__", ".")] = np.asarray(change(before) if callable(change) else change)
        changed: dict[str, Any] = {half: held}
        return encode_answer(ask, replace(answer, replies=replace(answer.replies, **changed)))

    return spoil


@cache
def _inflating() -> bytes:
    deflater = zlib.compressobj(1)
    block = bytes(2**20)
    return b"z" + b"".join(deflater.compress(block) for _ in range(256)) + deflater.flush()


def bomb(ask: Ask, parcel: Parcel) -> Parcel:
    """Send a small body that would inflate to very much."""
    return replace(parcel, body=_inflating())


def longer(body: bytes) -> bytes:
    """Return more than may come."""
    return body + bytes(MOST_SMALL_BYTES + 1)


BAD_TRAINING: dict[str, tuple[Spoil, str]] = {
    "a NaN in the update": (parts(vector=lambda raw: b"\x00\x00\xc0\x7f" + raw[4:]), "NaN"),
    "an infinite update": (parts(vector=lambda raw: b"\x00\x00\x80\x7f" * (len(raw) // 4)), "NaN, infinite"),
    "a short update": (parts(vector=lambda raw: raw[:-4]), "update has the shape"),
    "a long update": (parts(vector=lambda raw: raw + raw), "update has the shape"),
    "half a number": (parts(vector=lambda raw: raw[:-1]), "4 bytes"),
    "no update": (parts(vector=lambda raw: b""), "lacks update"),
    "no weight": (arrays("sums", weight=None), "lacks weight"),
    "a negative weight": (arrays("sums", weight=np.array([-1.0])), "out of bounds"),
    "an infinite weight": (arrays("sums", weight=np.array([np.inf])), "infinite"),
    "a weight of texts": (arrays("sums", weight=np.array(["much"])), "floating-point"),
    "a weight beyond float32": (arrays("sums", weight=np.array([1e300])), "out of bounds"),
    "a loss that is no number": (arrays("sums", loss=np.array([np.nan])), "NaN"),
    "a loss beyond float32": (arrays("sums", loss=np.array([1e308])), "out of bounds"),
    "two rows": (arrays("sums", rows=np.ones(2)), "one row a client"),
    "a norm in texts": (arrays("clear", norm=np.array(["long"])), "its norm must be one plain number"),
    "two losses in clear": (arrays("clear", loss=np.ones((1, 2))), "its loss must be one plain number"),
    "an energy of no shape": (arrays("clear", joules=np.array(1.0)), "one row a client"),
    "another layout": (head(fingerprint="0" * 16), "layout"),
    "no layout": (without("fingerprint"), "layout"),
    "negative counts": (arrays("sums", test__histogram=lambda old: -1 - old), "counts"),
    "infinite counts": (arrays("sums", test__brier=np.array([np.inf])), "counts"),
    "counts of other bins": (arrays("sums", test__histogram=np.ones((1, 2, 7))), "counts"),
    "more counts than rows exist": (
        arrays("sums", test__histogram=lambda old: np.full_like(old, 2**62, dtype=np.int64)),
        "counts",
    ),
    "half of the counts": (arrays("sums", test__modes=None, test__brier=None), "counts"),
    "counts in texts": (arrays("sums", test__log_loss=np.array(["0"])), "counts"),
    "too much of it": (parts(body=longer), "body of its answer must have at most"),
    "a long head": (parts(head=lambda head: head + b" " * 2**17), "head of its answer must have at most"),
    "a very long vector": (parts(vector=lambda raw: raw * 3), "vector of its answer|update has the shape"),
    "a deep head": (head(more=json.loads("[" * 40 + "]" * 40)), "levels"),
    "very many arrays": (head(arrays=[["sums", "a", "|u1", "|u1", [0], 0]] * 1001), "at most 1000 arrays"),
    "a bomb": (bomb, "must have"),
    "no head": (parts(head=lambda _: b""), "JSON"),
    "a head of other code": (parts(head=lambda _: b"[]"), "JSON"),
    "another protocol": (head(protocol=2), "protocol"),
    "a text as its round": (head(round="one"), "whole number"),
    "a round beyond counting": (head(client=2**70), "whole number|no answer"),
    "no list of arrays": (head(arrays=7), "list its arrays"),
    "a body cut short": (parts(body=lambda body: body[:-3]), "body"),
    "another form of body": (parts(body=lambda body: b"r" + body[1:]), "body"),
}
"""What may come in the place of an update: how, and what the record of the round says about it."""
