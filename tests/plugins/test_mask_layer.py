"""Masks that cancel in the sum (Bonawitz et al., "Practical Secure Aggregation", CCS 2017, section 4; no recovery).

One layer: an update becomes whole numbers modulo 2^64; each pair of clients of the cohort shares a mask, which one adds
and the other takes away. Here a seed that all clients share stands for the key agreement of each pair.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conftest import Federation
from tests.deployed import deploy, learnt
from werkbund.aggregation import FedAvg, Sees
from werkbund.core.arrays import Arrays, UInt64Array
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.rng import keys, stream
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import Grid, InProcessGrid, LocalWork, Rules, RunState, Strategy, Worker, one_round, rounds
from werkbund.engine.kinds import TRAIN
from werkbund.federation.families.networks import NetworkSimulation
from werkbund.learner import ModelSpec, TrainingPlan, build_network, weights_of
from werkbund.plant.offers import OFFERS, Offer, Plot
from werkbund.privacy import Departure, Stack
from werkbund.selection import SELECTORS, CohortSize, Everyone, Selector, Uniform, build_selector


@dataclass(frozen=True)
class PairwiseMasks:
    """Whole multiples of 1/scale in two's complement, with masks that cancel; without them only `masked` differs."""

    seed: int
    scale: float = 2.0**24
    masked: bool = True
    on: tuple[str, ...] = ("update",)
    sums_only: bool = True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        whole = np.rint(answers["update"].astype(np.float64) * self.scale).astype(np.int64).view(np.uint64)
        if not self.masked:
            return {"update": whole}
        return {"update": whole + np.stack([self._mask(client, departure) for client in departure.clients.tolist()])}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        missing = sorted({*departure.cohort.tolist()} - {*departure.clients.tolist()})
        if missing:
            raise FederationError(f"masks of clients {missing} are left in the sum; ask the whole cohort again")
        return {"update": (total["update"].view(np.int64) / self.scale).astype(np.float32)}

    def _mask(self, client: int, departure: Departure) -> UInt64Array:
        cohort = departure.cohort.tolist()
        if client not in cohort or len(cohort) < 2:
            raise ClientError(f"client {client} hides among others of its cohort alone, got {cohort}")
        mask = np.zeros(departure.num_parameters, np.uint64)
        for peer in cohort:
            pair = f"mask of {min(client, peer)} and {max(client, peer)}"
            drawn = stream(int(keys(self.seed, pair, departure.round, 0)[0]))
            shared = drawn.integers(0, 2**64, departure.num_parameters, dtype=np.uint64)
            mask = mask + shared if client < peer else mask - shared if client > peer else mask
        return mask


MASKED, BARE, PLAIN = Stack((PairwiseMasks(7),)), Stack((PairwiseMasks(7, masked=False),)), Stack()
SIZES = (20, 33, 7, 41, 12)
PLAN, MLP = TrainingPlan("sgd", 0.2), ModelSpec("mlp", {"hidden": [64]})


def _layered(federation: Any, stack: Stack, selector: Selector | None = None) -> Federation:
    built: Federation = federation(SIZES, plan=PLAN, batched=False)
    network = build_network(MLP, built.splits.train.num_features, 0)
    trainer = type(built.work.trainer)(network, PLAN, built.splits.train.num_features, False)
    work, strategy = (
        replace(built.work, trainer=trainer, stack=stack),
        Strategy(selector or Everyone(), FedAvg(), stack),
    )
    state, rules = (
        RunState.begin(weights_of(network), strategy),
        replace(built.rules, fingerprint=trainer.layout.fingerprint),
    )
    grid = InProcessGrid(built.grid.clients(), Worker(work.handlers()))
    return replace(built, work=work, strategy=strategy, state=state, rules=rules, grid=grid)


def _after(built: Federation, last: int = 3) -> RunState:
    return [state for state, _ in rounds(built.grid, built.strategy, built.rules, built.state, last)][-1]


def _answers(built: Federation) -> list[Replies]:
    """Return what leaves the clients in three rounds."""
    answers: list[Replies] = []

    def seen(tasks: Tasks, store: Store) -> Replies:
        answers.append(built.work.train(tasks, store))
        return answers[-1]

    _after(built.with_handlers({TRAIN: seen}))
    return answers


