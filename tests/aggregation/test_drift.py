"""SCAFFOLD and FedDyn on a quadratic whose optimum is known, through their own halves, with steps made by hand.

The numbers are those of the reference: two clients, F_i = a_i / 2 (w - b_i)^2, a = (1, 4), b = (0, 10), optimum 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import Closing, FedAvg, FedDyn, Scaffold
from werkbund.aggregation.contract import CORRECTION, POPULATION, PULL, ROWS, UPDATE, LocalResult, half_of
from werkbund.config.sections import TrainingSection
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.store import PendingStore, RowStore, Store

SLOPES, MINIMA = np.array([1.0, 4.0]), np.array([0.0, 10.0])
STEPS, RATE = 10, 0.1
BOTH = np.arange(2)
ALIKE, THIRDS = np.array([1.0, 1.0]), np.array([1.0, 2.0])
OPTIMUM, OPTIMUM_OF_THIRDS = 8.0, 80 / 9

Solve = Callable[[Float64Array, Int64Array, Float64Array, Float64Array], Float64Array]
"""(weights at the start (k,), clients (k,), corrections (k,), pulls (k,)) -> weights (k,)"""


def _steps(start: Float64Array, clients: Int64Array, correction: Float64Array, pull: Float64Array) -> Float64Array:
    y = start
    for _ in range(STEPS):
        y = y - RATE * (SLOPES[clients] * (y - MINIMA[clients]) + correction + pull * (y - start))
    return y


def _exactly(start: Float64Array, clients: Int64Array, correction: Float64Array, pull: Float64Array) -> Float64Array:
    slopes = SLOPES[clients]
    return np.asarray((slopes * MINIMA[clients] - correction + pull * start) / (slopes + pull))


@dataclass
class Play:
    """Hold a federation of two clients with one weight.

    Parameters
    ----------
    rule
        The aggregator.
    solve
        What clients do.
    rows
        (2,)
    pends
        Whether what a client keeps waits until its answer was taken.
    """

    rule: Any
    solve: Solve = _steps
    rows: Float64Array = field(default_factory=ALIKE.copy)
    pends: bool = True
    round: int = 0
    weights: Float32Array = field(default_factory=lambda: np.zeros(1, np.float32))
    carry: Any = None
    store: RowStore = field(default_factory=RowStore)
    taken: Int64Array = field(default_factory=lambda: np.zeros(2, np.int64))

    def once(self, asked: Int64Array = BOTH, lost: Sequence[int] = ()) -> None:
        """Do a round in which these are asked, and the answers of some do not come."""
        self.round += 1
        carry = self.rule.init(1) if self.carry is None else self.carry
        pending = PendingStore(self.store, self.round)
        pending.settle(asked, self.taken[asked], is_last=True)
        answers, weight = self._trained(asked, carry, pending if self.pends else self.store)
        came = ~np.isin(asked, lost)
        if not came.any():
            return
        folded = {name: rows[came] for name, rows in answers.items()}
        accumulator = self.rule.fold(self.rule.begin(1), folded, weight[came])
        closing = Closing(num_clients=2, num_rows=float(self.rows.sum()))
        self.weights, self.carry = self.rule.finish(accumulator, self.weights, carry, closing)
        self.taken[asked[came]] = self.round

    def _trained(self, asked: Int64Array, carry: Any, store: Store) -> tuple[Arrays, Float64Array]:
        half, rows = half_of(self.rule), self.rows[asked]
        sent = {**self.rule.outgoing(carry), ROWS: rows, POPULATION: np.array([2.0, self.rows.sum()])}
        read = half.before(sent, asked, store) if half else {}
        start = np.full(len(asked), float(self.weights[0]))
        correction = np.asarray(read.get(CORRECTION, np.zeros((1, 1))), np.float64)[:, 0]
        end = self.solve(start, asked, correction, np.asarray(read.get(PULL, np.zeros(1))))
        weight = np.ones(len(asked)) if self.rule.weighting == "equal" else rows
        update = (end - start)[:, None].astype(np.float32)
        slope = (SLOPES[asked] * (start - MINIMA[asked]))[:, None].astype(np.float32)
        result = local_result(update, weight, rows, np.full(len(asked), STEPS), RATE, slope)
        beside = half.after(read, result, asked, store) if half else {}
        return {UPDATE: update * weight[:, None].astype(np.float32), **beside}, weight

    def kept(self, name: str) -> list[float]:
        """Return what both clients keep, with what was taken counted in."""
        PendingStore(self.store, self.round + 1).settle(BOTH, self.taken, is_last=True)
        rows: list[float] = self.store.rows(name, BOTH, np.zeros(1, np.float32))[:, 0].tolist()
        return rows


def local_result(
    update: Float32Array,
    weight: Float64Array,
    rows: Float64Array,
    steps: Int64Array,
    rate: float,
    gradient: Float32Array,
) -> LocalResult:
    def nothing() -> Float64Array:
        raise AssertionError("neither rule reads it")

    return LocalResult(update, weight, rows, steps, rate, nothing, nothing, lambda: gradient)


def _limit(play: Play, number: int = 600, alternating: bool = False) -> float:
    for round in range(number):
        play.once(np.array([round % 2]) if alternating else BOTH)
    return float(play.weights[0])


SCAFFOLD_II = [
    (4.969767, -4.969767, 0, -9.939534),
    (6.852211, -1.882444, 4.969767, -8.734655),
    (7.565241, -0.713031, 6.852211, -8.278272),
]
SCAFFOLD_I = [
    (4.969767, -20, 0, -40),
    (9.879549, -7.575583, 4.969767, -20.120932),
    (9.248871, 4.698874, 9.879549, -0.481802),
]
ALTERNATING_II = [
    (0, 0, 0, 0),
    (9.939534, -4.969767, 0, -9.939534),
    (6.702617, -0.866425, 8.206683, -9.939534),
]


@pytest.mark.parametrize(
    ("renewal", "alternating", "golden"),
    [("steps", False, SCAFFOLD_II), ("gradient", False, SCAFFOLD_I), ("steps", True, ALTERNATING_II)],
)
def test_scaffold_gives_the_golden_numbers(renewal: Any, alternating: bool, golden: list[Any]) -> None:
    play = Play(Scaffold("equal", renewal=renewal))
    for round, (weight, control, first, second) in enumerate(golden):
        play.once(np.array([round % 2]) if alternating else BOTH)
        np.testing.assert_allclose(play.weights[0], weight, atol=2e-5)
        np.testing.assert_allclose(play.carry["control"][0], control, atol=2e-5)
        np.testing.assert_allclose(play.kept("own control"), [first, second], atol=3e-5)


FEDDYN = {
    "alpha 1": (1.0, _exactly, False, [(8, -4, 0, -8), (8, -2, 4, -8), (8, -1, 6, -8)]),
    "alpha .5": (
        0.5,
        _exactly,
        False,
        [
            (8.888889, -2.222222, 0, -4.444444),
            (7.407407, -0.740741, 2.962963, -4.444444),
            (7.242798, -0.329218, 4.444444, -5.102881),
        ],
    ),
    "steps": (
        1.0,
        _steps,
        False,
        [
            (7.992188, -3.996094, 0, -7.992188),
            (8.429070, -2.216488, 3.567016, -7.999992),
            (8.132642, -0.960030, 5.737014, -7.657073),
        ],
    ),
    "alternating": (1.0, _exactly, True, [(0, 0, 0, 0), (12, -4, 0, -8), (7, -1, 6, -8)]),
}


@pytest.mark.parametrize("case", FEDDYN.values(), ids=FEDDYN.keys())
def test_feddyn_gives_the_golden_numbers(case: Any) -> None:
    alpha, solve, alternating, golden = case
    play = Play(FedDyn(alpha=alpha), solve)
    for round, (weight, h, first, second) in enumerate(golden):
        play.once(np.array([round % 2]) if alternating else BOTH)
        np.testing.assert_allclose(play.weights[0], weight, atol=2e-5)
        np.testing.assert_allclose(-alpha * play.carry["summed updates"][0], h, atol=2e-5)
        np.testing.assert_allclose(-alpha * np.array(play.kept("summed updates")), [first, second], atol=3e-5)


RULES = {
    "scaffold II": Scaffold("equal"),
    "scaffold I": Scaffold("equal", renewal="gradient"),
    "feddyn": FedDyn(alpha=1.0),
}
WEIGHTED = {"scaffold II": Scaffold(), "feddyn": FedDyn("examples", 1.0)}


def test_averaging_stops_where_its_closed_form_says_and_not_at_the_optimum() -> None:
    shrunk = 1 - (1 - RATE * SLOPES) ** STEPS
    expected = (shrunk * MINIMA).sum() / shrunk.sum()
    np.testing.assert_allclose(expected, 6.041260, atol=1e-6)
    np.testing.assert_allclose(_limit(Play(FedAvg("equal", momentum=0.0))), expected, atol=1e-4)


@pytest.mark.parametrize(("mu", "expected"), [(0.1, 5.176471), (1.0, 6.153846), (10.0, 7.586207)])
def test_a_proximal_term_bounds_drift_and_does_not_remove_it(mu: float, expected: float) -> None:
    def solve(start: Float64Array, clients: Int64Array, correction: Float64Array, pull: Float64Array) -> Float64Array:
        return _exactly(start, clients, correction, pull + mu)

    np.testing.assert_allclose(_limit(Play(FedAvg("equal", momentum=0.0), solve)), expected, atol=1e-4)
    assert "FedProx" in FedAvg.card.title


@pytest.mark.parametrize(
    ("name", "alternating"),
    [("scaffold II", False), ("scaffold II", True), ("scaffold I", False), ("feddyn", False), ("feddyn", True)],
)
def test_drift_is_removed_whoever_answers(name: str, alternating: bool) -> None:
    np.testing.assert_allclose(_limit(Play(RULES[name]), alternating=alternating), OPTIMUM, atol=1e-4)


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("rule", WEIGHTED.values(), ids=WEIGHTED.keys())
def test_rows_as_weights_lead_to_the_weighted_optimum(rule: Any, alternating: bool) -> None:
    play = Play(rule, rows=THIRDS.copy())
    np.testing.assert_allclose(_limit(play, alternating=alternating), OPTIMUM_OF_THIRDS, atol=1e-4)


def _with_losses(rule: Any, rows: Float64Array = ALIKE, pends: bool = True) -> Play:
    """Let each answer be lost in one of three of the first 60 rounds, and none after that."""
    play, rng = Play(rule, rows=rows.copy(), pends=pends), np.random.default_rng(7)
    for _ in range(60):
        play.once(lost=np.flatnonzero(rng.random(2) < 1 / 3).tolist())
        if pends:
            _check_sums(play)
    _limit(play)
    return play


def _check_sums(play: Play) -> None:
    if play.carry is None:
        return
    name, kept = ("control", "own control") if isinstance(play.rule, Scaffold) else ("summed updates",) * 2
    shares = play.rows / play.rows.sum() if getattr(play.rule, "weighting", "") == "examples" else np.full(2, 0.5)
    np.testing.assert_allclose(play.carry[name][0], shares @ np.array(play.kept(kept)), atol=1e-4)


@pytest.mark.parametrize(
    "rule", [RULES["scaffold II"], RULES["feddyn"], Scaffold()], ids=["scaffold", "feddyn", "scaffold by rows"]
)
def test_answers_that_are_lost_leave_the_sums_equal_and_the_fixed_point_where_it_is(rule: Any) -> None:
    rows = THIRDS if rule == Scaffold() else ALIKE
    expected = OPTIMUM_OF_THIRDS if rule == Scaffold() else OPTIMUM
    np.testing.assert_allclose(_with_losses(rule, rows).weights[0], expected, atol=1e-3)


@pytest.mark.parametrize("rule", [RULES["scaffold II"], RULES["feddyn"]], ids=["scaffold", "feddyn"])
def test_a_client_that_did_not_wait_would_move_the_fixed_point_for_good(rule: Any) -> None:
    play = _with_losses(rule, pends=False)
    assert abs(float(play.weights[0]) - OPTIMUM) > 0.1
    before = float(play.weights[0])
    assert abs(_limit(play) - before) < 1e-3


@pytest.mark.parametrize("renewal", ["steps", "gradient"])
def test_one_client_is_averaging_bit_for_bit(renewal: Any) -> None:
    """Its control variate and the server's are the same from the first round on, and cancel."""
    control, own = Play(Scaffold("equal", renewal=renewal)), Play(FedAvg("equal", momentum=0.0))
    for play in (control, own):
        play.once(np.array([1]))
    np.testing.assert_array_equal(control.weights, own.weights)


