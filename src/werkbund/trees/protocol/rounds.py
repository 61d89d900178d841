"""Rounds of trees: grown by all clients together, or by each on its own and then united.

Together, one message goes out a level: the trees are the same, bit for bit, as on the pooled rows.
The server says which trees have been grown so far and of which nodes it wants histograms; the clients' sums, added, are
the pooled rows' sums; the server splits and asks for the next level. A client that does not answer in the middle of a
tree is left out of it, and the round's trees are begun anew without it, so that every tree is the tree of one set of
rows; it may come back in the next round. Where the server learns sums alone, the difference of both would be that
client's own: the round's trees then end at the level before, as trees of all who began them.

United (bagging) is the cheap baseline, one message a round. As in Flower's `FedXgbBagging`, every client goes on from
the trees of all and adds its own; other than there, a tree counts by its client's share of the rows, so that a round's
step is as long as one of pooled rows, however many clients there are. The trees are not those of the pooled rows, and
are the worse the more clients differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.errors import DataError, FederationError
from werkbund.core.types import Failure, Replies, RoundRecord
from werkbund.engine.asking import check_quorum
from werkbund.engine.checkpoint import Checkpoint
from werkbund.engine.grid import Grid
from werkbund.engine.records import gathered_counts
from werkbund.engine.state import Rules
from werkbund.trees.arithmetic import Group, Growth, GrowthBasis, TreePlan, Trees, advance, basis_of, begin
from werkbund.trees.protocol.asking import Answers, odd_histograms, reasons_of
from werkbund.trees.protocol.kinds import COUNTS_WANTED, TREE_BAG, TREE_EVALUATE, TREE_LEVEL
from werkbund.trees.protocol.state import TreeRecord, TreeState
from werkbund.trees.protocol.talk import Links, Talk

Cohort = Callable[[int], Int64Array]
"""Says which clients a round asks, ascending."""

TREES = "ensemble."
"""What the names of the arrays begin with that hold trees, in a message."""


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
    DataError
        If no tree grows, since clients tell of too few rows.
    """
    links = links or Links()
    while state.round < last:
        asked = cohort(state.round + 1) if cohort else np.arange(len(grid.clients()))
        state, record = one_round_of_trees(grid, plan, rules, state, links, asked, evaluate)
        _check_grown(state, len(asked) == len(grid.clients()), last)
        yield state, record


def one_round_of_trees(
    grid: Grid, plan: TreePlan, rules: Rules, state: TreeState, links: Links, cohort: Int64Array, evaluate: bool = True
) -> tuple[TreeState, TreeRecord]:
    """Grow the next round's trees; parameters as for `tree_rounds`, one by one."""
    started, attempts, alive = time.perf_counter(), 0, cohort
    group = Group.of(rules.seed, state.round + 1, state.terms.num_outputs, plan.together)
    talk, basis = Talk(grid, rules, state, links, group, Answers(), cohort, len(cohort)), basis_of(state.terms, plan)
    others, counted = talk.counts_of_others() if evaluate and not rules.secure_sums else Answers(), None
    while True:
        attempts += 1
        talk = replace(talk, alive=alive)
        growth, first = _grow(talk, basis, evaluate and counted is None)
        counted = counted or first
        alive = talk.alive
        if growth is not None:
            break
    counted = others.joined(counted) if counted is not None else None
    trees = growth.trees if growth.trees.grown.all() else growth.trees.take(np.flatnonzero(growth.trees.grown))
    after = _heard(state.next(trees), rules, counted)
    links.step(state.mark, trees, after.mark)
    record = record_of(state, after, trees, cohort, talk.spent, counted, time.perf_counter() - started)
    after = replace(after, edges=rules.refined(record))
    return after, TreeRecord(record, talk.spent.messages, attempts, trees.num_leaves, float(trees.gain.sum()))


def _heard(state: TreeState, rules: Rules, counted: Answers | None) -> TreeState:
    """Return a state that knows of how many held-out rows clients' counts are."""
    return replace(state, held_out=rules.heard(state.held_out, counted.replies)) if counted is not None else state


