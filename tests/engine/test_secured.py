"""What goes with secure sums follows from what methods declare, and cards say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from werkbund.aggregation import AGGREGATORS, FedAvg, build_aggregator
from werkbund.cli.cards import strategies
from werkbund.config import check_config
from werkbund.core import ConfigError
from werkbund.engine import Strategy, SumTerms
from werkbund.engine.secured import check_sums
from werkbund.selection import SELECTORS, Everyone, build_selector

LISTED = strategies()


def _goes(selector: str, aggregator: str) -> bool:
    said = ""
    try:
        check_sums(build_selector(selector), build_aggregator(aggregator))
    except ConfigError as error:
        said = str(error)
    both = "privacy.secure_sums" in said and repr(selector if "strategy.selection" in said else aggregator) in said
    assert both is bool(said)
    return not said


@pytest.mark.parametrize(
    ("kind", "count", "least_refused"), [("selection", len(SELECTORS), 7), ("aggregation", len(AGGREGATORS), 9)]
)
def test_what_a_card_says_of_secure_aggregation_is_what_a_run_takes(kind: str, count: int, least_refused: int) -> None:
    cards = LISTED[kind]
    said = {card["name"]: card["secure_aggregation"] for card in cards}
    goes = {name: _goes(name, "fedavg") if kind == "selection" else _goes("all", name) for name in said}
    assert goes == said
    assert len(said) == count
    assert list(said.values()).count(False) >= least_refused


def test_a_strategy_of_sums_refuses_what_must_see_single_updates() -> None:
    Strategy(Everyone(), FedAvg(), secure_sums=SumTerms("a run"))
    Strategy(Everyone(), build_aggregator("median"))
    with pytest.raises(ConfigError, match="'median', which must see every update in clear; choose one that"):
        Strategy(Everyone(), build_aggregator("median"), secure_sums=SumTerms("a run"))
    with pytest.raises(ConfigError, match="'divfl', which needs the update of single updates; choose one that"):
        Strategy(build_selector("divfl"), FedAvg(), secure_sums=SumTerms("a run"))


SECTIONS: dict[str, dict[str, Any]] = {
    "strategy.pace.close": {"strategy": {"pace": {"close": "first", "updates": 2}}},
    "strategy.clusters.name": {"strategy": {"clusters": {"name": "cfl"}}},
    "model.initial": {"model": {"initial": "client"}},
    "evaluation.contributions": {"evaluation": {"contributions": True}},
    "strategy.aggregation.clip_norm": {"strategy": {"aggregation": {"clip_norm": 1.0}}},
    "attack.kind": {"attack": {"kind": "sign-flip"}},
}


@pytest.mark.parametrize("key", SECTIONS)
def test_a_section_that_needs_single_answers_is_refused_by_both_keys(key: str) -> None:
    sections: Mapping[str, Any] = SECTIONS[key]
    assert not check_config(sections).privacy.secure_sums
    with pytest.raises(ConfigError, match=rf"^{key} must be .*; or set privacy\.secure_sums = false$"):
        check_config({**sections, "privacy": {"secure_sums": True}})
    assert check_config({"privacy": {"secure_sums": True, "colluding": 0, "strict": True}}).privacy.strict
