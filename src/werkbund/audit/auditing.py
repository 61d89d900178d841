"""Attacks on a federation, played in process on its own data: what each reaches, with and without protection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from werkbund.audit.bounds import roc_of
from werkbund.audit.canaries import Canaries
from werkbund.audit.cells import RowsOfCells
from werkbund.audit.contract import OnMessages, Reached, noise_in_words, without_promise
from werkbund.audit.membership import MEMBERSHIP, shadows
from werkbund.audit.updates import Differencing, FailureShare, RowsOfUpdate
from werkbund.config.sections import Config
from werkbund.federation.families.family import grows_trees
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.partition.population import Population

MODELS = 8
"""Models that are trained for attacks on membership, the attacked one among them."""

_ABOUT = (
    "Attacks on this federation, played in process on its own rows. Members and others are halves of the same clients' "
    "training rows; thresholds are chosen in hindsight, which favours the attacker."
)


@dataclass(frozen=True)
class Audit:
    """Hold what attacks on a federation reached.

    Parameters
    ----------
    findings
        One an attack and protection.
    config
        The federation that was attacked.
    """

    findings: tuple[Reached, ...]
    config: Config

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        about = {"name": self.config.federation.name, "model": self.config.model.kind}
        return {"about": _ABOUT, **about, "attacks": [finding.to_json() for finding in self.findings]}


def audited(config: Config, models: int = MODELS, stage: Callable[[str], None] = lambda what: None) -> Audit:
    """Play each attack that fits a federation's model.

    Parameters
    ----------
    config
        Of the federation; its data lie here.
    models
        Models to train for attacks on membership.
    stage
        Is told what is being done.

    Raises
    ------
    ConfigError
        If the data or a section do not fit.
    """
    stage("reading and dividing the rows")
    population = divide(read_table(config), config).population
    findings: list[Reached] = []
    for attack in _on_messages(config):
        stage(attack.card.name)
        findings += attack.play(config, population)
    findings += _on_membership(config, population, models, stage)
    return Audit(tuple(findings), config)


def _on_messages(config: Config) -> tuple[OnMessages, ...]:
    """Return the attacks on what plants send for a model of this kind."""
    if grows_trees(config):
        return (RowsOfCells(),)
    always = (FailureShare(), Differencing(), Differencing(varied=True), RowsOfUpdate(False), RowsOfUpdate(True))
    noised = config.privacy.unit in ("row", "machine") and not config.privacy.shared_noise
    return (*always, Canaries()) if noised else always


def _on_membership(
    config: Config, population: Population, models: int, stage: Callable[[str], None]
) -> Iterator[Reached]:
    """Yield what attacks on membership come to, against the model as the configuration has it."""
    for protection, section in _with_and_without(config).items():
        stage(f"training {models} models, each on half of the rows ({protection})")
        seen = shadows(section, population, models)
        for attack in MEMBERSHIP:
            told = roc_of(attack.scores(seen), seen.is_in[0])
            says = f"{told.members} members, {told.others} others; advantage {told.advantage:.3f}"
            yield Reached(attack.card, protection, says, auc=told.auc, at_1_percent=told.at_1_percent)


def _with_and_without(config: Config) -> Mapping[str, Config]:
    """Return the configuration, and where it promises privacy to rows or machines also without that promise."""
    bare = {"none": without_promise(config)}
    return bare if config.privacy.unit == "none" else {**bare, noise_in_words(config): config}
