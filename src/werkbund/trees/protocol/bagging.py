"""Trees grown by each client on its own rows and then united: the cheap baseline, one message a round.

As in Flower's `FedXgbBagging`, every client goes on from the trees of all and adds its own; other than there, a tree
counts by its client's share of the rows, so that a round's step is as long as one of pooled rows, however many clients
there are. The trees are not those of the pooled rows, and are the worse the more clients differ.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from werkbund.core.errors import FederationError
from werkbund.core.types import Failure, Replies
from werkbund.engine.asking import check_quorum
from werkbund.engine.grid import Grid
from werkbund.engine.state import Rules
from werkbund.trees.arithmetic import Group, TreePlan, Trees, basis_of
from werkbund.trees.protocol.asking import Answers, reasons_of
from werkbund.trees.protocol.kinds import TREE_BAG
from werkbund.trees.protocol.rounds import Cohort, record_of
from werkbund.trees.protocol.state import TreeRecord, TreeState
from werkbund.trees.protocol.talk import Links, Talk


def bagging_rounds(
    grid: Grid,
    plan: TreePlan,
    rules: Rules,
    state: TreeState,
    last: int,
    cohort: Cohort | None = None,
    evaluate: bool = True,
    links: Links | None = None,
) -> Iterator[tuple[TreeState, TreeRecord]]:
    """Unite rounds of the clients' own trees up to number `last`; parameters and errors as for `tree_rounds`.

    Yields
    ------
    state, record
        After each round.
    """
    links = links or Links()
    while state.round < last:
        started = time.perf_counter()
        asked = cohort(state.round + 1) if cohort else np.arange(len(grid.clients()))
        group = Group.of(rules.seed, state.round + 1, state.terms.num_outputs, plan.together)
        talk = Talk(grid, rules, state, links, group, Answers(), asked, len(asked))
        shared: dict[str, Any] = {"rules": basis_of(state.terms, plan).rules.to_array()}
        shared |= {"outputs": group.outputs, "keys": group.keys, "row_keys": group.row_keys}
        if evaluate:
            shared["evaluate"] = np.ones((), np.bool_)
        others = talk.counts_of_others() if evaluate else Answers()
        answers = talk.ask(TREE_BAG, shared, {})
        trees, failures = _united(answers, state, len(group.outputs))
        if failures:
            talk.spent.failures += failures
            reasons = reasons_of(grid, talk.spent.failures)
            check_quorum(len(asked), len(talk.alive) - len(failures), rules.quorum, state.round + 1, reasons)
        after = state.next(trees)
        links.step(state.mark, trees, after.mark)
        counted = others.joined(answers) if evaluate else None
        record = record_of(state, after, trees, asked, talk.spent, counted, time.perf_counter() - started)
        state = after
        yield state, TreeRecord(record, talk.spent.messages, 1, trees.num_leaves, float(trees.gain.sum()))


def _united(answers: Answers, state: TreeState, width: int) -> tuple[Trees, list[Failure]]:
    """Return all clients' trees in client order, each by its share of the rows; and whose could not be read."""
    readable: dict[int, tuple[Trees, int]] = {}
    failures: list[Failure] = []
    for reply in answers.replies:
        for i, client in enumerate(reply.clients.tolist()):
            try:
                readable[client] = _own(reply, i, state, width)
            except (FederationError, KeyError, IndexError, ValueError, TypeError) as error:
                failures.append(Failure(client, state.round + 1, f"its trees cannot be read: {error}"))
    total, trees = sum(rows for _, rows in readable.values()), Trees.none()
    for client in sorted(readable):
        own, rows = readable[client]
        if rows:
            trees = trees.joined(own.scaled(rows / total * (len(readable) if state.terms.forest else 1)))
    return trees, failures


def _own(reply: Replies, i: int, state: TreeState, width: int) -> tuple[Trees, int]:
    """Return the trees and the number of rows of an answer's i-th client; raise where they cannot be read."""
    names = [name.removeprefix("bag.") for name in reply.clear if name.startswith("bag.") and "length" not in name]
    lengths = {name: int(reply.clear[f"bag.{name}.length"][i]) for name in names}
    trees = Trees.from_arrays({name: reply.clear[f"bag.{name}"][i][: lengths[name]] for name in names})
    terms, rows = state.terms, int(reply.clear["rows"][i])
    fits = len(trees) == width and not (trees.outputs >= terms.num_outputs).any() and rows >= 0
    if not fits or (trees.feature >= terms.edges.num_features).any() or not np.isfinite(trees.value).all():
        raise ValueError(f"there must be {width} with finite values that ask {terms.edges.num_features} features")
    return trees, rows
