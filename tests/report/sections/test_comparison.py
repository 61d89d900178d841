from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from werkbund.report.folder import read_run
from werkbund.report.sections.comparison import bars, by_mode, compared, comparison
from werkbund.report.theme import CONTENDERS


def test_bars_stand_in_one_order_whatever_the_files(finished: Path) -> None:
    assert [bar.who for bar in bars(read_run(finished), "f1")] == list(CONTENDERS)


def test_bars_show_the_files_numbers(finished: Path) -> None:
    run = read_run(finished)
    panel = comparison(run)[0]
    assert list(panel.figure.data[0].x) == [run.scores(who)["average_precision"] for who in CONTENDERS]


def test_four_measures_are_drawn(finished: Path) -> None:
    assert len(comparison(read_run(finished))) == 4


def test_over_seeds_bars_are_means_with_their_intervals(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = read_run(sample(tmp_path / "run", rounds=2, seeds=3))
    bar = bars(run, "average_precision")[0]
    assert bar.who == "federated"
    assert abs(bar.value - sum(bar.values) / 3) < 1e-12
    whiskers = comparison(run)[0].figure.data[0].error_x
    assert abs(bar.value + whiskers.array[0] - bar.high) < 1e-12
    assert abs(bar.value - whiskers.arrayminus[0] - bar.low) < 1e-12


def test_nothing_is_drawn_without_a_result(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = read_run(sample(tmp_path / "run", rounds=2, finished=False))
    assert comparison(run) == ()
    assert by_mode(run) is None


def test_failure_modes_compare_three_contenders(finished: Path) -> None:
    panel = by_mode(read_run(finished))
    assert panel is not None
    assert [trace.name for trace in panel.figure.data] == ["Federated", "Alone, same model", "Pooled, same model"]


def test_paired_differences_are_no_contenders(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = read_run(sample(tmp_path / "run", rounds=2, seeds=3))
    assert any(row.is_difference for row in run.comparison)
    assert [bar.who for bar in bars(run, "average_precision")] == list(CONTENDERS)


def test_a_lone_federated_model_is_said_to_be_alone(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = read_run(sample(tmp_path / "run", rounds=2, strength={"federated": 7.0}))
    assert compared(run).lead == "Only the federated model was trained, so there is nothing to compare it with."


def test_a_failure_mode_without_test_rows_is_said_to_have_none(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    result = json.loads((folder / "result.json").read_text())
    for scores in result["metrics"].values():
        scores["recall_by_mode"] = {**scores["recall_by_mode"], "RNF": None}
    (folder / "result.json").write_text(json.dumps(result))
    panel = by_mode(read_run(folder))
    assert panel is not None
    assert [(note.y, note.text) for note in panel.figure.layout.annotations] == [("RNF", "no test rows")]
    assert all(trace.x[list(trace.y).index("RNF")] is None for trace in panel.figure.data)
