"""Rules of aggregation under attack: each defence against each attack, for several shares of attackers and seeds.

Every run is judged on the rows of the clients that are honest in it, the attack-free reference on the same ones.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from werkbund.aggregation import AGGREGATORS, DEFAULT, aggregation_options, build_aggregator
from werkbund.attack import build_attack
from werkbund.attack.backdoor import Backdoor
from werkbund.bench.cases import SCORE, RoundLog
from werkbund.bench.plan import SERVER, WINDOW
from werkbund.config.reading import changed, load_config
from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError, FederationError
from werkbund.core.text import one_line
from werkbund.federation.attacked import backdoor_success, under_attack
from werkbund.federation.families.networks import NetworkSimulation, simulate_network, with_strategy
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.federation.wiring import scenario_of
from werkbund.partition.population import Population

REFERENCE = "reference"
"""The attack that is none."""

COLUMNS = (
    "label-flip",
    "sign-flip",
    "gaussian",
    "backdoor",
    "backdoor longest=1",
    "ipm epsilon=0.5",
    "ipm epsilon=10",
    "alie",
    "alie z=1.5",
    "min-max",
    "min-sum",
    "free-rider",
    "free-rider disguised=true",
    "broken-sensor fault=constant",
    "broken-sensor fault=unit",
    "broken-sensor fault=clock",
    "duplicated-rows",
)
"""Attacks and faults that `all` stands for: every kind, with the options by which it is usually told apart."""

CLIENTS = 20
"""How many clients there are where the configuration does not say."""

_LONGEST = 300
"""Letters of an error that are kept: it may name every client."""

_COMMON = ("momentum", "step")
"""Options of the configuration's own rule that a defence with such an option has too, where it is given no other."""


@dataclass(frozen=True)
class AttackCase:
    """Name one run: which defence stands which attack, by how large a share of the clients, with which seed."""

    defence: str
    attack: str
    share: float
    seed: int


@dataclass(frozen=True)
class Stand:
    """Hold what one run reached.

    Parameters
    ----------
    case
        Which run.
    figures
        `average_precision` on the honest clients' test rows, mean of the last rounds, and `success` of each back door,
        under `success` and the attack's name: of the reference too. A run that attackers brought down, so that no model
        came of it, has an average precision of 0.
    error
        Why it ended before its time; empty if it did not.
    """

    case: AttackCase
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def title(self) -> str:
        """Which run, for people."""
        return f"{self.case.defence}, {self.case.attack}, share {self.case.share:g}, seed {self.case.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as values that JSON can hold."""
        return {"trial": vars(self.case), "figures": dict(self.figures), "error": self.error}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Stand:
        """Return what `to_json` gave."""
        figures = {name: math.nan if value is None else float(value) for name, value in written["figures"].items()}
        return cls(AttackCase(**written["trial"]), figures, written["error"])


@dataclass(frozen=True)
class AttackPlan:
    """Hold a whole bench of defences.

    Parameters
    ----------
    base
        The configuration that all runs share; nobody attacks in it.
    defences
        Rules of aggregation, each a name, and options behind it: `trimmed-mean hostile=0.3`. A rule that says how many
        clients may be hostile is told the share of attackers where it is given no number.
    attacks
        Kinds of attacks, each a name, and options behind it.
    shares
        Of the clients, that attack.
    seeds
        At least two.
    """

    base: Config
    defences: tuple[str, ...]
    attacks: tuple[str, ...]
    shares: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.seeds) < 2:
            raise ConfigError(f"--seeds must be at least 2 for an interval, got {len(self.seeds)}")
        if self.base.attack.kind != "none":
            raise ConfigError(f"attack.kind must be none for a bench of attacks, got {self.base.attack.kind!r}")
        for share in self.shares:
            if not 0 < share < 1:
                raise ConfigError(f"--shares must be in (0, 1), got {share}")
        for defence, attack in product(self.defences, self.attacks):
            section = self.config(AttackCase(defence, attack, self.shares[0], self.seeds[0])).attack
            build_attack(section.kind, section.options)

    def cases(self) -> Iterator[AttackCase]:
        """Yield all runs; those on the same data are neighbours."""
        for share, seed in product(self.shares, self.seeds):
            for defence, attack in product(self.defences, (REFERENCE, *self.attacks)):
                yield AttackCase(defence, attack, share, seed)

    def config(self, case: AttackCase) -> Config:
        """Return the configuration of a run.

        Raises
        ------
        ConfigError
            If a rule or an option is unknown, or breaks its rule.
        """
        kind, chosen = _parts(case.attack)
        return changed(
            self.base,
            federation={"seed": case.seed},
            strategy={"aggregation": self._rule(case)},
            attack={"kind": kind, "options": chosen, "share": case.share},
        )

    def _rule(self, case: AttackCase) -> dict[str, Any]:
        """Return the keys of a defence: its own options, and what it has in common with the configuration's rule."""
        name, options = _parts(case.defence)
        section = self.base.strategy.aggregation
        known = {} if ":" in name else aggregation_options(name)
        usual = {key: section.options[key] for key in _COMMON if key in section.options and key in known}
        told = {"hostile": case.share} if "hostile" in known else {}
        clip = {} if section.clip_norm is None else {"clip_norm": section.clip_norm}
        return {"name": name, **clip, **usual, **told, **options}

    def to_json(self) -> dict[str, Any]:
        """Return what a folder must share with this plan to be gone on with."""
        return {
            "config": self.base.model_dump(mode="json"),
            "defences": list(self.defences),
            "attacks": list(self.attacks),
            "shares": list(self.shares),
            "seeds": list(self.seeds),
        }


