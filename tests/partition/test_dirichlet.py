import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data.ai4i import generated_table
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.partition.dirichlet import dirichlet


def _labelled(labels: list[int]) -> Table:
    frame = pl.DataFrame({"x": np.arange(float(len(labels))), "y": labels})
    return Table(frame, Schema("y", (Column("x", "number"),)), Origin("test"))


def _positives(table: Table, alpha: float, seed: int) -> np.ndarray:
    partition = dirichlet(table, 10, np.random.default_rng(seed), alpha=alpha)
    return np.bincount(partition.assignment, table.schema.labels(table.frame), minlength=10)


def test_a_large_alpha_makes_clients_alike() -> None:
    table = generated_table(rows=10_000, plants=1, seed=0)
    partition = dirichlet(table, 10, np.random.default_rng(0), alpha=1e8)
    assert abs(partition.sizes - 1000).max() <= 2
    assert np.ptp(_positives(table, 1e8, 0)) <= 1


def test_a_small_alpha_gathers_failures_at_few_clients() -> None:
    table = generated_table(rows=10_000, plants=1, seed=0)
    shares = np.array([np.sort(_positives(table, 0.01, seed))[::-1] for seed in range(20)])
    # For alpha to 0 a Dirichlet draw is one client's alone.
    assert (shares[:, 0] / shares.sum(axis=1)).mean() > 0.8
    assert (shares[:, -1] == 0).all()


def test_shares_have_the_variance_of_a_dirichlet_distribution() -> None:
    table = _labelled([1] * 2000)
    alpha, clients = 0.8, 10
    draws = [dirichlet(table, clients, np.random.default_rng(seed), alpha=alpha).sizes / 2000 for seed in range(300)]
    mean = 1 / clients
    variance = mean * (1 - mean) / (clients * alpha + 1)
    assert np.var(draws) == pytest.approx(variance, rel=0.15)


def test_an_empty_client_gets_one_row_of_the_largest() -> None:
    for seed in range(30):
        partition = dirichlet(_labelled([0, 1] * 6), 12, np.random.default_rng(seed), alpha=0.01)
        assert partition.sizes.tolist() == [1] * 12


def test_mending_moves_no_more_rows_than_needed() -> None:
    table = _labelled([1] * 500)
    partition = dirichlet(table, 100, np.random.default_rng(3), alpha=0.01)
    assert np.sort(partition.sizes)[0] == 1
    assert partition.sizes.max() > 100


def test_modes_are_divided_each_by_its_own_shares() -> None:
    table = generated_table(rows=20_000, plants=1, seed=1)
    partition = dirichlet(table, 5, np.random.default_rng(0), alpha=0.05, over="mode")
    flags, names = table.schema.mode_flags(table.frame)
    single = flags.sum(axis=1) == 1
    favourites = set()
    for mode in range(len(names)):
        counts = np.bincount(partition.assignment[single & flags[:, mode]], minlength=5)
        favourites.add(int(np.argmax(counts)))
    assert len(favourites) > 1


def test_a_table_without_modes_divides_failures_as_one_class() -> None:
    assignments = [
        dirichlet(_labelled([0, 0, 1] * 50), 4, np.random.default_rng(5), over=over).assignment
        for over in ("label", "mode")
    ]
    np.testing.assert_array_equal(assignments[0], assignments[1])


def test_rows_of_one_class_alone_are_divided_too() -> None:
    assert dirichlet(_labelled([0] * 40), 5, np.random.default_rng(0)).sizes.sum() == 40


@pytest.mark.parametrize("alpha", [0.0, -0.5, float("nan")])
def test_alpha_must_be_above_zero(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha must be a finite number above 0"):
        dirichlet(_labelled([0, 1]), 2, np.random.default_rng(0), alpha=alpha)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="over must be one of label, mode, got 'type'"):
        dirichlet(_labelled([0, 1]), 2, np.random.default_rng(0), over="type")  # type: ignore[arg-type]
