from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal

from werkbund.core import ConfigError
from werkbund.core.arrays import Float32Array, Float64Array, Int64Array
from werkbund.core.rng import generator
from werkbund.core.types import Replies
from werkbund.selection import CohortSize, Reports, State, View
from werkbund.selection.methods.correlated import (
    CorrelatedSelection,
    evidence,
    first_embeddings,
    fit,
    likelihood,
    most_reducing,
)
from werkbund.selection.questions import LOSS


def test_golden_choice() -> None:
    covariance = np.array([[2.0, 1, 0], [1, 2, 0], [0, 0, 1]])
    taken, scores = most_reducing(np.linalg.cholesky(covariance), 0.0, np.full(3, 1 / 3), np.ones(3), 3)
    assert taken == [0, 1, 2]
    np.testing.assert_allclose(scores[:2], [0.7071, 0.4082], atol=1e-4)
    np.testing.assert_allclose(scores[2], 0.3333, atol=1e-4)


def _plain(covariance: Float64Array, weights: Float64Array, annealing: Float64Array, wanted: int) -> list[int]:
    """Condition a whole matrix, as it is written."""
    left, taken = covariance.copy(), list[int]()
    for _ in range(wanted):
        free = [i for i in range(len(left)) if i not in taken]
        best = max(free, key=lambda i: annealing[i] / np.sqrt(left[i, i]) * (weights @ left[:, i]))
        left = left - np.outer(left[:, best], left[best]) / left[best, best]
        taken.append(best)
    return taken


@pytest.mark.parametrize("seed", range(5))
def test_it_chooses_as_the_plain_rule_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings, weights, annealing = rng.normal(size=(20, 3)), rng.dirichlet(np.ones(20)), rng.uniform(0.5, 1, 20)
    covariance = embeddings @ embeddings.T + 0.3**2 * np.eye(20)
    assert most_reducing(embeddings, 0.3, weights, annealing, 8)[0] == _plain(covariance, weights, annealing, 8)


def test_annealing_holds_a_client_back() -> None:
    embeddings = np.array([[1.0], [1.0]])
    assert most_reducing(embeddings, 0.1, np.full(2, 0.5), np.array([0.9, 1.0]), 1)[0] == [1]


def _changes() -> tuple[Float32Array, Int64Array]:
    changes = np.random.default_rng(0).normal(0, 0.3, (5, 6)).astype(np.float32)
    changes[1, 2] = changes[3, 2] = changes[4, 0] = np.nan
    return changes, np.array([9, 7, 3, 1, 0])


def test_the_likelihood_is_that_of_normal_numbers() -> None:
    changes, ages = _changes()
    embeddings, noise = np.random.default_rng(1).normal(size=(6, 2)), 0.2
    seen = evidence(changes, ages, 0.9)
    expected = 0.0
    weights = 0.9**ages
    mean = np.nansum(weights[:, None] * changes, axis=0) / (weights @ np.isfinite(changes))
    for event in range(5):
        known = np.isfinite(changes[event])
        covariance = (embeddings @ embeddings.T + noise**2 * np.eye(6))[np.ix_(known, known)]
        expected -= weights[event] * multivariate_normal(mean[known], covariance).logpdf(changes[event, known])
    assert likelihood(embeddings, seen, noise)[0] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_of_the_likelihood() -> None:
    seen = evidence(*_changes(), 0.9)
    start = np.random.default_rng(1).normal(size=12)
    error = check_grad(
        lambda x: likelihood(x.reshape(6, 2), seen, 0.2)[0],
        lambda x: likelihood(x.reshape(6, 2), seen, 0.2)[1].ravel(),
        start,
    )
    assert error < 1e-3 * np.linalg.norm(likelihood(start.reshape(6, 2), seen, 0.2)[1])


