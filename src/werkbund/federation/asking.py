"""What a run asks of its clients: kinds of tasks, each with what it wants told that not every run does."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from werkbund.core.kinds import Field, Kind
from werkbund.data.answers import SQUARES, SURVEY
from werkbund.engine.kinds import EVALUATE, TRAIN, UPLOAD
from werkbund.learner.counts import ERRORS
from werkbund.selection.contract import Declaration
from werkbund.selection.questions import HOLD
from werkbund.trees.protocol.kinds import TREE_BAG, TREE_CELLS, TREE_EVALUATE, TREE_LEVEL, TREE_SURVEY

Asks = Mapping[Kind, frozenset[str]]
"""Kind of task -> names of what is told on request and is asked for with it: signals in clear, what is folded."""

_NONE = frozenset[str]()
_SCALING: Asks = dict.fromkeys((SURVEY, SQUARES), _NONE)


def network_asks(selector: Declaration, aggregation: Collection[str] = ()) -> Asks:
    """Return what a run of a network asks for.

    Parameters
    ----------
    selector
        What the method by which clients are chosen declares.
    aggregation
        Names of what the aggregation method folds beside updates, and of the signals that it must be told.
    """
    beside = frozenset(aggregation)
    asks = {**_SCALING, EVALUATE: _NONE, TRAIN: selector.needs | beside}
    asks |= dict.fromkeys(selector.asks, selector.needs)
    return asks | ({UPLOAD: beside} if HOLD in selector.asks else {})


def tree_asks(combine: str) -> Asks:
    """Return what a run of trees asks for, by how the clients' trees or sums are combined."""
    grows = TREE_BAG if combine == "bagging" else TREE_LEVEL
    return {**_SCALING, **dict.fromkeys((TREE_CELLS, TREE_SURVEY, TREE_EVALUATE, grows), _NONE)}


def with_errors(asks: Asks) -> Asks:
    """Return what a run asks for that foretells a number: with counts also the sums of its errors."""
    counting = {kind for kind in asks if any(field.name == ERRORS for field in kind.answer)}
    return {kind: names | {ERRORS} if kind in counting else names for kind, names in asks.items()}


def is_asked(kind: Kind, field: Field, asks: Asks) -> bool:
    """Say whether a run that asks for this asks for a field of the answer to a kind of task."""
    return kind in asks and (not field.on_request or field.name in asks[kind])