def test_a_client_without_rows_changes_nothing() -> None:
    store, none = PendingStore(RowStore(), 1), np.zeros((1, 3), np.float32)
    result = local_result(none, np.zeros(1), np.zeros(1), np.zeros(1, np.int64), RATE, none + 1)
    for rule in (Scaffold(), Scaffold(renewal="gradient")):
        half = rule.half
        assert not half.after({CORRECTION: none + 2}, result, np.array([0]), store)["control_change"].any()


def test_what_needs_all_rows_says_so_where_they_are_not_known() -> None:
    rule = Scaffold()
    updates = {UPDATE: np.ones((1, 1), np.float32), "control_change": np.ones((1, 1), np.float32)}
    folded = rule.fold(rule.begin(1), updates, np.ones(1))
    with pytest.raises(FederationError, match=r"strategy\.aggregation\.weighting of scaffold must be 'equal' where"):
        rule.finish(folded, np.zeros(1, np.float32), rule.init(1), Closing(num_clients=2))
    sent = {ROWS: np.ones(1), POPULATION: np.array([2.0, 0.0])}
    with pytest.raises(ClientError, match=r"strategy\.aggregation\.counts of feddyn must be 'equal' where"):
        FedDyn("examples").half.before(sent, np.array([0]), RowStore())


