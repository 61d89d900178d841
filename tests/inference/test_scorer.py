"""A model in use gives the trained model's scores, by whatever path it is named, and none beyond what it knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from werkbund.core.errors import DataError, ModelError
from werkbund.data import rules
from werkbund.federation import Run
from werkbund.inference import Figures, ModelPlace, Scorer


def test_scores_are_those_of_the_trained_model(done: Run, scorer: Scorer, rows: pl.DataFrame) -> None:
    """Of trees to the last bit that their sum leaves; of networks to single precision."""
    scored, model = scorer.score(rows), done.model
    is_trees = (done.folder / "model" / "model.json").read_text().find('"family": "trees"') > 0
    np.testing.assert_allclose(scored.probability, model.score(rows), rtol=0, atol=1e-15 if is_trees else 1e-6)
    np.testing.assert_array_equal(scored.inspect, scored.probability >= model.threshold_probability)
    assert not scored.outside.any()
    assert not scored.oddities


@pytest.mark.parametrize("name", ["", "model", "model.onnx"])
def test_a_model_is_found_by_its_run_its_folder_and_its_file(name: str, copied: Path, scorer: Scorer) -> None:
    for path in (copied / name, str(copied / name)):
        assert Scorer.load(ModelPlace.of(path)).fingerprint == scorer.fingerprint


def test_a_path_without_a_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"MODEL must be .* model.onnx"):
        ModelPlace.of(tmp_path)


def test_a_graph_of_another_model_is_refused(copied: Path) -> None:
    told = json.loads((copied / "model" / "model.json").read_text())
    (copied / "model" / "model.json").write_text(json.dumps(told | {"fingerprint": "0" * 16}))
    with pytest.raises(ModelError, match="must be of the model in the folder"):
        Scorer.load(ModelPlace.of(copied))


def test_without_a_graph_one_is_made(copied: Path, scorer: Scorer, rows: pl.DataFrame) -> None:
    (copied / "model.onnx").unlink()
    made = Scorer.load(ModelPlace.of(copied))
    np.testing.assert_array_equal(made.score(rows).probability, scorer.score(rows).probability)
    assert made.costs is None
    assert made.expected_costs(made.score(rows)) is None


def test_a_row_outside_of_what_is_known_gets_no_score_and_the_others_keep_theirs(
    scorer: Scorer, rows: pl.DataFrame
) -> None:
    wrong = rows.with_columns(
        pl.Series(rules.TORQUE, [310.0, *rows[rules.TORQUE][1:]]),
        pl.Series(rules.TYPE, [rows[rules.TYPE][0], "X", *rows[rules.TYPE][2:]]),
        pl.Series(rules.PROCESS, [*rows[rules.PROCESS][:2], None, *rows[rules.PROCESS][3:]]),
        pl.Series(rules.WEAR, [*rows[rules.WEAR].cast(pl.Float64)[:3], -1.0, *rows[rules.WEAR].cast(pl.Float64)[4:]]),
    )
    scored, before = scorer.score(wrong), scorer.score(rows)
    assert np.flatnonzero(scored.outside).tolist() == [0, 1, 2, 3]
    assert np.isnan(scored.probability[:4]).all()
    assert not scored.inspect[:4].any()
    np.testing.assert_array_equal(scored.probability[4:], before.probability[4:])
    assert scored.why_outside()[:5] == [rules.TORQUE, rules.TYPE, rules.PROCESS, rules.WEAR, None]
    told = {odd.column: odd.text for odd in scored.oddities}
    assert "row 1 (310)" in told[rules.TORQUE]
    assert "row 2 ('X')" in told[rules.TYPE]
    assert "row 3" in told[rules.PROCESS]
    assert "outside 0 to" in told[rules.WEAR]  # the plausible range begins at 0


def test_a_column_in_another_unit_is_named(scorer: Scorer, rows: pl.DataFrame) -> None:
    celsius = rows.with_columns(pl.col(rules.AIR) - 273.15)
    (odd,) = scorer.score(celsius).oddities
    assert odd.is_outside
    assert len(odd.rows) == rows.height
    assert "it looks like °C" in odd.text


def test_a_missing_column_is_an_error(scorer: Scorer, rows: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="missing"):
        scorer.score(rows.drop(rules.TORQUE))


def test_the_expected_cost_is_that_of_the_cheaper_side_of_the_decision(scorer: Scorer, rows: pl.DataFrame) -> None:
    scored, costs = scorer.score(rows), scorer.expected_costs(scorer.score(rows))
    assert costs is not None
    assert scorer.costs is not None
    p, missed, needless = scored.probability, scorer.costs.missed_failure, scorer.costs.needless_inspection
    np.testing.assert_allclose(costs, np.where(scored.inspect, (1 - p) * needless, p * missed))


def test_figures_are_those_of_scikit_learn_and_of_counting(scorer: Scorer, rows: pl.DataFrame) -> None:
    labels, scored = scorer.labels(rows), scorer.score(rows)
    figures = Figures.of(labels, scored, scorer.costs)
    assert figures.average_precision == pytest.approx(average_precision_score(labels, scored.probability))
    assert scorer.costs is not None
    missed = int(((labels > 0) & ~scored.inspect).sum())
    assert (figures.rows, figures.failures, figures.found) == (400, int(labels.sum()), int(labels.sum()) - missed)
    assert figures.cost == missed * scorer.costs.missed_failure + int((scored.inspect & (labels == 0)).sum())
    assert figures.cost_nothing == labels.sum() * scorer.costs.missed_failure
    assert figures.cost_everything == (labels == 0).sum() * scorer.costs.needless_inspection


def test_scoring_needs_no_pytorch(done: Run) -> None:
    program = (
        "import sys, polars\nfrom werkbund.inference import ModelPlace, Scorer\n"
        f"Scorer.load(ModelPlace.of({str(done.folder)!r}))\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
