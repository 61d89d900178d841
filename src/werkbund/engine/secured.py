"""Rounds of which the server learns sums over clients alone."""

from __future__ import annotations

from werkbund.aggregation.contract import Aggregator
from werkbund.core.errors import ConfigError
from werkbund.selection.contract import OF_THE_UPDATE, Selector


def check_sums(selector: Selector, aggregator: Aggregator) -> None:
    """Refuse a method that needs more of single clients than a secure sum shows, by what it declares.

    Raises
    ------
    ConfigError
        If there is one; names both, and where to look for others.
    """
    declared, names = selector.declaration, [getattr(one, "name", type(one).__name__) for one in (selector, aggregator)]
    remedy = "choose one that `werkbund strategies` lists with secure aggregation, such as {}, or drop secure sums"
    if not declared.secure_aggregation:
        signals = ", ".join(sorted(declared.needs & OF_THE_UPDATE))
        raise ConfigError(
            f"strategy.selection.name must be a method that works with privacy.secure_sums, got {names[0]!r}, which "
            f"needs the {signals} of single updates; {remedy.format('uniform or md')}"
        )
    if aggregator.sees == "each":
        raise ConfigError(
            f"strategy.aggregation.name must be a rule that works with privacy.secure_sums, got {names[1]!r}, which "
            f"must see every update in clear; {remedy.format('fedavg or fedadam')}"
        )
