"""Small tables with failures, and what drafts say about them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from werkbund.config import Config

ROWS = 400
Drafted = Callable[..., tuple[str, Config]]


def machines(**columns: Any) -> pl.DataFrame:
    """Return rows of eight machines, with a tenth failures and one honest feature; columns are added or replaced."""
    rng = np.random.default_rng(0)
    base = {"load [kW]": rng.normal(50, 5, ROWS), "failed": (np.arange(ROWS) % 10 == 3).astype(int)}
    return pl.DataFrame({**base, **columns})


def reason(text: str, column: str) -> str:
    """Return why a column stands in never."""
    line = re.search(rf'^  "{re.escape(column)}",  # (.*)$', text, re.MULTILINE)
    return line[1] if line else ""


def options(text: str) -> list[str]:
    """Return the lines of keys that are not set, columns that were left out among them."""
    return [line for line in text.splitlines() if re.match(r'#(\w+|"[^"]+") = ', line)]
