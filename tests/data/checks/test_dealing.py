from __future__ import annotations

import polars as pl

from werkbund.config import check_config
from werkbund.data import Column, Origin, Schema, Table
from werkbund.data.checks import dealt_anew
from werkbund.federation.population import partition_of


def test_plants_that_are_dealt_anew_are_said() -> None:
    frame = pl.DataFrame({"plant": ["a", "a", "b", "c"], "x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]})
    table = Table(frame, Schema("y", (Column("x", "number"),), client="plant"), Origin("file"))
    dealt = check_config({"clients": {"partition": "iid", "count": 2}}).clients
    (finding,) = dealt_anew(table, *partition_of(table, dealt))
    assert "name 3 plants, but clients.partition = 'iid' deals them to 2 clients" in finding.message
    for clients in ({}, {"partition": "by-column"}):
        assert dealt_anew(table, *partition_of(table, check_config({"clients": clients}).clients)) == ()
