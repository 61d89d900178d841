"""What a run asks of its clients: kinds of tasks, each with the signals that it wants told in clear."""

from __future__ import annotations

from collections.abc import Mapping

from werkbund.selection.contract import Declaration

Asks = Mapping[str, frozenset[str]]
"""Kind of task -> signals in clear that are asked for with it."""

TREE_KINDS = ("tree-cells", "tree-survey", "tree-level", "tree-evaluate", "tree-bag")
"""The kinds of tasks that runs of trees consist of."""

_NONE = frozenset[str]()
_ALWAYS: Asks = dict.fromkeys(("any", "hello", "survey", "squares", "deliver"), _NONE)


def network_asks(selector: Declaration) -> Asks:
    """Return what a run of a network asks for that chooses clients by this selector."""
    asks = {**_ALWAYS, "evaluate": _NONE, "train": selector.needs}
    asks |= dict.fromkeys(selector.asks, selector.needs)
    return asks | ({"upload": _NONE} if "hold" in selector.asks else {})


def tree_asks(combine: str) -> Asks:
    """Return what a run of trees asks for, by how the clients' trees or sums are combined."""
    grows = "tree-bag" if combine == "bagging" else "tree-level"
    return {**_ALWAYS, **dict.fromkeys(("tree-cells", "tree-survey", "tree-evaluate", grows), _NONE)}