def evaluate_trees(
    grid: Grid,
    rules: Rules,
    state: TreeState,
    links: Links | None = None,
    clients: Int64Array | None = None,
    edges: Float32Array | None = None,
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
    edges
        Of the bins of scores, if other than the state's.
    """
    started = time.perf_counter()
    state = state if edges is None else replace(state, edges=edges)
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
            shared[COUNTS_WANTED] = np.ones((), np.bool_)
        bound = partial(odd_histograms, terms=talk.state.terms, asked=growth.asked, rows=talk.rules.training_rows)
        wanted = {"histograms": (growth.asked.num_cells, 3)}
        answers = talk.ask(TREE_LEVEL, shared, wanted, bound, begun=growth.depth > 0)
        first = first or answers
        if answers.failures and growth.depth:
            whole = growth.ended() if talk.rules.secure_sums else None
            return whole, first if evaluate else None
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
        sum_trips=spent.sum_trips,
        seconds=seconds,
        edges=before.edges,
    )


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

    A client without rows enough grows no tree, and a round of such clients alone adds none.

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
            shared[COUNTS_WANTED] = np.ones((), np.bool_)
        others = talk.counts_of_others() if evaluate else Answers()
        answers = talk.ask(TREE_BAG, shared, {})
        trees, failures = _united(answers, state, len(group.outputs))
        if failures:
            talk.spent.failures += failures
            reasons = reasons_of(grid, talk.spent.failures)
            check_quorum(len(asked), len(talk.alive) - len(failures), rules.quorum, state.round + 1, reasons)
        counted = others.joined(answers) if evaluate else None
        after = _heard(state.next(trees), rules, counted)
        _check_grown(after, len(asked) == len(grid.clients()), last)
        links.step(state.mark, trees, after.mark)
        record = record_of(state, after, trees, asked, talk.spent, counted, time.perf_counter() - started)
        state = replace(after, edges=rules.refined(record))
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
    return _weighted([readable[client] for client in sorted(readable)], state.terms.forest), failures


def _weighted(clients: list[tuple[Trees, int]], forest: bool) -> Trees:
    """Return the clients' trees to which rows came, each by its share of the rows of those that grew one in its place.

    A forest is the mean over its trees: there shares are multiplied by how many these are.
    """
    trees = Trees.none()
    if not clients:
        return trees
    grown = np.array([own.grown & (rows > 0) for own, rows in clients])  # (clients, trees)
    weights = grown * np.array([[float(rows)] for _, rows in clients])
    shares = weights / np.maximum(weights.sum(axis=0), 1.0) * (grown.sum(axis=0) if forest else 1)
    for (own, _), there, share in zip(clients, grown, shares, strict=True):
        trees = trees.joined(own.scaled(share).take(np.flatnonzero(there)))
    return trees


def _check_grown(state: TreeState, everybody: bool, last: int) -> None:
    """Refuse to go on, or to end, without a tree, where clients tell of too few rows to grow one.

    Raises
    ------
    DataError
        If so.
    """
    if not len(state.ensemble.trees) and (state.round == last or (everybody and state.terms.row_share == 1)):
        raise DataError(
            "trees need clients that tell of their training rows, and none that was asked has so many in one place as "
            "trees.min_cell_rows, or a plant's minimum_cell_rows, wants: none grew a tree; lower these, or gather rows"
        )


def _own(reply: Replies, i: int, state: TreeState, width: int) -> tuple[Trees, int]:
    """Return the trees and the number of rows of an answer's i-th client; raise where they cannot be read."""
    names = [name.removeprefix("bag.") for name in reply.clear if name.startswith("bag.") and "length" not in name]
    lengths = {name: int(reply.clear[f"bag.{name}.length"][i]) for name in names}
    trees = Trees.from_arrays({name: reply.clear[f"bag.{name}"][i][: lengths[name]] for name in names})
    terms, rows = state.terms, int(reply.clear["rows"][i])
    fits = len(trees) == width and not (trees.outputs >= terms.num_outputs).any() and rows >= 0
    if not fits or (trees.feature >= terms.edges.num_features).any() or not np.isfinite(trees.value).all():
        raise ValueError(f"there must be {width} with finite values that ask {terms.edges.num_features} features")
    most = terms.objective.most_value
    if (np.abs(trees.value[trees.left < 0]) > most).any():
        raise ValueError(f"a leaf's value must be at most {most:g}, got {np.abs(trees.value[trees.left < 0]).max():g}")
    return trees, rows


@dataclass(frozen=True)
class TreeStage:
    """Hold a state of a run of trees, and the parts that go on with it.

    Parameters
    ----------
    grid
        Reaches the clients.
    plan, rules
        How trees grow, and what every round obeys.
    num_rounds
        Rounds that are planned.
    is_united
        Whether each client grows its own trees, which are then united.
    cohort
        Who is asked in each round; None for everybody.
    state
        After the last round.
    links
        What this process knows of its clients.
    """

    grid: Grid
    plan: TreePlan
    rules: Rules
    num_rounds: int
    is_united: bool
    cohort: Cohort | None
    state: TreeState
    links: Links = field(default_factory=Links)

    @property
    def round(self) -> int:
        """Number of rounds done."""
        return self.state.round

    @property
    def learnt(self) -> Arrays:
        """The trees as they travel."""
        return self.state.ensemble.to_arrays(TREES)

    @property
    def keepsake(self) -> None:
        """None: the trees of earlier rounds stand before those of later ones."""
        return None

    def at(self, round: int, keepsake: Float32Array | None) -> TreeStage:
        """Return this stage with the trees of the first rounds alone."""
        return replace(self, state=self.state.at(round))

    def rounds(self) -> Iterator[tuple[TreeStage, RoundRecord]]:
        """Grow the trees that are left: together, or each client's own."""
        grow = bagging_rounds if self.is_united else tree_rounds
        doing = grow(
            self.grid, self.plan, self.rules, self.state, self.num_rounds, cohort=self.cohort, links=self.links
        )
        for after, record in doing:
            yield replace(self, state=after), record.round

    def evaluate(self, clients: Int64Array | None = None, edges: Float32Array | None = None) -> RoundRecord:
        """Let clients count the trees: if given, these, one row of counts each; else everybody."""
        return evaluate_trees(self.grid, self.rules, self.state, self.links, clients, edges)

    def personalise(self, clients: Int64Array, edges: Float32Array) -> None:
        """Do nothing: trees have no personal parts."""

    def checkpoint(self, best: Float32Array | None, progress: Mapping[str, Any]) -> Checkpoint:
        """Return the state of the run as a checkpoint, from which it goes on."""
        return Checkpoint.of(self.state, best, progress)
