"""Rules that end a training, each by itself and in a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from werkbund.config import check_config
from werkbund.evaluation.stopping import (
    AllRounds,
    Budget,
    EarlyStop,
    Progress,
    Tally,
    TargetReached,
    reason_to_stop,
)
from werkbund.federation import resume, run
from werkbund.federation.wiring import stop_rules


def _config(**sections: Any) -> Any:
    base: dict[str, Any] = {
        "federation": {"rounds": 8, **sections.pop("federation", {})},
        "data": {"source": "generator", "rows": 900},
        "clients": {"count": 6},
        "training": {"batched": False},
    }
    return check_config({**base, **sections})


def test_each_rule_by_itself() -> None:
    assert AllRounds(3).reason(Progress(3)) == "all 3 rounds done"
    assert AllRounds(3).reason(Progress(2)) is None
    patient = EarlyStop(2, "brier")
    assert patient.reason(Progress(4, best_round=1)) == "no better validation brier for 2 rounds"
    assert patient.reason(Progress(3, best_round=1)) is None
    assert "reached 0.8" in str(TargetReached(0.75, "average_precision").reason(Progress(1, 0.8)))
    assert TargetReached(0.75, "average_precision").reason(Progress(1, 0.7)) is None
    assert TargetReached(0.75, "average_precision").reason(Progress(1, math.nan)) is None
    assert TargetReached(0.1, "brier").reason(Progress(1, 0.2)) is None
    assert TargetReached(0.1, "brier").reason(Progress(1, 0.05)) is not None
    spent = Tally(joules=10.0)
    assert "10 of stop.joules = 10" in str(Budget("joules", 10).reason(Progress(1, spent=spent)))
    assert Budget("joules", 10.1).reason(Progress(1, spent=spent)) is None


def test_a_configuration_sets_rules_and_the_first_that_stops_says_why() -> None:
    rules = stop_rules(_config(federation={"patience": 2}, stop={"target": 0.5, "joules": 3.0, "bytes": 1e9}))
    kinds = [type(rule).__name__ for rule in rules]
    assert kinds == ["EarlyStop", "TargetReached", "Budget", "Budget", "AllRounds"]
    assert reason_to_stop(rules, Progress(1, 0.1, 0)) is None
    assert reason_to_stop(rules, Progress(8, 0.9, 7)) == "validation average_precision reached 0.9 (stop.target = 0.5)"
    assert [type(rule).__name__ for rule in stop_rules(_config())] == ["AllRounds"]


def test_a_tally_goes_through_json() -> None:
    tally = Tally(1.0, 2.0, 3.0, 4.0, 5.0)
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally
    assert Tally.from_json({}) == Tally()


@pytest.mark.parametrize(
    ("stop", "world", "selection"),
    [
        ({"bytes": 1.0}, {}, {}),
        ({"joules": 1e-6}, {"preset": "uniform"}, {}),
        ({"simulated_seconds": 1e-6}, {"preset": "uniform"}, {}),
        ({"target": 1e-6}, {}, {}),
        ({"reward": 1e-12}, {"preset": "factory-fleet"}, {"name": "fmore", "count": 3}),
    ],
)
def test_a_budget_or_a_target_ends_a_run_and_says_so(
    tmp_path: Path, stop: dict[str, float], world: dict[str, Any], selection: dict[str, Any]
) -> None:
    config = _config(stop=stop, world=world, strategy={"selection": selection})
    done = run(config, out=tmp_path / "run", compare=False)
    assert done.summary["rounds"] == 1
    assert f"stop.{next(iter(stop))}" in str(done.summary["stopped"])


def test_a_run_that_stopped_by_budget_has_no_more_to_do_when_it_is_resumed(tmp_path: Path) -> None:
    config = _config(stop={"joules": 1e-6}, world={"preset": "uniform"})
    first = run(config, out=tmp_path / "run", compare=False)
    again = resume(tmp_path / "run")
    assert again.summary["rounds"] == first.summary["rounds"] == 1
    assert again.summary["stopped"] == first.summary["stopped"]


def test_what_was_spent_before_a_stop_counts_after_it(tmp_path: Path) -> None:
    world = {"preset": "factory-fleet"}
    whole = run(_config(world=world), out=tmp_path / "whole", compare=False)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "rounds.jsonl").read_text().splitlines()]
    joules = [line.get("joules", 0.0) for line in lines]
    limit = sum(joules[:5]) - 1e-9
    done = run(_config(world=world, stop={"joules": limit}), out=tmp_path / "limited", compare=False)
    assert done.summary["rounds"] == 5 < whole.summary["rounds"]
    spent = json.loads((tmp_path / "limited" / "result.json").read_text())["spent"]
    assert spent["joules"] == pytest.approx(sum(joules[:5]))
    assert spent["bytes"] > 0
