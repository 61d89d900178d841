from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from werkbund.core import ClientError, ConfigError
from werkbund.trees.arithmetic import BinEdges, Group, Objective, Terms, TreePlan, base_score, basis_of

EDGES = BinEdges.build([[0.5, 1.5], []], [0, 3])


def _terms(plan: TreePlan | None = None, kind: Any = "logistic") -> Terms:
    objective = Objective(kind, () if kind == "squared" else (1.0, 2.0))
    return Terms.agreed(EDGES, objective, plan or TreePlan.boosting(), 1000, np.array([0.25]))


@pytest.mark.parametrize("kind", ["logistic", "squared"])
def test_arrays_keep_the_terms(kind: str) -> None:
    terms = _terms(TreePlan.boosting(row_share=0.3), kind)
    again = Terms.from_arrays(terms.to_arrays())
    assert again.digest() == terms.digest()
    assert (again.objective, again.fixed, again.row_share) == (terms.objective, terms.fixed, 0.3)


def test_other_terms_have_another_digest() -> None:
    assert _terms().digest() != _terms(TreePlan.boosting(row_share=0.5)).digest()
    assert _terms().digest() == _terms(TreePlan.boosting(l2=9.0)).digest()


@pytest.mark.parametrize("lost", ["terms.numbers", "terms.base", "terms.edges"])
def test_terms_that_lack_something_raise(lost: str) -> None:
    arrays = _terms().to_arrays()
    del arrays[lost]
    with pytest.raises(ClientError, match="cannot be read"):
        Terms.from_arrays(arrays)


@pytest.mark.parametrize(("plan", "kind"), [(TreePlan.random_forest(), "logistic"), (TreePlan.boosting(), "share")])
def test_a_method_needs_its_objective(plan: TreePlan, kind: str) -> None:
    with pytest.raises(ConfigError, match="objective must be"):
        _terms(plan, kind)


def test_trees_that_would_all_be_alike_raise() -> None:
    with pytest.raises(ConfigError, match="all alike"):
        TreePlan.random_forest(bootstrap=False, node_features=1.0)


def test_a_bootstrap_leaves_room_for_every_draw() -> None:
    many = 2**31
    one = Terms.agreed(EDGES, Objective("share"), TreePlan.random_forest(), many, np.zeros(1))
    row = one.fixed.gradient_scale
    assert row * many * 12 <= 2.0**62


def test_scores_of_one_set_of_classes_draw_the_same_rows() -> None:
    group = Group.of(0, 3, 3, 2)
    assert group.outputs.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(group.keys.tolist())) == 6
    assert len(set(group.row_keys[:3].tolist())) == len(set(group.row_keys[3:].tolist())) == 1
    assert group.row_keys[0] != group.row_keys[3]


def test_boosted_trees_that_stand_side_by_side_share_the_step() -> None:
    plan = TreePlan(TreePlan.boosting(row_share=0.5, learning_rate=0.4).rules, 10, 4)
    assert basis_of(_terms(plan), plan).rules.learning_rate == 0.1


def test_the_base_is_the_best_constant() -> None:
    assert base_score(Objective("logistic"), [30, 10])[0] == pytest.approx(np.log(1 / 3))
    assert base_score(Objective("logistic", (1.0, 3.0)), [30, 10])[0] == pytest.approx(0.0)
    np.testing.assert_allclose(base_score(Objective("softmax", (1.0,) * 3), [1, 2, 1]), np.log([0.25, 0.5, 0.25]))
    assert base_score(Objective("squared", ()), [], 3.5).tolist() == [3.5]
    assert np.isfinite(base_score(Objective("logistic"), [30, 0])).all()
