"""Values that every part shares: clients' tables, weights, tasks, replies, records, randomness, errors."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.core.clients import ClientSplits, ClientTable
    from werkbund.core.errors import (
        CheckpointError,
        ClientError,
        ConfigError,
        DataError,
        FederationError,
        ModelError,
        PrivacyBudgetError,
        QuorumError,
    )
    from werkbund.core.types import Choice, Failure, Replies, RoundRecord, Tasks
    from werkbund.core.weights import Layout
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "CheckpointError",
    "Choice",
    "ClientError",
    "ClientSplits",
    "ClientTable",
    "ConfigError",
    "DataError",
    "Failure",
    "FederationError",
    "Layout",
    "ModelError",
    "PrivacyBudgetError",
    "QuorumError",
    "Replies",
    "RoundRecord",
    "Tasks",
]
