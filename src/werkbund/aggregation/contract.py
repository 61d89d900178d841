"""What every aggregator is: a frozen value that owns its accumulator; a carry goes from round to round.

An update comes already weighted by its client, so that between client and server there is nothing but a sum, for the
rules that need no more. A rule that must see every update in clear says so, and is refused where sums stay hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.store import Store
from werkbund.core.types import Score

Carry = Mapping[str, Float32Array]
"""What an aggregator keeps from round to round: named arrays, written into every checkpoint."""

Weighting = Literal["examples", "equal", "factor"]
"""How a client weights its update before it sends it: by its number of training rows, all alike, or by a factor that
the server sends it: what was declared for it, or the aggregator's own (`own_factors`)."""

Counting = Literal["examples", "equal"]
"""Whether clients count by their rows, or all alike: the ways to weigh of a rule that must know the whole weight."""

Sees = Literal["sum", "each"]
"""Whether a sum of updates is enough, or every single one is needed in clear."""

UPDATE = "update"
"""Name of the weighted update among the arrays that are folded."""

ROWS, POPULATION = "rows", "population"
"""Names of what every client half is told beside what its aggregator sends: the training rows of each client,
(clients,); and (2,), the clients of the federation and all their training rows, 0 where these are not known."""

CORRECTION, PULL = "correction", "pull"
"""Names of what a client half may steer steps by: (parameters,) or (clients, parameters), added to the mean gradient of
each step before it is clipped; and (clients,), strength of a pull towards the weights that came."""


@dataclass(frozen=True)
class Card:
    """Describe an aggregator to people.

    Parameters
    ----------
    title
        Its full name.
    rule
        What it does, in a few sentences, with the formula.
    source
        Where it is published.
    use_when, avoid_when
        In a plant.
    unbiased
        Whether the expected step is the one along the mean update of all clients.
    breakdown
        How many hostile clients it bears among n, and what these can still do.
    notes
        Assumptions where the source is silent.
    """

    title: str
    rule: str
    source: str
    use_when: str
    avoid_when: str
    unbiased: bool = True
    breakdown: str = "0: one hostile client moves the weights as far as its update is long"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closing:
    """Say what the engine knows of a round when it ends, beside what was folded.

    Parameters
    ----------
    total
        What the sum of weighted updates is divided by, in place of the weights of those that answered; None where
        these decide.
    num_clients
        Clients of the federation, those that were not asked included; 0 where nobody knows.
    num_rows
        Training rows of all these together; 0 where nobody knows.
    num_asked
        Clients whose updates were to count in the round, those that did not answer included; 0 where nobody knows.
    num_found
        Those of them whose update was none, far too long, and was left out: they are of the hostile ones.
    score
        Judges weights on the server's own validation rows, higher is better; None where it has none.
    told
        The signals that the aggregator needs, (answered,) by name, NaN where a client keeps it; and `clients`, who
        answered, ascending.
    """

    total: float | None = None
    num_clients: int = 0
    num_rows: float = 0.0
    num_asked: int = 0
    num_found: int = 0
    score: Score | None = None
    told: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class LocalResult:
    """Hold what local training gave, before anything leaves.

    Parameters
    ----------
    update
        (clients, parameters), weights after training minus weights before; 0 where layers stay at the client.
    weight
        (clients,), what each counts in the mean; 1 where an update is held until it is asked for.
    rows
        (clients,), training rows of each.
    steps
        (clients,), how many steps each took.
    learning_rate
        Of these steps.
    loss
        Computes (clients,), the mean loss of the weights that came over all training rows, as it is trained; NaN
        without rows.
    accumulation
        Computes (clients,), the sum of the coefficients by which the gradients of all steps make up the update, in
        learning rates; the number of steps where each step follows its own gradient alone.
    gradient
        Computes (clients, parameters), the gradient of that mean loss; 0 without rows, and where layers rest or stay at
        the client.
    """

    update: Float32Array
    weight: Float64Array
    rows: Float64Array
    steps: Int64Array
    learning_rate: float
    loss: Callable[[], Float64Array]
    accumulation: Callable[[], Float64Array]
    gradient: Callable[[], Float32Array]


class ClientHalf(Protocol):
    """Be what an aggregation method does at clients, around their training.

    What it adds to an answer with an update is what the aggregator folds, under the names of `Aggregator.folds`.
    """

    @property
    def weighted(self) -> tuple[str, ...]:
        """Names of what it adds that is multiplied by the update's weight as it leaves; the rest leaves as it is."""

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return the arrays that the training reads, (parameters,) or (clients, parameters), by name.

        Those that every training reads are `CORRECTION` and `PULL`; others are for a local objective of one's own.

        Parameters
        ----------
        sent
            What the aggregator sent along with the weights, and `ROWS` and `POPULATION`.
        clients
            (clients,), whose training it is.
        store
            What they keep.
        """

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Keep what the next round needs, and return what is folded beside the update, (clients, ...) by name.

        What is returned as `update` leaves in place of the update, multiplied by its weight as well.

        Parameters
        ----------
        sent
            What `before` returned.
        result
            What the training gave.
        clients, store
            As for `before`.
        """