def test_feddyn_refuses_updates_that_count_otherwise() -> None:
    rule = FedDyn()
    with pytest.raises(FederationError, match=r"strategy\.selection must let all updates count alike"):
        rule.fold(rule.begin(1), {UPDATE: np.ones((2, 1), np.float32)}, np.array([1.0, 1.5]))


@pytest.mark.parametrize(
    ("rule", "training", "message"),
    [
        (Scaffold(), {"optimizer": "adam"}, r"training\.optimizer must be sgd with scaffold, got 'adam'"),
        (Scaffold(renewal="gradient"), {"optimizer": "adamw"}, "its steps are of one size"),
        (Scaffold(), {"momentum": 0.5}, r"training\.momentum must be 0 .*set renewal = 'gradient'"),
        (FedDyn(), {"optimizer": "adam"}, r"training\.optimizer must be sgd with feddyn"),
        (FedDyn(), {"proximal": 0.1}, r"training\.proximal must be 0 with feddyn"),
        (FedDyn(alpha=2.0), {"learning_rate": 0.1}, r"must be at most 0\.1, got 0\.2"),
    ],
)
def test_a_training_that_it_does_not_go_with_is_refused_by_its_key(rule: Any, training: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule.check_training(TrainingSection(**training))


@pytest.mark.parametrize("rule", [Scaffold(renewal="gradient"), FedDyn()])
def test_momentum_is_no_fault_where_the_way_of_the_steps_is_not_read(rule: Any) -> None:
    rule.check_training(TrainingSection(momentum=0.5))
