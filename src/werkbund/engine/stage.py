"""A run of one set of weights between two rounds and at its end, and what goes on with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from werkbund.core.arrays import Arrays, Float32Array, Int64Array, under
from werkbund.core.rng import keys
from werkbund.core.types import RoundRecord
from werkbund.engine.checkpoint import Checkpoint
from werkbund.engine.grid import Grid, state_of
from werkbund.engine.inprocess import KEPT
from werkbund.engine.kinds import PERSONALISE
from werkbund.engine.personal import PERSONAL_MODEL
from werkbund.engine.round import counted, evaluate, evaluate_tasks, rounds
from werkbund.engine.state import Rules, RunState, Strategy


@dataclass(frozen=True)
class Personalised:
    """Hold what came of the clients' own models after the last round.

    Parameters
    ----------
    record
        Of the question: counts with one row a client that answered.
    models
        The weights of each client's own model, (parameters,), by its number; empty where clients are elsewhere.
    untrained
        Numbers of the clients that were asked and of which no update was ever taken, ascending.
    """

    record: RoundRecord
    models: Mapping[int, Float32Array]
    untrained: tuple[int, ...]


@dataclass(frozen=True)
class WeightsStage:
    """Hold the state of a federation that learns one set of weights, and the parts that go on with it.

    Parameters
    ----------
    grid
        Reaches the clients.
    strategy, rules
        As for each round.
    num_rounds
        Rounds that are planned.
    has_own
        Whether clients make models of their own at the end.
    state
        After the last round.
    """

    grid: Grid
    strategy: Strategy
    rules: Rules
    num_rounds: int
    has_own: bool
    state: RunState

    @property
    def round(self) -> int:
        """Number of rounds done."""
        return self.state.round

    @property
    def learnt(self) -> Arrays:
        """The weights as they travel."""
        return {"weights": self.state.weights}

    @property
    def keepsake(self) -> Float32Array:
        """The weights, which later states no longer hold."""
        return self.state.weights

    def at(self, round: int, keepsake: Float32Array | None) -> WeightsStage:
        """Return this stage with the weights of an earlier round."""
        return self if keepsake is None else replace(self, state=replace(self.state, weights=keepsake))

    def rounds(self) -> Iterator[tuple[WeightsStage, RoundRecord]]:
        """Do the rounds that are left."""
        for state, record in rounds(self.grid, self.strategy, self.rules, self.state, self.num_rounds):
            yield replace(self, state=state), record

    def evaluate(self, clients: Int64Array | None = None, edges: Float32Array | None = None) -> RoundRecord:
        """Let clients count the weights: if given, these, one row of counts each; else everybody."""
        return evaluate(self.grid, self.rules, self.state, clients, edges)

    def personalise(self, clients: Int64Array, edges: Float32Array) -> Personalised | None:
        """Let clients make models of their own of the weights, and count them; None where the run has none."""
        return personalise(self.grid, self.rules, self.state, clients, edges) if self.has_own else None

    def checkpoint(self, best: Float32Array | None, progress: Mapping[str, Any]) -> Checkpoint:
        """Return the state of the run as a checkpoint, from which it goes on."""
        return Checkpoint.of(self.state, best, progress)


def personalise(grid: Grid, rules: Rules, state: RunState, clients: Int64Array, edges: Float32Array) -> Personalised:
    """Let clients make their own models of the weights as they are, keep them, and score them.

    Parameters
    ----------
    grid, rules, state
        As for a round.
    clients
        (clients,), who is asked, ascending.
    edges
        Of the bins of scores.
    """
    state = replace(state, edges=edges)
    tasks = evaluate_tasks(clients, state, state.round + 1, each=True)
    own = {**tasks.own, "key": keys(rules.seed, "personal models", state.round + 1, clients)}
    record = counted(grid, rules, state, replace(tasks, kind=PERSONALISE, own=own))
    made = under(KEPT, state_of(grid))
    models = dict(zip(made.get(f"{PERSONAL_MODEL}.clients", ()), made.get(f"{PERSONAL_MODEL}.rows", ()), strict=True))
    untrained = clients[state.taken_of(clients) == 0].tolist()
    return Personalised(record, {int(client): model for client, model in models.items()}, tuple(untrained))
