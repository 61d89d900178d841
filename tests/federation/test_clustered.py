"""Runs of clustered federations on plants of two kinds, of which one fails where the other is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from werkbund.cli import app
from werkbund.config import changed, check_config, load_config
from werkbund.core.errors import ConfigError, ModelError
from werkbund.evaluation import RoundNews
from werkbund.federation import Run, resume, run
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.model import TrainedModel, folder_of_client, load_model
from werkbund.report import cluster_sentence, read_run

KINDS = [0, 1, 0, 1, 0, 1]
"""Of which kind each plant is."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw plants of two readings; what raises the risk at one kind lowers it at the other."""
    rng, frames = np.random.default_rng(7), []
    for number, kind in enumerate(KINDS):
        readings = rng.normal(size=(240, 2))
        risk = (1 - 2 * kind) * (readings[:, 0] + readings[:, 1]) + rng.normal(0, 0.2, 240)
        columns = {"plant": [f"P{number}"] * 240, "machine": [f"{number}-{row // 20}" for row in range(240)]}
        readings_by_name = {"heat": readings[:, 0], "wear": readings[:, 1]}
        frames.append(
            pl.DataFrame({**columns, **readings_by_name, "fails": (risk > np.quantile(risk, 0.8)).astype(int)})
        )
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    pl.concat(frames).write_csv(path)
    return path


def _config(table: Path, clusters: dict[str, Any], **sections: dict[str, Any]) -> Any:
    values: dict[str, Any] = {
        "federation": {"rounds": 14, "seed": 1},
        "data": {"path": str(table), "label": "fails", "client": "plant", "machine": "machine"},
        "clients": {"partition": "by-column", "test": 0.4, "validation": 0.2},
        "model": {"kind": "logistic"},
        "strategy": {"clusters": clusters},
    }
    return check_config({**values, **{name: {**values.get(name, {}), **keys} for name, keys in sections.items()}})


