from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from werkbund.report.folder import Result, RunFolder
from werkbund.report.values import ClientLine, RoundLine, Scores, SeedRow
from werkbund.report.verdict import decide, judge

Values = Mapping[str, float]


def run_with(values: Values, clients: tuple[ClientLine, ...] = (), failures: int = 100) -> RunFolder:
    """Return a run in which each contender reaches the given average precision."""
    scores = {who: Scores({"average_precision": value, "positives": failures}) for who, value in values.items()}
    return RunFolder(Path(), {}, result=Result(1, "", 1.0, 0.5, scores, clients, {}, {}))


def client(name: str, ours: float, alone: float) -> ClientLine:
    return ClientLine(name, Scores({"average_precision": ours}), Scores({"average_precision": alone}))


@pytest.mark.parametrize(
    ("federated", "local", "outcome", "lead"),
    [
        (0.8, 0.4, "pays", "Federating pays here"),
        (0.45, 0.44, "level", "Federating makes no clear difference here"),
        (0.3, 0.6, "loses", "Federating does not pay here"),
    ],
)
def test_the_sentence_says_the_outcome_and_both_numbers(
    federated: float, local: float, outcome: str, lead: str
) -> None:
    verdict = judge(run_with({"federated": federated, "local_mean": local, "pooled": 0.91, "pooled_gbdt": 0.95}))
    assert verdict.outcome == outcome
    assert verdict.sentence.startswith(lead)
    for value in (federated, local, 0.91, 0.95):
        assert f"{value:.2f}" in verdict.sentence


def test_values_that_two_decimals_would_confuse_get_three() -> None:
    sentence = judge(run_with({"federated": 0.8312, "local_mean": 0.4, "pooled": 0.8331})).sentence
    assert "0.831" in sentence
    assert "0.833" in sentence


def test_swapping_the_two_swaps_the_outcome() -> None:
    opposite = {"pays": "loses", "loses": "pays", "level": "level"}
    for difference in (0.5, 0.03, 0.02, 0.01, 0.0):
        assert decide(-difference, 200) == opposite[decide(difference, 200)]


def test_one_run_must_gain_more_than_one_failure_can_move() -> None:
    assert decide(0.09, 10) == "level"
    assert decide(0.11, 10) == "pays"


def test_every_seed_must_agree() -> None:
    assert decide(0.2, 50, (0.2, 0.3, 0.1)) == "pays"
    assert decide(0.2, 50, (0.5, 0.2, -0.1)) == "level"
    assert decide(-0.2, 50, (-0.5, -0.2, 0.1)) == "level"


def test_most_plants_gaining_nothing_is_said_in_the_sentence() -> None:
    lines = (client("A", 0.9, 0.2), client("B", 0.3, 0.5), client("C", 0.3, 0.6))
    verdict = judge(run_with({"federated": 0.8, "local_mean": 0.4}, lines))
    assert verdict.outcome == "mixed"
    assert "most plants do no better on their own rows" in verdict.sentence
    assert any("1 of 3 plants does better" in remark for remark in verdict.remarks)


def test_a_client_without_a_test_failure_is_counted_as_left_out() -> None:
    lines = (client("A", 0.9, 0.2), client("B", math.nan, math.nan))
    remarks = judge(run_with({"federated": 0.8, "local_mean": 0.4}, lines)).remarks
    assert any("1 plant without a failure to test on is left out" in remark for remark in remarks)


def test_gradient_boostings_lead_is_split_into_its_two_causes() -> None:
    remarks = judge(run_with({"federated": 0.7, "local_mean": 0.4, "pooled": 0.75, "pooled_gbdt": 0.9})).remarks
    assert any("ahead by 0.20: 0.05 of it" in remark and "0.15 that of this kind" in remark for remark in remarks)


def test_few_test_failures_are_pointed_out() -> None:
    verdict = judge(run_with({"federated": 0.8, "local_mean": 0.4}, failures=7))
    assert any("Only 7 failures to test on" in remark for remark in verdict.remarks)


def test_no_baseline_gives_no_verdict() -> None:
    verdict = judge(run_with({"federated": 0.8}))
    assert verdict.outcome == "unknown"
    assert "cannot say whether federating pays" in verdict.sentence


def test_test_rows_without_a_failure_give_no_verdict() -> None:
    verdict = judge(run_with({"federated": math.nan, "local_mean": math.nan}, failures=0))
    assert verdict.outcome == "unknown"
    assert "hold no failure" in verdict.sentence


def test_an_unfinished_run_says_how_far_it_came() -> None:
    rounds = tuple(RoundLine.parse(json.loads(f'{{"round": {n}, "cohort": [0]}}')) for n in (1, 2))
    run = run_with({})
    assert "2 rounds are recorded" in judge(RunFolder(run.path, {}, rounds)).sentence
    assert "has not finished a round" in judge(RunFolder(run.path, {})).sentence


def test_over_seeds_the_means_are_what_is_compared() -> None:
    rows = tuple(
        SeedRow(who, "average_precision", sum(values) / 2, 0.0, 1.0, values)
        for who, values in {"federated": (0.7, 0.8), "local_mean": (0.3, 0.5)}.items()
    )
    paired = SeedRow("federated minus local_mean", "average_precision", 0.35, 0.3, 0.4, (0.4, 0.3))
    verdict = judge(RunFolder(run_with({}).path, {}, seeds=(0, 1), comparison=(*rows, paired)))
    assert verdict.outcome == "pays"
    assert "0.75 (mean of 2 seeds), against 0.40" in verdict.sentence
    assert "on average, with a 95% interval of +0.30 to +0.40" in verdict.remarks[0]
