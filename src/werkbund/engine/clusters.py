"""A clustered federation: as many federations side by side as there are models, and who belongs to which.

A round of each is `one_round` among its members. What is one for all, such as what clients keep and whose updates were
taken, goes from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from werkbund.aggregation.clusters import Clustering
from werkbund.aggregation.contract import Robust, keeps_at_clients, own_factors
from werkbund.aggregation.rows import lengths
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array, under
from werkbund.core.errors import ConfigError, QuorumError
from werkbund.core.types import Failure, Replies, RoundRecord, Tasks
from werkbund.core.weights import norm
from werkbund.engine.asking import answers, payload, size_of
from werkbund.engine.checkpoint import Checkpoint
from werkbund.engine.choosing import MOST_QUESTIONS, completed
from werkbund.engine.folding import Folded
from werkbund.engine.grid import Grid, Situated, state_of
from werkbund.engine.records import merged, signals_in
from werkbund.engine.round import evaluate, whole_round
from werkbund.engine.state import Rules, RunState, Strategy
from werkbund.selection.questions import LOSS, TAKEN

CLUSTER = "cluster"
"""Name of the number of each client's cluster, (clients,), among what a clustered federation has learnt."""


@dataclass(frozen=True)
class ClusteredState:
    """Hold all that the next round of a clustered federation depends on.

    Parameters
    ----------
    states
        Of each cluster; what is one for all is the same in each.
    of
        (clients,), the cluster of each.
    usual
        Middle length of the updates of the first round; 0 where nobody looks at it.
    """

    states: tuple[RunState, ...]
    of: Int64Array
    usual: float = 0.0
    kind: ClassVar[str] = "clusters"

    @property
    def round(self) -> int:
        """Number of rounds done."""
        return self.states[0].round

    @property
    def weights(self) -> Float32Array:
        """Those of each cluster's model: (clusters, parameters)."""
        return np.stack([state.weights for state in self.states])

    def members(self, cluster: int) -> Int64Array:
        """Return the numbers of a cluster's clients, ascending."""
        return np.flatnonzero(self.of == cluster)

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return JSON values and named arrays; what is one for all is in the first cluster's."""
        values: dict[str, Any] = {"clusters": [], "usual": self.usual}
        arrays: dict[str, Any] = {"of": self.of}
        for number, state in enumerate(self.states):
            nothing = RunState(0, state.weights, {})
            own = _handed(state, nothing) if number else state
            its_values, its_arrays = own.parts()
            values["clusters"].append(its_values)
            arrays |= {f"{number}.{name}": array for name, array in its_arrays.items()}
        return values, arrays

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> ClusteredState:
        """Return the state that a checkpoint was made of.

        Raises
        ------
        CheckpointError
            If it is of another kind of run.
        """
        checkpoint.check_kind(cls.kind)
        states: list[RunState] = []
        for number, values in enumerate(checkpoint.values["clusters"]):
            own = under(f"{number}.", checkpoint.arrays)
            state = RunState.of_checkpoint(Checkpoint(RunState.kind, checkpoint.round, values, own))
            states.append(_handed(state, states[0]) if states else state)
        return cls(tuple(states), checkpoint.arrays["of"], float(checkpoint.values["usual"]))


def _handed(state: RunState, last: RunState) -> RunState:
    """Return a cluster's state with what is one for all, as another one has it."""
    return replace(state, world=last.world, held_out=last.held_out, taken=last.taken)


def models_apart(learnt: Arrays, num_clients: int) -> list[tuple[Int64Array, Arrays]]:
    """Return what was learnt as models of some clients each: their numbers, ascending, and what their model is made of.

    Parameters
    ----------
    learnt
        What a run has learnt, clustered or not.
    num_clients
        Of the federation.
    """
    if CLUSTER not in learnt:
        return [(np.arange(num_clients), learnt)]
    apart = ((np.flatnonzero(learnt[CLUSTER] == number), own) for number, own in enumerate(learnt["weights"]))
    return [(members, {"weights": own}) for members, own in apart if len(members)]


def model_of(learnt: Arrays, client: int) -> Arrays:
    """Return what the model of a client is made of, of what a run has learnt, clustered or not."""
    return learnt if CLUSTER not in learnt else {"weights": learnt["weights"][learnt[CLUSTER][client]]}


def check_clusters(strategy: Strategy, rules: Rules, grid: Grid) -> None:
    """Refuse clusters where a part of the run knows one federation alone.

    Raises
    ------
    ConfigError
        If it does.
    """
    rule = strategy.aggregator
    faults = {
        "strategy.pace.close must be all": not strategy.pace.is_full,
        "updates must not leave through layers of privacy": bool(strategy.stack.layers),
        "strategy.aggregation.name must be a rule that needs no least number of clients and no weight of each of all": (
            isinstance(rule, Robust) or own_factors(rule, rule.init(1), 1) is not None
        ),
        "strategy.aggregation.name must be a rule of which clients keep nothing": keeps_at_clients(rule),
        "evaluation.contributions must be false": rules.crediting is not None,
        "world.preset must be none": isinstance(grid, Situated),
    }
    broken = [rule for rule, is_broken in faults.items() if is_broken]
    if broken:
        raise ConfigError(
            f"{'; '.join(broken)}, where strategy.clusters names a method, got otherwise: a cluster may be small, and "
            "clusters train one after the other; change it or name no clusters"
        )


