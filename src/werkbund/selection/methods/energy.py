"""Energy: Oort with an energy term and a quota, and a plain draw by what is left in batteries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, State, View
from werkbund.selection.draws import successive_inclusion, successively
from werkbund.selection.ledger import asked_in, column, entries, failed_in, grown
from werkbund.selection.methods.oort import Oort
from werkbund.selection.methods.oort_rules import straggler_factor

_FORMS = ("flame", "eafl")


def power_left(battery: Float64Array, capacity: Float64Array, joules: Float64Array) -> Float64Array:
    """Return the share of a battery that is left after a round, (n,), in [0, 1]; 1 where there is no battery.

    Parameters
    ----------
    battery
        Share left now, (n,).
    capacity
        In joules, (n,); inf or 0 without a battery.
    joules
        Expected energy of the round, (n,); NaN, where nobody knows, counts as none.

    Examples
    --------
    >>> power_left(np.array([0.5, 0.1, 1.0]), np.array([100.0, 100.0, np.inf]), np.array([20.0, 20.0, 20.0])).tolist()
    [0.3, 0.0, 1.0]
    """
    has_battery = np.isfinite(capacity) & (capacity > 0)
    used = np.divide(np.nan_to_num(joules), capacity, out=np.zeros(len(battery)), where=has_battery)
    return np.where(has_battery, (battery - used).clip(0.0, 1.0), 1.0)


def energy_factor(joules: Float64Array, penalty: float) -> Float64Array:
    """Return the factor on each client's value, (n,): below 1 for whoever needs more energy than the median client.

    It is (J/E)^β with the expected energy E, `joules`, its median J over the clients where it is known, and β the
    penalty; 1 where E is at most J or unknown.

    Examples
    --------
    >>> energy_factor(np.array([1.0, 2.0, 4.0, np.nan]), 1.0).tolist()
    [1.0, 1.0, 0.5, 1.0]
    """
    known = joules[np.isfinite(joules)]
    return straggler_factor(joules, float(np.median(known)) if len(known) else np.inf, penalty)


def blended(values: Float64Array, power: Float64Array, share: float) -> Float64Array:
    """Return the mean of values and battery power, (n,), in which the value weighs f, the share.

    Examples
    --------
    >>> blended(np.array([1.0, 0.2]), np.array([0.2, 1.0]), 0.25).tolist()
    [0.4, 0.8]
    """
    return np.asarray(share * values + (1.0 - share) * power)


@dataclass(frozen=True)
class OortEnergy:
    """Choose as Oort does, by values corrected for energy, without clients over their quota or with an empty battery.

    In the form `flame` a value is multiplied by (J/E_i)^β where client i expects to spend more than the median J; in
    the form `eafl` it becomes f·value + (1 - f)·power_i, power_i the share of its battery that the round would leave.

    Parameters
    ----------
    size
        How many updates are wanted.
    form
        `flame` or `eafl`.
    energy_penalty
        β of the form `flame`.
    share
        f of the form `eafl`.
    quota_joules
        What a client may spend in the whole run; 0: no quota.
    penalty, over_commitment, cut_off, clip
        Those of Oort; its others have their defaults.

    Notes
    -----
    Assumptions: neither paper was read in full. FLAME multiplies statistical utility, system utility and an energy
    term of each device and ends a device's part at its quota, which is confirmed by the survey; the form of the term is
    ours, made like Oort's term of time. EAFL's f = 0.25 and its power term, the battery now less the expected use of
    the round as a share of capacity, are as they are told elsewhere. Oort's scores, and the priors of those never
    tried, are divided by their largest, so that they can be blended with a share.

    Expected energy is the fact `joules`, or else the mean of what the client has spent. A client whose battery holds
    less than that is left out: it would fail. If nobody is left, quotas are void, and after them batteries: a round
    needs somebody, and a budget of energy as a stop rule ends a run. Without batteries and facts this is Oort.

    References
    ----------
    Cho, Mathur, Kawsar, "FLAME: Federated Learning Across Multi-device Environments", IMWUT 2022 (arXiv 2202.08922);
    Arouj, Abdelmoniem, "Towards Energy-Aware Federated Learning on Battery-Powered Clients", 2022 (arXiv 2208.04505).
    """

    size: CohortSize = CohortSize()
    form: str = "flame"
    energy_penalty: float = 1.0
    share: float = 0.25
    quota_joules: float = 0.0
    penalty: float = 2.0
    over_commitment: float = 1.3
    cut_off: float = 0.95
    clip: float = 0.95

    name: ClassVar[str] = "oort-energy"
    card: ClassVar[Card] = Card(
        title="Oort with energy and quota (FLAME, EAFL)",
        rule="Oort's score times (J/E)^β for those that spend more than the median (FLAME form), or f · score + "
        "(1 - f) · battery left after the round (EAFL form); who has spent its quota is left out.",
        policy="limit participation, energy",
        termination="limited energy",
        shared="loss, time, energy, battery",
        generation="utility-based",
        interpretation="ranking + exploration",
        use_when="Machines run on batteries or a metered line, and some spend far more for the same work.",
        avoid_when="Energy does not differ: plain Oort does the same. Or those that spend most see what no other sees.",
        notes=(
            "On mains the EAFL form sees all batteries full and changes nothing; use the FLAME form.",
            "Over-commitment spends energy on answers that come too late; set it to 1 where energy is what counts.",
        ),
    )

    def __post_init__(self) -> None:
        if self.form not in _FORMS:
            raise ConfigError(f"strategy.selection.form must be one of {', '.join(_FORMS)}, got {self.form!r}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"strategy.selection.share must be in [0, 1], got {self.share}")
        for name in ("energy_penalty", "quota_joules"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"strategy.selection.{name} must be >= 0 and finite, got {getattr(self, name)}")
        self._oort  # noqa: B018 - checks the others

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "Cho et al., IMWUT 2022 (FLAME); Arouj and Abdelmoniem, 2022 (EAFL); on Oort, OSDI 2021",
            needs=self._oort.declaration.needs | {"joules"},
            assumes=frozenset({"addressable", "stateful", "reliable", "trustworthy"}),
            unbiased=False,
            cost="three numbers from each client that trains; work of those that come too late",
            reveals="loss, duration and energy of each client that trains; rows, expected speed, energy and battery",
            rests_on=frozenset({"joules"}),
        )

    @property
    def _oort(self) -> Oort:
        """The selector whose values are corrected."""
        names = ("penalty", "over_commitment", "cut_off", "clip")
        return Oort(self.size, **{name: getattr(self, name) for name in names})

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Choose as Oort among those that may still spend."""
        del answers
        joules = expected_joules(view)
        capacity = view.fact("battery_capacity", np.inf)
        power = power_left(view.fact("battery", 1.0), capacity, joules)
        factor = energy_factor(joules, self.energy_penalty)
        flame = self.form == "flame"
        return self._oort.choice_among(
            view,
            self._allowed(view, power),
            lambda values: values * factor if flame else blended(values, power, self.share),
            rng,
        )

    def observe(self, state: State, reports: Reports) -> State:
        """Keep what Oort keeps, and the energy that each client has spent."""
        failed = failed_in(reports)
        spent = grown(column(state, "spent"), asked_in(reports), 0.0)
        np.add.at(spent, reports.clients, np.nan_to_num(reports.signal("joules")))
        np.add.at(spent, failed, [failure.joules for failure in reports.failures])
        return {**self._oort.observe(state, reports), "spent": spent}

    def _allowed(self, view: View, power: Float64Array) -> BoolArray:
        """Return who has quota and battery left, (available,); without any, who has battery left; else everybody."""
        spent = entries(column(view.state, "spent"), view.available, 0.0)
        thrifty = (spent < self.quota_joules) | (self.quota_joules == 0)
        for allowed in (thrifty & (power > 0), power > 0):
            if allowed.any():
                return np.asarray(allowed)
        return np.ones(len(power), np.bool_)


