"""What each client contributed to a round, beside rounds that were really done without some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conftest import Federation
from werkbund.aggregation import FedAvg
from werkbund.core.errors import ConfigError
from werkbund.engine import RunState, one_round
from werkbund.engine.crediting import Crediting, check_crediting
from werkbund.privacy import Stack

TARGET = np.linspace(-1, 1, 5).astype(np.float32)


def _score(weights: Any) -> float:
    return -float(np.square(weights - TARGET).sum())


def _told(players: Any, game: Any, rng: Any) -> dict[str, Any]:
    places = range(len(players))
    coalitions = [(), *((place,) for place in places), tuple(places)]
    return {"clients": list(players), "scores": {str(coalition): game(coalition) for coalition in coalitions}}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_coalitions_score_is_that_of_a_round_of_these_clients(momentum: float, federation: Any) -> None:
    def built(left_out: tuple[int, ...] = ()) -> Federation:
        made: Federation = federation((20, 33, 7), aggregator=FedAvg(momentum=momentum), left_out=left_out)
        return replace(made, rules=replace(made.rules, crediting=Crediting(_score, _told)))

    whole = built()
    first, _ = one_round(whole.grid, whole.strategy, whole.rules, whole.state)
    second, record = one_round(whole.grid, whole.strategy, whole.rules, first)
    scores = record.credits["scores"]
    assert scores[str((0, 1, 2))] == pytest.approx(_score(second.weights), rel=1e-5)
    assert scores["()"] == pytest.approx(_score(first.weights))
    for client in range(3):
        alone = built(tuple(other for other in range(3) if other != client))
        after, _ = one_round(alone.grid, alone.strategy, alone.rules, RunState(1, first.weights, first.carry))
        assert scores[str((client,))] == pytest.approx(_score(after.weights), rel=1e-5)


def test_without_crediting_nothing_is_told(federation: Any) -> None:
    built = federation()
    assert one_round(built.grid, built.strategy, built.rules, built.state)[1].credits == {}


def test_what_cannot_be_ended_for_some_clients_alone_is_refused() -> None:
    class Folding(FedAvg):
        folds = ("control",)

    class Seeing(FedAvg):
        sees = "each"

    layers: Any = (object(),)
    for rule, stack, why in (
        (Folding(), Stack(), "fedavg keeps or folds more than updates"),
        (Seeing(), Stack(), "fedavg must see each update, and a least number of them"),
        (FedAvg(), Stack(layers), "layers of privacy hide single updates"),
    ):
        with pytest.raises(ConfigError, match=f"evaluation.contributions must be false where {why}"):
            check_crediting(rule, stack)
    check_crediting(FedAvg(), Stack())
