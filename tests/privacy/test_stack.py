"""Layers are applied in order and unwound in reverse, over rows at clients and over the sum at the server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from werkbund.core.arrays import Arrays, UInt64Array
from werkbund.core.errors import ConfigError, FederationError
from werkbund.core.rng import keys, stream
from werkbund.privacy import Departure, Layer, Stack, added

NUM_CLIENTS, NUM_PARAMETERS, ROUND = 5, 7, 3
COHORT = np.array([2, 3, 5, 8, 13])
RNG = np.random.default_rng(0)
UPDATES = RNG.normal(size=(NUM_CLIENTS, NUM_PARAMETERS)).astype(np.float32)
ANSWERS: dict[str, Any] = {"update": UPDATES, "weight": np.arange(1.0, NUM_CLIENTS + 1)}
DEPARTURE = Departure(ROUND, COHORT, keys(0, "leaving", ROUND, COHORT), COHORT, NUM_PARAMETERS)


@dataclass(frozen=True)
class Quantised:
    """Whole multiples of 1/scale, as uint64 in two's complement."""

    scale: float = 2.0**20
    on: tuple[str, ...] = ("update",)
    sums_only: bool = False

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        return {name: np.rint(answers[name] * self.scale).astype(np.int64).view(np.uint64) for name in self.on}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        return {name: (total[name].view(np.int64) / self.scale).astype(np.float32) for name in self.on}


@dataclass(frozen=True)
class Masked:
    """Each pair of clients shares a mask, which one adds and the other takes away; the server mends what is missing."""

    seed: int = 7
    on: tuple[str, ...] = ("update",)
    sums_only: bool = True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        masks = np.stack([self._mask(client, departure) for client in departure.clients.tolist()])
        return {"update": answers["update"] + masks}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        summed = total["update"]
        for client in departure.clients.tolist():
            summed = summed - self._mask(client, departure, missing=True)
        return {"update": summed}

    def _mask(self, client: int, departure: Departure, missing: bool = False) -> UInt64Array:
        mask = np.zeros(departure.num_parameters, np.uint64)
        for other in departure.cohort.tolist():
            if other == client or (missing and other in departure.clients):
                continue
            low, high = sorted((client, other))
            shared = stream(int(keys(self.seed, f"{low} and {high}", departure.round, 0)[0]))
            drawn = shared.integers(0, 2**64, departure.num_parameters, dtype=np.uint64)
            mask = mask + drawn if client == low else mask - drawn
        return mask


@dataclass(frozen=True)
class Noised:
    """Each client adds noise of its own stream; nothing can be taken away again."""

    on: tuple[str, ...] = ("update",)
    sums_only: bool = False

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        drawn = [stream(int(key)).standard_normal(departure.num_parameters) for key in departure.keys]
        return {"update": (answers["update"] + np.stack(drawn)).astype(np.float32)}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        return {}


def _rows(places: list[int]) -> tuple[Arrays, Departure]:
    rows = {name: array[places] for name, array in ANSWERS.items()}
    return rows, replace(DEPARTURE, clients=COHORT[places], keys=DEPARTURE.keys[places])


def _through(stack: Stack, groups: list[list[int]]) -> Arrays:
    """Let groups of clients leave apart, add what comes, and unwind the sum."""
    total: Arrays = {}
    for places in groups:
        total = added(total, stack.leave(*_rows(places)))
    answered = COHORT[sorted(place for places in groups for place in places)]
    return stack.unwind(total, replace(DEPARTURE, clients=answered, keys=np.zeros(0, np.uint64)))


def test_an_empty_stack_returns_the_very_arrays_it_is_given() -> None:
    total = {"update": UPDATES[0]}
    assert Stack().leave(ANSWERS, DEPARTURE) is ANSWERS
    assert Stack().unwind(total, DEPARTURE) is total
    assert not Stack().sums_only


