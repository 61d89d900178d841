"""What an update counts by a number that the server knows: one declared for its client, or the aggregator's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from werkbund.aggregation.contract import Aggregator, Carry, keeps_updates, own_factors
from werkbund.core.arrays import Arrays, Float64Array
from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean
from werkbund.core.types import Choice

FACTOR = "factor"
"""Name of the declared factors, among the facts about clients."""


def declared_factors(by_name: Mapping[str, float], names: Sequence[str]) -> Arrays:
    """Return the factor that is declared for each client, (clients,) under its name, 1 where none is; nothing for none.

    Parameters
    ----------
    by_name
        Client's name -> factor.
    names
        Of all clients, in their order.

    Raises
    ------
    ConfigError
        If there is no client of a name.

    Examples
    --------
    >>> declared_factors({"north": 2.0}, ["south", "north"])["factor"].tolist()
    [1.0, 2.0]
    """
    unknown = [name for name in by_name if name not in names]
    if unknown:
        raise ConfigError(
            f"clients.factors must name clients, got {unknown[0]!r}{did_you_mean(unknown[0], names)}; clients: "
            f"{', '.join(names[:20])}"
        )
    return {FACTOR: np.array([by_name.get(name, 1.0) for name in names])} if by_name else {}


def weighed(choice: Choice, aggregator: Aggregator, carry: Carry, facts: Arrays, num_clients: int) -> Choice:
    """Return a choice whose factors are multiplied by what each client counts, where the aggregator weighs by factors.

    Parameters
    ----------
    choice
        The selector's.
    aggregator
        Says how updates weigh.
    carry
        The aggregator's, from which its own factors follow.
    facts
        About clients, declared factors among them.
    num_clients
        Of the federation.

    Raises
    ------
    ConfigError
        If the selector weighs updates by a rule of its own where it must not, or nobody has a factor.
    """
    if keeps_updates(aggregator) and (choice.equal is False or (choice.factors != 1).any()):
        raise ConfigError(
            "strategy.selection.name must be a method that lets all updates count alike, such as all or uniform, where "
            f"clients keep what theirs are, got factors from {choice.factors.min():g} to {choice.factors.max():g}"
        )
    if aggregator.weighting != "factor":
        return choice
    if choice.equal is not None or choice.total is not None or choice.reused is not None:
        raise ConfigError(
            "strategy.selection.name must be a method that leaves it to strategy.aggregation what an update counts, "
            "where that weighs by factors, such as all or uniform; the one that is named weighs updates itself"
        )
    factors = _factors(aggregator, carry, facts, num_clients)
    return replace(choice, factors=choice.factors * factors[choice.cohort], equal=True)


def _factors(aggregator: Aggregator, carry: Carry, facts: Arrays, num_clients: int) -> Float64Array:
    own = own_factors(aggregator, carry, num_clients)
    if own is not None:
        return own
    if FACTOR not in facts:
        raise ConfigError(
            "clients.factors must give clients their factors where strategy.aggregation.weighting is factor, got none; "
            "write a line for each client under [clients.factors], or weigh by examples"
        )
    return np.asarray(facts[FACTOR], np.float64)
