"""One client's units are converted at that client alone; clients that are left out leave the others as they are."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from werkbund.core.errors import ConfigError
from werkbund.data.conversion import in_declared_units
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table

SCHEMA = Schema("failed", (Column("air", "number"), Column("oil", "number", "bar")), client="site")
FRAME = pl.DataFrame(
    {
        "air": [20.0, None, 293.15, 295.15],
        "oil": [5.0, 6.0, 72.5189, 87.0226],
        "site": ["Ulm", "Ulm", "Linz", "Linz"],
        "failed": [0, 1, 0, 1],
    }
)
TABLE = Table(FRAME, SCHEMA, Origin("csv"))


def test_readings_of_one_client_are_converted() -> None:
    mended = in_declared_units(TABLE, {"Linz": {"air": ["K", "°C"], "oil": "psi"}}).frame
    assert_frame_equal(mended.head(2), FRAME.head(2))
    assert mended["air"].to_list()[2:] == pytest.approx([20.0, 22.0])
    assert mended["oil"].to_list()[2:] == pytest.approx([5.0, 6.0], rel=1e-4)


def test_a_factor_multiplies() -> None:
    mended = in_declared_units(TABLE, {"Ulm": {"oil": 1000.0}}).frame
    assert mended["oil"].to_list() == [5000.0, 6000.0, 72.5189, 87.0226]


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ({"Lins": {"air": "K"}}, "data.units must name clients of the table, got 'Lins'; did you mean Linz"),
        ({"Linz": {"site": "K"}}, "data.units.Linz must name number columns of the table, got 'site'"),
        ({"Linz": {"air": "K"}}, "'air' must have a declared unit to be converted from 'K'"),
        ({"Linz": {"oil": ["psi", "kPa"]}}, "must be converted to its declared unit 'bar', got 'kPa'"),
        ({"Linz": {"oil": "K"}}, "cannot be converted from K to bar"),
    ],
)
def test_what_cannot_be_converted_is_refused(measures: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        in_declared_units(TABLE, measures)


def test_clients_are_left_out_by_name() -> None:
    assert_frame_equal(TABLE.without(["Linz"]).frame, FRAME.head(2))
    assert TABLE.without([]).frame.equals(FRAME)
    with pytest.raises(ConfigError, match=r"data\.without must name clients of the table, got 'Graz'"):
        TABLE.without(["Graz"])
    with pytest.raises(ConfigError, match="must leave a client, got all: Linz, Ulm"):
        TABLE.without(["Linz", "Ulm"])
