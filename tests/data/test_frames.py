"""Frames of pandas become frames of polars with the same values, and anything else is refused."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from werkbund.data.frames import polars_of


def test_a_frame_of_pandas_keeps_numbers_texts_and_what_is_missing() -> None:
    frame = pd.DataFrame({"load": [1.5, None], "steps": [1, 2], "kind": ["L", None], "on": [True, False]})
    taken = polars_of(frame)
    assert taken.to_dict(as_series=False)["steps"] == [1, 2]
    assert taken["kind"].to_list() == ["L", None]
    assert taken["load"].is_nan().to_list() == [False, True]
    assert taken["on"].dtype == pl.Boolean
    assert polars_of(taken) is taken


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TypeError, match="rows must be a frame of polars or pandas, got list"):
        polars_of([[1.0]])