def expected_joules(view: View) -> Float64Array:
    """Return what a round is expected to cost each available client, (available,), in joules; NaN where unknown."""
    declared = view.fact("joules", np.nan)
    spent = entries(column(view.state, "spent"), view.available, 0.0)
    turns = entries(column(view.state, "turns"), view.available, 0.0)
    mean = np.divide(spent, turns, out=np.full(len(spent), np.nan), where=(turns > 0) & (spent > 0))
    return np.where(np.isfinite(declared), declared, mean)


@dataclass(frozen=True)
class Battery:
    """Draw clients in proportion to a power of what is left in their batteries.

    P ∝ battery^a, one after the other without replacement, among those at or above a least level.

    Parameters
    ----------
    size
        How many.
    power
        a
    least
        Level below which a client is left out, a share of its capacity.

    Notes
    -----
    a = 2 is that of a public extension of Flower; the least level of 0.2 is an assumption. A client without a battery
    counts as full. If nobody is at the level, the fullest comes alone. The given probabilities are those of the draw to
    first order (`successive_inclusion`).
    """

    size: CohortSize = CohortSize()
    power: float = 2.0
    least: float = 0.2

    name: ClassVar[str] = "battery"
    card: ClassVar[Card] = Card(
        title="Battery-weighted draw",
        rule="P ∝ battery^2 among those above a least level.",
        policy="limit participation, energy",
        termination="limited energy",
        shared="battery",
        generation="-",
        interpretation="probability + threshold",
        use_when="Mobile machines share a federation and none shall be drained; a simple rule is enough.",
        avoid_when="All run on mains: it is a uniform draw then. Or a low battery goes with data nobody else has.",
        notes=("It looks at what is left, not at what a round costs.",),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.power < np.inf:
            raise ConfigError(f"strategy.selection.power must be >= 0 and finite, got {self.power}")
        if not 0 <= self.least <= 1:
            raise ConfigError(f"strategy.selection.least must be in [0, 1], got {self.least}")

    @property
    def declaration(self) -> Declaration:
        """What it needs, assumes and gives."""
        return Declaration(
            "a plain rule, as in community extensions of Flower",
            assumes=frozenset({"addressable", "reliable", "trustworthy"}),
            unbiased=False,
            reveals="what is left in each client's battery",
            rests_on=frozenset({"battery"}),
        )

    def probe(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Tasks | None:
        """Ask nothing."""
        del view, answers, rng
        return None

    def choose(self, view: View, answers: tuple[Replies, ...], rng: np.random.Generator) -> Choice:
        """Draw by battery."""
        del answers
        battery = np.maximum(view.fact("battery", 1.0), 0.0)
        charged = np.flatnonzero(battery >= min(self.least, battery.max(initial=0.0)))
        if len(battery) and battery.max() < self.least:
            charged = charged[:1]
        weights = battery[charged] ** self.power
        number = min(self.size.of(len(battery)), len(charged))
        drawn = np.sort(successively(weights, number, rng))
        chance = successive_inclusion(weights, number) if number else np.empty(0)
        places = charged[drawn]
        reasons = tuple(f"battery at {level:.0%}" for level in battery[places].tolist())
        return Choice(view.available[places], chance[drawn], np.ones(number), reasons)

    def observe(self, state: State, reports: Reports) -> State:
        """Learn nothing: what is left is declared anew."""
        del reports
        return state