def _pairs(events: int, seed: int = 0) -> Float32Array:
    """Return changes of six clients of whom 0, 1, 2 change together and 3, 4, 5 too."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.3, (events, 2))
    return (np.repeat(common, 3, axis=1) + rng.normal(0, 0.02, (events, 6))).astype(np.float32)


def test_fitting_finds_who_changes_together() -> None:
    seen = evidence(_pairs(40), np.zeros(40, np.int64), 1.0)
    begun = first_embeddings(np.arange(6), 4)
    fitted = fit(begun, seen, 0.05, 400, 0.01)
    assert likelihood(fitted, seen, 0.05)[0] < likelihood(begun, seen, 0.05)[0]
    lengths = np.linalg.norm(fitted, axis=1)
    cosine = fitted @ fitted.T / np.outer(lengths, lengths)
    same = np.arange(6)[:, None] // 3 == np.arange(6)[None, :] // 3
    assert cosine[same].min() > 0.9
    assert np.abs(cosine[~same]).max() < 0.6


def test_embeddings_begin_alike_whoever_is_there() -> None:
    whole = first_embeddings(np.arange(50), 15)
    np.testing.assert_array_equal(whole[[3, 7]], first_embeddings(np.array([3, 7]), 15))
    assert np.linalg.norm(whole, axis=1).mean() == pytest.approx(1, abs=0.1)


SMALL = CorrelatedSelection(CohortSize(count=2), warmup=4, every=5, first_steps=200, steps=20, dimension=3, noise=0.05)


def _play(selector: CorrelatedSelection, rounds: int, number: int = 6) -> tuple[list[int], State, list[list[int]]]:
    """Return the rounds in which losses are asked, the state at the end, and the cohorts."""
    state: State = {}
    asked, cohorts = [], []
    losses = 1 + np.cumsum(np.concatenate([np.zeros((1, number)), np.tile(_pairs(rounds), number // 6)]), axis=0)
    for round in range(1, rounds + 1):
        view, rng = View(round, np.arange(number), {"rows": np.full(number, 10)}, state), generator(0, "s", round)
        question, answers = selector.probe(view, (), rng), tuple[Replies, ...]()
        if question is not None:
            asked.append(round)
            assert question.kind == LOSS
            answers = (Replies(LOSS, round, question.clients, {}, {"loss": losses[round - 1]}),)
            assert selector.probe(view, answers, rng) is None
        choice = selector.choose(view, answers, rng)
        cohorts.append(choice.cohort.tolist())
        state = selector.observe(state, Reports(round, choice.cohort, {}, (), answers=answers))
    return asked, state, cohorts


def test_losses_are_asked_before_and_after_each_round_that_teaches() -> None:
    asked, state, _ = _play(SMALL, 16)
    assert asked == [1, 2, 3, 4, 5, 6, 10, 11, 15, 16]
    assert state["change_rounds"].tolist() == [1, 2, 3, 4, 5, 10, 15]


def test_after_the_warm_up_one_of_each_group_is_chosen() -> None:
    selector = CorrelatedSelection(CohortSize(count=2), warmup=30, every=100, first_steps=300, dimension=4, noise=0.05)
    _, state, cohorts = _play(selector, 40)
    assert "embeddings" in state
    assert all(sorted(client // 3 for client in cohort) == [0, 1] for cohort in cohorts[32:])


def test_chosen_clients_are_held_back_until_the_next_fit() -> None:
    _, state, cohorts = _play(SMALL, 9)
    chosen = np.zeros(6)
    for cohort in cohorts[5:9]:
        chosen[cohort] += 1
    np.testing.assert_allclose(state["annealing"], SMALL.annealing**chosen)
    _, state, _ = _play(SMALL, 11)
    assert state["annealing"].max() == 1
    assert (state["annealing"] < 1).sum() == 2


def test_changes_too_old_are_forgotten() -> None:
    selector = CorrelatedSelection(CohortSize(count=2), warmup=4, every=5, history=6, first_steps=1, steps=1)
    assert _play(selector, 16)[1]["change_rounds"].tolist() == [10, 15]


def test_without_answers_it_is_uniform() -> None:
    state = SMALL.observe({}, Reports(1, np.arange(2), {}, ()))
    assert state == {}
    cohorts = {tuple(SMALL.choose(View(8, np.arange(6)), (), generator(s, "s")).cohort.tolist()) for s in range(200)}
    assert len(cohorts) == 15


def test_new_clients_and_missing_losses_are_tolerated() -> None:
    _, state, _ = _play(SMALL, 9)
    view = View(10, np.array([0, 3, 9, 14]), state=state)
    answers = (Replies(LOSS, 10, view.available, {}, {"loss": np.array([0.5, np.nan, 1.0, np.inf])}),)
    state = SMALL.observe(state, Reports(10, np.array([0, 9]), {}, (), answers=answers))
    answers = (Replies(LOSS, 11, view.available, {}, {"loss": np.array([0.4, 0.1, 0.9, 1.0])}),)
    state = SMALL.observe(state, Reports(11, np.array([0, 9]), {}, (), answers=answers))
    assert np.isfinite(state["embeddings"]).all()
    assert np.isfinite(state["changes"][-1]).nonzero()[0].tolist() == [0, 9]
    choice = SMALL.choose(View(12, np.array([2, 9, 14, 20]), state=state), (), generator(0, "s", 12))
    assert len(choice.cohort) == 2


@pytest.mark.parametrize("number", [0, 1, 3])
def test_as_many_as_there_are_is_everybody(number: int) -> None:
    choice = CorrelatedSelection(CohortSize(count=5)).choose(View(1, np.arange(number)), (), generator(0, "s"))
    assert choice.cohort.tolist() == list(range(number))


@pytest.mark.parametrize(
    ("name", "value"),
    [("warmup", 0), ("every", 0), ("history", 0), ("dimension", 0), ("steps", -1), ("noise", 0.0), ("discount", 1.1)],
)
def test_parameters_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"selection.{name} must be"):
        CorrelatedSelection(**{name: value})  # type: ignore[arg-type]
