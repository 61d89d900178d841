"""Who trains: selectors, each with what it needs to know and what it costs."""

from dataclasses import fields
from typing import Any

from werkbund.core.errors import ConfigError
from werkbund.core.methods import load_method
from werkbund.core.text import did_you_mean
from werkbund.selection.card import Card
from werkbund.selection.contract import CohortSize, Declaration, Reports, Selector, State, View
from werkbund.selection.methods.active import Active
from werkbund.selection.methods.auction import Auction
from werkbund.selection.methods.clustered import ClusteredBySimilarity, ClusteredBySize
from werkbund.selection.methods.correlated import CorrelatedSelection
from werkbund.selection.methods.diverse import DiverseSelection
from werkbund.selection.methods.e3cs import ExponentialWeights
from werkbund.selection.methods.energy import Battery, OortEnergy
from werkbund.selection.methods.fedcs import FedCS
from werkbund.selection.methods.hics import HierarchicalClustered
from werkbund.selection.methods.kfed import FederatedClusters
from werkbund.selection.methods.lag import LazyUpload
from werkbund.selection.methods.oort import Oort
from werkbund.selection.methods.optimal import AggregatedOptimalSampling, OptimalSampling
from werkbund.selection.methods.power import CheapPowerOfChoice, PowerOfChoice, RecentPowerOfChoice
from werkbund.selection.methods.proportional import Proportional, UniformUnbiased
from werkbund.selection.methods.rbcs import FairAndFast
from werkbund.selection.methods.shapley import GreedyShapley, ShapleyAveraging
from werkbund.selection.methods.simple import Everyone, RoundRobin, Uniform
from werkbund.selection.methods.tifl import TiFL
from werkbund.selection.methods.ucb import UpperConfidence

_SHIPPED: tuple[type[Any], ...] = (
    Uniform,
    UniformUnbiased,
    Everyone,
    RoundRobin,
    Proportional,
    Active,
    PowerOfChoice,
    CheapPowerOfChoice,
    RecentPowerOfChoice,
    OptimalSampling,
    AggregatedOptimalSampling,
    ClusteredBySize,
    ClusteredBySimilarity,
    FederatedClusters,
    DiverseSelection,
    CorrelatedSelection,
    HierarchicalClustered,
    FedCS,
    TiFL,
    Oort,
    OortEnergy,
    Battery,
    FairAndFast,
    ExponentialWeights,
    UpperConfidence,
    ShapleyAveraging,
    GreedyShapley,
    Auction,
    LazyUpload,
)

SELECTORS: dict[str, type[Any]] = {selector.name: selector for selector in _SHIPPED}
"""The methods by name. One of your own is registered by `register`."""

_PARTS = ("declaration", "probe", "choose", "observe")


def register(selector: type[Any]) -> type[Any]:
    """Make a selector of your own known by its name, so that a configuration can ask for it; also a class decorator.

    Parameters
    ----------
    selector
        A frozen dataclass with the methods of `Selector`, and with `name` and `card`.

    Raises
    ------
    ConfigError
        If the name is taken.
    """
    if SELECTORS.setdefault(selector.name, selector) is not selector:
        raise ConfigError(f"a selector of the name {selector.name!r} is there already; choose another name")
    return selector


def build_selector(name: str, fraction: float = 1.0, count: int | None = None, **options: Any) -> Selector:
    """Return the selector of this name.

    Parameters
    ----------
    name
        One of `SELECTORS`, or where one of your own stands: `folder/file.py:Class` or `package.module:Class`.
    fraction, count
        Size of the cohort; see `CohortSize`.
    options
        The method's own parameters.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option does not fit.
    """
    selector, known = selector_of(name), parameters_of(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        takes = ", ".join(known) or "none"
        raise ConfigError(f"strategy.selection of {name!r} takes no option {', '.join(unknown)}; it takes {takes}")
    size = CohortSize(fraction, count)
    is_sized = any(field.name == "size" for field in fields(selector))
    built: Selector = selector(**({"size": size} if is_sized else {}), **options)
    return built


def selector_of(name: str) -> type[Any]:
    """Return the class of a selector, by a name that `build_selector` takes.

    Raises
    ------
    ConfigError
        If no method has this name, or the class of your own cannot be loaded.
    """
    if ":" in name:
        return load_method(name, "strategy.selection.name", _PARTS, "docs/selection.md")
    if name not in SELECTORS:
        raise ConfigError(
            f"strategy.selection.name must be one of {', '.join(SELECTORS)}, or file.py:Class of your own, "
            f"got {name!r}{did_you_mean(name, SELECTORS)}"
        )
    return SELECTORS[name]


def parameters_of(name: str) -> dict[str, Any]:
    """Return a method's own parameters with their defaults."""
    return {field.name: field.default for field in fields(selector_of(name)) if field.name != "size"}


__all__ = [
    "SELECTORS",
    "Card",
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
    "parameters_of",
    "register",
    "selector_of",
]
