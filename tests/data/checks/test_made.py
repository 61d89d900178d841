"""What a check says of rows that were made of readings and a log."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tests.data.time.fleets import DATA, fleet
from werkbund.config import check_config
from werkbund.data import Origin, check
from werkbund.data.time.events import LogTable
from werkbund.federation.tables import made_table


def test_all_that_was_left_out_is_told() -> None:
    readings, log = fleet(4)
    wrong = readings[:3].with_columns(when=pl.lit(datetime(1970, 1, 1)).cast(pl.Datetime("us")))
    dirty = pl.concat(
        [readings.cast({"when": pl.Datetime("us")}), wrong, readings[5:7].cast({"when": pl.Datetime("us")})]
    )
    early = log[:1].with_columns(pl.col("begin") + pl.duration(hours=4), pl.col("back") + pl.duration(hours=4))
    later = log[:1].with_columns(pl.col("begin") + pl.duration(hours=9), pl.col("back") + pl.duration(hours=9))
    stray = log[:1].with_columns(machine=pl.lit("M99"))
    config = check_config({"data": {**DATA, "events": {"start": "begin", "back": "back", "merge": "0s"}}})
    told = LogTable.of(pl.concat([log, early, later, stray]), config.data.events.model_dump(), "machine", "site")
    found = {finding.rule: finding for finding in check(made_table(dirty, Origin("test"), told, config))}
    assert found["impossible-readings"].rows == 3
    assert found["repeated-readings"].rows == 2
    assert found["unknown-machines"].rows == 1
    assert found["unforetold"].rows >= 2
    assert "M0" in found["unforetold"].message
    assert "have no label and are left out" in found["points"].message
    assert found["points"].level == "note"