@dataclass(frozen=True)
class ClusteredStage:
    """Hold the state of a clustered federation, and the parts that go on with it.

    Parameters
    ----------
    grid
        Reaches the clients.
    strategy, rules
        As for a round of each cluster.
    clustering
        Assigns clients.
    num_rounds
        Rounds that are planned.
    state
        After the last round.

    Raises
    ------
    ConfigError
        If a part of the run knows one federation alone.
    """

    grid: Grid
    strategy: Strategy
    rules: Rules
    clustering: Clustering
    num_rounds: int
    state: ClusteredState

    def __post_init__(self) -> None:
        check_clusters(self.strategy, self.rules, self.grid)

    def begun(self) -> ClusteredStage:
        """Return the stage before the first round, with the clients assigned as far as the method does it by losses."""
        state, _ = self._assigned(self.state)
        return replace(self, state=state)

    @property
    def round(self) -> int:
        """Number of rounds done."""
        return self.state.round

    @property
    def learnt(self) -> Arrays:
        """The weights of all clusters, (clusters, parameters), and each client's cluster."""
        return {"weights": self.state.weights, CLUSTER: self.state.of}

    @property
    def keepsake(self) -> Float32Array:
        """A row a cluster: its weights, then 1 for each client that is a member and 0 for the others."""
        is_member = self.state.of == np.arange(len(self.state.states))[:, None]
        return np.concatenate([self.state.weights, is_member.astype(np.float32)], axis=1)

    def at(self, round: int, keepsake: Float32Array | None) -> ClusteredStage:
        """Return this stage with weights and members of an earlier round."""
        if keepsake is None:
            return self
        size = len(self.state.states[0].weights)
        states = tuple(replace(self.state.states[0], weights=row[:size].copy()) for row in keepsake)
        return replace(self, state=replace(self.state, states=states, of=keepsake[:, size:].argmax(axis=0)))

    def rounds(self) -> Iterator[tuple[ClusteredStage, RoundRecord]]:
        """Do the rounds that are left."""
        stage = self
        while stage.round < self.num_rounds:
            state, record = stage.next_round()
            stage = replace(self, state=state)
            yield stage, record

    def next_round(self) -> tuple[ClusteredState, RoundRecord]:
        """Do the next round of every cluster, then assign the clients anew.

        Raises
        ------
        QuorumError
            If in no cluster enough clients answered; where one alone has too few, it stays as it is.
        """
        state, records, folded = self._trained()
        record = merged(records, self._rows())
        edges = self.rules.refined(record)
        state = replace(state, states=tuple(replace(own, edges=edges) for own in state.states))
        if self.clustering.sees_updates:
            after, told = self._split(state, folded), Assigned()
        else:
            after, told = self._assigned(state)
        return after, told.noted(record, self.state.of, after.of)

    def evaluate(self, clients: Int64Array | None = None, edges: Float32Array | None = None) -> RoundRecord:
        """Let clients count their cluster's model: if given, these, one row of counts each; else everybody."""
        records = []
        for number, own in enumerate(self.state.states):
            members = self.state.members(number)
            asked = members if clients is None else np.intersect1d(members, clients)
            if len(asked):
                rules = replace(self.rules, among=members)
                records.append(evaluate(self.grid, rules, own, None if clients is None else asked, edges))
        return merged(records, self._rows())

    def personalise(self, clients: Int64Array, edges: Float32Array) -> None:
        """Do nothing: clusters have no personal parts."""

    def checkpoint(self, best: Float32Array | None, progress: Mapping[str, Any]) -> Checkpoint:
        """Return the state of the run as a checkpoint, from which it goes on."""
        return Checkpoint.of(self.state, best, progress)

    def _rows(self) -> Float64Array:
        """Return the training rows of each client, 1 for all where one does not say: (clients,)."""
        rows = np.asarray(self.rules.facts.get("rows", np.full(1, np.nan)), np.float64)
        return rows if np.isfinite(rows).all() else np.ones(len(self.grid.clients()))

    def _trained(self) -> tuple[ClusteredState, list[RoundRecord], dict[int, Folded]]:
        """Do each cluster's round; return the state after it, the records, and what was folded, by cluster."""
        states, records, folded = list(self.state.states), list[RoundRecord](), dict[int, Folded]()
        last, errors = states[0], list[QuorumError]()
        for number, before in enumerate(states):
            among, own = self.state.members(number), _handed(before, last)
            states[number] = replace(own, round=own.round + 1)
            if not len(np.setdiff1d(among, self.rules.left_out)):
                continue
            rules = replace(self.rules, among=among, keeps_updates=self.clustering.sees_updates)
            try:
                states[number], record, folded[number] = whole_round(self.grid, self.strategy, rules, own)
            except QuorumError as error:
                errors.append(error)
                record = _unanswered(error, own, self.grid.clients())
                states[number] = replace(states[number], world=state_of(self.grid))
            records.append(record)
            last = states[number]
        if not folded:
            raise errors[0] if errors else QuorumError(self.round + 1, 1, 0, {})
        handed = tuple(_handed(state, last) for state in states)
        return replace(self.state, states=handed), records, folded

    def _split(self, state: ClusteredState, folded: Mapping[int, Folded]) -> ClusteredState:
        """Return the state in which clusters whose members part are two, each with the weights of both."""
        states, of, usual = list(state.states), state.of.copy(), state.usual
        for number, own in folded.items():
            clients, rows, weights = own.each()
            if state.round == 1:
                usual = float(np.median(lengths(rows)))
            parted = self.clustering.parted(state.round, rows, weights, usual)
            if parted is not None and np.array_equal(clients, self.state.members(number)):
                of[clients[parted]] = len(states)
                states.append(states[number])
        return ClusteredState(tuple(states), of, usual)

    def _assigned(self, state: ClusteredState) -> tuple[ClusteredState, Assigned]:
        """Return the state in which each client belongs to the model with the lowest of its losses, and how that went.

        The first of equal ones wins. Who does not tell all losses stays.
        """
        if not self.clustering.asks_losses or len(state.states) == 1:
            return state, Assigned()
        losses, told = self._asked_losses(state)
        knows = np.asarray(np.isfinite(losses).all(axis=0))
        lowest = np.where(knows, losses, np.inf).argmin(axis=0)
        untold = tuple(told.asked[~knows[told.asked]].tolist())
        return replace(state, of=np.where(knows, lowest, state.of)), replace(told, untold=untold)

    def _asked_losses(self, state: ClusteredState) -> tuple[Float64Array, Assigned]:
        """Ask every client for its loss of each cluster's weights: (clusters, clients), NaN where one does not tell."""
        everyone = np.arange(len(self.grid.clients()))
        asked = np.setdiff1d(everyone, self.rules.left_out)
        losses = np.full((len(state.states), len(everyone)), np.nan)
        down, replied, failed = 0, list[Replies](), dict[int, Failure]()
        for number, own in enumerate(state.states):
            question = Tasks(LOSS, own.round + 1, asked, own={TAKEN.name: own.taken_of(asked)})
            sent = {"weights": own.weights}  # numbers of questions above those that a selector may ask
            tasks = completed(question, sent, self.rules, frozenset(), MOST_QUESTIONS + number)
            form = self.rules.form(len(own.weights), own.held_out)
            replies, failures = answers(self.grid, [tasks], self.rules.timeout_s, form)
            told = signals_in(replies, {LOSS.name})
            losses[number, told["clients"]] = told.get(LOSS.name, np.nan)
            down, replied = down + size_of(tasks), [*replied, *replies]
            failed |= {failure.client: failure for failure in failures}
        return losses, Assigned(asked, (), down, sum(map(payload, replied)), tuple(failed.values()))


