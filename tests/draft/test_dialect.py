"""How a delimited file is written is found out from its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.draft.tables import ROWS, machines
from werkbund.core.errors import DataError
from werkbund.draft import draft_config
from werkbund.draft.dialect import Dialect, dialect_of


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    frame = machines(note=["a, b; c"] * ROWS)
    frame.write_csv(tmp_path / "t.csv", separator=separator)
    assert dialect_of(tmp_path / "t.csv") == Dialect(separator)


@pytest.mark.parametrize(
    ("rows", "comma"),
    [
        ("1,5;2\n3;4\n", True),
        ("1.5;2\n3;4\n", False),
        ("1;2\n3;4\n", False),
        ("n/a;2,25\n;4\n", True),
        ("a,b;1\n", False),
    ],
)
def test_decimal_commas_are_found(tmp_path: Path, rows: str, comma: bool) -> None:
    (tmp_path / "t.csv").write_text("x;y\n" + rows)
    assert dialect_of(tmp_path / "t.csv").decimal_comma is comma


def test_a_missing_file_is_reported_as_always(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        draft_config(tmp_path / "none.csv", label="failed", config_folder=tmp_path)
