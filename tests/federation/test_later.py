"""A later period is held out from everything, and the finished model is tried on it once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.aging import DATA, HOURS, MACHINES, PLANTS, table_in_time
from werkbund.config import Config, changed, check_config
from werkbund.data.times import moments
from werkbund.federation import run
from werkbund.federation.families.networks import simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.report import later_sentence, read_run


def _config(folder: Path, drifts: bool, seed: int = 0, kind: str = "logistic", **clients: Any) -> Config:
    path = folder / "rows.csv"
    table_in_time(seed, drifts).write_csv(path)
    return check_config(
        {
            "federation": {"rounds": 12, "seed": seed},
            "data": {**DATA, "path": str(path)},
            "clients": clients,
            "model": {"kind": kind},
        }
    )


def _result(config: Config, out: Path, compare: bool = False) -> dict[str, Any]:
    finished = run(config, out=out, compare=compare)
    content: dict[str, Any] = json.loads((finished.folder / "result.json").read_text())
    return content


@pytest.mark.parametrize("kind", ["logistic", "trees"])
def test_figures_of_the_later_period_are_those_of_scikit_learn(kind: str, tmp_path: Path) -> None:
    config = _config(tmp_path, drifts=False, kind=kind)
    finished = run(config, out=tmp_path / "run", compare=False)
    written = json.loads((finished.folder / "result.json").read_text())["later"]
    population = divide(read_table(config), config).population
    later, schema = population.splits["later"], population.schema
    assert written["rows"] == len(later.rows) == PLANTS * MACHINES * HOURS // 5
    for client, line in enumerate(written["per_client"]):
        frame = later.frame[later.rows[later.offsets[client] : later.offsets[client + 1]]]
        exact = roc_auc_score(schema.labels(frame), finished.model.score(frame))
        assert line["later"]["roc_auc"] == pytest.approx(exact, abs=0.01)
        assert line["later"]["positives"] == schema.labels(frame).sum()


def test_where_plants_have_models_of_their_own_these_are_tried_on_the_later_period(tmp_path: Path) -> None:
    config = changed(_config(tmp_path, drifts=False, kind="mlp"), federation={"rounds": 4})
    config = changed(config, strategy={"personal": {"name": "fedper", "layers": ["0"]}})
    written = _result(config, tmp_path / "run")["later"]["per_client"]
    population = divide(read_table(config), config).population
    setup = simulate_network(config, population)
    trained, later, schema = train(setup), population.splits["later"], population.schema
    assert trained.personal is not None
    apart = []
    for client, line in enumerate(written):
        rows = later.of(np.array([client]))
        frame = rows.frame[rows.rows]
        own, common = (
            roc_auc_score(schema.labels(frame), setup.model(learnt, 0.5, schema.label).score(frame))
            for learnt in ({"weights": trained.personal.models[client]}, trained.learnt)
        )
        assert line["later"]["roc_auc"] == pytest.approx(own, abs=1e-3)
        apart.append(abs(own - common))
    assert max(apart) > 0.01


def test_no_row_of_the_later_period_is_in_another_part_or_before_one(tmp_path: Path) -> None:
    config = _config(tmp_path, drifts=False, gap=5.0)
    splits = divide(read_table(config), config).population.splits
    hours = {name: moments(raw.frame["when"])[raw.rows] for name, raw in splits.items()}
    earlier = max(hours[name].max() for name in ("train", "validation", "test"))
    assert hours["later"].min() - earlier > 5.0
    together = np.concatenate([raw.rows for raw in splits.values()])
    assert len(np.unique(together)) == len(together)


def test_a_model_that_ages_is_warned_of_and_plants_alone_stand_beside_it(tmp_path: Path) -> None:
    result = _result(_config(tmp_path, drifts=True), tmp_path / "run", compare=True)
    later = result["later"]
    assert later["change"]["high"] < 0
    assert later["roc_auc"]["later"] < 0.7 < later["roc_auc"]["earlier"]
    assert later["alone_roc_auc"]["later"] < 0.7 < later["alone_roc_auc"]["earlier"]
    sentence = later_sentence(read_run(tmp_path / "run"))
    assert "clearly worse" in sentence
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("clearly worse") == 2  # among the remarks at the top, and in the section


def test_a_model_that_does_not_age_is_not_warned_of(tmp_path: Path) -> None:
    result = _result(_config(tmp_path, drifts=False), tmp_path / "run")
    assert result["later"]["change"]["high"] > 0
    assert "no clear loss" in later_sentence(read_run(tmp_path / "run"))
    assert "clearly worse" not in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("clients", [{"later": 0.0}, {"split": "time"}])
def test_without_a_later_period_nothing_is_said_of_one(clients: dict[str, Any], tmp_path: Path) -> None:
    result = _result(_config(tmp_path, drifts=False, **clients), tmp_path / "run")
    assert "later" not in result
    assert later_sentence(read_run(tmp_path / "run")) == ""
    assert "No later period was held out" in (tmp_path / "run" / "report.html").read_text()


def test_by_time_the_test_rows_of_a_drifting_table_are_judged_worse_than_those_of_machines(tmp_path: Path) -> None:
    by_time, by_machine = (
        _result(_config(tmp_path, drifts=True, split=split, later=0.0, test=0.2), tmp_path / split)
        for split in ("time", "machines")
    )
    assert by_time["metrics"]["federated"]["roc_auc"] < by_machine["metrics"]["federated"]["roc_auc"] - 0.05
