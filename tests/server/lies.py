"""What one plant of several may say that is not so, in every message of a run: as it would leave a plant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.spoilt import Spoil, arrays, head, parts
from werkbund.core.arrays import AnyArray

Change = Callable[[AnyArray], AnyArray]


def _vector(change: Callable[[AnyArray], AnyArray]) -> Spoil:
    """Change the update as numbers."""

    def changed(raw: bytes) -> bytes:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(change(np.frombuffer(raw, "<f4").copy()), "<f4").tobytes()

    return parts(vector=changed)


def _both(*ways: Spoil) -> Spoil:
    def spoil(ask: Any, parcel: Any) -> Any:
        for way in ways:
            parcel = way(ask, parcel)
        return parcel

    return spoil


def _one(value: float) -> Change:
    def change(update: AnyArray) -> AnyArray:
        update[0] = value
        return update

    return change


def _whole(value: float) -> Change:
    return lambda old: np.full_like(np.asarray(old, np.float64), value)


def _times(factor: float) -> Change:
    return lambda old: np.asarray(old) * factor


def _levels(number: int, letters: int = 3) -> Spoil:
    named = {"Type": [f"{n:0{letters}d}" for n in range(number)]}
    return arrays("clear", vocabulary=np.array([json.dumps(named)]))


def _rows(histogram: Change, calibration: Change, **others: Any) -> Spoil:
    """Say other held-out rows, of both splits."""
    parts_of = {"histogram": histogram, "calibration": calibration, **others}
    return arrays("sums", **{f"{split}__{n}": f for split in ("validation", "test") for n, f in parts_of.items()})


def _perfect(old: AnyArray) -> AnyArray:
    found = np.zeros_like(old)
    found[..., 0, 0], found[..., 1, -1] = 10**9, 10**9
    return found


def _perfect_deciles(old: AnyArray) -> AnyArray:
    found = np.zeros_like(old)
    found[..., 0, :], found[..., -1, :] = (1e9, 0, 0), (1e9, 1e9, 1e9)
    return found


def _facts(**values: Any) -> Spoil:
    def change(old: AnyArray) -> AnyArray:
        return np.array([json.dumps(json.loads(str(old[0])) | values)])

    return arrays("clear", facts=change)


def _verdict(**values: Any) -> Spoil:
    return arrays("clear", **{name: np.array([json.dumps(value)]) for name, value in values.items()})


ABOUT_ITSELF: dict[str, Spoil] = {
    "1e300 rows": _facts(rows=1e300),
    "rows below none": _facts(rows=-5),
    "ten rows": _facts(rows=10),
    "a million failure modes": _facts(modes=[f"m{n}" for n in range(10**4)]),
    "a clock of another century": _facts(clock="1900-01-01T00:00:00+00:00"),
    "a version of another world": _facts(versions={"werkbund": "99.9"}),
    "a policy of texts": _facts(policy={"minimum_cell_rows": "all", "refused": []}),
    "no facts": arrays("clear", facts=None),
}
SURVEY: dict[str, Spoil] = {
    "sums of 1e20": arrays("sums", sum=_whole(1e20)),
    "sums of 1e299": arrays("sums", sum=_whole(1e299)),
    "sums of -1e30": arrays("sums", sum=_whole(-1e30)),
    "2**48 values": arrays("sums", count=_whole(2.0**48)),
    "2**47 healthy rows": arrays("sums", labels=np.array([[2**47, 1]])),
    "a billion rows of everything": _both(
        arrays("sums", labels=np.array([[10**9, 10**9]]), count=_whole(2e9), missing=_whole(0)),
        arrays("clear", rows=np.array([2 * 10**9])),
    ),
    "ten thousand levels": _levels(10_000),
    "more levels than rows": _levels(900),
    "levels of a thousand letters": _levels(2, 1000),
    "rows that are not those of the counts": arrays("clear", rows=np.array([10**6])),
    "values of other rows": arrays("sums", missing=lambda old: old + 3),
    "half a row": arrays("sums", labels=np.array([[100.5, 3.5]])),
}
SQUARES: dict[str, Spoil] = {
    "squares of 1e30": arrays("sums", squares=_whole(1e30)),
    "squares of 1e299": arrays("sums", squares=_whole(1e299)),
    "squares below what its means take": arrays("sums", squares=_whole(1e-12)),
}
UPDATE: dict[str, Spoil] = {
    "an entry of 3e38": _vector(_one(3e38)),
    "an entry of -3e38": _vector(_one(-3e38)),
    "an entry of 1e30": _vector(_one(1e30)),
    "an entry of a million": _vector(_one(1e8)),
    "all entries 3e38": _vector(_whole(3e38)),
    "a million times as long": _vector(_times(1e6)),
    "thirty times as long": _vector(_times(30)),
    "fifty times backwards": _vector(_times(-50)),
    "nothing learnt": _vector(_times(0)),
    "noise": _vector(lambda old: np.random.default_rng(0).normal(0, 10, len(old))),
    "NaN": _vector(_times(np.nan)),
    "in 64 bits": head(vector="<f8"),
    "in whole numbers": head(vector="<i4"),
    "a weight of 1e12": arrays("sums", weight=np.array([1e12])),
    "a weight of 1e38": arrays("sums", weight=np.array([1e38])),
    "hardly a weight": arrays("sums", weight=np.array([1e-30])),
    "no weight and an update": arrays("sums", weight=np.array([0.0])),
    "a weight a little higher": arrays("sums", weight=_times(1.01)),
    "1e12 rows": arrays("sums", rows=np.array([1e12])),
    "a loss of -1e30": arrays("sums", loss=np.array([-1e30])),
    "a loss of 1e300": arrays("sums", loss=np.array([1e300])),
}
COUNTS: dict[str, Spoil] = {
    "a billion perfect rows": _rows(_perfect, _perfect_deciles, brier=_times(0), log_loss=_times(0), modes=_times(0)),
    "twice its rows": _rows(_times(2), _times(2)),
    "no rows": _rows(_times(0), _times(0), brier=_times(0), log_loss=_times(0), modes=_times(0)),
    "healthy rows alone": _rows(lambda old: old[..., ::-1, :].copy(), _times(1)),
    "a Brier score of 1e9": _rows(_times(1), _times(1), brier=_whole(1e9)),
    "a log loss without end": _rows(_times(1), _times(1), log_loss=_whole(1e12)),
    "deciles of other rows": _rows(_times(1), _times(5)),
    "modes without failures": _rows(_times(1), _times(1), modes=_whole(1e6)),
    "fractions of rows": _rows(lambda old: old + 0.25, _times(1)),
}
DELIVERY: dict[str, Spoil] = {
    "a verdict of a list": _verdict(accepted=[1, 2]),
    "figures without end": _verdict(figures={"offered": {"average_precision": 1e300}}),
    "a very long reason": _verdict(accepted={"accepted": True, "reason": "x" * 10**5}),
}
TREES: dict[str, dict[str, Spoil]] = {
    "tree-cells": {
        "cells of 2**40 rows": arrays("sums", cells=_whole(2.0**40)),
        "cells below none": arrays("sums", cells=lambda old: -1 - old),
        "1e9 rows": arrays("sums", rows=np.array([10**9])),
        "half a row in each cell": arrays("sums", cells=lambda old: old + 0.5),
    },
    "tree-survey": {
        "2**40 failures": arrays("sums", classes=np.array([[1, 2**40]])),
        "failures below none": arrays("sums", classes=np.array([[1, -3]])),
    },
    "tree-level": {
        "rows of 2**40": arrays("sums", histograms=_whole(2.0**40)),
        "many rows": arrays("sums", histograms=lambda old: old * np.array([1, 1, 1000])),
        "huge gradients": arrays("sums", histograms=lambda old: old * np.array([10**6, 1, 1])),
        "huge hessians": arrays("sums", histograms=lambda old: old * np.array([1, 10**6, 1])),
        "hessians below none": arrays("sums", histograms=lambda old: old * np.array([1, -1, 1]) - np.array([0, 1, 0])),
    },
    "tree-bag": {
        "leaves of 1e30": arrays("clear", **{"bag.value": _whole(1e30)}),
        "leaves of NaN": arrays("clear", **{"bag.value": _whole(np.nan)}),
        "a billion rows": arrays("clear", rows=np.array([10**9])),
        "rows below none": arrays("clear", rows=np.array([-7])),
        "another feature": arrays("clear", **{"bag.feature": lambda old: np.full_like(old, 99)}),
    },
}
"""Lies by the message that holds them; for each, what the plant would have said is made into it."""
