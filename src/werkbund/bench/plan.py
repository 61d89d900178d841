"""What a bench runs: which selectors, over which divisions of the data, how often, and what each run is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean
from werkbund.partition import PARTITIONERS
from werkbund.selection import SELECTORS

UNIFORM = "uniform"
"""The method that every other is measured against."""

CLIENTS, COHORT = 60, 10
"""How many clients, and how many of them train in a round, where the configuration does not say."""

SERVER = 0.5
"""Share of the validation rows that the server holds, where the configuration grants none."""

WINDOW = 5
"""Scores in a row whose mean must reach the target."""

CURRENCIES = ("bytes", "joules", "seconds", "examples")
"""What a run takes, each a way to call two runs equally dear: bytes of messages, energy, simulated time, examples."""

MOMENTA = (0.0, 0.5, 0.9)
"""Momenta of the server that are tried for each method, where the aggregator has one."""

TUNED = 2
"""Seeds on which the momentum is chosen."""

_LADDER = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.2, 3.5)
"""Cohorts of the uniform runs that others are matched with, as multiples of the methods' own; and everybody."""

_SHORTER = (0.125, 0.25, 0.5)
"""Shares of the rounds that uniform with the methods' own cohort does, to be matched with what costs less."""


@dataclass(frozen=True)
class DataSetting:
    """Name one way in which clients differ.

    Parameters
    ----------
    title
        For people.
    clients
        What it changes in the section `clients` of a configuration.
    """

    title: str
    clients: Mapping[str, Any] = field(default_factory=dict)


USUAL: Mapping[str, DataSetting] = {
    "natural": DataSetting("as the data are divided: whole tools in time order, or the client column"),
    "dirichlet-mode": DataSetting(
        "failure modes spread unevenly (Dirichlet, 0.3)",
        {"partition": "dirichlet", "options": {"alpha": 0.3, "over": "mode"}},
    ),
    "quantity": DataSetting("numbers of rows by a power law", {"partition": "quantity", "options": {"exponent": 1.0}}),
    "hot-plant": DataSetting("one plant alone sees the most frequent failure mode", {"partition": "hot-mode"}),
    "label-noise": DataSetting("two plants note every fifth label wrongly", {"noisy": 2, "noise": 0.2}),
}
"""The divisions of the data that a bench tries where it is to try all, by name."""

SETTINGS: Mapping[str, DataSetting] = {
    **{name: DataSetting(f'clients.partition = "{name}"', {"partition": name}) for name in PARTITIONERS},
    **USUAL,
}
"""All divisions: these, and each partition of a configuration by the name that it has there."""


@dataclass(frozen=True)
class Case:
    """Name one run of a bench.

    Parameters
    ----------
    setting, seed, selector
        On which data, with which seed, and who chooses.
    count
        Clients a round.
    momentum
        Of the server; None as the configuration says.
    rounds
        Of training; None as the configuration says.
    """

    setting: str
    seed: int
    selector: str
    count: int
    momentum: float | None = None
    rounds: int | None = None


class Rival(NamedTuple):
    """Name a selector with so many clients a round, and with fewer rounds than others if it has a number of its own."""

    selector: str
    cohort: int
    rounds: int | None = None

    def case(self, setting: str, seed: int, momentum: float | None) -> Case:
        """Return its run on some data with a momentum."""
        return Case(setting, seed, self.selector, self.cohort, momentum, self.rounds)


