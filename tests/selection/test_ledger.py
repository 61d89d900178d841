import numpy as np

from werkbund.selection.ledger import column, entries, grown


def test_nothing_noted_is_nothing_known() -> None:
    assert column({}, "loss").tolist() == []
    assert entries(column({}, "loss"), np.array([0, 7]), 3.0).tolist() == [3.0, 3.0]
    assert entries(np.ones(4), np.empty(0, np.int64), 3.0).tolist() == []


def test_growing_copies_and_never_shrinks() -> None:
    old = np.array([[1.0, 2.0], [3.0, 4.0]])
    longer, same = grown(old, np.array([3]), 0.0), grown(old, np.empty(0, np.int64), 0.0)
    assert longer.tolist() == [[1, 2], [3, 4], [0, 0], [0, 0]]
    same[0] = 9
    assert old[0].tolist() == [1, 2]
    assert len(grown(old, np.array([0]), 0.0)) == 2
