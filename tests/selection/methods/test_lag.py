from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from werkbund.core import ConfigError
from werkbund.core.rng import generator, keys
from werkbund.core.store import RowStore
from werkbund.core.types import Choice, Replies, Reused, Tasks
from werkbund.engine import Checkpoint, RunState, load_checkpoint, rounds, save_checkpoint
from werkbund.engine.folding import Folded, with_reused
from werkbund.engine.kinds import TRAIN
from werkbund.engine.round import one_round
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.lag import LazyUpload, informative, threshold
from werkbund.selection.questions import HOLD

ROWS = {"rows": np.full(8, 10.0)}


def _held(changes: dict[int, float]) -> tuple[Replies, ...]:
    """One answer a client, the last first, as a grid may yield them."""
    return tuple(
        Replies(HOLD, 1, np.array([client]), {}, {"change": np.array([changes[client]])})
        for client in sorted(changes, reverse=True)
    )


def _choose(selector: LazyUpload, view: View, changes: dict[int, float]) -> Choice:
    return selector.choose(view, _held(changes), generator(0, "selection", view.round))


def _known(*steps: float) -> State:
    """Return a state in which every client's update is kept, the client's number in each entry."""
    vectors = np.repeat(np.arange(8.0), 2).reshape(8, 2).astype(np.float32)
    return {"steps": list(steps), "clients": np.arange(8), "rounds": np.ones(8, np.int64), "vectors": vectors}


def test_the_threshold_is_the_root_of_a_weighted_sum_of_squares() -> None:
    assert threshold(np.array([3.0, 4.0]), 0.1) == pytest.approx(np.sqrt(2.5))
    assert threshold(np.empty(0), 0.1) == 0.0


def test_changes_count_by_rows() -> None:
    passed = informative(np.array([1.0, 1.0, 1.0]), np.array([10.0, 20.0, 30.0]), 0.9)
    assert passed.tolist() == [False, True, True]


def test_a_change_at_the_threshold_stays_silent_and_an_unknown_one_does_not() -> None:
    assert informative(np.array([2.0, np.nan]), np.ones(2), 2.0).tolist() == [False, True]


def test_all_train_and_hold_and_are_asked_once() -> None:
    view = View(1, np.array([1, 4, 6]))
    tasks = LazyUpload().probe(view, (), np.random.default_rng(0))
    assert tasks is not None
    assert (tasks.kind, tasks.clients.tolist()) == (HOLD, [1, 4, 6])
    assert LazyUpload().probe(view, _held({1: 1.0}), np.random.default_rng(0)) is None
    some = LazyUpload(CohortSize(count=2)).probe(view, (), np.random.default_rng(0))
    assert some is not None
    assert len(some.clients) == 2


def test_in_the_first_round_nobody_stays_silent() -> None:
    choice = _choose(LazyUpload(), View(1, np.arange(8), ROWS), {1: 0.1, 5: 9.0, 3: 0.2})
    assert (choice.cohort.tolist(), choice.held, choice.total, choice.reused) == ([1, 3, 5], True, None, None)


def test_who_is_not_known_is_never_silent() -> None:
    state = {**_known(100.0), "clients": np.array([1]), "rounds": np.ones(1), "vectors": np.ones((1, 2), np.float32)}
    choice = _choose(LazyUpload(), View(2, np.arange(8), ROWS, state), {1: 0.1, 5: 0.1})
    assert choice.cohort.tolist() == [5]
    assert choice.reused is not None
    assert choice.reused.clients.tolist() == [1]


def test_those_above_the_threshold_upload_and_the_last_updates_of_the_others_are_reused() -> None:
    view = View(11, np.arange(8), ROWS, _known(*[2.0] * 10))
    choice = _choose(LazyUpload(), view, {1: 1.9, 5: 2.1, 3: 8.0, 7: 0.0})
    assert choice.cohort.tolist() == [3, 5]
    assert choice.equal is False
    assert "8, threshold 2" in choice.reasons[0]
    assert choice.reused is not None
    assert choice.reused.clients.tolist() == [1, 7]
    assert choice.reused.updates.tolist() == [[1.0, 1.0], [7.0, 7.0]]
    assert choice.reused.weights.tolist() == [10.0, 10.0]


def test_if_nobody_passes_the_largest_change_comes_alone() -> None:
    choice = _choose(LazyUpload(), View(2, np.arange(8), ROWS, _known(100.0)), {1: 1.9, 5: 2.1})
    assert choice.cohort.tolist() == [5]


def test_a_larger_factor_silences_more_and_zero_silences_nobody() -> None:
    changes = {client: float(client) for client in range(1, 8)}
    sizes = [
        len(_choose(LazyUpload(factor=factor), View(3, np.arange(8), ROWS, _known(3.0, 3.0)), changes).cohort)
        for factor in (0.0, 0.1, 0.5, 2.0, 50.0)
    ]
    assert sizes == [7, 6, 4, 1, 1]


