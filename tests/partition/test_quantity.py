import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data.ai4i import generated_table
from werkbund.partition.quantity import quantity

TABLE = generated_table(rows=5000, plants=1, seed=0)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_sizes_follow_the_power_law(exponent: float) -> None:
    sizes = quantity(TABLE, 8, np.random.default_rng(0), exponent=exponent).sizes
    shares = np.arange(1, 9) ** -exponent
    np.testing.assert_allclose(sizes, 1 + 4992 * shares / shares.sum(), atol=1)


def test_a_small_alpha_gives_few_clients_nearly_all_rows() -> None:
    largest = {
        alpha: np.mean(
            [quantity(TABLE, 10, np.random.default_rng(s), law="dirichlet", alpha=alpha).sizes.max() for s in range(20)]
        )
        for alpha in (0.05, 1000.0)
    }
    assert largest[0.05] > 3000
    assert largest[1000.0] < 600


def test_rows_are_dealt_at_random() -> None:
    labels = TABLE.schema.labels(TABLE.frame)
    rates = [labels[quantity(TABLE, 2, np.random.default_rng(seed)).rows(1)].mean() for seed in range(40)]
    rate = labels.mean()
    assert abs(np.mean(rates) - rate) < 5 * np.sqrt(rate / (40 * 1667))


@pytest.mark.parametrize("option", [{"exponent": 0.0}, {"alpha": -1.0}])
def test_options_must_be_above_zero(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be a finite number above 0"):
        quantity(TABLE, 2, np.random.default_rng(0), **option)  # type: ignore[arg-type]


def test_an_unknown_law_is_refused() -> None:
    with pytest.raises(ConfigError, match="law must be one of power, dirichlet"):
        quantity(TABLE, 2, np.random.default_rng(0), law="zipf")  # type: ignore[arg-type]
