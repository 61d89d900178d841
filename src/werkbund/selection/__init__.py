"""Who trains: selectors, each with what it needs to know and what it costs."""

from collections.abc import Callable
from typing import Any

from werkbund.core.errors import ConfigError
from werkbund.selection.contract import CohortSize, Declaration, Reports, Selector, State, View
from werkbund.selection.simple import Everyone, RoundRobin, Uniform

SELECTORS: dict[str, Callable[[CohortSize], Selector]] = {
    "uniform": Uniform,
    "all": lambda size: Everyone(),
    "round-robin": RoundRobin,
}


def build_selector(name: str, **options: Any) -> Selector:
    """Return the selector of this name.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option does not fit.
    """
    if name not in SELECTORS:
        raise ConfigError(f"strategy.selection.name must be one of {', '.join(SELECTORS)}, got {name!r}")
    try:
        size = CohortSize(**options)
    except TypeError as error:
        raise ConfigError(f"strategy.selection of {name!r} takes no such option: {error}") from error
    return SELECTORS[name](size)


__all__ = [
    "SELECTORS",
    "CohortSize",
    "Declaration",
    "Everyone",
    "Reports",
    "RoundRobin",
    "Selector",
    "State",
    "Uniform",
    "View",
    "build_selector",
]