@pytest.mark.parametrize("groups", [[[0, 1, 2, 3, 4]], [[0], [1], [2], [3], [4]], [[3, 4], [0, 1, 2]]])
def test_masks_cancel_in_the_sum_to_the_bit(groups: list[list[int]]) -> None:
    stack = Stack((Quantised(), Masked()))
    summed = _through(stack, groups)
    np.testing.assert_array_equal(summed["update"], _through(Stack((Quantised(),)), [[0, 1, 2, 3, 4]])["update"])
    np.testing.assert_allclose(summed["update"], UPDATES.sum(axis=0), atol=NUM_CLIENTS * 2.0**-20)
    assert summed["weight"] == 15


def test_the_server_mends_the_masks_of_those_that_did_not_answer() -> None:
    stack, answered = Stack((Quantised(), Masked())), [0, 2, 3]
    summed = _through(stack, [answered])
    np.testing.assert_allclose(summed["update"], UPDATES[answered].sum(axis=0), atol=3 * 2.0**-20)


def test_a_single_masked_answer_tells_nothing_of_the_update() -> None:
    left = Stack((Quantised(), Masked())).leave(*_rows([1]))["update"]
    assert left.dtype == np.uint64
    assert np.abs(left.view(np.int64)).max() > 2**50
    np.testing.assert_array_equal(ANSWERS["update"], UPDATES)


def test_layers_are_applied_in_order_and_unwound_in_reverse() -> None:
    trail: list[str] = []

    @dataclass(frozen=True)
    class Traced:
        name: str
        on: tuple[str, ...] = ("update",)
        sums_only: bool = False

        def leave(self, answers: Arrays, departure: Departure) -> Arrays:
            trail.append(f"{self.name} leaves")
            return {}

        def unwind(self, total: Arrays, departure: Departure) -> Arrays:
            trail.append(f"{self.name} unwinds")
            return {}

    stack = Stack((Traced("clip"), Traced("noise"), Traced("mask")))
    stack.unwind(added({}, stack.leave(ANSWERS, DEPARTURE)), DEPARTURE)
    assert trail == ["clip leaves", "noise leaves", "mask leaves", "mask unwinds", "noise unwinds", "clip unwinds"]


def test_a_clients_noise_is_its_own_whoever_leaves_with_it() -> None:
    stack = Stack((Noised(),))
    together = stack.leave(*_rows([0, 1, 2, 3, 4]))["update"]
    for place in range(NUM_CLIENTS):
        np.testing.assert_array_equal(stack.leave(*_rows([place]))["update"][0], together[place])


def test_what_no_layer_names_leaves_as_it_is() -> None:
    left = Stack((Quantised(),)).leave(ANSWERS, DEPARTURE)
    assert left["weight"] is ANSWERS["weight"]


@pytest.mark.parametrize("layers", [(Masked(),), (Quantised(), Masked())])
def test_who_must_see_single_updates_is_refused_where_they_are_hidden(layers: tuple[Layer, ...]) -> None:
    stack = Stack(layers)
    assert stack.sums_only
    stack.check("sum", frozenset({"loss"}))
    with pytest.raises(ConfigError, match=r"privacy hides each client's update, but strategy\.aggregation"):
        stack.check("each")
    with pytest.raises(ConfigError, match=r"which strategy\.selection needs"):
        stack.check("sum", frozenset({"update", "loss"}))
    Stack((Quantised(),)).check("each", frozenset({"update"}))


def test_a_layer_without_its_array_or_with_others_is_refused() -> None:
    with pytest.raises(FederationError, match="works on control, got update, weight"):
        Stack((Quantised(on=("control",)),)).leave(ANSWERS, DEPARTURE)

    @dataclass(frozen=True)
    class Meddling:
        made: str
        on: tuple[str, ...] = ("update",)
        sums_only: bool = False

        def leave(self, answers: Arrays, departure: Departure) -> Arrays:
            return {self.made: np.zeros((1, 2))}

        def unwind(self, total: Arrays, departure: Departure) -> Arrays:
            return {self.made: np.zeros(2)}

    for half in ("leave", "unwind"):
        with pytest.raises(FederationError, match="may change update alone, and changed weight"):
            getattr(Stack((Meddling("weight"),)), half)(ANSWERS, DEPARTURE)
    with pytest.raises(FederationError, match="must return 5 rows of update"):
        Stack((Meddling("update"),)).leave(ANSWERS, DEPARTURE)