def _unevenness(answers: list[Replies], shift: int) -> float:
    """Return chi square of four bits of all numbers against the even distribution, 15 degrees of freedom."""
    numbers = np.concatenate([replies.sums["update"].ravel() for replies in answers])
    observed = np.bincount(((numbers >> np.uint64(shift)) & np.uint64(15)).astype(np.int64), minlength=16)
    expected = len(numbers) / 16
    return float(((observed - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("selector", [None, Uniform(CohortSize(count=3))], ids=["everyone", "partial"])
def test_the_masked_sum_is_exactly_the_quantised_one_and_nearly_the_plain_one(selector: Any, federation: Any) -> None:
    masked, bare, plain = (_after(_layered(federation, stack, selector)) for stack in (MASKED, BARE, PLAIN))
    np.testing.assert_array_equal(masked.weights, bare.weights)
    np.testing.assert_allclose(masked.weights, plain.weights, atol=1e-6)
    assert (masked.weights != masked.weights[0]).any()


def test_the_error_of_a_round_is_that_of_rounding_alone(federation: Any) -> None:
    coarse = Stack((PairwiseMasks(7, scale=2.0**6),))
    moved, plain = (_after(_layered(federation, stack), 1).weights for stack in (coarse, PLAIN))
    error = np.abs(moved - plain).max()
    assert 0 < error <= len(SIZES) * 0.5 / 2.0**6 / sum(SIZES) + 1e-6


@pytest.mark.parametrize("shift", [60, 40, 0])
def test_single_answers_look_random_in_their_bits(shift: int, federation: Any) -> None:
    assert _unevenness(_answers(_layered(federation, MASKED)), shift) < 50  # beyond that: one in 10^5
    assert _unevenness(_answers(_layered(federation, BARE)), 60) > 1000


def test_a_mask_is_new_in_each_round_and_no_answer_resembles_the_update(federation: Any) -> None:
    masked, bare = (_answers(_layered(federation, stack)) for stack in (MASKED, BARE))
    masks = [one.sums["update"] - other.sums["update"] for one, other in zip(masked, bare, strict=True)]
    assert all((mask.sum(axis=0) == 0).all() for mask in masks)
    assert len({mask.tobytes() for answers in masks for mask in answers}) == 3 * len(SIZES)
    hidden, open_ = (answers[0].sums["update"].view(np.int64).astype(float).ravel() for answers in (masked, bare))
    assert abs(np.corrcoef(hidden, open_)[0, 1]) < 0.1


def test_a_client_that_drops_out_ends_the_round_and_leaves_no_garbage(federation: Any) -> None:
    built = _layered(federation, MASKED)

    def failing(tasks: Tasks, store: Store) -> Replies:
        if 2 in tasks.clients:
            raise ClientError("its line is down")
        return built.work.train(tasks, store)

    lame = built.with_handlers({TRAIN: failing})
    with pytest.raises(FederationError, match=r"masks of clients \[2\] are left in the sum"):
        one_round(lame.grid, lame.strategy, lame.rules, lame.state)


def test_a_client_refuses_a_cohort_in_which_it_would_stand_alone(federation: Any) -> None:
    built = _layered(federation, MASKED, Uniform(CohortSize(count=1)))
    with pytest.raises(FederationError, match="hides among others of its cohort alone"):
        one_round(built.grid, built.strategy, built.rules, built.state)


@dataclass(frozen=True)
class EachSeen(FedAvg):
    """A rule that looks at every update, as a median does."""

    sees: ClassVar[Sees] = "each"


def test_who_must_see_single_updates_or_their_lengths_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.aggregation must see every update in clear"):
        Strategy(Everyone(), EachSeen(), MASKED)
    selectors = [build_selector(name, count=2) for name in SELECTORS]
    looking = [one for one in selectors if one.declaration.needs & {"update", "norm"}]
    assert len(looking) > 3
    for selector in selectors:
        if selector in looking:
            with pytest.raises(ConfigError, match=r"privacy hides each client's update, which strategy\.selection"):
                Strategy(selector, FedAvg(), MASKED)
        else:
            assert Strategy(selector, FedAvg(), MASKED).stack == MASKED


def _work(simulation: Any, number: int | None = None, stack: Stack = MASKED) -> LocalWork:
    assert isinstance(simulation, NetworkSimulation)
    numbers = None if number is None else np.array([number])
    return replace(simulation.work(), stack=stack, numbers=numbers)


def _handler(plot: Plot) -> Any:
    return _work(plot.parts.simulation, plot.parts.briefing.number).train


MINE = (*(offer for offer in OFFERS if offer.kind != TRAIN), Offer(TRAIN, _handler))


def _round(grid: Grid, rules: Rules, weights: Any, stack: Stack) -> RunState:
    strategy = Strategy(Everyone(), FedAvg(), stack)
    return one_round(grid, strategy, rules, RunState.begin(weights, strategy))[0]


def test_through_the_codec_masked_whole_numbers_give_the_bits_of_one_process(tmp_path: Path) -> None:
    plants = learnt(deploy(tmp_path / "it"))
    names, rules, begin = plants.here.grid.clients(), plants.here.rules, plants.here.initial_weights()
    grid = plants.grid(MINE)
    there = _round(grid, rules, begin, MASKED)
    for stack in (MASKED, BARE):
        here = InProcessGrid(names, Worker(_work(plants.here, stack=stack).handlers()))
        np.testing.assert_array_equal(there.weights, _round(here, rules, begin, stack).weights)
    parcels = [parcel for ask, parcel in grid.answered if ask.tasks.kind == TRAIN]
    assert len(parcels) == 3
    for parcel in parcels:
        assert json.loads(parcel.head)["vector"] == "<u8"
        assert len(parcel.vector) == 8 * len(begin)
