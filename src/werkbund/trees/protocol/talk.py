"""A round's questions about trees: brief to clients that follow, with the whole ensemble to those that are behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.core.arrays import Int64Array
from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Tasks
from werkbund.engine.asking import Check, check_quorum
from werkbund.engine.grid import Grid
from werkbund.engine.state import Rules
from werkbund.learner.counts import as_shared
from werkbund.trees.arithmetic import Group, Trees
from werkbund.trees.protocol.asking import Answers, Shapes, ask_all, reasons_of
from werkbund.trees.protocol.kinds import COUNTS_WANTED, TREE_EVALUATE
from werkbund.trees.protocol.state import TreeState, mark_bytes


@dataclass
class Links:
    """Keep what one server process knows of its clients, so that nobody is sent what it has.

    Parameters
    ----------
    held
        The mark of the trees that each client was seen to hold, by its number.
    before, last, after
        The marks of all trees before and after the last round, and that round's trees, which lead from the one to the
        other; empty before there was a round.
    """

    held: dict[int, str] = field(default_factory=dict)
    before: str = ""
    last: Trees = field(default_factory=Trees.none)
    after: str = ""

    def step(self, before: str, trees: Trees, after: str) -> None:
        """Note a round's trees, and the marks between which they lie."""
        self.before, self.last, self.after = before, trees, after

    def leads_to(self, mark: str) -> bool:
        """Say whether who holds the trees before the last round comes to these by that round's."""
        return bool(self.before) and self.after == mark


@dataclass
class Talk:
    """Ask a round's questions of the clients that are still there, and send the whole to those that are behind."""

    grid: Grid
    rules: Rules
    state: TreeState
    links: Links
    group: Group
    spent: Answers
    alive: Int64Array
    num_asked: int

    def ask(
        self, kind: Kind, shared: Mapping[str, Any], shapes: Shapes, bound: Check | None = None, begun: bool = False
    ) -> Answers:
        """Return the answers to one question; who has none is no longer there.

        What `bound` finds is no answer. Where sums alone are learnt, and the round has `begun` in sums, they come of
        all or not at all.

        Raises
        ------
        QuorumError
            If too few are left.
        """
        answers = self._ask(kind, shared, shapes, bound, begun and self.rules.secure_sums)
        reasons = reasons_of(self.grid, self.spent.failures)
        check_quorum(self.num_asked, len(self.alive), self.rules.quorum, self.state.round + 1, reasons)
        return answers

    def _ask(
        self, kind: Kind, shared: Mapping[str, Any], shapes: Shapes, bound: Check | None = None, of_all: bool = False
    ) -> Answers:
        common = {"mark": mark_bytes(self.state.mark), "num_trees": np.array(len(self.state.ensemble.trees)), **shared}
        if COUNTS_WANTED in shared or kind == TREE_EVALUATE:
            common |= as_shared(self.state.edges)
        near = {self.state.mark} | ({self.links.before} if self.links.leads_to(self.state.mark) else set())
        known = np.array([self.links.held.get(client, "") in near for client in self.alive.tolist()], np.bool_)
        if self.rules.secure_sums and not known.all():  # one sum, over all
            known[:] = False
        number = self.spent.messages
        brief = self._put(kind, number, self.alive[known], {**common, **self._last()}, shapes, bound)
        behind = np.union1d(self.alive[~known], np.array(brief.behind, np.int64)).astype(np.int64)
        number += brief.messages
        answers, lost = brief, list[Failure]()
        if not (of_all and brief.failures):
            answers = brief.joined(self._put(kind, number, behind, {**common, **self._whole()}, shapes, bound))
            lost = [Failure(client, self.state.round + 1, "did not take over the trees") for client in answers.behind]
        failures = [*answers.failures, *lost]
        self.links.held |= dict.fromkeys(answers.clients, self.state.mark)
        for failure in failures:
            self.links.held.pop(failure.client, None)
        missing = [failure.client for failure in failures]
        self.alive = np.setdiff1d(self.alive, missing) if failures else self.alive
        total = replace(self.spent, failures=[*self.spent.failures, *failures])
        total.messages += answers.messages
        total.sum_trips += answers.sum_trips
        total.bytes_down += answers.bytes_down
        total.bytes_up += answers.bytes_up
        self.spent = total
        return replace(answers, failures=failures)

    def counts_of_others(self) -> Answers:
        """Let those whom the round does not ask count the trees so far; nothing depends on whether they answer."""
        others = np.setdiff1d(np.arange(len(self.grid.clients())), self.alive)
        if not len(others):
            return Answers()
        answers = replace(self, spent=Answers(), alive=others)._ask(TREE_EVALUATE, {}, {})
        self.spent.bytes_down += answers.bytes_down
        self.spent.bytes_up += answers.bytes_up
        self.spent.failures += answers.failures
        return answers

    def _put(
        self,
        kind: Kind,
        number: int,
        clients: Int64Array,
        shared: Mapping[str, Any],
        shapes: Shapes,
        bound: Check | None,
    ) -> Answers:
        tasks = Tasks(kind, self.state.round + 1, clients, shared, attempt=number)
        form = replace(self.rules.form(0, self.state.held_out), fingerprint="")
        return ask_all(self.grid, tasks, shapes, self.rules.timeout_s, form, bound)

    def _last(self) -> dict[str, Any]:
        """Return the last round's trees, unless they do not lead to the state's, or everybody has them."""
        mark = self.state.mark
        if not self.links.leads_to(mark) or all(self.links.held.get(client) == mark for client in self.alive.tolist()):
            return {}
        return {"last.mark": mark_bytes(self.links.before), **self.links.last.to_arrays("last.")}

    def _whole(self) -> dict[str, Any]:
        """Return the terms and all trees."""
        return {**self.state.terms.to_arrays(), **self.state.ensemble.to_arrays("ensemble.")}
