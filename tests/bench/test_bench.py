"""A whole small bench: every run is done once, uniform at equal cost is added, and what was done is not done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.bench import SETTINGS, Benched, Outcome, Plan, bench, plan_of
from werkbund.bench.cases import Bench
from werkbund.config import check_config
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.report import bench_sentence, read_bench

SELECTORS = ("uniform", "pow-d")
_BOTH = ("natural", "label-noise")


def _plan(selectors: tuple[str, ...] = SELECTORS, settings: tuple[str, ...] = _BOTH) -> Plan:
    config = check_config(
        {
            "federation": {"rounds": 6},
            "data": {"source": "generator", "rows": 1200},
            "clients": {"count": 8},
            "training": {"batched": False},
        }
    )
    return plan_of(config, selectors, settings, range(2), cohort=2)


class _Heard:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.outcomes: list[Outcome] = []

    def stage(self, what: str, runs: int, done: int) -> None:
        self.stages.append((what, runs, done))

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Benched, _Heard]:
    heard = _Heard()
    folder = tmp_path_factory.mktemp("bench") / "bench"
    return bench(_plan(), out=folder, workers=1, listener=heard, command=("werkbund", "bench")), heard


def test_every_selector_runs_in_every_setting_with_every_seed(done: tuple[Benched, _Heard]) -> None:
    benched, heard = done
    assert heard.stages[0] == ("each selector", 8, 0)
    assert {(outcome.case.setting, outcome.case.seed, outcome.case.selector) for outcome in heard.outcomes[:8]} == {
        (setting, seed, selector)
        for setting in ("natural", "label-noise")
        for seed in (0, 1)
        for selector in ("uniform", "pow-d")
    }
    assert all(not outcome.error and outcome.figures["rounds"] == 6.0 for outcome in heard.outcomes)
    assert benched.report.is_file()


def test_a_method_that_asks_more_clients_faces_a_uniform_that_trains_as_many(done: tuple[Benched, _Heard]) -> None:
    _, heard = done
    asked = {
        (outcome.case.setting, outcome.case.seed): outcome
        for outcome in heard.outcomes
        if outcome.case.selector == "pow-d"
    }
    matched = list(heard.outcomes[8:])
    assert {outcome.case.selector for outcome in matched} == {"uniform"}
    for outcome in matched:
        contacts = asked[outcome.case.setting, outcome.case.seed].figures["contacts"]
        assert outcome.case.count == round(contacts) > 2
        assert outcome.figures["cohort"] <= outcome.case.count


def test_the_difference_is_that_of_the_runs(done: tuple[Benched, _Heard]) -> None:
    benched, heard = done
    score = {
        (outcome.case.setting, outcome.case.seed, outcome.case.selector, outcome.case.count): outcome.figures[
            "average_precision"
        ]
        for outcome in heard.outcomes
    }
    counts = {(s, seed): c for (s, seed, name, c) in score if name == "uniform" and c > 2}
    expected = [
        np.mean(
            [
                score[s, seed, "pow-d", 2] - score[s, seed, "uniform", counts[s, seed]]
                for s in SETTINGS
                if (s, seed) in counts
            ]
        )
        for seed in (0, 1)
    ]
    line = next(row for row in benched.result["lines"] if (row["selector"], row["setting"]) == ("pow-d", "all"))
    assert line["equal_cost"]["mean"] == pytest.approx(float(np.mean(expected)))
    uniform = next(row for row in benched.result["lines"] if (row["selector"], row["setting"]) == ("uniform", "all"))
    assert uniform["equal_cost"]["mean"] == 0.0
    assert uniform["savings"]["bytes"]["mean"] == pytest.approx(1.0)


def test_the_course_costs_what_the_rounds_before_it_cost(done: tuple[Benched, _Heard]) -> None:
    _, heard = done
    for outcome in heard.outcomes:
        course = outcome.course
        assert course is not None
        assert course.rounds.tolist() == list(range(7))
        for costs in (course.seconds, course.joules, course.bytes):
            assert costs[0] == 0.0
            assert (np.diff(costs) > 0).all()
        assert course.joules[-1] == pytest.approx(outcome.figures["joules"])


def test_the_same_bench_in_the_same_folder_does_nothing_again(done: tuple[Benched, _Heard]) -> None:
    benched, _ = done
    heard = _Heard()
    again = bench(_plan(), out=benched.folder, workers=1, listener=heard)
    assert heard.outcomes == []
    assert again.result["lines"] == benched.result["lines"]


def test_a_bench_that_was_cut_off_goes_on(done: tuple[Benched, _Heard], tmp_path: Path) -> None:
    benched, whole = done
    lines = (benched.folder / "outcomes.jsonl").read_text().splitlines()
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "plan.json").write_text((benched.folder / "plan.json").read_text())
    (folder / "outcomes.jsonl").write_text("\n".join(lines[:5]) + "\n" + lines[5][:40])
    heard = _Heard()
    again = bench(_plan(), out=folder, workers=1, listener=heard)
    assert len(heard.outcomes) == len(whole.outcomes) - 5
    assert again.result["lines"] == benched.result["lines"]
    written = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    assert len(written) == len(whole.outcomes)


def test_another_bench_in_the_same_folder_is_refused(done: tuple[Benched, _Heard]) -> None:
    with pytest.raises(CheckpointError, match="holds another bench"):
        bench(_plan(settings=("natural",)), out=done[0].folder, workers=1)


def test_two_processes_give_the_same_as_one(done: tuple[Benched, _Heard], tmp_path: Path) -> None:
    plan = _plan(("uniform",), ("natural",))
    measured = bench(plan, out=tmp_path / "two", workers=2).result["lines"]
    mine = [line for line in done[0].result["lines"] if (line["selector"], line["setting"]) == ("uniform", "natural")]
    assert [line["figures"]["average_precision"] for line in measured] == [
        line["figures"]["average_precision"] for line in mine
    ]


def test_a_run_that_fails_is_told_and_the_bench_goes_on() -> None:
    config = check_config(
        {
            "federation": {"rounds": 2, "quorum": 1.0},
            "data": {"source": "generator", "rows": 600},
            "clients": {"count": 4},
            "world": {"preset": "uniform", "deadline_s": 1e-6},
        }
    )
    plan = plan_of(config, ["uniform"], ["natural"], range(2), cohort=2)
    outcome = Bench(plan.base).run(next(plan.cases()))
    assert "quorum" in outcome.error
    assert outcome.figures == {}


def test_an_outcome_goes_through_json(done: tuple[Benched, _Heard]) -> None:
    for outcome in done[1].outcomes:
        back = Outcome.from_json(json.loads(json.dumps(outcome.to_json())))
        assert back.case == outcome.case
        assert back.figures == outcome.figures
        assert back.course is not None
        assert outcome.course is not None
        assert back.course.scores == pytest.approx(outcome.course.scores, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selectors": ["uniformm"]}, "--selectors must be among all, .*did you mean uniform"),
        ({"settings": ["natral"]}, "--partitions must be among .*did you mean natural"),
        ({"seeds": [0]}, "--seeds must be at least 2"),
        ({"cohort": 9}, "--cohort must be in 1..8"),
        ({"target": 1.5}, "--target must be"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    config = check_config({"clients": {"count": 8}})
    values: dict[str, Any] = {"selectors": ["uniform"], "settings": ["natural"], "seeds": range(2), "cohort": 2}
    with pytest.raises(ConfigError, match=message):
        plan_of(config, **{**values, **changes})


def test_a_plan_fills_in_what_is_not_said() -> None:
    plan = plan_of(check_config({}), ["all"], ["all"], range(5))
    assert (plan.num_clients, plan.cohort, plan.settings) == (60, 10, tuple(SETTINGS))
    assert plan.base.world.preset == "factory-fleet"
    assert plan.base.clients.server == 0.5
    assert len(list(plan.cases())) == len(plan.selectors) * 5 * 5
    assert plan_of(check_config({}), ["pow-d"], ["natural"], range(2)).selectors == ("uniform", "pow-d")


def test_a_minus_leaves_a_method_out() -> None:
    plan = plan_of(check_config({}), ["all", "-fedcor"], ["natural"], range(2))
    everybody = plan_of(check_config({}), ["all"], ["natural"], range(2))
    assert set(everybody.selectors) - set(plan.selectors) == {"fedcor"}
    with pytest.raises(ConfigError, match="did you mean fedcor"):
        plan_of(check_config({}), ["all", "-fedcorr"], ["natural"], range(2))


def test_the_report_says_the_same(done: tuple[Benched, _Heard]) -> None:
    measured = read_bench(done[0].folder)
    sentence = bench_sentence(measured)
    assert "of 1" in sentence
    page = done[0].report.read_text()
    assert sentence in page
    for words in ("Against uniform at equal cost", "Where it helps", "Whom it leaves out", "To the target"):
        assert words in page
