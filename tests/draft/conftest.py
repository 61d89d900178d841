"""A draft beside each table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.draft.tables import Drafted
from werkbund.config import load_config
from werkbund.draft import draft_config


@pytest.fixture
def drafted(tmp_path: Path) -> Drafted:
    """Return a function that writes a table, drafts a configuration beside it, and loads it."""

    def write(frame: pl.DataFrame, *, name: str = "table.csv", label: str = "failed", **options: Any) -> Any:
        path = tmp_path / name
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
        text = draft_config(path, label=label, config_folder=tmp_path, **options)
        (tmp_path / "federation.toml").write_text(text, encoding="utf-8")
        return text, load_config(tmp_path / "federation.toml")

    return write
