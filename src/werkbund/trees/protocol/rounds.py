"""Trees grown by all clients together, one message a level: the same trees, bit for bit, as on the pooled rows.

The server says which trees have been grown so far and of which nodes it wants histograms; the clients' sums, added, are
the pooled rows' sums; the server splits and asks for the next level. A client that does not answer in the middle of a
tree is left out of it, and the round's trees are begun anew without it, so that every tree is the tree of one set of
rows; it may come back in the next round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from werkbund.core.arrays import Int64Array
from werkbund.core.types import RoundRecord
from werkbund.engine.grid import Grid
from werkbund.engine.records import gathered_counts
from werkbund.engine.state import Rules
from werkbund.trees.arithmetic import Group, Growth, GrowthBasis, TreePlan, Trees, advance, basis_of, begin
from werkbund.trees.protocol.asking import Answers
from werkbund.trees.protocol.kinds import TREE_EVALUATE, TREE_LEVEL
from werkbund.trees.protocol.state import TreeRecord, TreeState
from werkbund.trees.protocol.talk import Links, Talk

Cohort = Callable[[int], Int64Array]
"""Says which clients a round asks, ascending."""


def tree_rounds(
    grid: Grid,
    plan: TreePlan,
    rules: Rules,
    state: TreeState,
    last: int,
    cohort: Cohort | None = None,
    evaluate: bool = True,
    links: Links | None = None,
) -> Iterator[tuple[TreeState, TreeRecord]]:
    """Grow rounds of trees up to number `last`, from wherever `state` stands.

    Parameters
    ----------
    grid
        Reaches clients that know the kinds of `TreeWork`.
    plan
        How trees grow.
    rules
        Seed, quorum and time-out.
    state
        After the last round.
    last
        Number of the last round.
    cohort
        Whom a round asks; everybody if left out.
    evaluate
        Let clients count the trees so far: those that a round asks in its first message, the others in one of its own.
    links
        What this process knows of its clients; give the same to `evaluate_trees`, and nobody is sent all trees again.

    Yields
    ------
    state, record
        After each round. The record's counts score the trees that this round began with. A caller that starts again
        from a state it kept gets the same trees.

    Raises
    ------
    QuorumError
        If too few of those asked answer all of a round's questions.
    """
    links = links or Links()
    while state.round < last:
        asked = cohort(state.round + 1) if cohort else np.arange(len(grid.clients()))
        state, record = one_round_of_trees(grid, plan, rules, state, links, asked, evaluate)
        yield state, record


def one_round_of_trees(
    grid: Grid, plan: TreePlan, rules: Rules, state: TreeState, links: Links, cohort: Int64Array, evaluate: bool = True
) -> tuple[TreeState, TreeRecord]:
    """Grow the next round's trees; parameters as for `tree_rounds`, one by one."""
    started, attempts, alive = time.perf_counter(), 0, cohort
    group = Group.of(rules.seed, state.round + 1, state.terms.num_outputs, plan.together)
    talk, basis = Talk(grid, rules, state, links, group, Answers(), cohort, len(cohort)), basis_of(state.terms, plan)
    others, counted = talk.counts_of_others() if evaluate else Answers(), None
    while True:
        attempts += 1
        talk = replace(talk, alive=alive)
        growth, first = _grow(talk, basis, evaluate and counted is None)
        counted = counted or first
        alive = talk.alive
        if growth is not None:
            break
    after = state.next(growth.trees)
    links.step(state.mark, growth.trees, after.mark)
    counted = others.joined(counted) if counted is not None else None
    record = record_of(state, after, growth.trees, cohort, talk.spent, counted, time.perf_counter() - started)
    gain = float(growth.trees.gain.sum())
    return after, TreeRecord(record, talk.spent.messages, attempts, growth.trees.num_leaves, gain)


def evaluate_trees(
    grid: Grid, rules: Rules, state: TreeState, links: Links | None = None, clients: Int64Array | None = None
) -> RoundRecord:
    """Let clients count the trees as they are.

    Parameters
    ----------
    grid, rules, state
        As for a round.
    links
        Of the rounds before, if this process did them.
    clients
        If given, these clients' counts come for each of them; else everybody counts, and counts may come added.
    """
    started = time.perf_counter()
    asked = np.arange(len(grid.clients())) if clients is None else clients
    none = Group.of(rules.seed, state.round + 1, state.terms.num_outputs, 1)
    talk = Talk(grid, rules, state, links or Links(), none, Answers(), asked, len(asked))
    each = {} if clients is None else {"each": np.ones((), np.bool_)}
    answers = talk.ask(TREE_EVALUATE, each, {})
    return record_of(
        state, state, Trees.none(), np.empty(0, np.int64), talk.spent, answers, time.perf_counter() - started
    )


def _grow(talk: Talk, basis: GrowthBasis, evaluate: bool) -> tuple[Growth | None, Answers | None]:
    """Return the trees, or None if somebody left in the middle; and the answers that hold counts."""
    growth, first = begin(basis, talk.group.outputs, talk.group.keys), None
    while not growth.finished:
        shared = _question(talk, basis, growth)
        if first is None and evaluate:
            shared["evaluate"] = np.ones((), np.bool_)
        answers = talk.ask(TREE_LEVEL, shared, {"histograms": (growth.asked.num_cells, 3)})
        first = first or answers
        if answers.failures and growth.depth:
            return None, first if evaluate else None
        growth = advance(basis, growth, answers.sums["histograms"])
    return growth, first if evaluate else None


def _question(talk: Talk, basis: GrowthBasis, growth: Growth) -> dict[str, Any]:
    shared = {**growth.trees.to_arrays("grown."), "asked": growth.asked.nodes.astype(np.int32)}
    if growth.asked.features.shape[1] < basis.edges.num_features:
        shared["features"] = growth.asked.features.astype(np.int32)
    return {**shared, "row_keys": talk.group.row_keys}


def record_of(
    before: TreeState,
    after: TreeState,
    trees: Trees,
    cohort: Int64Array,
    spent: Answers,
    counted: Answers | None,
    seconds: float,
) -> RoundRecord:
    """Return the record of a round, with the counts of the trees before."""
    counts, evaluated = gathered_counts(counted.replies if counted else [])
    every = after.ensemble.trees
    return RoundRecord(
        round=before.round + 1,
        scored=before.round,
        cohort=tuple(cohort.tolist()),
        failures=tuple(spent.failures),
        counts=counts,
        evaluated=evaluated,
        loss=None,
        update_norm=float(np.linalg.norm(trees.value[trees.left < 0])),
        weights_norm=float(np.linalg.norm(every.value[every.left < 0])),
        bytes_down=spent.bytes_down,
        bytes_up=spent.bytes_up,
        seconds=seconds,
    )
