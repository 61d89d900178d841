"""From a table that nobody prepared to a model: a configuration is drafted and runs as it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from werkbund.config import load_config
from werkbund.data import source_for
from werkbund.draft import draft_config
from werkbund.federation import Run, run
from werkbund.model import score_onnx

SITES = {"Essen": 6000, "Győr": 2400, "Lyon, Sud": 600, "Turku": 40, "Brno": 3}
WITH_FAILURES = ("Essen", "Győr", "Lyon, Sud")
LABEL, SITE = "Ausfall", "Standort"
ROUNDS = 5


def ugly_table(seed: int) -> pl.DataFrame:
    """Return texts, gaps in four spellings, constants, an id, a time as text, 0.3 % failures, unequal sites."""
    rng = np.random.default_rng(seed)
    site = np.repeat(list(SITES), list(SITES.values()))
    rows = len(site)
    temperature = rng.normal(65, 6, rows) + 4 * (site == "Győr")
    load = rng.gamma(4, 8, rows)
    danger = (temperature - 65) / 6 + (load - 32) / 16 + rng.normal(0, 0.3, rows)
    danger[~np.isin(site, WITH_FAILURES)] = -np.inf
    failed = np.zeros(rows, dtype=bool)
    failed[np.argsort(-danger)[: round(0.003 * rows)]] = True
    hours = np.concatenate([np.arange(size) for size in SITES.values()])
    return pl.DataFrame(
        {
            "record": [f"R-{number:06d}" for number in rng.permutation(rows)],
            "gemessen am": pl.Series(hours * 3_600_000_000).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S"),
            SITE: site,
            "machine_id": [f"{name[:2]}-{hour // 25 % 40}" for name, hour in zip(site, hours, strict=True)],
            "Öl Temp [degC]": _with_gaps(temperature, 0.04, rng, ["", "n/a", "NaN", "NULL"]),
            "load_kW": _with_gaps(load, 0.01, rng, [""]),
            "Material": rng.choice(["Stahl", "Alu, hart", "", "n/a"], rows, p=[0.6, 0.3, 0.05, 0.05]),
            "comment": [f"Schicht ok {number}" for number in rng.integers(0, 900, rows)],
            "firmware": "v2",
            "offset": 0.0,
            "empty": "",
            "spoiled": np.where(rng.random(rows) < 0.01, "ERR", np.char.mod("%.2f", rng.normal(size=rows))),
            "repair cost": np.where(failed, np.char.mod("%.2f", rng.uniform(50, 900, rows)), ""),
            LABEL: np.where(failed, "ja", "nein"),
        }
    )


def _with_gaps(values: np.ndarray, share: float, rng: np.random.Generator, gaps: list[str]) -> np.ndarray:
    return np.where(rng.random(len(values)) < share, rng.choice(gaps, len(values)), np.char.mod("%.3f", values))


def _write(frame: pl.DataFrame, path: Path, separator: str, decimal_comma: bool) -> None:
    number = r"^([+-]?\d+)\.(\d+)$"
    if decimal_comma:
        frame = frame.with_columns(pl.col(pl.Float64).cast(pl.String)).with_columns(
            pl.col(pl.String).str.replace(number, "${1},${2}")
        )
    path.write_bytes(b"\xef\xbb\xbf" + frame.write_csv(separator=separator, line_terminator="\r\n").encode())


@pytest.fixture(scope="module", params=[(",", False), (";", True)], ids=["commas", "semicolons and decimal commas"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("unprepared")
    table, draft = folder / "Werksdaten 2024.csv", folder / "federation.toml"
    _write(ugly_table(seed=1), table, *request.param)
    draft.write_text(draft_config(table, label=LABEL, client=SITE, config_folder=folder), encoding="utf-8")
    config = load_config(draft, [f"federation.rounds={ROUNDS}"])
    return table, run(config, out=folder / "run", compare=False)


def _raw(table: Path) -> pl.DataFrame:
    return source_for(table).read()[0]


def test_the_run_ends_with_a_useful_model(finished: tuple[Path, Run]) -> None:
    _, done = finished
    precision = done.summary["metrics"]["federated"]["average_precision"]
    assert done.summary["rounds"] == ROUNDS
    assert done.summary["clients"] == len(SITES)
    assert math.isfinite(precision)
    assert precision > 0.03  # ten times what chance gives


def test_the_saved_model_scores_the_raw_table(finished: tuple[Path, Run]) -> None:
    table, done = finished
    frame = _raw(table)
    scores = done.model.score(frame)
    assert scores.shape == (frame.height,)
    assert np.isfinite(scores).all()
    failed = (frame[LABEL] == "ja").to_numpy()
    assert scores[failed].mean() > scores[~failed].mean()


def test_the_exported_model_agrees(finished: tuple[Path, Run]) -> None:
    table, done = finished
    frame = _raw(table)
    probability, decision = score_onnx((done.folder / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(probability, done.model.score(frame), atol=1e-5)
    assert (decision == done.model.decide(frame)).mean() > 0.999


def test_only_measured_columns_become_features(finished: tuple[Path, Run]) -> None:
    _, done = finished
    assert done.model.preparation.columns == ("Öl Temp [degC]", "load_kW", "spoiled", "Material")


def test_the_report_is_written(finished: tuple[Path, Run]) -> None:
    _, done = finished
    assert done.report.stat().st_size > 0
