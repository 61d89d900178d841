"""What a run is made of: the strategy, the rules of a round, and the state that goes from round to round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from werkbund.aggregation.contract import UPDATE, Aggregator, Carry, Robust, half_of, keeps_updates, needs_of
from werkbund.aggregation.personal import Personal, check_fits
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array, under
from werkbund.core.defaults import EVALUATED_CLIENTS
from werkbund.core.edges import EDGES, STANDARD_EDGES
from werkbund.core.errors import ConfigError
from werkbund.core.methods import name_of
from werkbund.core.types import Replies, RoundRecord, Score
from werkbund.engine.asking import Form
from werkbund.engine.checkpoint import Checkpoint
from werkbund.engine.crediting import Crediting
from werkbund.engine.pacing import Due, Pace
from werkbund.engine.schedule import RateSchedule
from werkbund.engine.secured import SumTerms, check_sums
from werkbund.engine.word import Word, added_expected, with_counts
from werkbund.privacy import Stack
from werkbund.selection.contract import OF_THE_UPDATE, SCORE_REMEDY, CohortSize, Selector, State

_HELD_OUT, _DUE = "held_out.", "due."
"""Before the names of splits, and of what is due, among the arrays of a checkpoint."""

_TAKEN = "taken"


@dataclass(frozen=True)
class Strategy:
    """Say who trains, how updates become the next weights, and through which layers they leave.

    Parameters
    ----------
    selector, aggregator
        Who trains, and how updates become the next weights.
    stack
        The layers, the same at the clients; an empty one lets updates leave as they are.
    clip_norm
        The server shortens longer updates to this, per unit of weight; None for none.
    pace
        When a round closes.
    personal
        What of the model is each client's own.
    secure_sums
        How clients make sums of which the server learns nothing else; None where it sees each answer.

    Raises
    ------
    ConfigError
        If what is hidden is what the selector, the aggregator or the clipping must see of each client, or late updates
        do not fit the layers or the aggregator, or either what is the clients' own.
    """

    selector: Selector
    aggregator: Aggregator
    stack: Stack = field(default_factory=Stack)
    clip_norm: float | None = None
    pace: Pace = field(default_factory=Pace)
    personal: Personal = field(default_factory=Personal)
    secure_sums: SumTerms | None = None

    def __post_init__(self) -> None:
        self._check_pace()
        needs = self.selector.declaration.needs
        if self.secure_sums is not None:
            check_sums(self.selector, self.aggregator)
        check_fits(self.personal, self.pace.close, "score" in needs)
        self.stack.check(self.aggregator.sees, needs | ({UPDATE} if needs & OF_THE_UPDATE else set()))
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ConfigError(f"strategy.aggregation.clip_norm must be above 0 and finite, got {self.clip_norm}")
        if self.clip_norm is not None and self.stack.layers and self.aggregator.sees == "sum":
            raise ConfigError(
                f"strategy.aggregation.clip_norm must see each update, got {self.clip_norm} where layers of privacy "
                "show the server their sum alone; leave it out, and clip at the clients"
            )
        if self.clip_norm is not None and keeps_updates(self.aggregator):
            raise ConfigError(
                "strategy.aggregation.clip_norm must be left out where clients keep what their updates are, got "
                f"{self.clip_norm}: the server would count others; set training.clip_norm"
            )

    def refusal(self, num_updates: int, num_asked: int) -> str:
        """Return why so many updates of so many that were asked are too few for the aggregator; empty if enough."""
        return self.aggregator.refusal(num_updates, num_asked) if isinstance(self.aggregator, Robust) else ""

    def check(self, num_clients: int, is_scored: bool) -> None:
        """Refuse, before a run, an aggregator that lacks what it rests on.

        Parameters
        ----------
        num_clients
            Of the federation.
        is_scored
            Whether the server has rows by which it judges weights.

        Raises
        ------
        ConfigError
            If there are too few clients for it, or for sums, in any round, or nothing to judge by.
        """
        if self.secure_sums is not None:
            self.secure_sums.check_cohort(self.selector, num_clients)
        size = getattr(self.selector, "size", None)
        most = size.of(num_clients) if isinstance(size, CohortSize) else num_clients
        if refusal := self.refusal(min(self.pace.updates or most, most), most):
            raise ConfigError(refusal)
        if isinstance(self.aggregator, Robust) and "score" in self.aggregator.needs and not is_scored:
            raise ConfigError(
                "strategy.aggregation.name must be a rule that needs no rows of the server, which has none with "
                f"failures and others, got one that judges by them; {SCORE_REMEDY}, or choose another rule"
            )

    def _check_pace(self) -> None:
        """Refuse late updates where a round's answers belong together."""
        aggregator, close = self.aggregator, self.pace.close
        if close == "all":
            return
        if self.stack.layers:
            raise ConfigError(f"strategy.pace.close must be all with layers of privacy over a cohort, got {close!r}")
        if aggregator.folds or half_of(aggregator) is not None:
            name = name_of(aggregator)
            raise ConfigError(
                f"strategy.pace.close must be all with {name}, which keeps or folds more than updates, got {close!r}; "
                "choose a rule of updates alone, such as fedavg"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Names of the signals that selector or aggregator must be told by clients that train."""
        return self.selector.declaration.needs | needs_of(self.aggregator)


Added = Callable[[Float64Array, float], Float64Array]
"""Given training rows of clients and the factor of the learning rate, return what each adds to a unit of its update."""

Refine = Callable[[Mapping[str, Arrays], Float32Array], Float32Array]
"""Given counts by split and the edges that they are on, return those of the next question."""


@dataclass(frozen=True)
class Rules:
    """Hold what every round obeys.

    Parameters
    ----------
    seed
        Seed of the run.
    quorum
        Share of the cohort whose answers must be usable, 0 < quorum <= 1, rounded up.
    timeout_s
        Seconds that a round waits for answers.
    fingerprint
        Of the weights' layout; an update of another is refused.
    evaluate_clients
        At most this many clients evaluate in a round, drawn with the run's seed; all do once at the end.
    facts
        What clients declared before the first round, (all clients,) each.
    schedule
        How the clients' learning rate changes from round to round.
    counts
        Shape of each evaluation count of one client, by name; empty where any will do.
    score
        Judges weights on the server's own validation rows, higher is better; None where it has none.
    training_rows
        (all clients,), training rows that each said it has, NaN where nobody knows: a client is held to them, and to
        what it counted before. Empty where nobody is held to its word, because all rows are here.
    most_held_out
        (all clients,), rows of a split that each can hold out at most; empty where nobody is held to any.
    added
        What a client with so many training rows adds to its update, by name: clients are held to that too.
    left_out
        Numbers of clients that nobody chooses, for what they said before the first round.
    crediting
        How it is told what each client contributed to a round; None where it is not.
    refine
        Returns the edges of bins on which the next question counts scores; None where all count on the standard ones.
    among
        Numbers of the clients that take part, ascending; None where all do.
    keeps_updates
        Whether single updates are kept until a round's end.
    secure_sums
        Whether the server learns sums over clients alone.
    """

    seed: int
    quorum: float
    timeout_s: float
    fingerprint: str
    evaluate_clients: int = EVALUATED_CLIENTS
    facts: Arrays = field(default_factory=dict)
    schedule: RateSchedule = field(default_factory=RateSchedule)
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    score: Score | None = None
    training_rows: Float64Array = field(default_factory=lambda: np.empty(0))
    most_held_out: Float64Array = field(default_factory=lambda: np.empty(0))
    added: Mapping[str, Added] = field(default_factory=dict)
    left_out: tuple[int, ...] = ()
    refine: Refine | None = None
    crediting: Crediting | None = None
    among: Int64Array | None = None
    keeps_updates: bool = False
    secure_sums: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise ConfigError(f"federation.quorum must be in (0, 1], got {self.quorum}")
        if not self.timeout_s > 0:
            raise ConfigError(f"federation.round_timeout_s must be > 0, got {self.timeout_s}")
        if self.evaluate_clients < 1:
            raise ConfigError(f"evaluation.clients must be >= 1, got {self.evaluate_clients}")

    def taking_part(self, num_clients: int) -> Int64Array:
        """Return the numbers of those that take part of so many clients, ascending."""
        return np.arange(num_clients) if self.among is None else self.among

    def form(self, num_parameters: int, held_out: Arrays | None = None) -> Form:
        """Return the form that every usable answer has: layout and number of the weights, shapes of counts, words.

        Parameters
        ----------
        num_parameters
            Of the weights.
        held_out
            Of how many held-out rows clients' counts were so far, as `Word` has it.
        """
        word = Word(self.training_rows, held_out=held_out or {}, most_held_out=self.most_held_out)
        return Form(num_parameters, self.fingerprint, self.counts, word=word)

    def added_by(self, due: Due, names: Iterable[str]) -> dict[str, tuple[Float64Array, Float64Array]]:
        """Return what each that owes an update must and may add to it, by name, as `Word` has it.

        Parameters
        ----------
        due
            Who owes an update, and of which round.
        names
            Of what is folded beside updates.
        """

        def of_rows(added: Added, rows: Float64Array) -> Float64Array:
            each = np.zeros(len(rows))
            for round in np.unique(due.rounds).tolist():
                own = due.rounds == round
                each[own] = added(rows[own], self.schedule.factor(round))
            return each

        rules = {name: self.added[name] for name in names if name in self.added}
        return {n: added_expected(self.training_rows, due.clients, partial(of_rows, rule)) for n, rule in rules.items()}

    def refined(self, record: RoundRecord) -> Float32Array:
        """Return the edges on which scores are counted after a round."""
        return record.edges if self.refine is None else self.refine(record.counts, record.edges)

    def heard(self, held_out: Arrays, answers: Iterable[Replies]) -> Arrays:
        """Return of how many held-out rows clients' counts are, with what some usable answers say."""
        known = len(self.training_rows)
        return with_counts(held_out, answers, known) if known else held_out


@dataclass(frozen=True)
class RunState:
    """Hold all that the next round depends on; a checkpoint is this value and nothing else.

    Parameters
    ----------
    round
        Number of rounds done.
    weights
        (parameters,), float32.
    carry
        The aggregator's.
    selector_state
        The selector's.
    world
        The grid's, where it simulates one: clock, batteries, speeds.
    held_out
        Of how many held-out rows clients' counts were so far, as `Word` has it.
    usual
        The middle length of each array that is folded, by name, in the last round of which it was known; empty where
        nobody is held to its word.
    edges
        Of the bins in which the next round counts scores.
    due
        Who was asked for an update and has not answered yet.
    taken
        (all clients,), the last round in which an update of each moved the weights, 0 for none; empty where there was
        no round yet.
    """

    round: int
    weights: Float32Array
    carry: Carry
    selector_state: State = field(default_factory=dict)
    world: State = field(default_factory=dict)
    held_out: Arrays = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    edges: Float32Array = field(default_factory=lambda: STANDARD_EDGES)
    due: Due = field(default_factory=Due.nobody)
    taken: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    kind: ClassVar[str] = "weights"

    @staticmethod
    def begin(weights: Float32Array, strategy: Strategy) -> RunState:
        """Return the state before the first round."""
        return RunState(0, weights, strategy.aggregator.init(len(weights)))

    def next(self, weights: Float32Array, carry: Carry, selector_state: State, world: State | None = None) -> RunState:
        """Return the state after one more round."""
        after = replace(self, round=self.round + 1, weights=weights, carry=carry, selector_state=selector_state)
        return after if world is None else replace(after, world=world)

    def taken_of(self, clients: Int64Array) -> Int64Array:
        """Return the last round in which an update of each of these clients moved the weights: (clients,)."""
        return self.taken[clients] if len(self.taken) else np.zeros(len(clients), np.int64)

    def with_taken(self, answers: Iterable[Replies], num_clients: int) -> RunState:
        """Return the state in which the updates among these answers have moved the weights."""
        taken = self.taken_of(np.arange(num_clients)).copy()
        for replies in answers:
            if replies.kind.updates:
                taken[replies.clients] = replies.round
        return replace(self, taken=taken)

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return JSON values and named arrays."""
        arrays: dict[str, Any] = {"weights": self.weights, EDGES: self.edges, _TAKEN: self.taken}
        arrays |= {f"carry.{name}": array for name, array in self.carry.items()}
        arrays |= {f"{_HELD_OUT}{name}": array for name, array in self.held_out.items()}
        arrays |= {f"{_DUE}{name}": array for name, array in self.due.arrays().items()}
        selector_values, selector_arrays = _parted("selector.", self.selector_state)
        world_values, world_arrays = _parted("world.", self.world)
        usual = {"usual": dict(self.usual)} if self.usual else {}
        values = {"selector_state": selector_values, "world": world_values, **usual}
        return values, arrays | selector_arrays | world_arrays

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> RunState:
        """Return the state that a checkpoint was made of.

        Raises
        ------
        CheckpointError
            If it is of another kind of run.
        """
        checkpoint.check_kind(cls.kind)
        values, arrays = checkpoint.values, checkpoint.arrays
        selector_state = {**values["selector_state"], **under("selector.", arrays)}
        world = {**values.get("world", {}), **under("world.", arrays)}
        carry, held_out = under("carry.", arrays), under(_HELD_OUT, arrays)
        usual, due = values.get("usual", {}), Due.of_arrays(under(_DUE, arrays))
        edges, taken = arrays.get(EDGES, STANDARD_EDGES), arrays.get(_TAKEN, np.empty(0, np.int64))
        of_run = (carry, selector_state, world, held_out, usual, edges, due, taken)
        return cls(checkpoint.round, arrays["weights"], *of_run)


def _parted(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a state's JSON values, and its arrays under their names in the file."""
    arrays = {f"{prefix}{name}": value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}, arrays
