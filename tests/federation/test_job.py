"""The main job leaves a folder from which people and programs can go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.config import Config, check_config
from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.core.errors import CheckpointError, ConfigError, DataError
from werkbund.data import generate
from werkbund.evaluation import RoundNews
from werkbund.federation import Run, resume, run
from werkbund.federation.folder import Folder
from werkbund.model import TrainedModel, score_onnx

Small = Callable[..., Config]

SMALL: dict[str, Any] = {
    "federation": {"rounds": 4, "seed": 3},
    "data": {"source": "generator", "rows": 1500, "plants": 3},
    "model": {"hidden": [8]},
}


class StopAt:
    """Interrupt a run when it tells of a round, as a user would by Ctrl-C."""

    def __init__(self, round: int) -> None:
        self.last = round

    def stage(self, what: str) -> None:
        """Hear nothing."""

    def round(self, news: RoundNews) -> None:
        """Stop at the round."""
        if news.record.round == self.last:
            raise KeyboardInterrupt


@pytest.fixture
def finished(small: Small, tmp_path: Path) -> Run:
    return run(small(), out=tmp_path / "run", compare=False)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(check_config(SMALL), out=tmp_path_factory.mktemp("compared") / "run")


def weights(folder: Path) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return TrainedModel.load(folder / "model").weights


def test_a_run_leaves_everything_that_its_folder_promises(compared: Run) -> None:
    expected = {"config.toml", "run.json", "rounds.jsonl", "result.json", "checkpoint.npz"}
    expected |= {"model", "model.onnx", "reference.json", "model_card.json", "model_card.md", "report.html"}
    assert expected <= {path.name for path in compared.folder.iterdir()}


def test_the_summary_compares_all_contenders(compared: Run) -> None:
    metrics = compared.summary["metrics"]
    assert list(metrics) == ["federated", "local_mean", "local_trees_mean", "pooled", "pooled_gbdt", "pooled_forest"]
    for scores in metrics.values():
        assert {"average_precision", "roc_auc", "f1", "cost"} <= set(scores)
    assert {"run_dir", "data", "clients", "rounds", "parameters", "seconds"} <= set(compared.summary)
    assert compared.summary["data"]["generated"] == {"rows": 1500, "plants": 3, "seed": 3}


def test_contenders_are_scored_on_the_same_rows(compared: Run) -> None:
    sizes = {(scores["rows"], scores["positives"]) for scores in compared.summary["metrics"].values()}
    assert len(sizes) == 1


def test_round_lines_score_the_weights_before_the_round(compared: Run) -> None:
    lines = [json.loads(line) for line in (compared.folder / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["scored"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[-1]["cohort"] == []


def test_the_onnx_file_gives_the_models_probabilities(compared: Run) -> None:
    frame = generate(rows=400, plants=3, seed=11)
    probability, decision = score_onnx((compared.folder / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(probability, compared.model.score(frame), atol=1e-5)
    np.testing.assert_array_equal(decision, probability >= compared.model.threshold_probability)


def test_the_same_seed_gives_the_same_weights(small: Small, finished: Run, tmp_path: Path) -> None:
    again = run(small(), out=tmp_path / "again", compare=False)
    np.testing.assert_array_equal(weights(again.folder), weights(finished.folder))


def test_without_comparison_only_the_federation_is_trained(small: Small, tmp_path: Path) -> None:
    done = run(small(), out=tmp_path / "run", compare=False)
    assert list(done.summary["metrics"]) == ["federated"]


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_run_ends_with_the_same_bits(small: Small, tmp_path: Path, stop: int, every: int) -> None:
    config = small(federation={"checkpoint_every": every}, strategy={"selection": {"name": "round-robin", "count": 2}})
    whole = run(config, out=tmp_path / "whole", compare=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", compare=False, watcher=StopAt(stop))
    resumed = resume(tmp_path / "cut")
    np.testing.assert_array_equal(weights(resumed.folder), weights(whole.folder))
    lines = [
        [json.loads(line) | {"seconds": 0} for line in (folder / "rounds.jsonl").read_text().splitlines()]
        for folder in (whole.folder, resumed.folder)
    ]
    assert lines[0] == lines[1]


def test_contributions_are_summed_over_rounds_and_a_resume_changes_none(small: Small, tmp_path: Path) -> None:
    config = small(evaluation={"contributions": True})
    told = run(config, out=tmp_path / "whole", compare=False).summary["contributions"]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "rounds.jsonl").read_text().splitlines()]
    told_by_round = [line["credits"] for line in lines if "credits" in line]
    assert (told["rounds"], told["evaluations"]) == (4, sum(one["evaluations"] for one in told_by_round))
    for one in told["clients"]:
        place = [0, 1, 2][int(one["client"][-1]) - 1]
        total = sum(credit["shapley"][place] for credit in told_by_round if credit["counted"])
        assert one["shapley"] == pytest.approx(total)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", compare=False, watcher=StopAt(2))
    assert resume(tmp_path / "cut").summary["contributions"] == told


def test_a_finished_run_resumes_to_the_same_result(finished: Run) -> None:
    before = weights(finished.folder)
    resume(finished.folder)
    np.testing.assert_array_equal(weights(finished.folder), before)


def test_a_truncated_checkpoint_is_refused_with_its_remedy(finished: Run) -> None:
    path = finished.folder / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"checkpoint\.npz cannot be read .*start the run anew"):
        resume(finished.folder)


def test_a_run_whose_configuration_was_changed_is_not_resumed(finished: Run, small: Small) -> None:
    Folder(finished.folder).write_config(small(model={"hidden": [9]}))
    with pytest.raises(CheckpointError, match=r"config\.toml was edited .* model\.hidden was \[8\] and is \[9\]"):
        resume(finished.folder)


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a run's folder"):
        resume(tmp_path)


def test_a_run_never_overwrites_another(finished: Run, small: Small) -> None:
    with pytest.raises(ConfigError, match="new or empty folder"):
        run(small(), out=finished.folder)


def test_early_stop_ends_a_run_that_does_not_improve(small: Small, tmp_path: Path) -> None:
    config = small(federation={"rounds": 50, "patience": 2}, training={"learning_rate": 1e-9})
    done = run(config, out=tmp_path / "run", compare=False)
    assert done.summary["rounds"] < 50
    assert "no better validation" in done.summary["stopped"]


def test_the_first_weights_may_come_from_a_client(small: Small, tmp_path: Path) -> None:
    config = small(model={"initial": "client:plant-2"}, federation={"rounds": 1})
    named = run(config, out=tmp_path / "named", compare=False)
    random = run(small(federation={"rounds": 1}), out=tmp_path / "random", compare=False)
    assert not np.array_equal(weights(named.folder), weights(random.folder))


def test_the_first_weights_may_come_from_another_run(small: Small, finished: Run, tmp_path: Path) -> None:
    config = small(model={"initial": str(finished.folder)}, training={"learning_rate": 1e-12})
    done = run(config, out=tmp_path / "next", compare=False)
    np.testing.assert_allclose(weights(done.folder), weights(finished.folder), atol=1e-6)


def test_an_unknown_first_client_is_named(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must name a client, got 'plant-9'"):
        run(small(model={"initial": "client:plant-9"}), out=tmp_path / "run")


def test_a_label_of_one_class_is_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,y\n1,0\n2,0\n3,0\n")
    with pytest.raises(DataError, match="y: All rows are negative"):
        run(small(data={"source": "ai4i2020", "path": str(path), "label": "y"}), out=tmp_path / "run")


@pytest.mark.parametrize(("rows", "chosen"), [(1500, False), (9000, True)])
def test_few_validation_failures_choose_no_round(rows: int, chosen: bool, tmp_path: Path) -> None:
    values = {**SMALL, "federation": {"rounds": 4, "seed": 6}, "training": {"learning_rate": 3.0}}
    config = check_config({**values, "data": {**SMALL["data"], "rows": rows}})
    done = run(config, out=tmp_path / "run", compare=False)
    lines = [json.loads(line) for line in (done.folder / "rounds.jsonl").read_text().splitlines()]
    scored = {line["scored"]: line["metrics"]["validation"] for line in lines}
    assert (scored[0]["positives"] >= ENOUGH_FAILURES) == chosen
    best = max(scored, key=lambda round: (scored[round]["average_precision"], -round))
    kept = json.loads((done.folder / "result.json").read_text())["best_round"]
    assert kept == (best if chosen else max(scored))
    if not chosen:
        assert best == 0  # four failures are ranked best by weights that learnt nothing
