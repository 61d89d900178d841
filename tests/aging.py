"""Tables of plants whose failures follow other causes in the last fifth of the time, or the same ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

PLANTS, MACHINES, HOURS = 3, 6, 100
DATA: dict[str, Any] = {
    "label": "failed",
    "client": "plant",
    "machine": "machine",
    "time": "when",
    "columns": {"heat": {"kind": "number"}, "shake": {"kind": "number"}},
}


def table_in_time(seed: int, drifts: bool) -> pl.DataFrame:
    """Return readings of all machines of three plants, an hour apart, with dates as Germans write them."""
    rng, frames = np.random.default_rng(seed), []
    stamps = [datetime(2024, 1, 28) + timedelta(hours=hour) for hour in range(HOURS)]
    for number in range(PLANTS * MACHINES):
        heat, shake = rng.normal(size=(2, HOURS))
        known = np.where(drifts & (np.arange(HOURS) >= 0.8 * HOURS), 0.0, 1.0)
        logit = -2.2 + known * (1.6 * heat + 1.2 * shake)
        frames.append(
            pl.DataFrame(
                {
                    "plant": f"plant-{1 + number // MACHINES}",
                    "machine": f"press {number}",
                    "when": [stamp.strftime("%d.%m.%Y %H:%M") for stamp in stamps],
                    "heat": heat,
                    "shake": shake,
                    "failed": (rng.random(HOURS) < 1 / (1 + np.exp(-logit))).astype(np.int64),
                }
            )
        )
    return pl.concat(frames)
