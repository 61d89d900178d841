"""Unbiased draws: in proportion to rows with replacement, and uniformly with weights that make up for it.

Both keep the expected aggregate equal to the one of full participation, whoever has how many rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.facts import rows_of, shares


@dataclass(frozen=True)
class Proportional:
    """Draw with replacement in proportion to rows, and average the draws plainly ("MD sampling").

    `k` draws, client i each time with probability p_i = n_i / Σn; the aggregate is the mean over the draws. A client
    that is drawn twice trains once, and its update counts twice: the multiplicity is its factor, and the sum is divided
    by k. The cohort therefore has k clients or fewer, also where k is not less than the number of clients.

    Parameters
    ----------
    size
        How many draws.

    Notes
    -----
    In the source a client that is drawn twice trains twice, on the same rows and from the same weights; training once
    leaves the expected aggregate as it is. Where the rows are not declared all shares are equal, and the expected
    aggregate is the plain mean.

    References
    ----------
    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020,
    algorithm 2: multinomial sampling; Li, Huang, Yang, Wang, Zhang, "On the Convergence of FedAvg on Non-IID Data",
    ICLR 2020, scheme I.
    """

    size: CohortSize = CohortSize()

    name: ClassVar[str] = "md"
    card: ClassVar[Card] = Card(
        title="Size-proportional sampling with replacement (MD)",
        rule="k draws with replacement, client i with probability n_i / Σn; plain mean over the draws.",
        policy="selection fairness",
        shared="rows",
        generation="none",
        interpretation="probability",
        use_when="Plants differ much in rows, and the model should be that of full participation on average.",
        avoid_when="A small plant matters as much as a large one: it is seldom drawn.",
        notes=(
            "A client drawn m times trains once and counts m times; the cohort may hold fewer than k clients.",
            "Its variance is higher than that of clustered sampling, which is unbiased too.",
            "A lost update leaves its share to those that came, whatever its multiplicity was.",
        ),
    )

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Li et al., MLSys 2020, algorithm 2 (multinomial sampling)",
            assumes=frozenset({"available", "addressable", "reliable", "trustworthy"}),
            unbiased=True,
            reveals="who took part, and how many rows each client has",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw with replacement; the factors say how often each was drawn."""
        del answers
        chance = shares(rows_of(view))
        number = self.size.of(len(chance))
        times = rng.multinomial(number, chance) if number else np.zeros(len(chance), np.int64)
        drawn = np.flatnonzero(times)
        inclusion = 1.0 - (1.0 - chance) ** number
        reasons = tuple(f"drawn {times[i]} of {number} times, {chance[i]:.2%} of all rows" for i in drawn)
        return Choice(
            view.available[drawn],
            inclusion[drawn],
            times[drawn].astype(np.float64),
            reasons,
            inclusion=inclusion,
            equal=True,
            total=float(number),
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state


@dataclass(frozen=True)
class UniformUnbiased:
    """Draw uniformly without replacement, and weight updates so that small and large cohorts mean the same.

    Each update counts (N/k)·p_i with p_i = n_i / Σn over all available clients: the estimator of Horvitz and Thompson
    for inclusion probability k/N. Plain FedAvg divides by the rows of the cohort instead, which is slightly biased
    where rows differ, but of less variance.

    Parameters
    ----------
    size
        How many.

    Notes
    -----
    Where the rows are not declared the updates count alike, and the expected aggregate is the plain mean.

    References
    ----------
    Li, Huang, Yang, Wang, Zhang, "On the Convergence of FedAvg on Non-IID Data", ICLR 2020, scheme II; Horvitz,
    Thompson, "A Generalization of Sampling Without Replacement From a Finite Universe", JASA 1952.
    """

    size: CohortSize = CohortSize()

    name: ClassVar[str] = "uniform-unbiased"
    card: ClassVar[Card] = Card(
        title="Uniform sampling with unbiased weights",
        rule="k clients uniformly without replacement; update i counts (N/k) n_i / Σn.",
        policy="selection fairness",
        shared="rows",
        generation="none",
        interpretation="probability",
        use_when="The mean over many rounds must be exactly that of full participation, and rows differ little.",
        avoid_when="Rows differ much and cohorts are small: the length of a step then varies with who is drawn.",
        notes=("The weights of one round sum to 1 only on average.",),
    )

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Li et al., ICLR 2020, scheme II",
            assumes=frozenset({"available", "addressable", "reliable", "trustworthy"}),
            unbiased=True,
            reveals="who took part, and how many rows all clients have together",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw the cohort; the factors are N/k, and the sum is divided by the rows of all."""
        del answers
        num_available = len(view.available)
        number = self.size.of(num_available)
        cohort = np.sort(rng.choice(view.available, number, replace=False))
        inclusion = np.full(num_available, number / max(num_available, 1))
        total = float(rows_of(view).sum())
        equal = "rows" not in view.facts
        return Choice(
            cohort,
            inclusion[:number],
            np.full(number, num_available / max(number, 1)),
            ("drawn at random",) * number,
            inclusion=inclusion,
            equal=equal,
            total=total if total > 0 else None,
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing."""
        del reports
        return state
