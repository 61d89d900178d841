"""Small fleets for tests: readings of machines that wear, or of nothing at all, and a log of their failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

START = 1_700_006_400  # seconds
HOUR = 3600
DATA: dict[str, Any] = {
    "machine": "machine",
    "time": "when",
    "client": "site",
    "columns": {"heat": {"unit": "K", "low": 0.0, "high": 500.0}, "noise": {}},
    "windows": {"step": "2h", "spans": ["6h", "12h"], "horizon": "24h", "grace": "0"},
}


def fleet(machines: int = 12, days: int = 20, seed: int = 0, wears: bool = True) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return readings every hour, and a log.

    A machine that wears gets hotter and fails every 4 to 8 days; else it fails by chance, whatever its age.
    """
    rng = np.random.default_rng(seed)
    readings, stops = [], []
    for number in range(machines):
        hours = np.arange(24 * days)
        lives = rng.integers(96, 192, 40) if wears else 8 + rng.exponential(136, 40).astype(int)
        fails = np.cumsum(lives)
        fails = fails[fails < len(hours)]
        since = hours - np.concatenate(([-48], fails))[np.searchsorted(fails, hours, "right")]
        heat = 300 + rng.normal(0, 5) + 0.1 * rng.normal(size=len(hours)).cumsum() + wears * 0.02 * since**1.5
        machine, site = f"M{number}", f"site-{number % 2}"
        readings.append(
            pl.DataFrame({"heat": heat, "noise": rng.normal(size=len(hours)), "hour": hours}).with_columns(
                pl.from_epoch(START + HOUR * pl.col("hour"), "s").alias("when"),
                pl.lit(machine).alias("machine"),
                pl.lit(site).alias("site"),
            )
        )
        begins = START + HOUR * fails + HOUR // 2
        stops.append(
            pl.DataFrame({"machine": machine, "begin": begins, "mode": rng.choice(["heat", "leak"], len(fails))})
        )
    log = pl.concat(stops).with_columns(
        pl.from_epoch("begin", "s"), (pl.from_epoch("begin", "s") + pl.duration(hours=3)).alias("back")
    )
    return pl.concat(readings).drop("hour"), log
