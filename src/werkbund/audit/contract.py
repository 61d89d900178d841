"""What an attack says of itself, and what it reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from werkbund.config.privacy import PROMISE_NOTHING
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.partition.population import Population


@dataclass(frozen=True)
class AttackCard:
    """Say what an attack is.

    Parameters
    ----------
    name
        Of the attack.
    who
        Who can play it.
    needs
        What he has to have.
    source
        Where it is published, or whose it is.
    """

    name: str
    who: str
    needs: str
    source: str


def without_promise(config: Config) -> Config:
    """Return a configuration whose updates leave as they are."""
    return changed(config, privacy={**PROMISE_NOTHING, "secure_sums": False})


def noise_in_words(config: Config) -> str:
    """Return what noise a configuration promises."""
    section = config.privacy
    much = f"epsilon {section.target_epsilon:g}" if section.target_epsilon else f"noise {section.noise_multiplier:g}"
    return f"noise for each {section.unit}, {much}"


class OnMessages(Protocol):
    """Be an attack on what plants send: a frozen value."""

    @property
    def card(self) -> AttackCard:
        """What it says of itself."""

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what it comes to against each protection.

        Parameters
        ----------
        config
            Of the federation.
        population
            The rows of its plants.
        """


@dataclass(frozen=True)
class Reached:
    """Hold what one attack reached against one protection.

    Parameters
    ----------
    card
        Of the attack.
    protection
        What stood in its way, in words.
    says
        What it came to, in words.
    auc, at_1_percent
        Of attacks that tell members: area under the curve, and the share of members found with 1 % false alarms.
    error
        Of attacks that tell a number: by how much it is off, in its own unit; of those that tell rows: the share of
        rows that were not found.
    """

    card: AttackCard
    protection: str
    says: str
    auc: float | None = None
    at_1_percent: float | None = None
    error: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values in one level."""
        figures = {name: value for name, value in asdict(self).items() if name != "card"}
        return {"attack": self.card.name, "who": self.card.who, "needs": self.card.needs, **figures}
