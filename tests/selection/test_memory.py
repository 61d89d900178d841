from __future__ import annotations

import numpy as np
import pytest

from werkbund.selection import View
from werkbund.selection.memory import importance


@pytest.mark.parametrize(
    ("rows", "counts", "by_rows"),
    [
        ([30.0, 10.0, 0.0], [30.0, 10.0, 0.0], True),
        ([30.0, np.nan, 10.0], [30.0, 20.0, 10.0], True),
        ([np.nan] * 3, [1.0] * 3, False),
        ([0.0] * 3, [1.0] * 3, False),
    ],
)
def test_who_told_no_rows_counts_as_the_mean_of_the_others(
    rows: list[float], counts: list[float], by_rows: bool
) -> None:
    found, are_rows = importance(View(1, np.arange(3), {"rows": np.array(rows)}))
    assert (found.tolist(), are_rows) == (counts, by_rows)
