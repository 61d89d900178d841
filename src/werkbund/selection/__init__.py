"""Who trains: selectors, each with what it needs to know and what it costs."""

from typing import Any

from werkbund.core.methods import Registry, options_of
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

_REGISTRY = Registry(
    key="strategy.selection",
    noun="a selector",
    parts=("declaration", "probe", "choose", "observe"),
    methods=SELECTORS,
    page="docs/selection.md",
)

_SIZE = "size"
"""The field of a selector that has a cohort's size; a configuration says it by fraction or count."""

register = _REGISTRY.register


def build_selector(name: str, fraction: float = 1.0, count: int | None = None, **options: Any) -> Selector:
    """Return the selector of this name.

    Parameters
    ----------
    name
        One of `SELECTORS`, or where one of your own stands: `folder/file.py:Class` or `package.module:Class`.
    fraction, count
        Size of the cohort; see `CohortSize`.
    options
        The method's own parameters; `parameters_of` lists them.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option is unknown, of another type or out of range.
    """
    _REGISTRY.check_names(name, options, parameters_of(name))
    size = CohortSize(fraction, count)
    sized = {_SIZE: size} if _SIZE in options_of(selector_of(name)) else {}
    built: Selector = _REGISTRY.build(name, {**sized, **options})
    return built


def selector_of(name: str) -> type[Any]:
    """Return the class of a selector, by a name that `build_selector` takes.

    Raises
    ------
    ConfigError
        If no method has this name, or the class of your own cannot be loaded.
    """
    return _REGISTRY.find(name)


def parameters_of(name: str) -> dict[str, Any]:
    """Return a method's own parameters with their defaults."""
    return {key: option.default for key, option in options_of(selector_of(name)).items() if key != _SIZE}


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
