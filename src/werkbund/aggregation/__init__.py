"""How updates become the next weights."""

from collections.abc import Callable
from typing import Any

from werkbund.aggregation.contract import Aggregator, Carry, Sums, Weighting
from werkbund.aggregation.fedavg import FedAvg
from werkbund.core.errors import ConfigError

AGGREGATORS: dict[str, Callable[..., Aggregator]] = {"fedavg": FedAvg}


def build_aggregator(name: str, **options: Any) -> Aggregator:
    """Return the aggregator of this name.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option does not fit.
    """
    if name not in AGGREGATORS:
        raise ConfigError(f"strategy.aggregation.name must be one of {', '.join(AGGREGATORS)}, got {name!r}")
    try:
        return AGGREGATORS[name](**options)
    except TypeError as error:
        raise ConfigError(f"strategy.aggregation of {name!r} takes no such option: {error}") from error


__all__ = ["AGGREGATORS", "Aggregator", "Carry", "FedAvg", "Sums", "Weighting", "build_aggregator"]
