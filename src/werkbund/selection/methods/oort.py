"""Oort: clients whose data teach much and who answer soon; some are tried first, repeated stragglers are shunned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.choices import AnnotatedChoice, notes_on
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import successive_inclusion, successively
from werkbund.selection.facts import durations, registered, rows_of
from werkbund.selection.ledger import asked_in, column, entered, entries, grown
from werkbund.selection.methods import oort_rules as rules

Adjust = Callable[[Float64Array], Float64Array]
"""Changes values, (available,): scores of those that were tried, priors of the others, each at most 1."""

_EDGE = 1e-9
_LOSS = "loss_rms"


@dataclass(frozen=True)
class Oort:
    """Draw most of the cohort among the clients of highest utility, and explore some that were never tried.

    Score of client i that was tried, in round t: (min(U_i, clip) - m) / (U_max - m) + sqrt(0.1 ln t / L_i), times
    (T/D_i)^α if it takes longer than T; U_i = n_i·sqrt(mean of squared losses), m = 0.999 U_min, D_i its duration and
    L_i the round of its last participation. Of k clients ⌊ε·k⌋ are explored, P ∝ n_i·(T/D_i)^α; the others are drawn
    with P ∝ score among those whose score is at least c times that of the last of the best. The pacer moves T.

    As in the authors' code, clip, U_min and U_max are over all that can be asked, tried or not; one that was never
    tried has U_i = n_i there, as if its losses were 1. T is a percentile of the durations of all that are registered,
    there or not.

    Parameters
    ----------
    size
        How many updates are wanted.
    penalty
        α, how hard a client slower than T is punished.
    explored, explored_decay, explored_least
        ε of the first round, its factor a round, and its least value.
    pacer_window, pacer_step, pacer_start
        Rounds W between two moves of T, percentage points of a move, and the percentile of durations that T starts at.
    clip
        Quantile of utilities that caps them.
    cut_off
        c
    over_commitment
        So many times the wanted number is asked, and only the first to answer count.
    sample_window
        Explored are some of so many times their number, the best by size and speed.
    blacklist_after, blacklist_share
        A client with more turns than the first is asked no more; at most this share of the available. 0: never.

    Notes
    -----
    Assumptions: α = 2, ε = 0.9, 0.98, 0.2, W = 20, quantile 0.95, c = 0.95 and over-commitment 1.3 are said to be the
    paper's, which was not read in full; step 5, start 30, window 5 and the blacklist's 0.3 are those of the authors'
    later code.

    Deviations, each with its reason. The loss is that of the received weights over all training rows, in place of the
    rows trained on while training. ε decays from the second round on. The cut-off is c times the score at rank k, as
    published: the authors' code reads one rank further, fails where as many are drawn as were scored, and lets the pool
    grow to ten times its need. The blacklist is of those that can be asked, and never holds all of them; there it is of
    all that are registered, and may. A client that failed counts as tried in that round, with its old utility, or the
    lowest: else a dead one would be explored for ever. Its duration is what it spent in vain, if that is longer.
    Nobody is asked beyond the number where no durations are known, because then the order of arrival says nothing of
    speed. Without seconds nobody is slow.

    References
    ----------
    Lai, Zhu, Madhyastha, Chowdhury, "Oort: Efficient Federated Learning via Guided Participant Selection", OSDI 2021,
    algorithm 1 and sections 4.2 to 4.4.
    """

    size: CohortSize = CohortSize()
    penalty: float = 2.0
    explored: float = 0.9
    explored_decay: float = 0.98
    explored_least: float = 0.2
    pacer_window: int = 20
    pacer_step: float = 5.0
    pacer_start: float = 30.0
    clip: float = 0.95
    cut_off: float = 0.95
    over_commitment: float = 1.3
    sample_window: float = 5.0
    blacklist_after: int = 0
    blacklist_share: float = 0.3

    name: ClassVar[str] = "oort"
    card: ClassVar[Card] = Card(
        title="Oort, guided participant selection",
        rule="Score = rows · rms loss, normalised over tried and untried, + sqrt(0.1 ln t / L), times (T/D)^2 for the "
        "slow; P ∝ score above a cut-off; a share ε explores by size and speed; a pacer moves T; more are asked than "
        "needed.",
        policy="limit round time",
        termination="target accuracy",
        shared="loss, time",
        generation="utility-based",
        interpretation="ranking + exploration",
        use_when="Plants differ in speed and in what they teach, and time to a good model counts.",
        avoid_when="Every plant shall have its turn, or energy and traffic of late answers cost more than waiting.",
        notes=(
            "The untried count as if their losses were 1: where losses are far below, the tried differ little by them, "
            "and their age and speed decide.",
            "With fewer than 20 known clients a quantile of 0.95 clips nothing: lower it where labels may be wrong.",
            "ε starts at 0.9: in the first rounds it is little more than a draw by size and speed.",
            "Over-commitment makes late clients work in vain; set it to 1 to save their energy.",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("explored", "explored_decay", "explored_least", "clip", "cut_off", "blacklist_share"):
            _check(name, 0 <= getattr(self, name) <= 1, "in [0, 1]", getattr(self, name))
        for name in ("penalty", "pacer_step", "pacer_start", "blacklist_after"):
            _check(name, 0 <= getattr(self, name) < np.inf, ">= 0 and finite", getattr(self, name))
        for name in ("pacer_window", "over_commitment", "sample_window"):
            _check(name, 1 <= getattr(self, name) < np.inf, ">= 1 and finite", getattr(self, name))
        _check("blacklist_share", self.blacklist_share < 1, "below 1", self.blacklist_share)

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Lai et al., OSDI 2021, algorithm 1",
            needs=frozenset({_LOSS, "seconds"}),
            assumes=frozenset({"addressable", "stateful", "reliable"}),
            unbiased=False,
            cost="two numbers from each client that trains; work of those that come too late",
            reveals="the loss and the duration of each client that trains, everybody's rows and expected speed",
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw most of the cohort by utility, and the rest among those never tried."""
        del answers
        return self.choice_among(view, np.ones(len(view.available), np.bool_), lambda values: values, rng)

    def choice_among(self, view: View, allowed: BoolArray, adjust: Adjust, rng: np.random.Generator) -> Choice:
        """Choose among the clients that are allowed, by adjusted values.

        Parameters
        ----------
        view
            As `choose` gets it.
        allowed
            (available,), who may be chosen.
        adjust
            Changes the values before anybody is ranked.
        rng
            Draws.
        """
        turns = entries(column(view.state, "turns"), view.available, 0.0).astype(np.int64)
        open_ = allowed & ~rules.blacklisted(turns, self.blacklist_after, self.blacklist_share)
        last = entries(column(view.state, "last"), view.available, 0.0)
        seconds, timed = durations(view)
        wanted = min(self.size.of(len(last)), int(open_.sum()))
        asked = min(int(np.ceil(self.over_commitment * wanted - _EDGE)), int(open_.sum())) if timed else wanted
        old, new = np.flatnonzero(open_ & (last > 0)), np.flatnonzero(open_ & (last == 0))
        values = adjust(self._values(view, open_, last, seconds))
        explored = rules.exploring(self.explored, self.explored_decay, self.explored_least, view.round)
        num_old, num_new = rules.shared_out(asked, explored, len(old), len(new))
        pool = old[rules.above_cut_off(values[old], num_old, self.cut_off)]
        trials = new[rules.foremost(values[new], num_new, self.sample_window)]
        chance = np.zeros(len(last))
        exploited = _drawn(values, pool, num_old, chance, rng)
        places = np.sort(np.concatenate([exploited, _drawn(values, trials, num_new, chance, rng)]))
        meanings = ("never tried; size and speed", "utility")
        reasons = tuple(f"{meanings[int(last[place] > 0)]} {values[place]:.3g}" for place in places)
        return AnnotatedChoice(
            view.available[places],
            chance[places],
            np.ones(len(places)),
            reasons,
            keep=wanted if asked > wanted else None,
            notes={"rows": rows_of(view)[places], "tried": (last[places] > 0).astype(np.float64)},
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep losses, durations and turns, and move the pacer by the utility of those that were chosen for theirs."""
        asked = asked_in(reports)
        turns, last = (grown(column(state, name), asked, 0.0) for name in ("turns", "last"))
        turns[asked] += 1.0
        last[asked] = reports.round
        rms = entered(grown(column(state, _LOSS), asked, np.nan), reports.clients, reports.signal(_LOSS))
        noticed: State = {**state, "turns": turns, "last": last, _LOSS: rms, "seconds": _seconds(state, reports, asked)}
        return {**noticed, **self._pacing(state, reports)}

    def _values(self, view: View, open_: BoolArray, last: Float64Array, seconds: Float64Array) -> Float64Array:
        """Return scores of those that were tried and priors of the others, (available,), each group at most 1.

        Utilities are normalised over those that may be chosen, `open_`.
        """
        rms = entries(column(view.state, _LOSS), view.available, np.nan)
        percentile = float(view.state.get("percentile", self.pacer_start))
        preferred = rules.preferred_seconds(durations(registered(view))[0], percentile)
        slow = rules.straggler_factor(seconds, preferred, self.penalty)
        tried, rows = last > 0, rows_of(view)
        utility = np.where(open_, rules.statistical_utility(rows, np.where(tried, rms, 1.0)), np.nan)
        score = (rules.normalised(utility, self.clip) + rules.staleness_bonus(view.round, last)) * slow
        return np.where(tried, _scaled(score, tried), _scaled(rows * slow, ~tried))

    def _pacing(self, state: State, reports: Reports) -> State:
        """Return the pacer's percentile, and the mean utility of the exploited in each round of two windows."""
        utility = rules.statistical_utility(notes_on(reports, "rows", 1.0), reports.signal(_LOSS))
        counted = np.isfinite(utility) & (notes_on(reports, "tried", 1.0) > 0)
        gain = float(utility[counted].mean()) if counted.any() else 0.0
        gains = [*state.get("gains", []), gain][-2 * self.pacer_window :]
        percentile = float(state.get("percentile", self.pacer_start))
        if reports.round % self.pacer_window == 0:
            percentile = rules.paced(percentile, gains, self.pacer_window, self.pacer_step)
        return {"gains": gains, "percentile": percentile}


def _seconds(state: State, reports: Reports, asked: Int64Array) -> Float64Array:
    """Return the last duration of each client, (clients,) by number; for a failed one the time in vain if longer."""
    seconds = entered(grown(column(state, "seconds"), asked, np.nan), reports.clients, reports.signal("seconds"))
    for failure in reports.failures:
        if failure.seconds > 0:
            seconds[failure.client] = np.fmax(seconds[failure.client], failure.seconds)
    return seconds


def _scaled(values: Float64Array, where: BoolArray) -> Float64Array:
    """Return values over the largest one in a group, (n,); ones where that is not positive."""
    most = values[where].max(initial=0.0)
    return values / most if most > 0 else np.ones(len(values))


def _drawn(
    values: Float64Array, pool: Int64Array, number: int, chance: Float64Array, rng: np.random.Generator
) -> Int64Array:
    """Return places drawn from a pool in proportion to their values; write the pool's probabilities to `chance`."""
    if not number:
        return np.empty(0, np.int64)
    chance[pool] = np.maximum(successive_inclusion(values[pool], number), np.finfo(float).tiny)
    return pool[successively(values[pool], number, rng)]


def _check(name: str, holds: bool, rule: str, value: float) -> None:
    if not holds:
        raise ConfigError(f"strategy.selection.{name} must be {rule}, got {value}")
