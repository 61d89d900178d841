from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trees.protocol.treefed import TreeFederation, divided, rows
from werkbund.core import ClientError, ConfigError, DataError, QuorumError, Tasks
from werkbund.core.store import RowStore
from werkbund.engine.worker import forgetful
from werkbund.trees.arithmetic import TreePlan, even_edges, scores
from werkbund.trees.protocol.kinds import TREE_CELLS
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.rows.table import TreeTable

N = 500
X, SCORE = rows(N)
Y = (SCORE > 1.5).astype(float)
PLAN = TreePlan.boosting(1)


def _agreed(table: TreeTable, kind: Any = "logistic", **how: Any) -> Any:
    return TreeFederation.of(table).agree(PLAN, kind, **how)


@pytest.mark.parametrize("kind", ["logistic", "squared"])
@pytest.mark.parametrize("num_bins", [8, 255])
def test_terms_do_not_depend_on_how_rows_are_divided(kind: str, num_bins: int) -> None:
    y = Y if kind == "logistic" else SCORE
    tables = [TreeTable.build(X, y), divided(X, y, np.arange(N) % 7, 7), divided(X, y, (SCORE > 0) * 1, 2)]
    found = [_agreed(table, kind, binning={"num_bins": num_bins}) for table in tables]
    assert len({agreed.terms.digest() for agreed in found}) == 1
    assert {agreed.num_rows for agreed in found} == {N}
    assert len({agreed.messages for agreed in found}) == 1


def test_a_feature_of_few_values_has_one_bin_for_each() -> None:
    agreed = _agreed(divided(X, Y, np.arange(N) % 3, 3))
    values = np.unique(X[~np.isnan(X[:, 1]), 1])
    edges = agreed.terms.edges.of(1)
    assert agreed.exact.tolist() == [False, True, False, False]
    np.testing.assert_allclose(edges, (values[1:] + values[:-1]) / 2)


def test_bins_of_many_values_hold_alike_many_rows() -> None:
    agreed = _agreed(divided(X, Y, np.arange(N) % 3, 3), binning={"num_bins": 10, "rank_error": 1 / 200})
    codes = agreed.terms.edges.encode(X)[:, 0]
    present = (~np.isnan(X[:, 0])).sum()
    counts = np.bincount(codes[codes < 10], minlength=10)
    assert counts.max() <= present / 10 + 2 * present / 200 + 1
    assert counts.min() > 0


def test_nobody_is_asked_about_declared_edges_and_levels() -> None:
    declared = {feature: even_edges(-3, 3, 16) for feature in range(3)}
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 3, 3))
    agreed = federation.agree(PLAN, "logistic", binning={"declared": declared})
    assert agreed.messages == 2
    assert [len(tasks.shared.get("lows", ())) for tasks in federation.seen] == [0, 0]
    assert (agreed.terms.edges.of(2) == even_edges(-3, 3, 16)).all()
    assert agreed.terms.edges.levels.tolist() == [0, 0, 0, 4]


def test_the_base_is_the_pooled_one() -> None:
    share = Y.mean()
    assert _agreed(TreeTable.build(X, Y)).terms.base[0] == pytest.approx(np.log(share / (1 - share)))
    number = _agreed(TreeTable.build(X, SCORE), "squared").terms
    assert number.base[0] == pytest.approx(SCORE.mean(), abs=1e-6)
    assert number.objective.target_range == pytest.approx(np.ptp(SCORE), rel=0.02)


def test_balanced_weights_let_classes_count_alike() -> None:
    weights = _agreed(TreeTable.build(X, Y), class_weights="balanced").terms.objective.class_weights
    assert weights[1] * Y.sum() == pytest.approx(weights[0] * (1 - Y).sum())
    with pytest.raises(ConfigError, match="balanced"):
        _agreed(TreeTable.build(X, Y), class_weights="even")


def test_who_leaves_in_the_middle_is_left_out_of_all_of_it() -> None:
    owner = np.arange(N) % 3
    federation = TreeFederation.of(divided(X, Y, owner, 3), alone=True)

    def drop(tasks: Tasks) -> None:
        if tasks.clients[0] == 1 and tasks.attempt == 3:
            raise ClientError("went home")

    federation.before = drop
    agreed = federation.agree(PLAN, "logistic", quorum=0.6)
    rest = _agreed(TreeTable.build(X[owner != 1], Y[owner != 1]))
    assert agreed.terms.digest() == rest.terms.digest()
    assert list(agreed.missing) == ["plant 1"]
    with pytest.raises(QuorumError, match=r"plant 1: .*went home"):
        TreeFederation.of(federation.table, alone=True, before=drop).agree(PLAN, "logistic")


def test_odd_answers_are_refused_by_name() -> None:
    federation = TreeFederation.of(divided(X, Y, np.arange(N) % 3, 3), alone=True)
    handlers = federation.work.handlers()

    def spoilt(tasks: Tasks) -> Any:
        replies = handlers[TREE_CELLS](tasks, RowStore())
        if tasks.clients[0] == 2:
            replies.sums["cells"] = replies.sums["cells"][:, :-1]  # type: ignore[index]
        return replies

    federation.work.handlers = lambda: {**handlers, TREE_CELLS: forgetful(spoilt)}  # type: ignore[method-assign]
    with pytest.raises(QuorumError, match="plant 2: its cells have another form"):
        federation.agree(PLAN, "logistic")


def test_a_federation_without_rows_or_with_one_target_raises() -> None:
    none = TreeTable.build(np.zeros((0, 4)), np.zeros(0), [0, 0, 0])
    with pytest.raises(DataError, match="no client has any"):
        _agreed(none)
    with pytest.raises(DataError, match="not always the same"):
        _agreed(TreeTable.build(X, np.ones(N)), "squared")


def test_few_rows_are_not_asked_about_any_closer() -> None:
    agreed = _agreed(divided(X, Y, np.arange(N) % 3, 3), binning={"least": 60, "num_bins": 255})
    usual = _agreed(divided(X, Y, np.arange(N) % 3, 3))
    assert 5 < agreed.terms.edges.sizes[1] < usual.terms.edges.sizes[1]
    assert agreed.messages < usual.messages


@pytest.mark.parametrize("scale", [1e-99, 1e-6, 1.0, 1e6, 1e99])
def test_numbers_are_learnt_alike_in_any_unit_that_is_not_refused(scale: float) -> None:
    plan = TreePlan.boosting(3, max_depth=3, l2=0.0)
    federation = TreeFederation.of(divided(X, SCORE * scale, np.arange(N) % 3, 3))
    state = TreeState.begin(federation.agree(plan, "squared").terms)
    found = scores(federation.grow(plan, state)[-1][0].ensemble, X)[:, 0] / scale
    assert np.corrcoef(found, SCORE)[0, 1] > 0.8
    for unit in (1e-120, 1e-300):
        with pytest.raises(DataError, match=r"a target must be within 1e\+100 of 0 and not always the same"):
            _agreed(TreeTable.build(X, SCORE * unit), "squared")
