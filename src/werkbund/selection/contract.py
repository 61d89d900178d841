"""What every selector is: a frozen value with three methods and a declaration; state goes in and comes out.

`probe` may ask some clients for something first, `choose` names the cohort, `observe` learns from what came back. The
same address (seed, round) gives the same choice, so a resumed run needs no replay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.kinds import Kind
from werkbund.core.methods import name_of
from werkbund.core.types import Choice, Failure, Replies, Score, Tasks

State = Mapping[str, Any]
"""JSON values and named arrays; empty before the first round."""


SIGNALS: dict[str, str] = {
    "loss": "mean loss of the received weights over its training rows, each as the objective weights it",
    "loss_std": "standard deviation of the loss of the received weights over its training rows",
    "loss_rms": "root of the mean squared loss of the received weights over its training rows",
    "train_loss": "mean loss while it trained",
    "norm": "Euclidean norm of its update",
    "change": "Euclidean norm of its update minus the one that it sent last",
    "update": "its whole update, unweighted",
    "seconds": "how long it took, simulated or measured",
    "joules": "what it spent",
    "battery": "what is left in its battery, as a share",
    "score": "nothing of the client's: the server judges weights on rows of its own",
}
"""What a selector may need of clients beside their update, each with what it is."""

OF_THE_UPDATE = frozenset({"norm", "change", "update"})
"""Signals that are a client's update or are taken from it: who may see updates only in their sum has none of them."""

NUMBERS = frozenset(SIGNALS) - {"update", "score"}
"""Signals that are one number a client."""

OF_A_WORLD = frozenset({"seconds", "joules", "battery", "price"})
"""What a simulated world tells of each client; of these a real federation measures the seconds."""

_OF_A_WORLD = "in a simulation set world.preset, such as factory-fleet, or world.path"
SCORE_REMEDY = (
    "set evaluation.server_rows to a table with failures and others, or in a simulation clients.server to a share of "
    "the validation rows, such as 0.5"
)
"""How a server comes to rows by which it judges weights."""

_REMEDIES = {
    "score": SCORE_REMEDY,
    "seconds": _OF_A_WORLD,
    **dict.fromkeys(("joules", "battery", "price"), f"{_OF_A_WORLD}; in a real federation nobody measures it"),
}


@dataclass(frozen=True)
class View:
    """Show a selector what it may know.

    Parameters
    ----------
    round
        From 1.
    available
        Client numbers that can be asked now, ascending.
    facts
        What clients declared before the first round, such as `rows`: (all clients,) each.
    state
        What `observe` returned last.
    last
        Number of the last round that is planned; 0 where nobody knows.
    """

    round: int
    available: Int64Array
    facts: Arrays = field(default_factory=dict)
    state: State = field(default_factory=dict)
    last: int = 0

    def fact(self, name: str, missing: float = 0.0) -> Float64Array:
        """Return what the available clients declared under a name, (available,); `missing` where they did not."""
        if name not in self.facts:
            return np.full(len(self.available), missing)
        values = np.asarray(self.facts[name], dtype=np.float64)
        known = np.full(int(self.available.max(initial=-1)) + 1, missing)
        known[: len(values)] = values[: len(known)]
        return np.where(np.isfinite(known), known, missing)[self.available]


@dataclass(frozen=True)
class Reports:
    """Tell a selector what became of its cohort.

    Parameters
    ----------
    round
        The round that ended.
    clients
        (answered,), client numbers that answered usefully, ascending.
    signals
        The declared signals, (answered,) each.
    failures
        The others.
    weights
        (parameters,), those that the round began with; None for a selector that does not declare `score`.
    choice
        What was chosen.
    answers
        To the questions before the choice.
    score
        Judges weights on the server's own validation rows, higher is better; None for one that does not declare it.
    step
        Euclidean norm of the step that the global weights took, the server optimiser's included; NaN if not known.
    """

    round: int
    clients: Int64Array
    signals: Arrays
    failures: tuple[Failure, ...]
    weights: Float32Array | None = None
    score: Score | None = None
    choice: Choice | None = None
    answers: tuple[Replies, ...] = ()
    step: float = np.nan

    def signal(self, name: str) -> Float64Array:
        """Return a signal as numbers, (answered,); NaN where nobody sent it."""
        if name not in self.signals:
            return np.full(len(self.clients), np.nan)
        return np.asarray(self.signals[name], dtype=np.float64)


@dataclass(frozen=True)
class Declaration:
    """Say what a selector needs, assumes and gives.

    Parameters
    ----------
    source
        Where the rule is published.
    needs
        Signals that clients must send in clear, of `SIGNALS`; `score` asks for the server's own validation rows.
    assumes
        Among `available`, `addressable`, `stateful`, `reliable`, `trustworthy`.
    unbiased
        Whether the expected aggregate equals the one of full participation.
    cost
        What a round costs beside training, in words.
    reveals
        What the server learns about a client, in words.
    asks
        Kinds of questions before the choice, ; those that ship are in `werkbund.selection.questions`.
    rests_on
        Signals, or what else a world tells, without which nothing is left of the rule: where nobody tells them a run is
        refused. `score` is one where it is needed.
    """

    source: str
    needs: frozenset[str] = frozenset()
    assumes: frozenset[str] = frozenset()
    unbiased: bool = True
    cost: str = "nothing"
    reveals: str = "who took part"
    asks: frozenset[Kind] = frozenset()
    rests_on: frozenset[str] = frozenset()

    @property
    def secure_aggregation(self) -> bool:
        """Whether it works where the server sees updates only in their sum.

        True exactly if it needs no signal `OF_THE_UPDATE`. What else it needs or asks, such as a loss or a duration, is
        told in clear then too, for each client, as declared.
        """
        return not self.needs & OF_THE_UPDATE


class Selector(Protocol):
    """Decide who trains."""

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Return what to ask whom before choosing, given the answers so far; None when nothing more is asked."""

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return the cohort with inclusion probabilities, factors and reasons."""

    def observe(self, state: State, reports: Reports) -> State:
        """Return the state for the next round, with what the reports of this one say."""


def check_told(selector: Selector, told: Collection[str]) -> None:
    """Refuse a method where nobody tells what its rule rests on.

    Parameters
    ----------
    selector
        The method.
    told
        Names of signals, and of what else a world tells, that there are.

    Raises
    ------
    ConfigError
        If one is missing; names method, signal and remedy.
    """
    declared = selector.declaration
    missing = sorted((declared.rests_on | (declared.needs & {"score"})) - set(told))
    if missing:
        name = name_of(selector)
        what, remedy = ", ".join(missing), _REMEDIES.get(missing[0], "see that it is told")
        raise ConfigError(
            f"strategy.selection.name must be a method whose signals are told, got {name!r}, which rests on {what}, of "
            f"which nothing is known here; {remedy}, or choose another method, such as uniform"
        )


@dataclass(frozen=True)
class CohortSize:
    """Say how many of the available clients train in a round.

    Parameters
    ----------
    fraction
        Share of the available clients, 0 < fraction <= 1, rounded up.
    count
        If given, the number itself; never more than are available.
    """

    fraction: float = 1.0
    count: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"strategy.selection.fraction must be in (0, 1], got {self.fraction}")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"strategy.selection.count must be >= 1 or left out, got {self.count}")

    def of(self, num_available: int) -> int:
        """Return how many of so many available clients train: at least 1 where there are any."""
        wanted = self.count if self.count is not None else int(np.ceil(self.fraction * num_available - 1e-9))
        return max(min(wanted, num_available), min(1, num_available))
