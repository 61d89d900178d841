"""Which methods there are, by kind, each with its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkbund.aggregation import AGGREGATORS, aggregation_options, build_aggregator
from werkbund.aggregation.clusters import CLUSTERINGS
from werkbund.aggregation.contract import needs_of
from werkbund.aggregation.personal import PERSONAL, personal_options
from werkbund.core.errors import ConfigError
from werkbund.core.methods import Option, options_of
from werkbund.core.text import did_you_mean
from werkbund.selection import SELECTORS, build_selector, parameters_of, selector_of
from werkbund.selection.contract import SIGNALS


def strategies() -> dict[str, list[dict[str, Any]]]:
    """Return all methods by kind, each with what one wants to know first."""
    selection = []
    for name, selector in SELECTORS.items():
        declared = build_selector(name).declaration
        selection.append(
            {
                "name": name,
                "title": selector.card.title,
                "policy": selector.card.policy,
                "source": declared.source,
                "needs": sorted(declared.needs),
                "unbiased": declared.unbiased,
                "secure_aggregation": declared.secure_aggregation,
            }
        )
    aggregation = [
        {
            "name": name,
            "title": rule.card.title,
            "policy": "-",
            "unbiased": rule.card.unbiased,
            "secure_aggregation": build_aggregator(name).sees == "sum",
        }
        for name, rule in AGGREGATORS.items()
    ]
    clusters = [
        {
            "name": name,
            "title": method.card.title,
            "policy": "-",
            "unbiased": method.card.unbiased,
            "secure_aggregation": False,
        }
        for name, method in CLUSTERINGS.items()
    ]
    personal = [
        {"name": name, "title": method.card.title, "policy": "-", "unbiased": True, "secure_aggregation": True}
        for name, method in PERSONAL.items()
    ]
    return {"selection": selection, "aggregation": aggregation, "clusters": clusters, "personal parts": personal}


def strategy_card(name: str) -> dict[str, Any]:
    """Return the card of a method of selection, aggregation, clusters or personal parts.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    if name in AGGREGATORS:
        return _aggregator_card(name)
    if name in CLUSTERINGS:
        return _clusters_card(name)
    if name in PERSONAL:
        return _personal_card(name)
    if name not in SELECTORS and ":" not in name:
        known = [*SELECTORS, *AGGREGATORS, *CLUSTERINGS, *PERSONAL]
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise ConfigError(f"a card is there for each method that `werkbund strategies` lists, got {name!r}{hint}")
    declared, card = build_selector(name).declaration, getattr(selector_of(name), "card", None)
    if card is None:
        raise ConfigError(f"{name} has no card to show; give the class a `card: ClassVar[Card]`")
    parameters = ", ".join(f"{key} = {value!r}" for key, value in parameters_of(name).items())
    return {
        "name": name,
        "kind": "selection",
        "title": card.title,
        "rule": card.rule,
        "facts": {
            "source": declared.source,
            "policy": card.policy,
            "stops at": card.termination,
            "assumes of clients": ", ".join(sorted(declared.assumes)) or "nothing",
            "shared": card.shared,
            "value": card.generation,
            "becomes a cohort by": card.interpretation,
            "signals": "; ".join(f"{signal}: {SIGNALS[signal]}" for signal in sorted(declared.needs)) or "none",
            "refused without": ", ".join(sorted(declared.rests_on | declared.needs & {"score"})) or "nothing",
            "unbiased": "yes" if declared.unbiased else "no",
            "secure aggregation": "works with it" if declared.secure_aggregation else "needs what single updates tell",
            "cost a round": declared.cost,
            "reveals": declared.reveals,
            "parameters": parameters or "none",
            "use it when": card.use_when,
            "not when": card.avoid_when,
        },
        "notes": list(card.notes),
    }


def _told(options: Mapping[str, Option]) -> dict[str, str]:
    return {
        f"option {key}": f"{declared.what} {declared.range}; {declared.default!r} if left out."
        for key, declared in options.items()
    }


def _clusters_card(name: str) -> dict[str, Any]:
    method = CLUSTERINGS[name]
    card = method.card
    needs = "each client's loss of every model" if method.asks_losses else "single updates in clear"
    return {
        "name": name,
        "kind": "clusters",
        "title": card.title,
        "rule": card.rule,
        "facts": {
            "source": card.source,
            "needs": needs,
            **_told(options_of(method)),
            "use it when": card.use_when,
            "not when": card.avoid_when,
        },
        "notes": list(card.notes),
    }


def _aggregator_card(name: str) -> dict[str, Any]:
    rule, card = build_aggregator(name), AGGREGATORS[name].card
    return {
        "name": name,
        "kind": "aggregation",
        "title": card.title,
        "rule": card.rule,
        "facts": {
            "source": card.source,
            "unbiased": "yes" if card.unbiased else "no",
            "bears hostile clients": card.breakdown,
            "secure aggregation": "works with it" if rule.sees == "sum" else "needs single updates in clear",
            "folded beside the update": ", ".join(rule.folds) or "nothing",
            "told by each client": ", ".join(sorted(needs_of(rule) & SIGNALS.keys() - {"score"})) or "nothing",
            **_told(aggregation_options(name)),
            "use it when": card.use_when,
            "not when": card.avoid_when,
        },
        "notes": list(card.notes),
    }


def _personal_card(name: str) -> dict[str, Any]:
    card = PERSONAL[name].card
    return {
        "name": name,
        "kind": "personal parts",
        "title": card.title,
        "rule": card.rule,
        "facts": {
            "source": card.source,
            "secure aggregation": "works with it",
            "beside it": "any rule of aggregation whose rounds close when all have answered",
            **_told(personal_options(name)),
            "use it when": card.use_when,
            "not when": card.avoid_when,
        },
        "notes": list(card.notes),
    }
