from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import MakeTable
from werkbund.core import DataError
from werkbund.trees.arithmetic import BinEdges, Objective, Terms, TreePlan, leaf_sums
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import ScoredTable, TreeTable

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 2))
Y = (X[:, 0] > 0).astype(float)
TABLE = TreeTable.build(X, Y, [0, 30, 30, 60, 90])
PLAN = TreePlan.boosting(3, max_depth=2, min_child_rows=3)
TERMS = Terms.agreed(BinEdges.build([[-0.5, 0.5], [0.0]]), Objective("logistic"), PLAN, 90, np.zeros(1))


def test_a_table_of_prepared_rows_keeps_its_clients(make_table: MakeTable) -> None:
    prepared = make_table([3, 0, 5])
    table = TreeTable.of(prepared)
    assert table.sizes.tolist() == [3, 0, 5]
    assert table.features.dtype == np.float64
    assert (table.features == prepared.features).all()


@pytest.mark.parametrize("clients", [[0], [1], [0, 1], [0, 2], [3, 0], [0, 1, 2, 3]])
def test_the_rows_of_clients_are_theirs(clients: list[int]) -> None:
    right = np.concatenate([np.arange(TABLE.offsets[i], TABLE.offsets[i + 1]) for i in clients])
    assert (TABLE.targets[TABLE.rows(np.array(clients))] == TABLE.targets[right]).all()
    taken = TABLE.take(np.array(clients))
    assert (taken.features == TABLE.features[right]).all()
    assert taken.sizes.tolist() == TABLE.sizes[clients].tolist()


@pytest.mark.parametrize(
    ("offsets", "targets"), [([0, 89], Y), ([0, 60, 30, 90], Y), ([0, 90], Y[:-1]), ([0, 90], Y * np.nan)]
)
def test_a_table_that_does_not_fit_raises(offsets: list[int], targets: np.ndarray) -> None:
    with pytest.raises(DataError):
        TreeTable.build(X, targets, offsets)


def test_scores_added_round_by_round_are_those_learnt_at_once() -> None:
    *_, ensemble = train_trees(TABLE, TERMS, PLAN, 0)
    steps, whole = ScoredTable(TABLE), ScoredTable(TABLE)
    everyone = np.arange(4)
    for standing in (steps, whole):
        standing.agree(TERMS)
    for tree in range(3):
        steps.add(everyone[[0, 2]], ensemble.trees.take([tree]), f"{tree}")
        steps.add(everyone[[1, 3]], ensemble.trees.take([tree]), f"{tree}")
    whole.restart(everyone, ensemble, "2")
    assert (steps.sums == whole.sums).all()
    assert (whole.sums == leaf_sums(ensemble.trees, 1, X)).all()
    assert steps.holds(everyone, "2").all()
    assert not steps.holds(everyone, "1").any()


def test_new_terms_forget_what_was_known_and_the_same_ones_do_not() -> None:
    standing, everyone = ScoredTable(TABLE), np.arange(4)
    standing.agree(TERMS)
    standing.mark(everyone, "a")
    standing.agree(Terms.from_arrays(TERMS.to_arrays()))
    assert standing.holds(everyone, "a").all()
    other = Terms.agreed(BinEdges.build([[0.5], [0.0]]), Objective("logistic"), PLAN, 90, np.zeros(1))
    standing.agree(other)
    assert not standing.holds(everyone, "a").any()
    assert (standing.codes == other.edges.encode(X)).all()
    assert (standing.columns == standing.codes.T).all()


def test_who_agreed_to_nothing_holds_nothing() -> None:
    assert not ScoredTable(TABLE).holds(np.arange(4), "").any()


@pytest.mark.parametrize("value", [1e308, -1e307, 1e200, np.inf, -np.inf])
def test_targets_whose_squares_cannot_be_compared_are_refused_by_name(value: float) -> None:
    with pytest.raises(
        DataError, match=r"targets must be within 1e\+100 of 0, got .* and 1 more beyond; give them in a"
    ):
        TreeTable.build(X, np.where(np.arange(90) < 2, value, Y))
