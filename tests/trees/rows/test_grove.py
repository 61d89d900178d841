from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.core import ClientError
from werkbund.trees.arithmetic import (
    BinEdges,
    Group,
    Growth,
    Objective,
    Terms,
    TreePlan,
    Trees,
    advance,
    begin,
    ground_of,
    leaf_sums,
)
from werkbund.trees.rows.grove import Grove
from werkbund.trees.rows.table import Standing, TreeTable

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(float)
PLAN = TreePlan(TreePlan.boosting(max_depth=4, min_child_rows=3, row_share=0.7).rules, 1, 2)
EDGES = BinEdges.build([np.linspace(-2, 2, 20)] * 3)
TERMS = Terms.agreed(EDGES, Objective("logistic"), PLAN, 300, np.zeros(1))
GROUP = Group.of(0, 1, 1, 2)


def _standing() -> Standing:
    standing = Standing(TreeTable.build(X, Y, [0, 100, 180, 300]))
    standing.agree(TERMS)
    return standing


def _planted(clients: Any = (0, 1, 2)) -> Grove:
    return Grove.plant(_standing(), np.array(clients), GROUP.row_keys)


def _grown(levels: int = 4) -> list[Growth]:
    ground, grove = ground_of(TERMS, PLAN), _planted()
    stages = [begin(ground, GROUP.outputs, GROUP.keys)]
    while len(stages) < levels and not stages[-1].finished:
        grove.follow(stages[-1].trees)
        stages.append(advance(ground, stages[-1], grove.histograms(stages[-1].asked, GROUP.outputs)))
    return stages


STAGES = _grown()


def test_sums_over_clients_are_those_of_all_rows() -> None:
    for stage in STAGES[:-1]:
        whole, parts = _planted(), [_planted((i,)) for i in range(3)]
        for grove in (whole, *parts):
            grove.follow(stage.trees)
        together = whole.histograms(stage.asked, GROUP.outputs)
        assert (together == sum(grove.histograms(stage.asked, GROUP.outputs) for grove in parts)).all()


def test_who_comes_late_stands_where_the_others_do() -> None:
    stage = STAGES[-1]
    late, early = _planted(), _planted()
    for one in STAGES:
        early.follow(one.trees)
    late.follow(stage.trees)
    assert (late.index == early.index).all()
    assert (late.first, late.last, late.tree) == (early.first, early.last, early.tree)


def test_every_row_lies_in_the_node_that_it_walks_to() -> None:
    grove, trees = _planted(), STAGES[-1].trees
    grove.follow(trees)
    sums = np.zeros((300, 1))
    grove.settle(sums, trees)
    assert (sums == leaf_sums(trees, 1, X)).all()


@pytest.mark.parametrize("least", [2, 5])
def test_withheld_cells_are_empty_and_the_others_whole(least: int) -> None:
    stage, grove = STAGES[0], _planted((1,))
    grove.follow(stage.trees)
    words = grove.histograms(stage.asked, GROUP.outputs)
    shown = grove.histograms(stage.asked, GROUP.outputs, least)
    few = words[:, 2] < least
    assert few.any()
    assert not shown[few].any()
    assert (shown[~few] == words[~few]).all()


def test_trees_of_another_beginning_are_told_apart() -> None:
    grove, trees = _planted(), STAGES[-1].trees
    grove.follow(trees)
    assert grove.leads_to(trees)
    assert not grove.leads_to(STAGES[0].trees)
    other = trees.bin.copy()
    other[0] += 1
    assert not grove.leads_to(replace(trees, bin=other))


@pytest.mark.parametrize(
    "change",
    [
        lambda trees: trees.take([0]),
        lambda trees: replace(trees, feature=np.where(trees.feature >= 0, 9, -1).astype(np.int32)),
        lambda trees: replace(trees, outputs=np.array([0, 7], np.int32)),
        lambda trees: replace(trees, left=np.where(trees.left >= 0, trees.left[::-1].max(), -1).astype(np.int32)),
        lambda trees: trees.joined(trees).take([2, 1]),
    ],
)
def test_trees_that_are_not_this_rounds_raise(change: Any) -> None:
    with pytest.raises(ClientError):
        _planted().follow(change(STAGES[-1].trees))


def test_a_client_without_rows_counts_nothing() -> None:
    standing = Standing(TreeTable.build(X, Y, [0, 300, 300]))
    standing.agree(TERMS)
    grove = Grove.plant(standing, np.array([1]), GROUP.row_keys)
    grove.follow(STAGES[-1].trees)
    assert not grove.histograms(STAGES[0].asked, GROUP.outputs).any()
    grove.settle(np.empty((0, 1)), STAGES[-1].trees)


def test_no_trees_lead_to_a_grove_that_has_none() -> None:
    assert not _planted().leads_to(Trees.none())
