"""The survey's map of client selection, and which of our methods stand where in it.

Generated from the methods' own cards and declarations, so that it cannot say what they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from werkbund.selection import SELECTORS, Card, Declaration, build_selector

Match = Callable[[Card, Declaration], bool]

_AGGREGATION = "weights in the aggregate, not a choice of clients"


@dataclass(frozen=True)
class Category:
    """Name one category of the survey.

    Parameters
    ----------
    name
        As the survey calls it.
    match
        Which methods stand there.
    otherwise
        What is said where none does: where such methods belong, or why they are left out.
    """

    name: str
    match: Match
    otherwise: str = "none"


def _says(attribute: str, *words: str) -> Match:
    """Match methods whose card has one of these words in an attribute."""
    return lambda card, declared: any(word in str(getattr(card, attribute)) for word in words)


def _without(*assumptions: str) -> Match:
    """Match methods that make none of these assumptions."""
    return lambda card, declared: not declared.assumes & set(assumptions)


DIMENSIONS: dict[str, tuple[Category, ...]] = {
    "Policy": (
        Category("training efficiency", _says("policy", "training efficiency")),
        Category("limit round time", _says("policy", "limit round time")),
        Category("limit participation or energy", _says("policy", "limit participation")),
        Category("selection fairness", _says("policy", "selection fairness")),
        Category("good-intent fairness, accuracy parity", _says("policy", "parity", "good-intent"), _AGGREGATION),
        Category("resilience", _says("policy", "resilience"), _AGGREGATION),
        Category("client inclusion", _says("policy", "client inclusion")),
        Category("incentives", _says("policy", "incentives")),
    ),
    "Termination": (
        Category("fixed rounds", _says("termination", "fixed rounds")),
        Category("target accuracy", _says("termination", "target accuracy")),
        Category("limited energy, reward or other resource", _says("termination", "limited")),
        Category("early stop", _says("termination", "early stop")),
    ),
    "Client characteristics": (
        Category("works where clients are not always available", _without("available")),
        Category("works without addressing clients", _without("addressable"), "none: a plant has a name here"),
        Category("stateless", _without("stateful")),
        Category("works where clients fail", _without("reliable")),
        Category("works without trust in what clients tell", _without("trustworthy")),
    ),
    "Shared information": (
        Category("nothing beside the update", _says("shared", "nothing", "parameters", "updates")),
        Category(
            "scalar descriptors",
            _says("shared", "rows", "loss", "time", "norm", "battery", "duration", "whether", "bid"),
        ),
        Category("compressed data", _says("shared", "centroids")),
    ),
    "Value generation": (
        Category("loss", _says("generation", "loss")),
        Category("utility", _says("generation", "utility")),
        Category("bandit", _says("generation", "bandit")),
        Category("Shapley values", _says("generation", "Shapley")),
        Category("validation set on the server", _says("generation", "validation set")),
        Category("clustering", _says("generation", "clustering")),
        Category("time", _says("generation", "time-based")),
        Category("auction", _says("generation", "auction")),
        Category("update geometry (not in the survey)", _says("generation", "geometry", "norm")),
        Category("reinforcement learning", _says("generation", "reinforcement"), "out of scope, see below"),
        Category("Stackelberg game, contract theory", _says("generation", "Stackelberg"), "out of scope, see below"),
        Category("model compression", _says("generation", "compression"), "another kind of method: smaller models"),
    ),
    "Value interpretation": (
        Category("ranking", _says("interpretation", "ranking")),
        Category("probability", _says("interpretation", "probability")),
        Category("clusters", _says("interpretation", "clusters")),
        Category("threshold", _says("interpretation", "threshold")),
        Category("weights", _says("interpretation", "weights"), _AGGREGATION),
        Category("with exploration", _says("interpretation", "exploration")),
    ),
}
"""The six dimensions of the survey with their categories.

References
----------
Németh, Lozano, Quadrianto, Oliver, "A Snapshot of the Frontiers of Client Selection in Federated Learning", TMLR 2022.
"""


def coverage() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield each dimension and category with the methods that stand there, and what is said where none does."""
    known: dict[str, tuple[Any, Declaration]] = {
        name: (selector.card, build_selector(name).declaration) for name, selector in SELECTORS.items()
    }
    for dimension, categories in DIMENSIONS.items():
        for category in categories:
            names = tuple(name for name, (card, declared) in known.items() if category.match(card, declared))
            yield dimension, category.name, names, category.otherwise


def survey_map() -> str:
    """Return the map as a table in Markdown."""
    lines = ["| dimension | category | methods |", "| --- | --- | --- |"]
    last = ""
    for dimension, category, names, otherwise in coverage():
        shown = "" if dimension == last else dimension
        methods = ", ".join(f"`{name}`" for name in names) if names else f"*{otherwise}*"
        lines.append(f"| {shown} | {category} | {methods} |")
        last = dimension
    return "\n".join(lines)


def method_table() -> str:
    """Return a table in Markdown with a row a method: what it shares, whether it is unbiased and allows secure sums."""
    lines = [
        "| method | what it is | source | clients share | unbiased | secure aggregation |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, selector in SELECTORS.items():
        declared = build_selector(name).declaration
        unbiased, secure = ("yes" if flag else "no" for flag in (declared.unbiased, declared.secure_aggregation))
        lines.append(
            f"| `{name}` | {selector.card.title} | {declared.source} | {selector.card.shared} | {unbiased} | {secure} |"
        )
    return "\n".join(lines)
