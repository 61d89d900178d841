"""Every registered partitioner keeps these rules."""

from typing import Any

import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data import rules
from werkbund.data.ai4i import generated_table
from werkbund.data.table import Table
from werkbund.partition import PARTITIONERS, Partition, options_of, partition_table

NUM_CLIENTS = 6

CASES: list[tuple[str, dict[str, Any]]] = [
    ("by-column", {}),
    ("by-column", {"column": "plant"}),
    ("tool-blocks", {}),
    ("iid", {}),
    ("iid", {"unit": "machines"}),
    ("dirichlet", {"alpha": 0.05}),
    ("dirichlet", {"alpha": 100.0, "over": "mode"}),
    ("quantity", {"exponent": 3.0}),
    ("quantity", {"law": "dirichlet", "alpha": 0.1}),
    ("regime", {"column": rules.AIR}),
    ("regime", {"column": "power"}),
    ("hot-mode", {}),
    ("hot-mode", {"mode": "PWF", "base": "iid"}),
]

every_case = pytest.mark.parametrize(("kind", "options"), CASES)


def _table(rows: int = 3000) -> Table:
    return generated_table(rows=rows, plants=NUM_CLIENTS, seed=0)


def _made(kind: str, options: dict[str, Any], table: Table | None = None, seed: int = 0) -> Partition:
    return partition_table(kind, table or _table(), NUM_CLIENTS, np.random.default_rng(seed), options)


def test_every_registered_partitioner_is_covered() -> None:
    assert {kind for kind, _ in CASES} == set(PARTITIONERS)
    assert len(PARTITIONERS) == 7


def test_every_option_is_covered() -> None:
    varied = {(kind, name) for kind, options in CASES for name in options}
    assert varied == {(kind, name) for kind in PARTITIONERS for name in options_of(kind)}


@every_case
def test_every_row_belongs_to_one_of_the_clients(kind: str, options: dict[str, Any]) -> None:
    table = _table()
    made = _made(kind, options, table)
    assert made.kind == kind
    assert made.assignment.shape == (table.num_rows,)
    assert made.num_clients == NUM_CLIENTS
    assert made.sizes.sum() == table.num_rows


@every_case
@pytest.mark.parametrize("seed", range(5))
def test_every_client_has_a_row(kind: str, options: dict[str, Any], seed: int) -> None:
    assert _made(kind, options, seed=seed).sizes.min() >= 1


@every_case
def test_the_same_generator_gives_the_same_partition(kind: str, options: dict[str, Any]) -> None:
    first, second = (_made(kind, options, seed=4) for _ in range(2))
    assert first.names == second.names
    np.testing.assert_array_equal(first.assignment, second.assignment)


@every_case
def test_the_table_is_left_as_it_was(kind: str, options: dict[str, Any]) -> None:
    table = _table()
    before = table.frame.clone()
    _made(kind, options, table)
    assert table.frame.equals(before)


@every_case
def test_more_clients_than_rows_are_refused(kind: str, options: dict[str, Any]) -> None:
    table = _table(NUM_CLIENTS)
    with pytest.raises(ConfigError, match=r"number of clients must be .*got 7"):
        partition_table(kind, table, NUM_CLIENTS + 1, np.random.default_rng(0), options)


@every_case
@pytest.mark.parametrize("num_clients", [-1, 10**9])
def test_an_impossible_number_of_clients_is_refused(kind: str, options: dict[str, Any], num_clients: int) -> None:
    with pytest.raises(ConfigError, match=f"number of clients must be .*got {num_clients}"):
        partition_table(kind, _table(60), num_clients, np.random.default_rng(0), options)


@pytest.mark.parametrize("kind", PARTITIONERS)
def test_an_unknown_option_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind} has no option 'alhpa'"):
        _made(kind, {"alhpa": 1.0})


@pytest.mark.parametrize("kind", PARTITIONERS)
def test_it_says_what_it_does(kind: str) -> None:
    assert (PARTITIONERS[kind].__doc__ or "").strip()


def test_an_unknown_partitioner_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="got 'tool-block'; did you mean tool-blocks"):
        _made("tool-block", {})


OPTIONS = [(kind, name) for kind in PARTITIONERS for name in options_of(kind)]


@pytest.mark.parametrize(("kind", "name"), OPTIONS)
@pytest.mark.parametrize("value", [True, ["x"], {}])
def test_an_option_of_another_type_is_refused_by_name(kind: str, name: str, value: object) -> None:
    assert len(OPTIONS) == 10
    with pytest.raises(ConfigError, match=f"{name} must be "):
        partition_table(kind, _table(), 3, np.random.default_rng(0), {name: value})