@pytest.fixture(scope="module")
def alike(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(_config(table, {"name": "none"}), out=tmp_path_factory.mktemp("one") / "run", compare=False)


@pytest.fixture(scope="module", params=["ifca", "cfl"])
def clustered(request: Any, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = {"ifca": {"start": 1}, "cfl": {"warm_up": 4}}[request.param]
    config = _config(table, {"name": request.param, **options})
    return run(config, out=tmp_path_factory.mktemp(request.param) / "run", compare=False)


def test_the_two_kinds_are_found_and_do_better_than_one_model(clustered: Run, alike: Run) -> None:
    found = {frozenset(names) for names in clustered.summary["clusters"]["members"]}
    assert found == {frozenset({"P0", "P2", "P4"}), frozenset({"P1", "P3", "P5"})}
    assert clustered.summary["clusters"]["unused"] == 0
    ours, theirs = (each.summary["metrics"]["federated"]["average_precision"] for each in (clustered, alike))
    assert ours > 0.9
    assert theirs < 0.5
    lines = [json.loads(line) for line in (clustered.folder / "rounds.jsonl").read_text().splitlines()]
    assert all(len(line["clusters"]["of"]) == 6 for line in lines if line["cohort"])


def test_report_and_predictions_take_the_model_of_the_client(clustered: Run, table: Path, tmp_path: Path) -> None:
    assert "6 plants share 2 models" in cluster_sentence(read_run(clustered.folder))
    assert "6 plants share 2 models" in clustered.report.read_text()
    first, second = (folder_of_client(clustered.folder, name) for name in ("P0", "P1"))
    assert first != second
    assert not np.array_equal(TrainedModel.load(first).weights, TrainedModel.load(second).weights)
    rows = pl.read_csv(table).filter(pl.col("plant") == "P1")
    rows.write_csv(tmp_path / "rows.csv")
    arguments = ["predict", str(clustered.folder), str(tmp_path / "rows.csv")]
    told = CliRunner().invoke(app, [*arguments, "--client", "P1", "--out", str(tmp_path / "scored.csv")])
    assert told.exit_code == 0, told.output
    scored = pl.read_csv(tmp_path / "scored.csv")["failure_probability"].to_numpy()
    assert scored == pytest.approx(load_model(second).score(rows), abs=1e-6)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert "--client must name one of the run's clients" in refused.output
    with pytest.raises(ModelError, match="did you mean"):
        folder_of_client(clustered.folder, "P11")


def test_each_cluster_raises_alarms_where_that_costs_its_own_members_least(clustered: Run, table: Path) -> None:
    config, costs = load_config(clustered.folder / "config.toml"), (5.0, 1.0)
    config = changed(config, evaluation={"missed_failure": costs[0], "needless_inspection": costs[1]})
    raw = divide(read_table(config), config).population.splits["validation"]
    done = run(config, out=clustered.folder.parent / "priced", compare=False)
    chosen = {}
    for client, members in (("P0", [0, 2, 4]), ("P1", [1, 3, 5])):
        model = load_model(folder_of_client(done.folder, client))
        rows = raw.of(np.array(members))
        frame = rows.frame[rows.rows]
        fails, risks = frame["fails"].to_numpy() > 0, model.score(frame)

        def cost(at: float, fails: Any = fails, risks: Any = risks) -> float:
            return float(costs[0] * (fails & (risks < at)).sum() + costs[1] * (~fails & (risks >= at)).sum())

        assert fails.sum() >= 20
        assert cost(model.threshold_probability) <= min(map(cost, risks)) + 1
        chosen[client] = model.threshold_probability
    assert chosen["P0"] != chosen["P1"]


def test_models_that_fit_nobody_are_told_with_what_to_try(table: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"federation": {"rounds": 1}, "training": {"epochs": 1}}
    done = run(_config(table, {"name": "ifca", "count": 8}, **few), out=tmp_path / "run", compare=False)
    written = done.summary["clusters"]
    assert written["unused"] == 8 - len(written["members"]) >= 2
    assert f"{written['unused']} models fitted no plant best" in (sentence := cluster_sentence(read_run(done.folder)))
    assert "strategy.clusters.start" in sentence


def test_one_model_is_that_of_every_client(alike: Run) -> None:
    assert "clusters" not in alike.summary
    assert folder_of_client(alike.folder, "P3") == folder_of_client(alike.folder, None) == alike.folder / "model"
    assert cluster_sentence(read_run(alike.folder)) == ""


class _StopAt:
    def stage(self, what: str) -> None:
        """Hear nothing."""

    def round(self, news: RoundNews) -> None:
        """Interrupt the run."""
        if news.record.round == 9:
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_to_the_same_result(clustered: Run, table: Path, tmp_path: Path) -> None:
    text = (clustered.folder / "config.toml").read_text()
    name, options = ("ifca", {"start": 1}) if 'name = "ifca"' in text else ("cfl", {"warm_up": 4})
    with pytest.raises(KeyboardInterrupt):
        run(_config(table, {"name": name, **options}), out=tmp_path / "run", compare=False, watcher=_StopAt())
    resumed = resume(tmp_path / "run")
    assert resumed.summary["clusters"] == clustered.summary["clusters"]
    assert resumed.summary["metrics"] == clustered.summary["metrics"]
    for client in ("P0", "P1"):
        ours, theirs = (TrainedModel.load(folder_of_client(each.folder, client)) for each in (resumed, clustered))
        assert np.array_equal(ours.weights, theirs.weights)


def test_a_plant_that_is_clearly_worse_off_keeps_its_own_model_and_is_named(table: Path, tmp_path: Path) -> None:
    """One model for plants that contradict one another is worse at each than its own."""
    few: dict[str, Any] = {"evaluation": {"local_models": 3}, "training": {"learning_rate": 0.5}}
    done = run(_config(table, {"name": "ifca", "count": 1}, **few), out=tmp_path / "run")
    kept = done.summary["clusters"]["keep_their_own"]
    assert kept
    assert f"left their own: {', '.join(kept)}" in cluster_sentence(read_run(done.folder))
    own = TrainedModel.load(folder_of_client(done.folder, kept[0]))
    assert not np.array_equal(own.weights, TrainedModel.load(done.folder / "model").weights)


def test_nobody_keeps_its_own_where_its_cluster_is_as_good(table: Path, tmp_path: Path) -> None:
    few = {"evaluation": {"local_models": 2}, "federation": {"rounds": 8}}
    done = run(_config(table, {"name": "ifca", "start": 1}, **few), out=tmp_path / "run")
    assert done.summary["clusters"]["keep_their_own"] == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"attack": {"kind": "sign-flip"}}, "attack.kind must be none"),
        ({"federation": {"deliver_every": 2}}, "federation.deliver_every must be 0"),
        ({"model": {"initial": "client"}}, "model.initial must be random"),
        ({"strategy": {"clusters": {"name": "ifca", "moving": 1.0}}}, "takes no option moving"),
    ],
)
def test_what_does_not_fit_clusters_is_refused(table: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _config(table, {"name": "ifca"}, **sections)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"kind": "trees"}}, "strategy.clusters is for networks"),
        ({"world": {"preset": "uniform"}}, "world.preset must be none"),
        ({"evaluation": {"contributions": True}}, "evaluation.contributions must be false"),
    ],
)
def test_what_cannot_run_with_clusters_is_refused(
    table: Path, tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(_config(table, {"name": "ifca"}, **sections), out=tmp_path / "run", compare=False)