def _parts(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a method and the options behind it, each read as on a command line."""
    name, *settings = shlex.split(text)
    return name, load_config(None, [f"attack.options.{setting}" for setting in settings]).attack.options


def attack_plan(
    config: Config, defences: Sequence[str], attacks: Sequence[str], shares: Sequence[float], seeds: Sequence[int]
) -> AttackPlan:
    """Return the plan that a configuration and a command's options describe.

    Parameters
    ----------
    config
        Where it names no number of clients there are 20. Of each run the last weights are judged, and the server holds
        half of the validation rows for a rule that judges by them, where the configuration grants none.
    defences
        As `AttackPlan` has them; `all` stands for federated averaging and every rule that sees single updates. The
        default rule is added where it is not among them.
    attacks
        As `AttackPlan` has them; `all` stands for `COLUMNS`.
    shares, seeds
        As `AttackPlan` has them.
    """
    if config.clients.count is None and config.data.client is None:
        config = changed(config, clients={"count": CLIENTS})
    if not config.clients.server and config.evaluation.server_rows is None:
        config = changed(config, clients={"server": SERVER})
    config = changed(config, evaluation={"keep_best": False})  # else a lucky round on few validation rows would decide
    single = [name for name in AGGREGATORS if build_aggregator(name).sees == "each"]
    rules = dict.fromkeys([DEFAULT, *(name for each in defences for name in (single if each == "all" else [each]))])
    kinds = dict.fromkeys(name for each in attacks for name in (COLUMNS if each == "all" else [each]))
    return AttackPlan(config, tuple(rules), tuple(kinds), tuple(shares), tuple(seeds))


class DefenceBench:
    """Do the runs of a bench of defences, and keep the data of the last one: neighbours share them.

    Parameters
    ----------
    plan
        The bench.
    """

    def __init__(self, plan: AttackPlan) -> None:
        self._plan = plan
        self._ground: tuple[tuple[float, int], Population, NetworkSimulation] | None = None

    @cached_property
    def _table(self) -> Any:
        return read_table(self._plan.base)

    def run(self, case: AttackCase) -> Stand:
        """Do one run; one that fails is an outcome too, and has a score of 0 where attackers brought it down."""
        log = RoundLog()
        try:
            config = self._plan.config(case)
            population, ground = self._on(case, config)
            simulation = under_attack(with_strategy(ground, config), population)
            trained = train(simulation, None, log.outlets)
            figures = {SCORE: log.learning_curve().final(WINDOW)}
            for attack in self._back_doors(case):
                scenario = scenario_of(self._plan.config(replace(case, attack=attack)), population.names)
                if scenario is not None and isinstance(scenario.attack, Backdoor):
                    hidden = backdoor_success(simulation, population, trained, scenario, scenario.attack)
                    figures[f"success {attack}"] = hidden
        except FederationError as error:
            return Stand(case, {SCORE: 0.0} if log.records else {}, one_line(str(error), _LONGEST))
        return Stand(case, figures)

    def _on(self, case: AttackCase, config: Config) -> tuple[Population, NetworkSimulation]:
        """Return the rows, and an honest simulation on them that only lacks the run's rule."""
        key = (case.share, case.seed)
        if self._ground is None or self._ground[0] != key:
            plain = changed(config, strategy={"aggregation": {}})
            population = divide(self._table, plain).population
            self._ground = key, population, simulate_network(plain, population)
        return self._ground[1], self._ground[2]

    def _back_doors(self, case: AttackCase) -> tuple[str, ...]:
        """Return the back doors whose success a run tells: its own, or all where nobody attacks."""
        named = self._plan.attacks if case.attack == REFERENCE else (case.attack,)
        return tuple(attack for attack in named if attack.split()[0] == Backdoor.name)
