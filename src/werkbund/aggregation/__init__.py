"""How updates become the next weights."""

from collections.abc import Mapping
from typing import Any

from werkbund.aggregation.centres import CentredClipping, GeometricMedian, NormBounding
from werkbund.aggregation.contract import Aggregator, Card, Carry, Closing, Robust, Sees, Weighting
from werkbund.aggregation.drift import CONTROL_CHANGE, FedDyn, Scaffold
from werkbund.aggregation.fair import STEEPNESS, Agnostic, QFedAvg
from werkbund.aggregation.fedavg import FedAvg
from werkbund.aggregation.fedopt import FedAdagrad, FedAdam, FedYogi
from werkbund.aggregation.judged import ValidationWeights
from werkbund.aggregation.neighbours import Bulyan, Krum, MultiKrum, SybilFilter
from werkbund.aggregation.nova import ACCUMULATION, FedNova
from werkbund.aggregation.order import CoordinateMedian, TrimmedMean
from werkbund.aggregation.sums import SumRule, Sums
from werkbund.core.kinds import Field
from werkbund.core.methods import Option, Registry, options_of

_OF_SUMS: tuple[type[Any], ...] = (FedAvg, FedAdagrad, FedAdam, FedYogi, FedNova, QFedAvg, Agnostic, Scaffold, FedDyn)
_ROBUST: tuple[type[Any], ...] = (
    CoordinateMedian,
    TrimmedMean,
    Krum,
    MultiKrum,
    Bulyan,
    GeometricMedian,
    CentredClipping,
    NormBounding,
    SybilFilter,
    ValidationWeights,
)

AGGREGATORS: dict[str, type[Any]] = {method.name: method for method in (*_OF_SUMS, *_ROBUST)}
"""The rules by name. One of your own is registered by `register`, or named by where it stands."""

FOLDED: tuple[Field, ...] = (ACCUMULATION, STEEPNESS, CONTROL_CHANGE)
"""What the shipped rules fold beside an update, each array with its form and its bounds: it may leave a client."""

DEFAULT = FedAvg.name
"""The rule of a configuration that names none."""

_REGISTRY = Registry(
    key="strategy.aggregation",
    noun="an aggregator",
    parts=("weighting", "sees", "folds", "init", "outgoing", "begin", "fold", "finish"),
    methods=AGGREGATORS,
    page="docs/architecture.md",
)

register = _REGISTRY.register


def aggregator_of(name: str) -> type[Any]:
    """Return the class of an aggregator's name, or of one of your own, as for `build_aggregator`.

    Raises
    ------
    ConfigError
        If there is none.
    """
    return _REGISTRY.find(name)


def build_aggregator(name: str, **options: Any) -> Aggregator:
    """Return the aggregator of this name.

    Parameters
    ----------
    name
        One of `AGGREGATORS`, or where one of your own stands: `folder/file.py:Class` or `package.module:Class`.
    options
        Its own; `aggregation_options` lists them.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option is unknown or breaks its rule.
    """
    made: Aggregator = _REGISTRY.build(name, options)
    return made


def aggregation_options(name: str) -> dict[str, Option]:
    """Return an aggregator's options, each with its default, its range and what it is for."""
    return options_of(aggregator_of(name))


def check_option_names(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the aggregator of a name does not take.

    Raises
    ------
    ConfigError
        If there are any; it names the nearest known one, and all that are known.
    """
    _REGISTRY.check_names(name, options, aggregation_options(name))


__all__ = [
    "AGGREGATORS",
    "DEFAULT",
    "FOLDED",
    "Aggregator",
    "Agnostic",
    "Bulyan",
    "Card",
    "Carry",
    "CentredClipping",
    "Closing",
    "CoordinateMedian",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedDyn",
    "FedNova",
    "FedYogi",
    "GeometricMedian",
    "Krum",
    "MultiKrum",
    "NormBounding",
    "QFedAvg",
    "Robust",
    "Scaffold",
    "Sees",
    "SumRule",
    "Sums",
    "SybilFilter",
    "TrimmedMean",
    "ValidationWeights",
    "Weighting",
    "aggregation_options",
    "aggregator_of",
    "build_aggregator",
    "check_option_names",
    "register",
]
