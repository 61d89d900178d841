from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.wire import declared
from werkbund.core.kinds import Field, Half, Kind
from werkbund.core.types import Replies
from werkbund.engine.kinds import EVALUATE
from werkbund.plant.leaving import ANY, KINDS, SIGNALS, cut_down, leaving, signals_of
from werkbund.plant.offers import OFFERS, kinds_of
from werkbund.plant.settings import SIGNAL_NAMES


def _everything(kind: Kind) -> Replies:
    """Return an answer with every declared array of a kind, and with some that are not."""
    sums: dict[str, Any] = {"secret": np.ones(1), "other.histogram": np.ones(1)}
    clear: dict[str, Any] = {"secret": np.ones(1), "update": np.ones(1)}
    pooled: dict[str, Any] = {"validation.secret": np.ones(2)}
    for field in kind.answer:
        if field.name.startswith("*."):
            sums[f"test.{field.name[2:]}"] = np.ones((1, 2))
            pooled[f"validation.{field.name[2:]}"] = np.ones(2)
        else:
            (sums if field.half == "sums" else clear)[field.name] = np.ones(1)
    return Replies(kind, 3, np.array([2]), sums, clear, "layout", pooled)


def test_a_plant_does_every_kind_whose_departures_it_lists_and_no_other() -> None:
    assert sorted(kind.name for kind in kinds_of(OFFERS)) == sorted(kind.name for kind in KINDS)


FIELDS = [(kind, field) for kind in (ANY, *KINDS) for field in kind.answer]


def test_every_signal_can_be_refused_and_is_explained() -> None:
    assert tuple(signal.name for signal in SIGNALS) == SIGNAL_NAMES
    assert {field.signal for _, field in FIELDS} == {None, *SIGNALS}
    assert signals_of(KINDS) == SIGNALS
    assert all(signal.what for signal in SIGNALS)
    assert all(field.what for _, field in FIELDS)
    assert all(kind.what and kind.when for kind in KINDS)


def test_no_field_is_declared_twice() -> None:
    names = [(kind, field.half, field.name) for kind, field in FIELDS]
    assert len(set(names)) == len(names)
    assert {field.half for _, field in FIELDS} == {"sums", "clear"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signals", [set(), set(SIGNAL_NAMES), *({signal} for signal in SIGNAL_NAMES)])
def test_what_leaves_is_what_is_declared_and_allowed(kind: Kind, signals: set[str]) -> None:
    left = cut_down(_everything(kind), signals)
    halves: tuple[Half, ...] = ("sums", "clear")
    fields = {declared(kind, half, name)[1:] for half in halves for name in getattr(left, half)}
    allowed = [field for field in kind.answer if field.signal is None or field.signal.name in signals]
    assert fields == {(field.half, field.name) for field in allowed}
    if kind.signal is None:
        assert [(kind, field) for field in allowed] == [one for one in leaving(KINDS, signals) if one[0] == kind]
    assert left.pooled == {}
    assert (left.kind, left.round, left.clients.tolist(), left.fingerprint) == (kind, 3, [2], "layout")


def test_counts_of_all_together_leave_as_one_clients() -> None:
    left = cut_down(_everything(EVALUATE), SIGNAL_NAMES)
    assert left.sums["validation.histogram"].shape == (1, 2)
    assert left.sums["test.histogram"].shape == (1, 2)


def test_of_a_kind_that_is_not_declared_nothing_leaves() -> None:
    one = np.ones(1)
    left = cut_down(
        Replies(Kind("dance"), 0, np.array([0]), {"update": one}, {"facts": one}, pooled={"a": one}), SIGNAL_NAMES
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
    answer = tuple(Field("sums", f"*.{part}") for part in ("histogram", "modes", "a.b"))
    assert declared(Kind("count", answer=answer), "sums", name) == ("count", "sums", as_declared)
