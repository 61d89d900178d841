"""Every registered aggregator keeps these rules, and so do two of another kind that are written here."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from werkbund.aggregation import (
    AGGREGATORS,
    FOLDED,
    Aggregator,
    Carry,
    Closing,
    FedAvg,
    FedDyn,
    Robust,
    Sees,
    Sums,
    Weighting,
    aggregation_options,
    build_aggregator,
)
from werkbund.aggregation.contract import half_of
from werkbund.core import ClientError, ConfigError, FederationError
from werkbund.core.arrays import Arrays, Float32Array, Float64Array
from werkbund.core.methods import check_options, option
from werkbund.core.store import Store
from werkbund.core.types import Replies, RoundRecord, Tasks
from werkbund.engine import (
    Checkpoint,
    InProcessGrid,
    Rules,
    RunState,
    Strategy,
    Worker,
    load_checkpoint,
    one_round,
    save_checkpoint,
)
from werkbund.engine.folding import OrderedFold
from werkbund.engine.kinds import TRAIN, UPLOAD
from werkbund.selection import Everyone


@dataclass(frozen=True)
class Middle:
    """Move by the median update: needs every update, and keeps them in a list of its own."""

    weighting: Weighting = option("equal", "how clients count")
    step: float = option(1.0, "size of the step", above=0)

    name: ClassVar[str] = "middle"
    sees: ClassVar[Sees] = "each"
    folds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_options(self, "strategy.aggregation")

    def init(self, num_parameters: int) -> Carry:
        return {}

    def outgoing(self, carry: Carry) -> Arrays:
        return {}

    def begin(self, num_parameters: int) -> list[Float32Array]:
        return []

    def fold(self, accumulator: list[Float32Array], updates: Arrays, weights: Float64Array) -> list[Float32Array]:
        return accumulator + [row / np.float32(weight) for row, weight in zip(updates["update"], weights, strict=True)]

    def finish(
        self, accumulator: list[Float32Array], weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        if not accumulator:
            raise FederationError("no update of any weight came")
        moved = weights + np.float32(self.step) * np.median(np.stack(accumulator), axis=0)
        return np.asarray(moved, np.float32), carry


@dataclass(frozen=True)
class Controlled:
    """Send a control variate out, and fold what clients change of it beside their update."""

    weighting: Weighting = option("equal", "how clients count")

    name: ClassVar[str] = "controlled"
    sees: ClassVar[Sees] = "sum"
    folds: ClassVar[tuple[str, ...]] = ("control", "steps")

    def init(self, num_parameters: int) -> Carry:
        return {"control": np.zeros(num_parameters, np.float32)}

    def outgoing(self, carry: Carry) -> Arrays:
        return {"control": carry["control"]}

    def begin(self, num_parameters: int) -> Sums:
        return Sums.empty(num_parameters)

    def fold(self, accumulator: Sums, updates: Arrays, weights: Float64Array) -> Sums:
        return accumulator.add(updates, weights)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        control = carry["control"] + accumulator.mean("control", closing.num_clients or None).astype(np.float32)
        return accumulator.mean(total=closing.total) + weights, {"control": control}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("fedavg", {}),
    ("fedavg", {"weighting": "equal", "momentum": 0.0}),
    ("fedavg", {"step": 0.5, "momentum": 0.0}),
    ("fedavg", {"momentum": 0.9}),
    ("fedavg", {"momentum": 0.5, "step": 2.0}),
    ("fedadagrad", {}),
    ("fedadagrad", {"initial": 0.0, "beta1": 0.5}),
    ("fedadam", {}),
    ("fedadam", {"initial": 0.0, "weighting": "equal"}),
    ("fedadam", {"correction": True, "step": 0.01}),
    ("fedyogi", {}),
    ("fednova", {}),
    ("fednova", {"momentum": 0.0, "weighting": "equal", "step": 0.5}),
    ("qfedavg", {}),
    ("qfedavg", {"q": 0.1, "momentum": 0.0}),
    ("afl", {}),
    ("afl", {"rate": 1.0, "momentum": 0.0}),
    ("scaffold", {}),
    ("scaffold", {"weighting": "equal", "step": 0.5, "renewal": "gradient"}),
    ("feddyn", {}),
    ("feddyn", {"counts": "examples", "alpha": 1.0}),
    ("median", {}),
    ("median", {"mixing": True, "hostile": 2, "momentum": 0.0}),
    ("trimmed-mean", {}),
    ("trimmed-mean", {"hostile": 3, "step": 0.5}),
    ("krum", {}),
    ("krum", {"hostile": 2, "momentum": 0.0}),
    ("multi-krum", {}),
    ("multi-krum", {"hostile": 1, "average": 3, "mixing": True}),
    ("bulyan", {}),
    ("bulyan", {"hostile": 0, "momentum": 0.0}),
    ("geometric-median", {}),
    ("geometric-median", {"weighting": "examples", "hostile": 0, "passes": 4}),
    ("centred-clipping", {}),
    ("centred-clipping", {"radius": 0.5, "passes": 3}),
    ("norm-bounding", {}),
    ("norm-bounding", {"times": 2.0, "momentum": 0.5}),
    ("sybil-filter", {}),
    ("sybil-filter", {"alike": 0.5, "times": 1.0, "hostile": 3, "momentum": 0.0}),
    ("validation-weights", {}),
    (f"{__name__}:Middle", {}),
    (f"{__name__}:Middle", {"step": 0.5}),
    (f"{__name__}:Controlled", {}),
]
ADAPTIVE = ("fedadagrad", "fedadam", "fedyogi", "fednova", "qfedavg", "feddyn")
"""Rules whose step is no mean of what is folded."""

OF_NEIGHBOURS = ("krum", "multi-krum", "bulyan")
"""Rules that refuse one client alone."""

NUM_CLIENTS, NUM_PARAMETERS = 8, 6
RNG = np.random.default_rng(0)
UPDATES = RNG.normal(size=(NUM_CLIENTS, NUM_PARAMETERS)).astype(np.float32)
CONTROLS = RNG.normal(size=(NUM_CLIENTS, NUM_PARAMETERS)).astype(np.float32)
STEPS = RNG.integers(1, 9, NUM_CLIENTS).astype(np.float64)
STEEPNESS = RNG.random(NUM_CLIENTS) + 0.1
BESIDE: Mapping[str, Any] = {"control": CONTROLS, "steps": STEPS, "accumulation": STEPS, "steepness": STEEPNESS}
BESIDE = {**BESIDE, "control_change": CONTROLS}
WEIGHTS = RNG.random(NUM_CLIENTS) + 0.1
START = RNG.normal(size=NUM_PARAMETERS).astype(np.float32)


def _score(weights: Float32Array) -> float:
    """Judge weights as a server with rows does: the nearer to one point, the better."""
    return -float(np.abs(weights - 1.0).sum())


CLOSING = Closing(num_clients=NUM_CLIENTS, num_rows=80.0, score=_score)

every_case = pytest.mark.parametrize(("name", "options"), CASES)
SUMMED = [case for case in CASES if "Middle" not in case[0]]
every_sum = pytest.mark.parametrize(("name", "options"), SUMMED)
MEANS = [case for case in SUMMED if case[0] in ("fedavg", "afl", "scaffold") or "Controlled" in case[0]]
every_mean = pytest.mark.parametrize(("name", "options"), MEANS)
LINEAR = [*MEANS, *(case for case in SUMMED if case[0] in ("fednova", "qfedavg"))]
every_linear = pytest.mark.parametrize(("name", "options"), LINEAR)


def test_every_registered_aggregator_is_covered() -> None:
    assert {name for name, _ in CASES if ":" not in name} == set(AGGREGATORS)
    assert len(AGGREGATORS) == 19


def _answers(aggregator: Aggregator, updates: Float32Array = UPDATES, unit: float = 1.0) -> dict[str, Any]:
    """Return what clients answer; `unit` is that of the weights, and of all that has them."""
    half = half_of(aggregator)
    weighted = ("update", *(half.weighted if half else ()))
    answers = {"update": updates, **{name: BESIDE[name][: len(updates)] for name in aggregator.folds}}
    return {name: array * array.dtype.type(unit if name in weighted else 1) for name, array in answers.items()}


def _weights(aggregator: Aggregator) -> Float64Array:
    """Return what answers weigh: anything, but for a rule of which all weigh one."""
    return np.ones(NUM_CLIENTS) if isinstance(aggregator, FedDyn) else WEIGHTS


def _folded(
    aggregator: Aggregator,
    cuts: list[int] | None = None,
    updates: Float32Array = UPDATES,
    weights: Float64Array | None = None,
    unit: float = 1.0,
) -> Any:
    """Fold all answers, in groups."""
    weights = _weights(aggregator) if weights is None else weights
    answers, accumulator = _answers(aggregator, updates, unit), aggregator.begin(NUM_PARAMETERS)
    for first, last in pairwise([0, *(cuts or []), len(updates)]):
        rows = {name: array[first:last] for name, array in answers.items()}
        accumulator = aggregator.fold(accumulator, rows, weights[first:last] * unit)
    return accumulator


def _moved(aggregator: Aggregator, folded: Any) -> Float32Array:
    return aggregator.finish(folded, START, aggregator.init(NUM_PARAMETERS), CLOSING)[0]


def _rounds(aggregator: Aggregator, number: int, weights: Float32Array, carry: Carry) -> tuple[Float32Array, Carry]:
    for _ in range(number):
        weights, carry = aggregator.finish(_folded(aggregator), weights, carry, CLOSING)
    return weights, carry


@every_case
def test_the_next_weights_are_finite_float32_of_the_same_length(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, carry = _rounds(aggregator, 3, START, aggregator.init(NUM_PARAMETERS))
    assert weights.dtype == np.float32
    assert weights.shape == START.shape
    assert np.isfinite(weights).all()
    before = aggregator.init(NUM_PARAMETERS)
    assert {name: array.shape for name, array in carry.items()} == {name: a.shape for name, a in before.items()}
    assert all(array.dtype == np.float32 for array in carry.values())


@every_case
@pytest.mark.parametrize("cuts", [[1], [4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 8]])
def test_grouping_does_not_change_a_bit(name: str, options: dict[str, Any], cuts: list[int]) -> None:
    aggregator = build_aggregator(name, **options)
    carry = aggregator.init(NUM_PARAMETERS)
    whole, parts = (aggregator.finish(_folded(aggregator, c), START, carry, CLOSING) for c in (None, cuts))
    np.testing.assert_array_equal(whole[0], parts[0])
    for key in whole[1]:
        np.testing.assert_array_equal(whole[1][key], parts[1][key])


@every_mean
def test_the_first_round_moves_along_the_mean_update(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, _ = aggregator.finish(_folded(aggregator), START, aggregator.init(NUM_PARAMETERS), CLOSING)
    mean = UPDATES.astype(np.float64).sum(axis=0) / WEIGHTS.sum()
    step = options.get("step", 1.0)
    np.testing.assert_allclose(weights, START + step * mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "feddyn"])
def test_the_weights_unit_is_of_no_account(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    plain, scaled = _folded(aggregator), _folded(aggregator, unit=4.0)
    np.testing.assert_array_equal(_moved(aggregator, plain), _moved(aggregator, scaled))


@every_case
@pytest.mark.parametrize("order", [(7, 6, 5, 4, 3, 2, 1, 0), (3, 0, 7, 1, 6, 2, 5, 4)])
def test_who_answers_first_does_not_change_a_bit(name: str, options: dict[str, Any], order: tuple[int, ...]) -> None:
    aggregator = build_aggregator(name, **options)
    fold = OrderedFold(aggregator, np.arange(NUM_CLIENTS), NUM_PARAMETERS)
    answers = _answers(aggregator)
    for client in order:
        one = {key: array[client : client + 1] for key, array in answers.items()}
        fold.add(np.array([client]), one, _weights(aggregator)[client : client + 1])
    np.testing.assert_array_equal(_moved(aggregator, fold.close()), _moved(aggregator, _folded(aggregator)))


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] not in (*ADAPTIVE, *OF_NEIGHBOURS)])
def test_one_client_is_that_client(name: str, options: dict[str, Any]) -> None:
    of_one = {"hostile": 0} if "hostile" in options else {}
    aggregator = build_aggregator(name, **{**options, **of_one})
    moved = _moved(aggregator, _folded(aggregator, updates=UPDATES[:1]))
    np.testing.assert_allclose(moved - START, options.get("step", 1.0) * UPDATES[0] / WEIGHTS[0], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] not in ADAPTIVE])
def test_equal_updates_are_a_fixed_point(name: str, options: dict[str, Any]) -> None:
    aggregator, own = build_aggregator(name, **options), UPDATES[0]
    folded = _folded(aggregator, updates=np.tile(own, (NUM_CLIENTS, 1)), weights=np.ones(NUM_CLIENTS))
    np.testing.assert_allclose(_moved(aggregator, folded) - START, options.get("step", 1.0) * own, rtol=2e-6, atol=1e-6)


@every_case
@pytest.mark.parametrize("lie", [np.nan, np.inf, -np.inf, 1e38])
def test_a_hostile_number_counts_as_no_answer(name: str, options: dict[str, Any], lie: float) -> None:
    aggregator = build_aggregator(name, **options)
    liar = UPDATES.copy()
    liar[2, 1] = lie
    state, record = _round(aggregator, liar)
    silent, _ = _round(aggregator, UPDATES, silent=2)
    assert [failure.client for failure in record.failures] == [2]
    assert not record.refused
    np.testing.assert_array_equal(state.weights, silent.weights)


def _round(aggregator: Aggregator, updates: Float32Array, silent: int = -1) -> tuple[RunState, RoundRecord]:
    """Do a round in which one client may stay silent."""

    def train(tasks: Tasks, store: Store) -> Replies:
        if silent in tasks.clients:
            raise ClientError("is silent")
        arrays = {key: array[tasks.clients] for key, array in _answers(aggregator, updates).items()}
        return Replies(TRAIN, tasks.round, tasks.clients, {**arrays, "weight": tasks.own["factor"]})

    strategy = Strategy(Everyone(), aggregator)
    grid = InProcessGrid(tuple("abcdefgh"), Worker({TRAIN: train}))
    rules = Rules(0, 0.5, 10.0, "", facts={"rows": np.full(NUM_CLIENTS, 10.0)}, score=_score)
    return one_round(grid, strategy, rules, RunState.begin(START, strategy))


@every_linear
def test_a_total_of_the_rounds_own_divides_the_sum(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    carry, total = aggregator.init(NUM_PARAMETERS), 3 * WEIGHTS.sum()
    own, _ = aggregator.finish(_folded(aggregator), START, carry, CLOSING)
    other, _ = aggregator.finish(_folded(aggregator), START, carry, replace(CLOSING, total=total))
    np.testing.assert_allclose(other - START, (own - START) / 3, rtol=1e-4, atol=1e-6)


@every_case
def test_no_change_at_any_client_is_no_change(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    np.testing.assert_array_equal(_moved(aggregator, _folded(aggregator, updates=np.zeros_like(UPDATES))), START)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if "Controlled" not in case[0]])
def test_nothing_to_add_is_an_error_not_a_zero(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    with pytest.raises(FederationError, match="weight"):
        aggregator.finish(aggregator.begin(NUM_PARAMETERS), START, aggregator.init(NUM_PARAMETERS))


@every_case
def test_what_it_is_given_is_left_as_it_was(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    weights, carry = _rounds(aggregator, 1, START, aggregator.init(NUM_PARAMETERS))
    updates, start, before = UPDATES.copy(), weights.copy(), {key: vector.copy() for key, vector in carry.items()}
    aggregator.finish(_folded(aggregator), weights, carry, CLOSING)
    np.testing.assert_array_equal(UPDATES, updates)
    np.testing.assert_array_equal(weights, start)
    for key, vector in carry.items():
        np.testing.assert_array_equal(vector, before[key])


@every_case
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    aggregator = build_aggregator(name, **options)
    whole, _ = _rounds(aggregator, 5, START, aggregator.init(NUM_PARAMETERS))
    weights, carry = _rounds(aggregator, 2, START, aggregator.init(NUM_PARAMETERS))
    save_checkpoint(tmp_path / "c", Checkpoint.of(RunState(2, weights, carry)))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "c"))
    resumed, _ = _rounds(build_aggregator(name, **options), 3, state.weights, state.carry)
    np.testing.assert_array_equal(resumed, whole)


@every_case
def test_it_is_a_value_that_says_what_it_must_see(name: str, options: dict[str, Any]) -> None:
    aggregator = build_aggregator(name, **options)
    assert aggregator == pickle.loads(pickle.dumps(aggregator))  # noqa: S301 - our own bytes
    assert aggregator.sees in ("sum", "each")
    assert aggregator.weighting in ("examples", "equal", "factor")
    assert isinstance(aggregator, Robust) == (name in AGGREGATORS and aggregator.sees == "each")
    assert "update" not in aggregator.folds


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_option_says_what_it_is_for_and_has_a_default(name: str) -> None:
    aggregator = build_aggregator(name)
    for key, declared in aggregation_options(name).items():
        assert declared.what
        assert declared.admits(declared.default)
        assert getattr(aggregator, key) == declared.default
    assert AGGREGATORS[name].card.title
    assert AGGREGATORS[name].card.source
    assert AGGREGATORS[name].card.breakdown.startswith("0") == (aggregator.sees == "sum")


def test_what_goes_out_is_the_carry_and_what_is_folded_beside_comes_back_into_it() -> None:
    rule = Controlled()
    assert FedAvg().outgoing(FedAvg().init(3)) == {}
    _, carry = rule.finish(_folded(rule), START, rule.init(NUM_PARAMETERS), Closing(num_clients=16))
    expected = CONTROLS.astype(np.float64).sum(axis=0) / 16
    np.testing.assert_allclose(rule.outgoing(carry)["control"], expected, rtol=1e-5)


def test_sums_hold_any_shape_with_the_bits_of_adding_one_after_the_other() -> None:
    rows: dict[str, Any] = {
        "update": UPDATES,
        "table": RNG.normal(size=(NUM_CLIENTS, 2, 3)),
        "steps": STEPS,
        "counts": np.arange(8),
    }
    sums = Sums.empty(NUM_PARAMETERS).add(rows, WEIGHTS)
    for name, array in rows.items():
        total = np.zeros_like(array[0])
        for row in array:
            total = total + row
        np.testing.assert_array_equal(sums.arrays[name], total)
        assert sums.arrays[name].dtype == array.dtype


@pytest.mark.parametrize("name", AGGREGATORS)
def test_an_unknown_option_is_refused_by_name(name: str) -> None:
    known = list(aggregation_options(name))
    nearly = known[-1][:-1]
    match = rf"takes no option {nearly}; did you mean {known[-1]}\?; it takes {', '.join(known)}"
    with pytest.raises(ConfigError, match=match):
        build_aggregator(name, **{nearly: "equal"})


def test_an_unknown_aggregator_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"must be one of fedavg, .*got 'fedavgm'; did you mean fedavg\?"):
        build_aggregator("fedavgm")


@pytest.mark.parametrize("name", AGGREGATORS)
def test_what_a_shipped_rule_folds_is_declared_wherever_an_update_leaves(name: str) -> None:
    rule = build_aggregator(name)
    for kind in (TRAIN, UPLOAD):
        assert all(kind.answered("sums", folded) in FOLDED for folded in rule.folds)
    half = half_of(rule)
    assert half is None or set(half.weighted) <= set(rule.folds)


def test_no_other_rule_folds_what_is_declared() -> None:
    folded = {name for rule in map(build_aggregator, AGGREGATORS) for name in rule.folds}
    assert folded == {field.name for field in FOLDED}
