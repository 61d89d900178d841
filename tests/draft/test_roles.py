"""Which columns name the machine, the time or the site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.draft.tables import ROWS, Drafted, machines, reason
from werkbund.core.arrays import Float64Array
from werkbund.data.times import moments
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.partition.population import RawTable


@pytest.mark.parametrize("name", ["machine", "machineID", "asset_no", "Maschine", "engine_id", "UNIT"])
def test_a_machine_column_is_known_by_name_and_repetition(drafted: Drafted, name: str) -> None:
    _, config = drafted(machines(**{name: np.arange(ROWS) // 50}))
    assert config.data.machine == name
    assert config.clients.partition == "tool-blocks"
    assert divide(read_table(config), config).partition.num_clients == 2


def test_the_whole_is_preferred_to_its_tool(drafted: Drafted) -> None:
    _, config = drafted(machines(tool_id=np.arange(ROWS) // 10, machine_id=np.arange(ROWS) // 50))
    assert config.data.machine == "machine_id"


@pytest.mark.parametrize(("name", "every"), [("Tool wear [min]", 50), ("machine type", 50), ("machine", 1)])
def test_other_columns_are_no_machine(drafted: Drafted, name: str, every: int) -> None:
    assert drafted(machines(**{name: np.arange(ROWS) // every}))[1].data.machine is None


def test_wear_that_falls_back_tells_tools_apart(drafted: Drafted) -> None:
    _, config = drafted(machines(**{"Tool wear [min]": np.arange(ROWS) % 40 * 5}))
    assert config.data.machine_reset == "Tool wear [min]"
    assert "Tool wear [min]" in config.data.columns
    assert len(np.unique(read_table(config).schema.machines(read_table(config).frame))) == ROWS // 40


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ts", [f"2024-01-{1 + number // 24:02d} {number % 24:02d}:00:00" for number in range(ROWS)]),
        ("timestamp", [1_700_000_000 + 60 * number for number in range(ROWS)]),
        ("measured", [f"2024/02/{1 + number % 28:02d}" for number in range(ROWS)]),
    ],
)
def test_a_time_column_orders_the_rows(drafted: Drafted, name: str, values: list[Any]) -> None:
    text, config = drafted(machines(**{name: values}))
    assert config.data.time == name
    assert name not in config.data.columns
    assert ("already rise" in text) == (values == sorted(values))
    assert divide(read_table(config), config).table.frame[name].is_sorted()


def test_a_time_that_cannot_be_read_for_certain_leaves_the_order_of_the_file(drafted: Drafted) -> None:
    text, config = drafted(machines(date=[f"03/{1 + number % 28:02d}/2024 14:00" for number in range(ROWS)]))
    assert config.data.time is None
    assert "'date' is a time, but its values cannot be read for certain" in text
    assert "a date or time" in reason(text, "date")


def test_german_dates_are_sorted_as_time(drafted: Drafted) -> None:
    days = [f"{1 + number % 28:02d}.{1 + number // 28 % 12:02d}.2024" for number in range(ROWS)]
    text, config = drafted(machines(date=days))
    assert config.data.time == "date"
    assert ("already rise" in text) == (ROWS <= 28 * 12)
    hours = moments(divide(read_table(config), config).table.frame["date"])
    assert (np.diff(hours) >= 0).all()


def _stamps(every: int) -> list[str]:
    return [f"2024-{1 + number // every:02d}-01" for number in range(ROWS)]


def _hours() -> list[str]:
    return [f"2024-01-{1 + number // 24:02d} {number % 24:02d}:00:00" for number in range(ROWS)]


def test_with_a_time_and_no_machine_the_last_rows_are_held_out_and_the_draft_says_why(drafted: Drafted) -> None:
    text, config = drafted(machines(ts=_hours()))
    assert config.clients.split == "time"
    assert "a model is used on rows that come after those it learnt from" in " ".join(text.replace("# ", "").split())
    splits = divide(read_table(config), config).population.splits
    for client in range(2):
        hours = [_of_client(splits[name], client) for name in ("train", "validation", "test")]
        assert hours[0].max() < hours[1].min()
        assert hours[1].max() < hours[2].min()


def _of_client(raw: RawTable, client: int) -> Float64Array:
    return moments(raw.frame["ts"])[raw.rows[raw.offsets[client] : raw.offsets[client + 1]]]


def test_with_a_time_and_machines_both_are_held_out(drafted: Drafted) -> None:
    text, config = drafted(machines(ts=_hours(), machine=np.arange(ROWS) % 8))
    assert (config.clients.split, config.clients.later) == ("machines", 0.2)
    assert "in a later period, which is often worse" in " ".join(text.replace("# ", "").split())
    assert len(divide(read_table(config), config).population.splits["later"].rows) > 0


def test_few_times_are_no_period(drafted: Drafted) -> None:
    _, config = drafted(machines(ts=_stamps(ROWS // 4 + 1), machine=np.arange(ROWS) % 8))
    assert config.clients.later == 0.0


def test_without_a_time_the_draft_says_nothing_of_periods(drafted: Drafted) -> None:
    text, config = drafted(machines(machine=np.arange(ROWS) % 8))
    assert config.clients.split == "machines"
    assert '#split = "machines"' in text


def test_a_duration_is_no_time(drafted: Drafted) -> None:
    _, config = drafted(machines(**{"cycle time [s]": np.arange(ROWS) % 13 + 0.5}))
    assert config.data.time is None
    assert config.data.columns["cycle time [s]"].unit == "s"


def test_two_columns_of_sites_are_suggested_but_none_is_decided(drafted: Drafted) -> None:
    frame = machines(site=["north", "south"] * (ROWS // 2), plant=["a", "a", "b", "b"] * (ROWS // 4))
    text, config = drafted(frame)
    assert (config.data.client, config.clients.partition) == (None, "iid")
    assert "Is 'site' the site?" in text
    assert "seems to name the site" in reason(text, "site")
    assert drafted(frame, client="plant")[1].data.client == "plant"


def test_the_one_column_of_sites_is_the_client(drafted: Drafted) -> None:
    text, config = drafted(machines(site=["north", "south"] * (ROWS // 2)))
    assert (config.data.client, config.clients.partition) == ("site", "by-column")
    assert "north: 200 rows" in text
    assert divide(read_table(config), config).population.names == ("north", "south")
