"""A whole small bench: every run is done once, uniform at equal cost is added, and what was done is not done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.bench import Benched, Outcome, Plan, bench, plan_of
from werkbund.bench.cases import Bench
from werkbund.bench.outcomes import Outcomes
from werkbund.bench.plan import CURRENCIES, SETTINGS, USUAL, Case, Rival
from werkbund.config import check_config
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.partition import PARTITIONERS
from werkbund.report import bench_sentence, read_bench

SELECTORS = ("uniform", "pow-d")
_BOTH = ("natural", "label-noise")


def _plan(selectors: tuple[str, ...] = SELECTORS, settings: tuple[str, ...] = _BOTH) -> Plan:
    config = check_config(
        {
            "federation": {"rounds": 5},
            "data": {"source": "generator", "rows": 900},
            "clients": {"count": 6},
            "training": {"batched": False},
        }
    )
    return plan_of(config, selectors, settings, range(2), cohort=2, tuned=1, momenta=(0.0, 0.5))


class _Heard:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.outcomes: list[Outcome] = []

    def stage(self, what: str, runs: int, done: int) -> None:
        self.stages.append((what, runs, done))

    def ended(self, outcome: Any) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Benched, _Heard]:
    heard = _Heard()
    folder = tmp_path_factory.mktemp("bench") / "bench"
    return bench(_plan(), out=folder, workers=1, listener=heard, command=("werkbund", "bench")), heard


def _of(heard: _Heard, seed: int) -> dict[Case, Outcome]:
    return {outcome.case: outcome for outcome in heard.outcomes if outcome.case.seed == seed}


def test_every_method_runs_in_every_setting_with_every_seed(done: tuple[Benched, _Heard]) -> None:
    benched, heard = done
    rivals = {("uniform", cohort) for cohort in (1, 2, 3, 4, 6)} | {("pow-d", 2)}
    assert [stage[1:] for stage in heard.stages] == [(24, 0), (24, 0)]
    for seed in (0, 1):
        ran = {(case.setting, case.selector, case.count) for case in _of(heard, seed)}
        assert ran == {(setting, *rival) for setting in _BOTH for rival in rivals}
    assert all(not outcome.error and outcome.figures["rounds"] == 5.0 for outcome in heard.outcomes)
    assert benched.report.is_file()


def test_the_momentum_is_chosen_on_validation_rows_of_seeds_that_are_not_reported(
    done: tuple[Benched, _Heard],
) -> None:
    benched, heard = done
    plan = _plan()
    assert set(plan.tuned) == {2}
    trials = _of(heard, 2)
    for rival in plan.rivals:
        scores = {
            momentum: np.mean([trials[rival.case(name, 2, momentum)].figures["validation"] for name in _BOTH])
            for momentum in (0.0, 0.5)
        }
        best = max(scores, key=lambda momentum: float(scores[momentum]))
        reported = (*_of(heard, 0), *_of(heard, 1))
        used = {case.momentum for case in reported if Rival(case.selector, case.count, case.rounds) == rival}
        assert used == {best}
    line = next(row for row in benched.result["lines"] if row["selector"] == "pow-d")
    assert line["momentum"] in (0.0, 0.5)


def test_the_difference_is_to_what_uniform_reaches_for_the_same_cost(done: tuple[Benched, _Heard]) -> None:
    benched, heard = done
    outcomes = Outcomes(_plan(), heard.outcomes)
    for currency in CURRENCIES:
        expected = []
        for seed in (0, 1):
            by_setting = []
            for setting in _BOTH:
                runs = [run for case, run in _of(heard, seed).items() if case.setting == setting]
                method = next(run for run in runs if run.case.selector == "pow-d")
                named = {Rival(run.case.selector, run.case.count, run.case.rounds): run for run in runs}
                ladder = [named[rival] for rival in outcomes.rungs(currency)]
                costs = np.log([run.figures[currency] for run in ladder])
                order = np.argsort(costs)
                scores = np.array([run.figures["average_precision"] for run in ladder])
                cost = np.log(method.figures[currency])
                assert cost > costs.min()
                level = np.interp(cost, costs[order], scores[order])
                by_setting.append(method.figures["average_precision"] - level)
            expected.append(np.mean(by_setting))
        line = next(row for row in benched.result["lines"] if (row["selector"], row["setting"]) == ("pow-d", "all"))
        assert line["equal"][currency]["mean"] == pytest.approx(float(np.mean(expected)))
    uniform = next(row for row in benched.result["lines"] if (row["selector"], row["setting"]) == ("uniform", "all"))
    assert uniform["cost"]["bytes"]["mean"] == pytest.approx(1.0)


def test_a_method_that_asks_more_pays_for_it_and_less_buys_less(done: tuple[Benched, _Heard]) -> None:
    benched, _ = done
    line = next(row for row in benched.result["lines"] if (row["selector"], row["setting"]) == ("pow-d", "all"))
    assert 1.0 < line["cost"]["examples"]["mean"] < 3.0
    outcomes = Outcomes(_plan(), done[1].outcomes)
    for currency in CURRENCIES:
        ladder = [outcomes.run("natural", 0, rival) for rival in outcomes.rungs(currency)]
        cheap = min(ladder, key=lambda run: run.figures[currency])
        cost, rounds = cheap.figures[currency], cheap.course
        assert rounds is not None
        assert outcomes.uniform_at("natural", 0, currency, 0.99 * cost) == pytest.approx(rounds.scores[:-1][-5:].mean())
        assert outcomes.uniform_at("natural", 0, currency, 1e-9) == rounds.scores[0]
        dearest = max(ladder, key=lambda run: run.figures[currency])
        assert outcomes.uniform_at("natural", 0, currency, 1e15) == dearest.figures["average_precision"]
        assert np.isnan(outcomes.uniform_at("natural", 0, currency, np.nan))


def test_examples_are_those_that_clients_and_server_compute(done: tuple[Benched, _Heard]) -> None:
    for outcome in done[1].outcomes:
        assert outcome.course is not None
        assert (np.diff(outcome.examples) > 0).all()
        assert outcome.examples[-1] == pytest.approx(outcome.figures["examples"])


def test_seeds_that_choose_know_nothing_of_outer_machines() -> None:
    config = check_config(
        {
            "data": {"source": "generator", "rows": 900},
            "clients": {"count": 4, "outer": "report"},
            "federation": {"rounds": 2},
        }
    )
    ground = Bench(plan_of(config, ["uniform"], ["natural"], range(2), cohort=2).base, (7,))
    sizes = {}
    for seed in (6, 7):
        splits = ground._with_selector(Case("natural", seed, "uniform", 2)).splits
        sizes[seed] = sum(len(part.labels) for part in (splits.train, splits.validation, splits.test))
    assert sizes[6] == 900
    assert 400 < sizes[7] < 900


def test_what_a_method_makes_the_server_do_is_charged() -> None:
    """A method that scores mixtures of updates pays for the rows that it scores, and for its time."""
    config = check_config(
        {
            "federation": {"rounds": 4},
            "data": {"source": "generator", "rows": 1200},
            "clients": {"count": 6, "server": 1.0},
        }
    )
    plan = plan_of(config, ["greedyfed"], ["natural"], range(2), cohort=3)
    runs = {name: Bench(plan.base).run(Case("natural", 0, name, 3)) for name in ("uniform", "greedyfed")}
    assert runs["uniform"].error == runs["greedyfed"].error == ""
    figures = {name: run.figures for name, run in runs.items()}
    for name in ("uniform", "greedyfed"):
        charged = figures[name]["server_seconds"]
        assert charged > 0
    assert figures["greedyfed"]["server_seconds"] > 3 * figures["uniform"]["server_seconds"]
    assert figures["greedyfed"]["examples"] > 1.05 * figures["uniform"]["examples"]


def test_the_course_costs_what_the_rounds_before_it_cost(done: tuple[Benched, _Heard]) -> None:
    _, heard = done
    for outcome in heard.outcomes:
        course = outcome.course
        assert course is not None
        assert course.rounds.tolist() == list(range(6))
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
    (folder / "outcomes.jsonl").write_text("\n".join(lines[:-6]) + "\n" + lines[-6][:40])
    heard = _Heard()
    again = bench(_plan(), out=folder, workers=1, listener=heard)
    assert len(heard.outcomes) == 6
    for mine, other in zip(again.result["lines"], benched.result["lines"], strict=True):
        for name in ("average_precision", "contacts", "jain"):  # time at the server is measured anew
            assert mine["figures"][name] == other["figures"][name]
        for currency in ("bytes", "examples"):
            assert mine["equal"][currency] == other["equal"][currency]
    written = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    assert len(written) == len(whole.outcomes)


def test_another_bench_in_the_same_folder_is_refused(done: tuple[Benched, _Heard]) -> None:
    with pytest.raises(CheckpointError, match="holds another bench"):
        bench(_plan(settings=("natural",)), out=done[0].folder, workers=1)


def test_two_processes_give_the_same_as_one(tmp_path: Path) -> None:
    plan = plan_of(_plan().base, ("uniform",), ("natural",), range(2), cohort=2, tuned=0)
    assert plan.momenta == (None,)
    folder = bench(plan, out=tmp_path / "two", workers=2).folder
    written = [Outcome.from_json(json.loads(line)) for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    for outcome in written[:2]:
        mine = Bench(plan.base).run(outcome.case)
        for name in ("average_precision", "bytes", "examples", "contacts"):
            assert outcome.figures[name] == pytest.approx(mine.figures[name], rel=1e-12)


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
    outcome = Bench(plan.base).run(next(plan.cases(lambda rival: None)))
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
        ({"momenta": [1.0]}, r"--momenta must be in \[0, 1\)"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    config = check_config({"clients": {"count": 8}})
    values: dict[str, Any] = {"selectors": ["uniform"], "settings": ["natural"], "seeds": range(2), "cohort": 2}
    with pytest.raises(ConfigError, match=message):
        plan_of(config, **{**values, **changes})


def test_a_plan_fills_in_what_is_not_said() -> None:
    plan = plan_of(check_config({}), ["all"], ["all"], range(5))
    assert (plan.num_clients, plan.cohort, plan.settings) == (60, 10, tuple(USUAL))
    assert plan.base.world.preset == "factory-fleet"
    assert plan.base.clients.server == 0.5
    assert len(list(plan.cases(lambda rival: 0.9))) == (len(plan.selectors) + 11) * 5 * 5
    assert len(list(plan.trials())) == (len(plan.selectors) + 11) * 5 * 2 * 3
    assert not set(plan.tuned) & set(plan.seeds)
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
    assert "1 method" in sentence
    page = done[0].report.read_text()
    assert sentence in page
    for words in ("Against uniform at equal cost", "At equal energy", "What each takes", "Whom it leaves out"):
        assert words in page


def test_partitions_have_the_names_of_the_configuration_too() -> None:
    assert set(PARTITIONERS) <= set(SETTINGS)
    plan = plan_of(check_config({}), ["uniform"], ["iid", "regime"], range(2))
    assert plan.settings == ("iid", "regime")
    assert SETTINGS["iid"].clients == {"partition": "iid"}
    with pytest.raises(ConfigError, match=r"--partitions must be among all, .*iid"):
        plan_of(check_config({}), ["uniform"], ["idd"], range(2))