@dataclass(frozen=True)
class Assigned:
    """Hold what clients told by which they are assigned; nothing where nobody was asked.

    Parameters
    ----------
    asked
        (asked,), numbers of the clients that were asked.
    untold
        Numbers of those that did not tell all their losses.
    bytes_down, bytes_up
        Payload of questions and answers.
    failures
        Who did not answer usefully.
    """

    asked: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    untold: tuple[int, ...] = ()
    bytes_down: int = 0
    bytes_up: int = 0
    failures: tuple[Failure, ...] = ()

    def noted(self, record: RoundRecord, before: Int64Array, after: Int64Array) -> RoundRecord:
        """Return the record of a round with the clusters that trained in it, and who changes its cluster after it."""
        places = np.flatnonzero(before != after).tolist()
        moved = [[client, int(before[client]), int(after[client])] for client in places]
        told: dict[str, Any] = {"of": before.tolist(), "moved": moved, "untold": list(self.untold)}
        failed = {failure.client for failure in record.failures}
        named = [
            replace(failure, reason=f"{LOSS.name}, for its cluster: {failure.reason}")
            for failure in self.failures
            if failure.client not in failed
        ]
        return replace(
            record,
            clusters=told,
            failures=tuple(sorted([*record.failures, *named], key=lambda failure: failure.client)),
            bytes_down=record.bytes_down + self.bytes_down,
            bytes_up=record.bytes_up + self.bytes_up,
        )


def _unanswered(error: QuorumError, state: RunState, names: Sequence[str]) -> RoundRecord:
    """Return the record of a cluster that too few of its members answered for, so that it stays as it is."""
    round, numbers = state.round + 1, {name: number for number, name in enumerate(names)}
    failures = tuple(Failure(numbers[name], round, reason) for name, reason in error.reasons.items())
    cohort, length = tuple(sorted(failure.client for failure in failures)), norm(state.weights)
    reasons = ("",) * len(cohort)
    return RoundRecord(
        round, state.round, cohort, failures, {}, {}, None, 0.0, length, 0, 0, 0.0, reasons, edges=state.edges
    )
