"""The command line, as a user types it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from werkbund import TrainedModel, __version__
from werkbund.cli import app
from werkbund.data import generate

SETTINGS = ["federation.rounds=3", "data.source=generator", "data.rows=1200", "clients.count=3", "model.hidden=[8]"]
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


def werkbund(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, in a folder of its own: a new one would import PyTorch for seconds."""
    command = [*map(str, arguments)]
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, command, env={"COLUMNS": "160"})
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    finished = werkbund("run", *SMALL, "--no-compare", "--out", "run", folder=folder)
    assert finished.returncode == 0, finished.stderr
    return folder / "run"


def test_run_shows_the_comparison_and_where_the_report_lies(tmp_path: Path) -> None:
    finished = werkbund("run", *SMALL, "--seed", "1", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    for text in ("Generated: 1200 rows of 3 plants", "Federated", "Alone, same model", "boosted trees", "report.html"):
        assert text in finished.stdout
    assert (tmp_path / "runs" / "werkbund" / "report.html").is_file()


def test_json_is_the_only_thing_on_stdout(tmp_path: Path) -> None:
    finished = werkbund("run", *SMALL, "--no-compare", "--json", folder=tmp_path)
    summary = json.loads(finished.stdout)
    assert summary["clients"] == 3
    assert summary["data"]["source"] == "generator"
    assert "round 3 of 3" in finished.stderr


def test_run_says_where_trees_are_not_those_of_pooled_rows(tmp_path: Path) -> None:
    settings = [*SMALL[:-2], "--set", "model.kind=trees", "--set", "trees.combine=bagging", "--no-compare"]
    finished = werkbund("run", *settings, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "they are not the trees of the pooled rows" in finished.stdout


@pytest.mark.parametrize("kind", ["network", "trees"])
def test_predict_explains_each_row(kind: str, done: Path, tmp_path: Path) -> None:
    folder = done
    if kind == "trees":
        settings = [*SMALL[:-2], "--set", "model.kind=trees", "--no-compare", "--out", "grown"]
        assert werkbund("run", *settings, folder=tmp_path).returncode == 0
        folder = tmp_path / "grown"
    generate(rows=20, plants=3, seed=5).write_csv(tmp_path / "machines.csv")
    finished = werkbund("predict", folder, "machines.csv", "--explain", "--out", "scored.csv", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    scored = pl.read_csv(tmp_path / "scored.csv")
    for reasons, inspect in zip(scored["reasons"].to_list(), scored["inspect"].to_list(), strict=True):
        assert reasons.startswith(f"{'for' if inspect else 'against'} Machine failure: ")
        shares = [int(each.rpartition(" ")[2]) for each in f"{reasons}; ".split("%; ")[:-1]]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 101
    assert scored["expected_cost"].is_not_null().all()
    assert "rows reach the threshold" in finished.stderr
    assert "average precision" in finished.stderr or "None of the 20 scored rows failed" in finished.stderr


def test_predict_scores_a_table_in_raw_units(done: Path, tmp_path: Path) -> None:
    frame = generate(rows=50, plants=3, seed=5)
    frame.write_csv(tmp_path / "machines.csv")
    finished = werkbund("predict", done, "machines.csv", "--out", "scored.csv", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    scored = pl.read_csv(tmp_path / "scored.csv")
    expected = TrainedModel.load(done / "model").score(frame)
    np.testing.assert_allclose(scored["failure_probability"].to_numpy(), expected, atol=1e-6)


def test_predict_gives_no_score_to_what_the_model_cannot_know_and_says_so(done: Path, tmp_path: Path) -> None:
    frame = generate(rows=5, plants=3, seed=5)
    frame.with_columns(pl.Series("Torque [Nm]", [400.0, 40.0, 40.0, 40.0, 40.0])).write_csv(tmp_path / "machines.csv")
    finished = werkbund("predict", done / "model.onnx", "machines.csv", "--out", "scored.csv", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "Warning: Torque [Nm]: 1 row outside" in finished.stderr
    assert "1 have no score" in finished.stderr
    scored = pl.read_csv(tmp_path / "scored.csv")
    assert scored["outside"].to_list() == ["Torque [Nm]", None, None, None, None]
    assert scored["failure_probability"].null_count() == scored["inspect"].null_count() == 1


def test_predict_without_a_file_writes_csv_to_stdout(done: Path, tmp_path: Path) -> None:
    generate(rows=5, plants=3, seed=5).write_csv(tmp_path / "machines.csv")
    finished = werkbund("predict", done, "machines.csv", folder=tmp_path)
    assert pl.read_csv(finished.stdout.encode()).height == 5


def test_report_is_written_anew(done: Path, tmp_path: Path) -> None:
    (done / "report.html").unlink()
    finished = werkbund("report", done, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert (done / "report.html").is_file()


def test_check_names_what_each_column_is_taken_for(tmp_path: Path) -> None:
    generate(rows=300, plants=1, seed=0).write_csv(tmp_path / "machines.csv")
    finished = werkbund("check", "machines.csv", folder=tmp_path)
    assert "label" in finished.stdout
    assert "temperature_difference" in finished.stdout


def test_check_ends_with_an_error_if_nothing_can_be_learnt(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,0\n")
    finished = werkbund("check", "t.csv", "--set", "data.label=y", folder=tmp_path)
    assert finished.returncode == 2
    assert "All rows are negative" in finished.stdout


def test_init_writes_a_configuration_that_runs(tmp_path: Path) -> None:
    generate(rows=900, plants=3, seed=0).write_csv(tmp_path / "machines.csv")
    written = werkbund("init", "machines.csv", "--label", "Machine failure", "--client", "plant", folder=tmp_path)
    assert written.returncode == 0, written.stderr
    ran = werkbund("run", "federation.toml", "--set", "federation.rounds=2", "--no-compare", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["clients"] == 3


def test_a_finished_run_is_not_resumed_and_loses_nothing(tmp_path: Path) -> None:
    assert werkbund("run", *SMALL, "--no-compare", "--out", "done", folder=tmp_path).returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "done").rglob("*") if path.is_file()}
    finished = werkbund("resume", "done", folder=tmp_path)
    assert (finished.returncode, finished.stdout.split(";")[0]) == (0, "done is finished")
    assert json.loads(werkbund("resume", "done", "--json", folder=tmp_path).stdout)["finished"] is True
    assert {path: path.read_bytes() for path in (tmp_path / "done").rglob("*") if path.is_file()} == before


def _with_one(value: float, folder: Path, plants: int) -> list[str]:
    """Return how a run is called on a table in which one plant has one such reading."""
    rng, rows = np.random.default_rng(0), 120 * plants
    load = rng.normal(40, 6, rows)
    load[min(130, rows - 1)] = value
    names = np.repeat(["Ulm", "Linz", "Graz"][:plants], 120)
    failed = (rng.random(rows) < 0.2).astype(int)
    table = {"load": load, "heat": rng.normal(0, 1, rows), "plant": names, "failed": failed}
    pl.DataFrame(table).write_parquet(folder / "rows.parquet")
    roles = ["--set", "data.label=failed", "--set", "data.client=plant", "--set", "federation.rounds=2"]
    return ["run", "--data", "rows.parquet", *roles, "--no-compare"]


@pytest.mark.parametrize(
    ("value", "plants", "model"), [(1e300, 2, "mlp"), (1e300, 3, "trees"), (1e30, 2, "mlp"), (1e30, 3, "trees")]
)
def test_one_absurd_reading_is_named_with_plant_column_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, plants: int, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    called = [*_with_one(value, tmp_path, plants), "--set", f"model.kind={model}"]
    text = " ".join(CliRunner().invoke(app, called).output.split())
    assert "load" in text
    assert "1 at Linz" in text
    assert "leave out Linz" in text
    assert "[data.missing]" in text
    assert "another version" not in text
    mended = CliRunner().invoke(app, [*called, "--set", f"data.missing.load=[{value!r}]"])
    assert mended.exit_code == 0, mended.output
    assert "1 at Linz" not in mended.output


def test_one_plant_alone_is_told_that_there_is_nothing_to_federate(tmp_path: Path) -> None:
    _with_one(40.0, tmp_path, 1)
    roles = ["--set", "data.label=failed", "--set", "data.client=plant"]
    said = werkbund("check", "rows.parquet", *roles, folder=tmp_path)
    assert "there is nothing to federate" in " ".join(said.stdout.split())


def test_compare_gives_intervals_over_seeds(tmp_path: Path) -> None:
    finished = werkbund("compare", *SMALL, "--seeds", "2", "--json", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    table = json.loads(finished.stdout)
    assert table["seeds"] == [0, 1]
    rows = {(row["who"], row["metric"]): row for row in table["rows"]}
    one = rows["federated", "average_precision"]
    assert one["low"] <= one["mean"] <= one["high"]
    assert one["mean"] == pytest.approx(sum(one["values"]) / 2)
    assert ("federated minus local_mean", "average_precision") in rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.toml"], "none.toml does not exist"),
        (["run", "--data", "none.csv"], "none.csv"),
        (["run", "--set", "strategy.selection.name=oracle", *SMALL], "file.py:Class of your own, got 'oracle'"),
        (["run", "--set", "training.epochs=-2"], "training.epochs"),
        (["run", "--set", "model.kind=nowhere.net:Net", *SMALL], "does not import"),
        (["resume", "."], "must be a run's folder"),
        (["predict", ".", "x.csv"], "model"),
        (["fetch", "mnist"], "must be ai4i2020"),
    ],
)
def test_a_fault_ends_with_one_message_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == __version__


def test_predict_takes_a_plant_that_never_measured_a_column_as_training_did(tmp_path: Path) -> None:
    frame = generate(rows=400, plants=2, seed=5)
    settings = ["--no-compare", "--set", "federation.rounds=1", "--out", "run"]
    for name, drop in (("a", []), ("b", ["Torque [Nm]"])):
        frame.drop(drop).write_csv(tmp_path / f"{name}.csv")
    assert werkbund("init", "?.csv", "--label", "Machine failure", folder=tmp_path).returncode == 0
    trained = werkbund("run", "federation.toml", *settings, folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    finished = werkbund("predict", "run", "b.csv", "--out", "scored.csv", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "Torque [Nm]: the table has no such column: empty here." in finished.stderr
    assert "Torque [Nm]: 400 rows without a reading, scored as unknown" in finished.stderr
    assert pl.read_csv(tmp_path / "scored.csv")["failure_probability"].null_count() < 20  # some have extreme readings
    frame.drop("Rotational speed [rpm]").write_csv(tmp_path / "c.csv")
    refused = werkbund("predict", "run", "c.csv", folder=tmp_path)
    assert refused.returncode == 2
    assert "missing 'Rotational speed [rpm]'" in refused.stderr
