"""Trees whose questions and answers go through the bytes of a real federation are those of the process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import Doing
from tests.trees.protocol.treefed import RULES, TreeFederation, divided, rows, run
from tests.wire import read_answer, read_ask
from werkbund.core import Replies, Tasks
from werkbund.engine import InProcessGrid, Worker
from werkbund.flower.wire.codec import Answer, Ask, encode_answer, encode_ask
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.protocol.bins import Binning, agree_terms
from werkbund.trees.protocol.rounds import bagging_rounds, evaluate_trees, tree_rounds
from werkbund.trees.protocol.state import TreeState

N = 400
X, SCORE = rows(N)
TABLE = divided(X, (SCORE > 1.5).astype(float), np.arange(N) % 3, 3)


def _over_bytes(federation: TreeFederation) -> InProcessGrid:
    """Return a grid that sends every question and every answer as the bytes that Flower carries."""

    def answer(tasks: Tasks) -> Replies:
        if len(tasks) > 1:
            raise ValueError("one by one")
        ask = read_ask(encode_ask(Ask("run", "plant", tasks, "")))
        replies = Worker(federation.work.handlers())(ask.tasks)
        back = read_answer(encode_answer(ask, Answer(replies, name="plant"))).replies
        assert back is not None
        return back

    return InProcessGrid([f"plant {i}" for i in range(3)], Doing(answer))


@pytest.mark.parametrize("method", ["boosting", "forest", "bagging"])
def test_the_trees_are_the_same_over_bytes(method: str) -> None:
    plan = TreePlan.random_forest(6, 3, max_depth=5) if method == "forest" else TreePlan.boosting(3, max_depth=3)
    kind: Any = "share" if method == "forest" else "logistic"
    federation = TreeFederation.of(TABLE)
    grid = _over_bytes(federation)
    terms = agree_terms(grid, plan, kind, Binning((0, 0, 0, 4)), 60.0).terms
    loop = bagging_rounds if method == "bagging" else tree_rounds
    found = list(loop(grid, plan, RULES, TreeState.begin(terms), plan.rounds))
    if method == "bagging":
        local = list(bagging_rounds(TreeFederation.of(TABLE).grid, plan, RULES, TreeState.begin(terms), plan.rounds))
        right = local[-1][0]
    else:
        right = run(TABLE, plan, kind)[0]
    assert found[-1][0].ensemble.digest == right.ensemble.digest
    counts = evaluate_trees(grid, RULES, found[-1][0]).counts["validation"]["histogram"]
    assert counts.shape[0] == 3
    assert counts.sum() == N
