from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from werkbund.report.folder import RunFolder, read_run
from werkbund.report.sections.training import MOST_BANDS, learning, selection, training
from werkbund.report.values import RoundLine


def test_scores_stand_at_the_round_whose_weights_they_score(finished: Path) -> None:
    run = read_run(finished)
    trace = learning(run)[0].figure.data[0]
    assert list(trace.x) == [line.scored for line in run.rounds]


def test_three_curves_are_drawn(finished: Path) -> None:
    assert [panel.key for panel in learning(read_run(finished))] == ["learn-precision", "learn-loss", "learn-step"]


def test_one_round_makes_no_curve(sample: Callable[..., Path], tmp_path: Path) -> None:
    assert learning(read_run(sample(tmp_path / "run", rounds=1, finished=False))) == ()


def test_unscored_rounds_leave_the_score_curve_out() -> None:
    rounds = tuple(RoundLine.parse({"round": n, "cohort": [0], "loss": 0.5}) for n in (1, 2))
    panels = learning(RunFolder(Path(), {"clients": ["A"]}, rounds))
    assert [panel.key for panel in panels] == ["learn-loss"]


def test_the_map_is_the_cohorts(finished: Path) -> None:
    run = read_run(finished)
    panel = selection(run)
    assert panel is not None
    chosen = np.array(panel.figure.data[0].z)
    wanted = [[float(client in line.cohort) for line in run.trained] for client in range(len(run.clients))]
    assert np.array_equal(chosen, wanted)


def test_failures_are_crosses_with_their_reason(finished: Path) -> None:
    panel = selection(read_run(finished))
    assert panel is not None
    assert list(panel.figure.data[1].x) == [31, 32, 77]
    assert all("no answer within 60 s" in text for text in panel.figure.data[1].text)


def test_many_clients_share_bands_that_keep_the_number_chosen() -> None:
    names = [f"Site {k}" for k in range(1000)]
    cohort = list(range(0, 1000, 3))
    run = RunFolder(Path(), {"clients": names}, (RoundLine.parse({"round": 1, "cohort": cohort}),))
    panel = selection(run)
    assert panel is not None
    shares = np.array(panel.figure.data[0].z)[:, 0]
    assert len(shares) <= MOST_BANDS
    sizes = np.diff([*range(0, 1000, 17), 1000])
    assert round(float(shares @ sizes)) == len(cohort)


def test_full_participation_is_said_in_words() -> None:
    lines = tuple(RoundLine.parse(json.loads(f'{{"round": {n}, "cohort": [0, 1]}}')) for n in (1, 2))
    panel = selection(RunFolder(Path(), {"clients": ["A", "B"]}, lines))
    assert panel is not None
    assert panel.note == "All 2 plants were asked to train in every round."


def test_nobody_trained_gives_no_map() -> None:
    assert selection(RunFolder(Path(), {"clients": ["A"]})) is None


def test_failures_are_gathered_by_client_and_reason() -> None:
    failed = [{"client": 0, "reason": "timeout"}]
    lines = [RoundLine.parse({"round": n, "cohort": [0], "failures": failed}) for n in (1, 2, 3, 7)]
    table = training(RunFolder(Path(), {"clients": ["Gießen"]}, tuple(lines))).tables[-1]
    assert table.rows == (("Gießen", "timeout", "4", "1 to 3, 7"),)


def test_no_failure_is_said_as_well() -> None:
    lines = (RoundLine.parse({"round": 1, "cohort": [0]}),)
    table = training(RunFolder(Path(), {"clients": ["A"]}, lines)).tables[-1]
    assert table.rows == (("No plant failed in any round.",),)


def test_long_updates_are_told_by_plant_with_a_bound_that_would_hold_them() -> None:
    lines = [
        RoundLine.parse({"round": n, "cohort": [0, 1], "outlying": [[1, 25.0 * n]], "usual_norm": 0.5})
        for n in (1, 2, 4)
    ]
    tables = training(RunFolder(Path(), {"clients": ["Ulm", "Hof"]}, tuple(lines))).tables
    assert tables[-2].rows == (("Hof", "200", "3", "1 to 2, 4"),)
    assert tables[-1].rows == (("strategy.aggregation.clip_norm = 1: twice the middle length",),)
    bounded = "[strategy.aggregation]\nclip_norm = 1.0\n"
    assert len(training(RunFolder(Path(), {}, tuple(lines), config=bounded)).tables) == len(tables) - 1
    elsewhere = "[training]\nclip_norm = 1.0\n[strategy.aggregation]\nname = 'fedavg'\n"
    assert len(training(RunFolder(Path(), {}, tuple(lines), config=elsewhere)).tables) == len(tables)


def test_rounds_that_changed_nothing_are_told_with_the_reason() -> None:
    lines = [RoundLine.parse({"round": n, "cohort": [0], "refused": "a weight would be no number"}) for n in (3, 4)]
    assert training(RunFolder(Path(), {"clients": ["Ulm"]}, tuple(lines))).tables[-1].rows == (
        ("a weight would be no number", "3 to 4"),
    )
