from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from werkbund.evaluation import Contest, Costs, HeldOut, Showing, hold_contest, mean_contest
from werkbund.report.folder import Result, RunFolder
from werkbund.report.values import RoundLine, Scores
from werkbund.report.verdict import judge

COSTS = Costs(5.0, 1.0)


def contest(
    federated: float,
    alone: float,
    trees: float = 0.0,
    *,
    plants: int = 6,
    rows: int = 240,
    rate: float = 0.15,
    outsiders: int = 0,
    alarms: bool = True,
) -> Contest:
    """Judge models that tell failures from other rows by so many standard deviations.

    At the last `outsiders` plants the federated model knows nothing. Without alarms the models only rank rows.
    """
    rng = np.random.default_rng(11)
    held, shown = [], {who: [] for who in ("federated", "local_mean", "local_trees_mean", "nothing", "everything")}  # type: ignore[var-annotated]
    for number in range(plants):
        labels = (rng.random(rows) < rate).astype(float)
        held.append(HeldOut(f"plant {number}", labels, np.arange(rows) // 12))
        strengths = {"federated": federated, "local_mean": alone, "local_trees_mean": trees}
        strengths["federated"] = 0.0 if number >= plants - outsiders else federated
        for who, strength in strengths.items():
            scores = rng.normal(size=rows) + strength * labels
            shown[who].append(Showing((scores > 1.5) & alarms, scores))
        shown["nothing"].append(Showing(np.zeros(rows, bool)))
        shown["everything"].append(Showing(np.ones(rows, bool)))
    return hold_contest(held, shown, COSTS, [np.random.default_rng(number) for number in range(plants)])


def run_of(own_rows: Contest | None, everywhere: float = 0.7, alone: float = 0.3, failures: int = 100) -> RunFolder:
    """Return a run with this contest on own rows, and these figures on everybody's."""
    scores = {
        who: Scores({"average_precision": value, "positives": failures})
        for who, value in (("federated", everywhere), ("local_mean", alone))
    }
    return RunFolder(Path(), {}, result=Result(1, "", 1.0, 0.12, scores, (), {}, {}, own_rows=own_rows))


@pytest.mark.parametrize(
    ("federated", "alone", "trees", "outcome", "lead", "rival"),
    [
        (3.0, 1.0, 1.5, "pays", "Federating pays here", "a plant's own trees"),
        (2.0, 1.95, 1.0, "level", "Federating makes no clear difference here", "the same model learnt alone"),
        (2.0, 1.0, 3.5, "loses", "Federating does not pay here", "a plant's own trees"),
    ],
)
def test_the_sentence_says_outcome_figures_interval_and_failures(
    federated: float, alone: float, trees: float, outcome: str, lead: str, rival: str
) -> None:
    own = contest(federated, alone, trees)
    verdict = judge(run_of(own))
    assert verdict.outcome == outcome
    assert verdict.sentence.startswith(lead)
    assert f"{own.failures} failures" in verdict.sentence
    assert rival in verdict.sentence
    assert "95% interval of" in verdict.sentence
    assert f"{own.figures['federated']['average_precision'].by_rows.mean:.2f}" in verdict.sentence


def test_everybodys_rows_decide_nothing() -> None:
    assert judge(run_of(contest(1.0, 3.0), everywhere=0.9, alone=0.1)).outcome == "loses"


def test_what_costs_no_less_than_doing_nothing_is_said_first() -> None:
    verdict = judge(run_of(contest(3.0, 1.0, alarms=False)))
    assert verdict.outcome == "level"
    assert verdict.sentence.startswith("Inspecting nothing costs no more than the model's alarms: ")


def test_a_saving_that_is_not_clear_is_said_first_too() -> None:
    verdict = judge(run_of(contest(0.55, 0.1, rows=120)))
    assert verdict.sentence.startswith(("It is not clear that the model's alarms cost less than", "Inspecting"))


def test_plants_that_clearly_lose_are_named_and_told_to_keep_their_own() -> None:
    remarks = judge(run_of(contest(3.0, 2.0, outsiders=1))).remarks
    assert any("Clearly worse, so better off with a model of its own: plant 5." in remark for remark in remarks)
    assert any("Clearly better with the federated model: plant" in remark for remark in remarks)


def test_values_that_two_decimals_would_confuse_get_three() -> None:
    same = contest(2.0, 2.0)
    sentence = judge(run_of(same)).sentence
    figures = [same.figures[who]["average_precision"].by_rows.mean for who in ("federated", "local_mean")]
    digits = 2 if f"{figures[0]:.2f}" != f"{figures[1]:.2f}" else 3
    assert all(f"{value:.{digits}f}" in sentence for value in figures)


def test_few_test_failures_are_pointed_out_and_decide_nothing() -> None:
    few = contest(3.0, 0.0, plants=2, rows=60, rate=0.05)
    assert few.failures < 10
    verdict = judge(run_of(few))
    assert verdict.outcome == "level"
    assert any(f"Only {few.failures} failures to test on" in remark for remark in verdict.remarks)


def test_the_remarks_say_what_the_intervals_cover_and_what_to_do_next() -> None:
    for own, command in ((contest(3.0, 1.0), "werkbund provision"), (contest(2.0, 2.0), "werkbund compare")):
        remarks = judge(run_of(own)).remarks
        assert any("which machines were held out" in remark for remark in remarks)
        assert command in remarks[-1]


def test_over_seeds_the_mean_is_judged_and_said_to_be_one() -> None:
    own = contest(3.0, 1.0)
    single = run_of(own)
    several = RunFolder(
        Path(), {}, result=single.result, seeds=(0, 1, 2), contest_of_seeds=mean_contest([own, own, contest(2.5, 1.0)])
    )
    verdict = judge(several)
    assert verdict.outcome == "pays"
    assert any("mean over 3 seeds, which are divisions of one table" in remark for remark in verdict.remarks)


def test_no_baseline_gives_no_verdict() -> None:
    verdict = judge(run_of(None))
    assert verdict.outcome == "unknown"
    assert "cannot say whether federating pays" in verdict.sentence


def test_test_rows_without_a_failure_give_no_verdict() -> None:
    verdict = judge(run_of(None, everywhere=math.nan, failures=0))
    assert verdict.outcome == "unknown"
    assert "hold no failure" in verdict.sentence


def test_an_unfinished_run_says_how_far_it_came() -> None:
    rounds = tuple(RoundLine.parse(json.loads(f'{{"round": {n}, "cohort": [0]}}')) for n in (1, 2))
    assert "2 rounds are recorded" in judge(RunFolder(Path(), {}, rounds)).sentence
    assert "has not finished a round" in judge(RunFolder(Path(), {})).sentence
