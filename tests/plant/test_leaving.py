from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from werkbund.core.types import Replies
from werkbund.plant.leaving import FIELDS, SIGNAL_NAMES, cut_down, declared, leaving
from werkbund.plant.settings import SIGNAL_NAMES as REFUSABLE


def _everything(kind: str) -> Replies:
    """Return an answer with every declared array of a kind, and with some that are not."""
    sums: dict[str, Any] = {"secret": np.ones(1), "other.histogram": np.ones(1)}
    clear: dict[str, Any] = {"secret": np.ones(1), "update": np.ones(1)}
    pooled: dict[str, Any] = {"validation.secret": np.ones(2)}
    for field in FIELDS:
        if field.kind != kind:
            continue
        if field.name.startswith("*."):
            sums[f"test.{field.name[2:]}"] = np.ones((1, 2))
            pooled[f"validation.{field.name[2:]}"] = np.ones(2)
        else:
            (sums if field.half == "sums" else clear)[field.name] = np.ones(1)
    return Replies(kind, 3, np.array([2]), sums, clear, "layout", pooled)


KINDS = sorted({field.kind for field in FIELDS} - {"any"})


def test_every_signal_can_be_refused_and_is_explained() -> None:
    assert tuple(SIGNAL_NAMES) == REFUSABLE
    assert {field.signal for field in FIELDS} == {"", *SIGNAL_NAMES}
    assert all(SIGNAL_NAMES.values())
    assert all(field.what for field in FIELDS)


def test_no_field_is_declared_twice() -> None:
    names = [(field.kind, field.half, field.name) for field in FIELDS]
    assert len(set(names)) == len(names)
    assert {field.half for field in FIELDS} == {"sums", "clear"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signals", [set(), set(SIGNAL_NAMES), *({signal} for signal in SIGNAL_NAMES)])
def test_what_leaves_is_what_is_declared_and_allowed(kind: str, signals: set[str]) -> None:
    left = cut_down(_everything(kind), signals)
    found = {declared(half, name) for half in ("sums", "clear") for name in getattr(left, half)}
    assert found == {(field.half, field.name) for field in leaving(signals) if field.kind == kind}
    assert left.pooled == {}
    assert (left.kind, left.round, left.clients.tolist(), left.fingerprint) == (kind, 3, [2], "layout")


def test_counts_of_all_together_leave_as_one_clients() -> None:
    left = cut_down(_everything("evaluate"), SIGNAL_NAMES)
    assert left.sums["validation.histogram"].shape == (1, 2)
    assert left.sums["test.histogram"].shape == (1, 2)


def test_of_a_kind_that_is_not_declared_nothing_leaves() -> None:
    one = np.ones(1)
    left = cut_down(
        Replies("dance", 0, np.array([0]), {"update": one}, {"facts": one}, pooled={"a": one}), SIGNAL_NAMES
    )
    assert (left.sums, left.clear, left.pooled) == ({}, {}, {})


@pytest.mark.parametrize(
    ("name", "as_declared"),
    [
        ("test.histogram", "*.histogram"),
        ("validation.modes", "*.modes"),
        ("train.histogram", "train.histogram"),
        ("histogram", "histogram"),
        ("test", "test"),
        ("test.a.b", "*.a.b"),
    ],
)
def test_only_the_known_splits_are_meant_by_a_star(name: str, as_declared: str) -> None:
    assert declared("sums", name) == ("sums", as_declared)
