"""Active federated learning: clients whose loss was high when they last trained are drawn more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import largest, successive_inclusion, successively
from werkbund.selection.facts import rows_of
from werkbund.selection.ledger import column, entered, entries

_LOSS = "loss"


def valuation(rows: Float64Array, loss: Float64Array) -> Float64Array:
    """Return the value of each client, (n,): total loss over the square root of rows; -inf where the loss is unknown.

    The total is rows times the mean, so the value is the root of the rows times the mean loss.

    Examples
    --------
    >>> valuation(np.array([100.0, 400.0]), np.array([1.0, 0.5])).tolist()
    [10.0, 10.0]
    """
    return np.where(np.isfinite(loss), np.sqrt(rows) * np.where(np.isfinite(loss), loss, 0.0), -np.inf)


def masses(values: Float64Array, dropped: float, sharpness: float, rng: np.random.Generator) -> Float64Array:
    """Return unnormalised probabilities, (n,): 0 for the least valuable share, exp(sharpness · value) for the others.

    Parameters
    ----------
    values
        (n,), -inf where unknown; these have mass 0 in any case.
    dropped
        α1: so large a share of the n is left out, rounded down.
    sharpness
        α2
    rng
        Breaks ties among the dropped.
    """
    stay = largest(values, len(values) - int(np.floor(dropped * len(values) + 1e-9)), rng)
    mass = np.zeros(len(values))
    best = values.max(initial=-np.inf)
    if np.isfinite(best):
        known = stay[np.isfinite(values[stay])]
        mass[known] = np.maximum(np.exp(sharpness * (values[known] - best)), np.finfo(float).tiny)
    return mass


@dataclass(frozen=True)
class Active:
    """Drop the clients of least value, draw most of the cohort by value, and fill it up uniformly.

    Value v_i = √n_i · F_i(w), F_i the mean loss of the weights that client i received when it last trained. The
    ⌊α1·N⌋ smallest are left out; ⌊(1-α3)·k⌋ are drawn one after the other with probability ∝ exp(α2·v_i); the others
    uniformly from those not drawn. Who never trained has value -∞, so the first round is uniform.

    Parameters
    ----------
    size
        How many: k.
    dropped
        α1, the share that is left out.
    sharpness
        α2
    explored
        α3, the share of the cohort that is drawn uniformly.

    Notes
    -----
    With few clients, too few may be left with mass: where (1-α3)·k > (1-α1)·N the cohort is filled up uniformly. With
    10 clients the defaults leave 3 to be drawn by value. The given probabilities are those of the draw by value to
    first order (`successive_inclusion`), and of the uniform fill after it; the exact ones have no closed form.

    References
    ----------
    Goetz, Malik, Bui, Moon, Liu, Kumar, "Active Federated Learning", arXiv 1909.12641, 2019, algorithm 1; constants as
    three public codes have them.
    """

    size: CohortSize = CohortSize()
    dropped: float = 0.75
    sharpness: float = 0.01
    explored: float = 0.1

    name: ClassVar[str] = "active"
    card: ClassVar[Card] = Card(
        title="Active federated learning",
        rule=(
            "Value √n_i · loss_i of the last participation; the worst 75 % are left out, 90 % of the cohort is drawn "
            "with P ∝ exp(0.01 · value), the rest uniformly."
        ),
        policy="training efficiency",
        shared="loss",
        generation="loss-based",
        interpretation="probability + exploration",
        use_when="Many clients, few a round, and losses that say where the model is weak.",
        avoid_when="Some plants have wrong labels or a broken sensor: their loss stays high, and draws them.",
        notes=(
            "With few clients the cut leaves fewer candidates than places, and more of the cohort is uniform.",
            "At the losses of a binary classifier α2 = 0.01 is mild: the cut at α1 does most of the work.",
        ),
    )

    def __post_init__(self) -> None:
        for name, value in (("dropped", self.dropped), ("explored", self.explored)):
            if not 0 <= value <= 1:
                raise ConfigError(f"strategy.selection.{name} must be in [0, 1], got {value}")
        if not 0 <= self.sharpness < np.inf:
            raise ConfigError(f"strategy.selection.sharpness must be >= 0 and finite, got {self.sharpness}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Goetz et al., arXiv 1909.12641, algorithm 1",
            needs=frozenset({_LOSS}),
            assumes=frozenset({"addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="one number from each client that trains",
            reveals="the loss of each client that trains, and its rows",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw by value, then uniformly."""
        del answers
        number = self.size.of(len(view.available))
        loss = entries(column(view.state, _LOSS), view.available, np.nan)
        mass = masses(valuation(rows_of(view), loss), self.dropped, self.sharpness, rng)
        by_value, uniform = self._places(mass, number, rng)
        chance = _chances(mass, len(by_value), number)
        reasons = {place: f"loss {loss[place]:.4g} when it last trained" for place in by_value.tolist()}
        reasons |= dict.fromkeys(uniform.tolist(), "drawn at random to explore")
        places = np.sort(np.concatenate([by_value, uniform]))
        return Choice(
            view.available[places], chance[places], np.ones(number), tuple(reasons[place] for place in places.tolist())
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the losses of those that trained; NaN changes nothing."""
        return {**state, _LOSS: entered(column(state, _LOSS), reports.clients, reports.signal(_LOSS))}

    def _places(self, mass: Float64Array, number: int, rng: np.random.Generator) -> tuple[Int64Array, Int64Array]:
        """Return the places drawn by value, and those drawn uniformly from the others; together `number`."""
        num_by_value = int(np.floor((1.0 - self.explored) * number + 1e-9))
        by_value = successively(mass, min(num_by_value, int((mass > 0).sum())), rng)
        others = np.setdiff1d(np.arange(len(mass)), by_value, assume_unique=True)
        return by_value, rng.choice(others, number - len(by_value), replace=False)


def _chances(mass: Float64Array, num_by_value: int, number: int) -> Float64Array:
    """Return approximate inclusion probabilities, (n,): by the draw by value, then the uniform one of the rest."""
    by_value = successive_inclusion(mass, num_by_value) if num_by_value else np.zeros(len(mass))
    left = len(mass) - num_by_value
    return np.asarray(by_value + (1.0 - by_value) * ((number - num_by_value) / left if left else 0.0))
