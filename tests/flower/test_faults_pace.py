"""Rounds that do not wait for the slow plant, with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flower.faults import answered, more_rows, start_all
from tests.flower.trials import live, small

pytestmark = pytest.mark.faults

SLOW, NUMBER, ROUNDS = "plant-3", 2, 5


def test_a_slow_plant_holds_nobody_and_its_late_updates_count(tmp_path: Path) -> None:
    pace = {"close": "buffer", "updates": 2}
    config = small(
        federation={"rounds": ROUNDS, "round_timeout_s": 120.0}, training={"epochs": 8}, strategy={"pace": pace}
    )
    with live(tmp_path, config, 3, start=False) as held:
        more_rows(held, SLOW, 40)
        start_all(held)
        running = held.submit()
        running.wait_for_end(600.0)
        lines = [line for line in running.rounds() if line["cohort"]]
        assert [line["round"] for line in lines] == list(range(1, ROUNDS + 1))
        assert [line["failures"] for line in lines] == [[]] * ROUNDS
        late = [(client, age) for line in lines for client, age in line.get("stale", ())]
        assert NUMBER in {client for client, _ in late}
        assert max(age for client, age in late if client == NUMBER) >= 1
        asked = [line["round"] for line in lines if NUMBER in line["cohort"]]
        assert asked == answered(held, SLOW)
        assert len(asked) < ROUNDS
        assert "owing" not in lines[-1]
