"""Errors that Werkbund raises on purpose.

    FederationError
    ├── ConfigError        a configuration or an argument breaks a rule
    ├── DataError          a table cannot be read, or does not fit its schema
    ├── ClientError        one client failed or answered something that must not be averaged
    ├── QuorumError        too few clients of a cohort answered; names each that failed
    ├── ModelError         a model cannot be built, loaded or exported
    ├── CheckpointError    a run's folder cannot be continued
    └── PrivacyBudgetError a privacy budget is spent

A message says argument, rule, value and remedy, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping


class FederationError(Exception):
    """Be the base of every error that Werkbund raises on purpose."""


class ConfigError(FederationError):
    """Report a configuration or an argument that breaks a rule."""


class DataError(FederationError):
    """Report a table that cannot be read or does not fit its schema."""


class ClientError(FederationError):
    """Report one client that failed, or whose answer must not be averaged."""


class QuorumError(FederationError):
    """Report a round in which too few clients answered.

    Parameters
    ----------
    round
        The round that could not be closed.
    needed, answered
        Number of clients: the quorum, and those whose answer was usable.
    reasons
        Why each missing client is missing, by client name.
    key
        Of the configuration, by which so many are needed.
    """

    def __init__(
        self, round: int, needed: int, answered: int, reasons: Mapping[str, str], key: str = "federation.quorum"
    ) -> None:
        self.round, self.needed, self.answered, self.reasons = round, needed, answered, dict(reasons)
        named = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items()) or "nobody was asked"
        super().__init__(
            f"round {round} needs {needed} usable answers ({key}), got {answered}: {named}. "
            f"Mend these clients or lower {key}."
        )


class ModelError(FederationError):
    """Report a model that cannot be built, loaded or exported."""


class CheckpointError(FederationError):
    """Report a run folder that cannot be continued."""


class PrivacyBudgetError(FederationError):
    """Report a privacy budget that is spent."""
