"""What commands say of a table in one line, and how lines are broken on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from werkbund.cli import app
from werkbund.cli.edge import Flowing

ROWS = 240


def _init(folder: Path, plants: int = 3, **columns: list[object]) -> str:
    """Return what `init` says of a table of readings with these columns beside them."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "Werk": [f"W{row % plants}" for row in range(ROWS)],
            "Maschine": [f"{row % plants}-{row // 12}" for row in range(ROWS)],
            "Druck_bar": rng.normal(size=ROWS).round(3),
            **columns,
        }
    )
    frame.write_csv(folder / "daten.csv")
    said = CliRunner().invoke(app, ["init", str(folder / "daten.csv"), "--out", str(folder / "f.toml")])
    assert said.exit_code == 0, said.output
    return " ".join(said.output.split())


def _every(number: int, *values: object) -> list[object]:
    """Return one of the values in turn in each such row, and the first of them in all others."""
    first, *others = values
    return [others[row // number % len(others)] if row % number == 0 else first for row in range(ROWS)]


def test_init_names_the_values_that_count_as_failures(tmp_path: Path) -> None:
    said = _init(tmp_path, Status=_every(8, "OK", "Lager", "Leck"))
    assert "the label is 'Status', 30 failures ('Lager', 'Leck') in 240 rows, the clients by 'Werk'." in said


def test_init_says_that_a_number_is_foretold(tmp_path: Path) -> None:
    said = _init(tmp_path, Restlaufzeit_h=[float(1 + row * 37 % 971) for row in range(ROWS)])
    assert "the label is 'Restlaufzeit_h', a number, which is foretold as such; of 240 rows" in said
    assert "count as failures" in said


def test_init_says_that_clients_are_played_where_no_column_names_plants(tmp_path: Path) -> None:
    said = _init(tmp_path, plants=1, Ausfall=_every(8, 0, 1))
    assert "no column names plants, so that 2 parts of the rows play them" in said
    assert "Werk: left out: constant: every value is 'W0'." in said


@pytest.mark.parametrize("is_terminal", [True, False])
def test_running_text_is_broken_between_words_on_a_terminal_and_not_for_programs(is_terminal: bool) -> None:
    text = "Clearly worse, so better off with a model of its own: plant-09, and not clear at nine plants taken alone."
    written = io.StringIO()
    Flowing(file=written, force_terminal=is_terminal, width=40).print(text, soft_wrap=True, highlight=False)
    lines = written.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert (len(lines) > 1) == is_terminal