class LocalTraining(Protocol):
    """Say how clients step, as the configuration's section `training` does."""

    @property
    def optimizer(self) -> str:
        """Rule of a step: sgd, adam or adamw."""

    @property
    def learning_rate(self) -> float:
        """Size of a step."""

    @property
    def momentum(self) -> float:
        """Of sgd."""

    @property
    def proximal(self) -> float:
        """Strength of a pull towards the weights that came; 0 for none."""


class Aggregator(Protocol):
    """Make the next weights out of updates.

    An implementation is a frozen dataclass with a `name` and a `card`, whose fields are its options
    (`werkbund.core.methods.option`). Some have more: a `half` where clients do more than train (`half_of`), a
    `check_training` where they must step in a certain way, `needs` where it must be told something of each client
    (`needs_of`), and `factors` where it says itself what each counts (`own_factors`).
    """

    @property
    def weighting(self) -> Weighting:
        """How a client weights its update before it sends it."""

    @property
    def sees(self) -> Sees:
        """Whether a sum of updates is enough, or every single one is needed in clear."""

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the arrays of an answer that are folded beside the update."""

    def init(self, num_parameters: int) -> Carry:
        """Return the carry before the first round."""

    def outgoing(self, carry: Carry) -> Arrays:
        """Return what goes along with the weights to every client of the cohort; nothing for most."""

    def begin(self, num_parameters: int) -> Any:
        """Return an accumulator of nothing, of any type of the aggregator's own."""

    def fold(self, accumulator: Any, updates: Arrays, weights: Float64Array) -> Any:
        """Return the accumulator with some answers more, in client order; may reuse its storage.

        Parameters
        ----------
        accumulator
            From `begin` or the last `fold`.
        updates
            `update`, (k, parameters), already weighted by the clients, and what `folds` names, (k, ...) each.
        weights
            (k,)
        """

    def finish(
        self, accumulator: Any, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the next weights (parameters,) and carry; may reuse the accumulator's storage, which is spent then."""


def check_training(aggregator: Aggregator, training: LocalTraining) -> None:
    """Refuse a training of clients that an aggregator says it does not go with, by a method of the same name.

    Raises
    ------
    ConfigError
        If it does.
    """
    check: Callable[[LocalTraining], None] | None = getattr(aggregator, "check_training", None)
    if check is not None:
        check(training)


def keeps_updates(aggregator: Aggregator) -> bool:
    """Say whether clients keep what their updates are, so that each must be folded once, as it came.

    An aggregator says so by an attribute of the same name.
    """
    return bool(getattr(aggregator, "keeps_updates", False))


def half_of(aggregator: Aggregator) -> ClientHalf | None:
    """Return what an aggregator does at clients around their training; None where it has no attribute `half`."""
    half: ClientHalf | None = getattr(aggregator, "half", None)
    return half


def keeps_at_clients(aggregator: Aggregator) -> bool:
    """Say whether clients keep something of theirs for the next round, of which the server's carry is the mean.

    Such a mean is over the clients of one federation: a client that goes to another would leave it wrong in both for
    good. The half at clients says so by an attribute `keeps`.
    """
    return bool(getattr(half_of(aggregator), "keeps", False))


def needs_of(aggregator: Aggregator) -> frozenset[str]:
    """Return the names of the signals that clients that train must tell in clear; none without an attribute `needs`."""
    needs: frozenset[str] = getattr(aggregator, "needs", frozenset())
    return needs


def own_factors(aggregator: Aggregator, carry: Carry, num_clients: int) -> Float64Array | None:
    """Return what each client counts in the next round, (clients,); None where the aggregator has no `factors`."""
    factors: Callable[[Carry, int], Float64Array] | None = getattr(aggregator, "factors", None)
    return None if factors is None else factors(carry, num_clients)


@runtime_checkable
class Robust(Protocol):
    """Be what an aggregator is too that bears so many hostile clients and refuses what is beyond."""

    @property
    def needs(self) -> frozenset[str]:
        """What it rests on beside the updates: `score`, which judges weights on the server's own rows, or nothing."""

    def least(self, num_asked: int, num_found: int = 0) -> int:
        """Return how many updates it needs where so many clients were asked, and so many hostile ones left out."""

    def refusal(self, num_updates: int, num_asked: int, num_found: int = 0) -> str:
        """Return why so many updates of so many clients that were asked are too few; empty if they are enough."""
