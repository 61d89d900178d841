"""The model card: what a model is for, what it reads, how well it does on what, and where it must not be trusted.

References
----------
Mitchell et al., "Model Cards for Model Reporting", FAT* 2019: the sections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkbund.core.arrays import plain
from werkbund.core.text import one_line
from werkbund.model.contract import Model

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]|~#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_LINK = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
_LIST = re.compile(r"^(\d*)([-+=.)])")


@dataclass(frozen=True)
class CardFacts:
    """Hold what the model itself does not know: how it was trained and how it did.

    Parameters
    ----------
    name, created
        Of the run; `created` in ISO 8601.
    data
        Origin of the rows, such as source, note, sha256, rows, positives.
    training
        Such as clients, rounds, seed, strategy.
    metrics
        By who was compared (such as "federated", "pooled") and metric; None or NaN where undefined. On rows that
        nobody trained on.
    costs
        Of a missed failure and of a needless inspection, as the threshold was chosen.
    limits
        Sentences of one's own, added to the standing ones.
    """

    name: str
    created: str
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()


def model_card(model: Model, facts: CardFacts) -> dict[str, Any]:
    """Return the card as plain values that JSON can hold; NaN and infinity become None."""
    card = {
        "name": facts.name,
        "created": facts.created,
        "purpose": f"Probability of {model.label!r} for one row of machine readings.",
        "model": _model(model),
        "inputs": _inputs(model),
        "outputs": {
            "probability": "float64 in [0, 1]",
            "decision": f"true if the probability is at least {model.threshold_probability:.6g}",
        },
        "threshold_probability": model.threshold_probability,
        "costs": dict(facts.costs),
        "data": dict(facts.data),
        "training": dict(facts.training),
        "metrics": {who: dict(values) for who, values in facts.metrics.items()},
        "limits": [*_standing_limits(model), *facts.limits],
    }
    written: dict[str, Any] = plain(card)
    return written


def _model(model: Model) -> dict[str, Any]:
    return {
        **model.about(),
        "derived": {feature.name: feature.expression for feature in model.preparation.derived},
        "fingerprint": model.fingerprint,
    }


def _inputs(model: Model) -> list[dict[str, Any]]:
    preparation = model.preparation
    units = preparation.units or ("",) * len(preparation.numeric)
    rows = zip(preparation.numeric, units, preparation.mean, preparation.scale, strict=False)
    numbers: list[dict[str, Any]] = [
        {"name": name, "type": "number", "unit": unit, "mean": mean, "standard_deviation": scale}
        for name, unit, mean, scale in rows
    ]
    levels = ({"name": name, "type": "category", "levels": list(known)} for name, known in preparation.categories)
    return [*numbers, *levels]


def _standing_limits(model: Model) -> list[str]:
    limits = [
        "Feed raw values in the units listed; the model scales them itself.",
        "It has learnt from the machines of the clients named; on machines or climates far from the means listed, "
        "its probabilities are extrapolation.",
        "The threshold follows the costs and the share of failures of the validation rows; choose it anew if "
        "either changes.",
    ]
    if model.preparation.categories:
        limits.append("A category level that no client had counts as unknown: it has no feature of its own.")
    return limits


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return what `model_card` returned as a page of Markdown.

    Names and other texts may come from strangers: they are shown letter by letter, and no mark of Markdown or HTML in
    them has a meaning.
    """
    purpose, created = _as_text(str(card["purpose"])), _as_text(str(card["created"]))
    sections = [
        f"# Model card: {_as_text(str(card['name']))}",
        f"{purpose} Created {created}, fingerprint {_as_text(str(card['model']['fingerprint']))}.",
        "## Inputs",
        _input_table(card["inputs"]),
        "## Outputs",
        _bullets(card["outputs"]),
        "## Model",
        _bullets({key: value for key, value in card["model"].items() if key != "fingerprint"}),
    ]
    for title in ("costs", "data", "training"):
        if card[title]:
            sections += [f"## {title.capitalize()}", _bullets(card[title])]
    if card["metrics"]:
        sections += ["## Metrics on held-out rows", _metric_table(card["metrics"])]
    sections += ["## Limits", "\n".join(f"- {_shown(limit)}" for limit in card["limits"])]
    return "\n\n".join(sections) + "\n"


def _bullets(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_title(key)}: {_shown(value)}" for key, value in values.items())


def _title(key: str) -> str:
    return _as_text(key.replace("_", " "))


def _as_text(text: str) -> str:
    """Return Markdown that shows a text as it is, on one line."""
    marked = _LINK.sub(lambda mark: f"&#{ord(mark[0])};", one_line(text).strip().translate(_MARKS))
    return _LIST.sub(r"\1\\\2", marked)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_as_text(str(key))} = {_shown(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return _as_text(str(value))


def _table(header: list[str], rows: list[list[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def _input_table(inputs: list[Mapping[str, Any]]) -> str:
    keys = ["name", "type", "unit", "mean", "standard_deviation", "levels"]
    rows = [[_shown(entry.get(key, "")) for key in keys] for entry in inputs]
    return _table([_title(key) for key in keys], rows)


def _metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    rows = [[_as_text(who), *(_shown(values.get(name)) for name in names)] for who, values in metrics.items()]
    return _table(["", *map(_title, names)], rows)