@dataclass(frozen=True)
class Plan:
    """Hold a whole bench.

    Parameters
    ----------
    base
        The configuration that all runs share; the number of clients and the world are set.
    selectors
        Names, `uniform` among them.
    settings
        Names of `SETTINGS`.
    seeds
        One run of each selector in each setting for each.
    cohort
        Clients a round.
    target
        Average precision to reach; None: `share` of what uniform ends with in the same setting and seed.
    share
        Used where there is no target.
    tuned
        Seeds whose validation rows choose the momentum of each method; none of `seeds`.
    momenta
        Among which; None alone where the aggregator has no momentum.
    """

    base: Config
    selectors: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    cohort: int
    target: float | None = None
    share: float = 0.9
    tuned: tuple[int, ...] = ()
    momenta: tuple[float | None, ...] = (None,)

    def __post_init__(self) -> None:
        _check_known("--selectors", [name for name in self.selectors if ":" not in name], tuple(SELECTORS))
        _check_known("--partitions", self.settings, tuple(SETTINGS))
        if len(self.seeds) < 2:
            raise ConfigError(f"--seeds must be at least 2 for an interval, got {len(self.seeds)}")
        if not 1 <= self.cohort <= self.num_clients:
            raise ConfigError(f"--cohort must be in 1..{self.num_clients}, the number of clients, got {self.cohort}")
        for momentum in self.momenta:
            if momentum is not None and not 0 <= momentum < 1:
                raise ConfigError(f"--momenta must be in [0, 1), got {momentum}")
        if set(self.tuned) & set(self.seeds):
            raise ConfigError(f"seeds that choose must be none of those reported, got {self.tuned} and {self.seeds}")
        if not 0 < self.share < 1:
            raise ConfigError(f"the share of uniform's score to reach must be in (0, 1), got {self.share}")
        if self.target is not None and not 0 < self.target < 1:
            raise ConfigError(f"--target must be an average precision in (0, 1), got {self.target}")

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return self.base.clients.count or CLIENTS

    @property
    def rivals(self) -> tuple[Rival, ...]:
        """All that is run: each selector with its cohort, and uniform with fewer rounds and other cohorts."""
        most, rounds = self.num_clients, self.base.federation.rounds
        numbers = sorted({max(round(share * rounds), WINDOW) for share in _SHORTER} - {rounds})
        shorter = [Rival(UNIFORM, self.cohort, number) for number in numbers if number < rounds]
        counts = sorted({min(max(round(factor * self.cohort), 1), most) for factor in _LADDER} | {self.cohort, most})
        ladder = [Rival(UNIFORM, count) for count in counts]
        return (*shorter, *ladder, *(Rival(name, self.cohort) for name in self.selectors if name != UNIFORM))

    def trials(self) -> Iterator[Case]:
        """Yield the runs that choose the momentum of each rival; none where there is nothing to choose from."""
        if len(self.momenta) > 1:
            for setting, seed in product(self.settings, self.tuned):
                for rival, momentum in product(self.rivals, self.momenta):
                    yield rival.case(setting, seed, momentum)

    def cases(self, momentum_of: Callable[[Rival], float | None]) -> Iterator[Case]:
        """Yield the runs that are reported, each rival with its momentum; runs on the same data are neighbours."""
        for setting, seed in product(self.settings, self.seeds):
            for rival in self.rivals:
                yield rival.case(setting, seed, momentum_of(rival))

    def to_json(self) -> dict[str, Any]:
        """Return what a folder must share with this plan to be gone on with."""
        return {
            "config": self.base.model_dump(mode="json"),
            "selectors": list(self.selectors),
            "settings": list(self.settings),
            "seeds": list(self.seeds),
            "cohort": self.cohort,
            "target": self.target,
            "share": self.share,
            "tuned": list(self.tuned),
            "momenta": list(self.momenta),
        }


def plan_of(
    config: Config,
    selectors: Sequence[str],
    settings: Sequence[str],
    seeds: Sequence[int],
    cohort: int | None = None,
    target: float | None = None,
    tuned: int = TUNED,
    momenta: Sequence[float] = MOMENTA,
) -> Plan:
    """Return the plan that a configuration and a command's options describe.

    Parameters
    ----------
    config
        Where it names no number of clients there are 60, and where it names no world they live in `factory-fleet`, with
        a round every quarter of an hour. Of each run the last weights are judged, and the server holds half of the
        validation rows where a method needs such rows and the configuration grants none.
    selectors
        Names, or `all`; with a minus before it a name is left out. `uniform` is added where it is not among them.
    settings
        Names, or `all`.
    seeds
        At least two.
    cohort
        Clients a round; None: `strategy.selection.count`, or 10.
    target
        Average precision to reach; None for a share of uniform's.
    tuned
        How many seeds, the next after `seeds`, choose the momentum of each method by their validation rows.
    momenta
        Of the server, that are tried; the configuration's own alone where there are no such seeds.
    """
    chosen = _chosen(selectors)
    wanted = tuple(USUAL) if "all" in settings else tuple(dict.fromkeys(settings))
    if config.clients.count is None and config.data.client is None:
        config = changed(config, clients={"count": CLIENTS})
    if not config.clients.server and config.evaluation.server_rows is None:
        config = changed(config, clients={"server": SERVER})
    if config.world.preset == "none" and config.world.path is None:
        config = changed(config, world={"preset": "factory-fleet", "pause_s": 900.0})
    config = changed(config, evaluation={"keep_best": False})  # else a lucky round on few validation rows would decide
    number = cohort or config.strategy.selection.count or min(COHORT, config.clients.count or COHORT)
    named = chosen if UNIFORM in chosen else (UNIFORM, *chosen)
    choosing = tuple(range(max(seeds, default=0) + 1, max(seeds, default=0) + 1 + tuned))
    tried: tuple[float | None, ...] = tuple(dict.fromkeys(momenta)) if choosing and _has_momentum(config) else (None,)
    return Plan(config, named, wanted, tuple(seeds), number, target, tuned=choosing, momenta=tried or (None,))


def _has_momentum(config: Config) -> bool:
    return "momentum" in config.strategy.aggregation.options


def _chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Return the methods that are named, each once, without those that are named with a minus before."""
    left_out = {name[1:] for name in names if name.startswith("-")}
    _check_known("--selectors", tuple(left_out), tuple(SELECTORS))
    named = [name for name in names if not name.startswith("-")]
    every = dict.fromkeys(method for name in named for method in (SELECTORS if name == "all" else (name,)))
    return tuple(name for name in every if name not in left_out)


def _check_known(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{option} must be among all, {', '.join(known)}, got {name!r}{hint}")
