"""A model that was trained from a German Excel export scores a new one, as a workbook or as a text."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.data.written import Written, table, workbook
from werkbund.cli import app
from werkbund.config import load_config
from werkbund.federation import run

pytest.importorskip("fastexcel")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run."""
    folder = tmp_path_factory.mktemp("german")
    workbook(table((None, "x"), rows=240), folder / "daten.xlsx", ("Export Prüfstand",))
    drafted = CliRunner().invoke(
        app,
        ["init", str(folder / "daten.xlsx"), "--label", "Störung", "--client", "Werk", "--out", str(folder / "f.toml")],
    )
    assert drafted.exit_code == 0, drafted.output
    assert "1 line above the header" in drafted.output
    run(load_config(folder / "f.toml", ["federation.rounds=2"]), out=folder / "run", compare=False)
    return folder


@pytest.mark.parametrize("written", [None, Written("cp1252", ";", True, True, units=True), Written("utf-16", "\t")])
def test_a_new_export_is_scored(folder: Path, written: Written | None) -> None:
    new = table((None, "x"), seed=5, rows=30)
    path = folder / ("neu.xlsx" if written is None else "neu.csv")
    if written is None:
        workbook(new, path)
    else:
        path.write_bytes(written.bytes_of(new))
    out = folder / "scored.csv"
    done = CliRunner().invoke(app, ["predict", str(folder / "run"), str(path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    failed = new["Störung"].is_not_null().sum()
    assert f"Of 30 scored rows {failed} failed: " in done.output, "an empty label is no failure, as in training"
    scores = pl.read_csv(out)["failure_probability"].to_list()
    assert len(scores) == 30
    assert all(math.isfinite(score) for score in scores)
    reference = folder / "reference.csv"
    new.write_csv(reference)
    CliRunner().invoke(app, ["predict", str(folder / "run"), str(reference), "--out", str(out)])
    assert pl.read_csv(out)["failure_probability"].to_list() == scores


def test_a_label_that_is_empty_throughout_is_not_known(folder: Path) -> None:
    table((None, None), seed=5, rows=30).write_csv(folder / "open.csv")
    done = CliRunner().invoke(
        app, ["predict", str(folder / "run"), str(folder / "open.csv"), "--out", str(folder / "o")]
    )
    assert done.exit_code == 0, done.output
    assert "failed" not in done.output