def test_steps_are_those_that_the_weights_took_and_the_last_few_are_kept() -> None:
    selector, state = LazyUpload(memory=2), dict[str, object]()
    updates = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    for round in range(1, 4):
        reports = Reports(round, np.array([3, 5]), {"update": round * updates}, (), step=10.0 * round)
        state = dict(selector.observe(state, reports))
    assert state["steps"] == [20.0, 30.0]
    np.testing.assert_array_equal(np.asarray(state["vectors"]), 3 * updates)


def test_what_is_missing_is_tolerated() -> None:
    selector, clients = LazyUpload(), np.array([3, 5])
    assert selector.observe({}, Reports(1, clients, {}, ())) == {}
    state = selector.observe({}, Reports(1, clients, {"update": np.array([[np.nan, 1.0], [3.0, 4.0]])}, (), step=2.5))
    assert state["steps"] == [2.5]
    assert state["clients"].tolist() == [5]
    view = View(1, np.array([3, 5]))
    nobody = (Replies(HOLD, 1, np.empty(0, np.int64)),)
    choice = selector.choose(view, nobody, generator(0, "selection", 1))
    assert (choice.held, choice.cohort.tolist()) == (False, [3, 5])
    silent = (Replies(HOLD, 1, clients),)
    choice = selector.choose(view, silent, generator(0, "selection", 1))
    assert (choice.held, choice.cohort.tolist(), choice.equal) == (True, [3, 5], True)
    empty = View(1, np.empty(0, np.int64))
    assert selector.probe(empty, (), np.random.default_rng(0)) is None
    assert len(selector.choose(empty, (), np.random.default_rng(0)).cohort) == 0


def test_weights_go_as_by_the_algorithm_told_with_plain_loops(federation: Any) -> None:
    """Algorithm 1 over the same local updates: the old gradient of the silent is used again."""
    selector = LazyUpload(factor=0.02, memory=3)
    rows, clients = np.array([20.0, 33.0, 7.0, 40.0]), np.arange(4)
    built = federation((20, 33, 7, 40), selector=selector, batched=False, facts={"rows": rows})
    state, weights = built.state, built.state.weights.astype(np.float64)
    last, steps, silent = np.zeros((4, len(weights))), list[float](), 0
    for round in range(1, 9):
        own = {"factor": np.ones(4), "key": keys(0, "training", round, clients)}
        shared = {"weights": weights.astype(np.float32), "rate": np.ones(())}
        sums = built.work.train(Tasks(TRAIN, round, clients, shared, own), RowStore()).sums
        update = sums["update"] / sums["weight"][:, None]
        bound = np.sqrt(0.02 * np.sum(np.square(steps[-3:])))
        passed = 4 * rows / rows.sum() * np.linalg.norm(update - last, axis=1) > bound
        passed[:] |= round == 1
        silent += int((~passed).sum())
        assert passed.any()
        last[passed] = update[passed]
        step = rows / rows.sum() @ last
        steps.append(float(np.linalg.norm(step)))
        weights = weights + step
        state, record = one_round(built.grid, built.strategy, built.rules, state)
        assert record.cohort == tuple(np.flatnonzero(passed).tolist())
        np.testing.assert_allclose(state.weights, weights, rtol=1e-4, atol=1e-6)
        weights = state.weights.astype(np.float64)
    assert silent > 3


def test_a_run_that_is_gone_on_with_has_the_same_bits(federation: Any, tmp_path: Path) -> None:
    def built() -> Any:
        return federation((20, 33, 7, 40), selector=LazyUpload(factor=0.02, memory=3), batched=False)

    def after(built: Any, state: RunState, last: int) -> tuple[RunState, list[int]]:
        done = list(rounds(built.grid, built.strategy, built.rules, state, last))
        return done[-1][0], [len(record.cohort) for _, record in done]

    whole, part, fresh = built(), built(), built()
    expected, _ = after(whole, whole.state, 8)
    save_checkpoint(tmp_path / "it.npz", Checkpoint.of(after(part, part.state, 4)[0]))
    found, sizes = after(fresh, RunState.of_checkpoint(load_checkpoint(tmp_path / "it.npz")), 8)
    assert min(sizes) < 4
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_a_rule_that_folds_more_than_updates_is_refused(federation: Any) -> None:
    aggregator: Any = SimpleNamespace(folds=("control",))
    folded = Folded(accumulator=federation().strategy.aggregator.begin(2))
    reused = Reused(np.array([1]), np.ones((1, 2), np.float32), np.ones(1))
    with pytest.raises(ConfigError, match=r"strategy\.aggregation\.name must be a rule that folds updates alone"):
        with_reused(folded, aggregator, reused)


@pytest.mark.parametrize(("name", "value"), [("factor", -1.0), ("memory", 0)])
def test_a_wrong_parameter_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        LazyUpload(**{name: value})  # type: ignore[arg-type]
