"""Which methods there are, by kind, each with its card."""

from __future__ import annotations

from typing import Any

from werkbund.aggregation import AGGREGATORS
from werkbund.core.errors import ConfigError
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
        {"name": name, "title": _TITLES.get(name, name), "policy": "-", "unbiased": True, "secure_aggregation": True}
        for name in AGGREGATORS
    ]
    return {"selection": selection, "aggregation": aggregation}


def strategy_card(name: str) -> dict[str, Any]:
    """Return the card of a selection method.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    if name not in SELECTORS and ":" not in name:
        hint = did_you_mean(name, SELECTORS) or f"; there are {', '.join(SELECTORS)}"
        raise ConfigError(f"a card is there for each selection method, got {name!r}{hint}")
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


_TITLES = {"fedavg": "Federated averaging, with server step and momentum"}
