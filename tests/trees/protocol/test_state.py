"""The state of a run of trees: written down, read again, and taken back to an earlier round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trees.protocol.treefed import rows
from werkbund.core.errors import CheckpointError
from werkbund.engine import Checkpoint, load_checkpoint, save_checkpoint
from werkbund.trees.arithmetic import BinEdges, Objective, Terms, TreePlan, base_score
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable


def states() -> list[TreeState]:
    """Return the states of four rounds, the beginning first."""
    x, score = rows(400)
    labels = (score > 0).astype(float)
    edges = [np.linspace(-2, 2, 9), np.linspace(-2, 2, 9), np.linspace(-2, 2, 9), np.empty(0)]
    objective = Objective("logistic")
    base = base_score(objective, np.bincount(labels.astype(int)))
    plan = TreePlan.boosting(4, max_depth=3)
    terms = Terms.agreed(BinEdges.build(edges, [0, 0, 0, 4]), objective, plan, len(x), base)
    found = [TreeState.begin(terms)]
    for round, ensemble in enumerate(train_trees(TreeTable.build(x, labels), terms, plan, 0)):
        found.append(found[-1].next(ensemble.trees.take([round])))
    return found


def test_a_checkpoint_keeps_every_bit(tmp_path: Path) -> None:
    for state in states():
        save_checkpoint(tmp_path / "c", Checkpoint.of(state, None, {"best_round": 1}))
        read = load_checkpoint(tmp_path / "c")
        again = TreeState.of_checkpoint(read)
        assert (again.round, again.mark) == (state.round, state.mark)
        assert again.ensemble.digest == state.ensemble.digest
        assert again.terms.digest() == state.terms.digest()
        assert (read.best, read.progress) == (None, {"best_round": 1})


@pytest.mark.parametrize("round", range(5))
def test_an_earlier_round_is_had_from_a_later_state(round: int) -> None:
    found = states()
    back = found[4].at(round)
    assert back.ensemble.digest == found[round].ensemble.digest
    assert back.round == 4, "rounds done stay done"
    assert (back.mark == found[4].mark) == (round == 4), "who holds other trees must not take them for these"


def test_arrays_of_another_kind_of_run_are_refused() -> None:
    with pytest.raises(CheckpointError, match="another kind of run"):
        TreeState.from_arrays({"weights": np.zeros(3)})
    with pytest.raises(CheckpointError, match="another kind of run"):
        TreeState.of_checkpoint(Checkpoint("weights", 1, {}, {"weights": np.zeros(3)}))
