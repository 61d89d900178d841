"""Power of choice: of d candidates, drawn in proportion to rows, the k with the highest losses train.

`pow-d` asks the candidates for the loss of the current weights, `cpow-d` for that loss over a few rows, `rpow-d` asks
nothing and goes by what each lost when it last trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import largest, successive_inclusion, successively
from werkbund.selection.facts import answer_of, rows_of
from werkbund.selection.ledger import asked_in, column, entries, failed_in, grown
from werkbund.selection.questions import LOSS

_LOSS = "loss"
_SOURCE = "Cho, Wang, Joshi, AISTATS 2022, section 3.1"
_TRAINED = "train_loss"
_AVOID = "Some plants have wrong labels or a broken sensor: the highest loss is theirs, and they train in every round."
_ASSUMES = frozenset({"addressable", "reliable", "trustworthy"})


def check_candidates(candidates: int | None) -> None:
    """Check a number of candidates.

    Raises
    ------
    ConfigError
        If it is given and below 1.
    """
    if candidates is not None and candidates < 1:
        raise ConfigError(f"strategy.selection.candidates must be >= 1 or left out, got {candidates}")


def num_candidates(candidates: int | None, cohort: int, available: int) -> int:
    """Return d, how many clients are candidates: as given or twice the cohort, between the cohort and all available.

    Examples
    --------
    >>> num_candidates(None, 5, 100), num_candidates(3, 5, 100), num_candidates(80, 5, 20)
    (10, 5, 20)
    """
    wanted = 2 * cohort if candidates is None else candidates
    return min(max(wanted, cohort), available)


def answered_losses(answers: tuple[Replies, ...], available: Int64Array) -> Float64Array:
    """Return the finite losses that clients answered with, (available,); NaN for all others."""
    losses = answer_of(available, answers, LOSS, _LOSS)
    return np.where(np.isfinite(losses), losses, np.nan)


def rank_by_loss(losses: Float64Array, rows: Float64Array, number: int, rng: np.random.Generator) -> Int64Array:
    """Return the places of the highest losses; places without one follow, drawn in proportion to their rows.

    Parameters
    ----------
    losses
        (n,), NaN where unknown, inf for who comes first.
    rows
        (n,)
    number
        How many.
    rng
        Breaks ties, and draws those that follow.
    """
    known, unknown = np.flatnonzero(~np.isnan(losses)), np.flatnonzero(np.isnan(losses))
    ranked = known[largest(losses[known], number, rng)]
    rest = unknown[successively(rows[unknown], number - len(ranked), rng)]
    return np.sort(np.concatenate([ranked, rest]))


def ask_losses(
    size: CohortSize,
    candidates: int | None,
    view: View,
    answers: tuple[Replies, ...],
    rng: np.random.Generator,
    shared: Arrays,
) -> Tasks | None:
    """Return the question of the candidates' losses; None once it was asked, or where all of them would train.

    Parameters
    ----------
    size, candidates
        How many train (k), and how many are candidates (d); None for 2k.
    view, answers, rng
        As a selector gets them.
    shared
        Arrays that go with the question, such as over how many rows the loss is taken.
    """
    number = size.of(len(view.available))
    d = num_candidates(candidates, number, len(view.available))
    if answers or d <= number:
        return None
    asked = view.available[np.sort(successively(rows_of(view), d, rng))]
    return Tasks(LOSS, view.round, asked, shared)


def choose_highest(
    size: CohortSize,
    candidates: int | None,
    view: View,
    losses: Float64Array,
    rng: np.random.Generator,
    reason: str,
) -> Choice:
    """Return the choice of the k clients of the highest losses, whose updates count alike.

    Parameters
    ----------
    size, candidates
        How many train (k), and how many are candidates (d); None for 2k.
    view, rng
        As a selector gets them.
    losses
        (available,), NaN where unknown.
    reason
        The reason for people, with `{}` where the loss stands.
    """
    number, rows = size.of(len(view.available)), rows_of(view)
    places = rank_by_loss(losses, rows, number, rng)
    chance = successive_inclusion(rows, num_candidates(candidates, number, len(rows)))[places]
    return Choice(
        view.available[places],
        np.maximum(chance, np.finfo(float).tiny),
        np.ones(number),
        tuple(_reason(loss, reason) for loss in losses[places].tolist()),
        equal=True,
    )


def _reason(loss: float, text: str) -> str:
    """Return why a client was chosen: `text` with its loss, or what stands for a loss that is not known."""
    if np.isinf(loss):
        return "never trained yet"
    return "drawn in proportion to its rows" if np.isnan(loss) else text.format(loss)


@dataclass(frozen=True)
class PowerOfChoice:
    """Ask d candidates for their loss of the current weights; the k highest train and count alike.

    Parameters
    ----------
    size
        How many train: k.
    candidates
        How many are asked: d, between k and the number of clients; None for 2k.

    Notes
    -----
    With d = k all candidates train, whatever they lose, so nobody is asked. Where fewer than k candidates answer, the
    cohort is filled up in proportion to rows: the source assumes that all answer. The given probabilities are those of
    being a candidate, to first order; that of training depends on the others' losses. The default d = 2k is that of
    the source's synthetic trials; its experiments with images use d = 6 of 100 clients.

    References
    ----------
    Cho, Wang, Joshi, "Towards Understanding Biased Client Selection in Federated Learning", AISTATS 2022 (arXiv
    2010.01243), section 3.1, strategy pow-d.
    """

    size: CohortSize = CohortSize()
    candidates: int | None = None

    name: ClassVar[str] = "pow-d"
    card: ClassVar[Card] = Card(
        title="Power of choice",
        rule="d candidates without replacement with P ∝ rows; the k with the highest current loss train; plain mean.",
        policy="training efficiency",
        termination="target accuracy",
        shared="rows, loss of candidates",
        generation="loss-based",
        interpretation="ranking",
        use_when="Plants differ much, and a forward pass over the rows is cheap beside training.",
        avoid_when=_AVOID,
        notes=(
            "A larger d is faster at first, and ends further from the optimum of the mean loss.",
            "Compare it with uniform sampling of more clients: d downloads and d passes over the rows are paid for.",
        ),
    )

    def __post_init__(self) -> None:
        check_candidates(self.candidates)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, pow-d",
            assumes=_ASSUMES,
            unbiased=False,
            cost="d downloads of the weights, d passes over all training rows, d numbers",
            reveals="the current loss of d clients, and everybody's rows",
            asks=frozenset({LOSS}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask the candidates for their loss over all training rows."""
        return ask_losses(self.size, self.candidates, view, answers, rng, {})

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return those with the highest losses."""
        return choose_highest(
            self.size, self.candidates, view, answered_losses(answers, view.available), rng, "loss {:.4g} now"
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class CheapPowerOfChoice:
    """Ask d candidates for their loss over a few random rows; the k highest train and count alike.

    Parameters
    ----------
    size
        How many train: k.
    candidates
        How many are asked: d; None for 2k.
    most
        Over how many rows at most each estimates its loss: the batch size in the source; 32 is an assumption.

    Notes
    -----
    As `PowerOfChoice`. With rare failures a few rows hold none of them, and the estimate is that of the healthy rows.

    References
    ----------
    Cho, Wang, Joshi, AISTATS 2022 (arXiv 2010.01243), section 3.1, strategy cpow-d.
    """

    size: CohortSize = CohortSize()
    candidates: int | None = None
    most: int = 32

    name: ClassVar[str] = "cpow-d"
    card: ClassVar[Card] = Card(
        title="Power of choice, computed cheaply",
        rule="As pow-d, but each candidate estimates its loss over min(b, n_i) random rows.",
        policy="training efficiency",
        termination="target accuracy",
        shared="rows, loss of candidates",
        generation="loss-based",
        interpretation="ranking",
        use_when="As pow-d, where clients have many rows and little time to answer.",
        avoid_when=f"Failures are so rare that b rows seldom hold one. {_AVOID}",
        notes=("b = 32 rows is an assumption; the source takes the batch size of training.",),
    )

    def __post_init__(self) -> None:
        check_candidates(self.candidates)
        if self.most < 1:
            raise ConfigError(f"strategy.selection.most must be >= 1, got {self.most}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, cpow-d",
            assumes=_ASSUMES,
            unbiased=False,
            cost="d downloads of the weights, d passes over a few rows, d numbers",
            reveals="an estimate of the current loss of d clients, and everybody's rows",
            asks=frozenset({LOSS}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask the candidates for their loss over a few rows."""
        return ask_losses(self.size, self.candidates, view, answers, rng, {"most": np.array(self.most)})

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Return those with the highest estimates."""
        losses = answered_losses(answers, view.available)
        return choose_highest(self.size, self.candidates, view, losses, rng, "loss {:.4g} now over a few rows")

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class RecentPowerOfChoice:
    """Take those of d candidates that lost most when they last trained; who never trained comes first.

    Parameters
    ----------
    size
        How many train: k.
    candidates
        How many are considered: d; None for 2k.

    Notes
    -----
    A client that was asked, failed, and never trained before would come first for ever; it counts as the mean of the
    known losses from then on. The source assumes that all answer.

    References
    ----------
    Cho, Wang, Joshi, AISTATS 2022 (arXiv 2010.01243), section 3.1, strategy rpow-d; the value for those that never
    trained as in the authors' code.
    """

    size: CohortSize = CohortSize()
    candidates: int | None = None

    name: ClassVar[str] = "rpow-d"
    card: ClassVar[Card] = Card(
        title="Power of choice by recent losses",
        rule="As pow-d, with the mean training loss of each candidate's last participation, +∞ before the first.",
        policy="training efficiency",
        termination="target accuracy",
        shared="rows, training loss of participants",
        generation="loss-based",
        interpretation="ranking",
        use_when="As pow-d, where a question before every round costs too much.",
        avoid_when=_AVOID,
        notes=("Losses grow old: a client that has not trained for long is ranked by an earlier model's loss.",),
    )

    def __post_init__(self) -> None:
        check_candidates(self.candidates)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            f"{_SOURCE}, rpow-d",
            needs=frozenset({_TRAINED}),
            assumes=_ASSUMES | {"stateful"},
            unbiased=False,
            cost="one number from each client that trains",
            reveals="the training loss of each client that trains, and everybody's rows",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw candidates, and return those with the highest recent losses."""
        del answers
        number = self.size.of(len(view.available))
        d = num_candidates(self.candidates, number, len(view.available))
        losses = np.full(len(view.available), np.nan)
        places = successively(rows_of(view), d, rng)
        losses[places] = entries(column(view.state, _TRAINED), view.available[places], np.inf)
        return choose_highest(self.size, self.candidates, view, losses, rng, "loss {:.4g} when it last trained")

    def observe(self, state: State, reports: Reports) -> State:
        """Keep the training losses; who failed before it ever trained counts as the mean of the known ones."""
        loss = reports.signal(_TRAINED)
        finite = np.isfinite(loss)
        silent = np.concatenate([reports.clients[~finite], failed_in(reports)])
        known = grown(column(state, _TRAINED), asked_in(reports), np.nan)
        known[reports.clients[finite]] = loss[finite]
        usual = float(np.mean(known[np.isfinite(known)])) if np.isfinite(known).any() else 0.0
        known[silent] = np.where(np.isnan(known[silent]), usual, known[silent])
        return {**state, _TRAINED: known}
