from __future__ import annotations

import numpy as np
import pytest

from tests.deployed import small_config
from werkbund.audit.bounds import roc_of
from werkbund.audit.membership import LikelihoodRatio, LossThreshold, Shadows, members_told, shadows
from werkbund.core.errors import ConfigError
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table


def _spread(mean: float, deviation: float) -> list[float]:
    """Return two values with this median and standard deviation."""
    return [mean - deviation, mean + deviation]


def test_the_ratio_of_one_row_is_that_of_the_reference() -> None:
    confidence = np.array([[0.8], [99.0], *([v] for v in _spread(-2, 1)), *([v] for v in _spread(1, 0.5))])
    is_in = np.array([[True], [False], [False], [False], [True], [True]])
    seen = Shadows(confidence, is_in)
    assert LikelihoodRatio().scores(seen) == pytest.approx([4.5331], abs=1e-4)
    assert LikelihoodRatio(offline=True).scores(seen) == pytest.approx([0.997445], abs=1e-6)


def test_members_and_others_have_spreads_of_their_own() -> None:
    """With the members' spread for both, as in the official code, the score would be another."""
    confidence = np.array([[0.0], [99.0], *([v] for v in _spread(0, 3)), *([v] for v in _spread(0, 1))])
    is_in = np.array([[True], [False], [False], [False], [True], [True]])
    assert LikelihoodRatio().scores(Shadows(confidence, is_in)) == pytest.approx([np.log(3)])


def test_a_row_is_a_member_if_the_model_is_sure_of_it() -> None:
    seen = Shadows(np.array([[5.0, -5.0, 0.0]]), np.array([[True, False, False]]))
    assert LossThreshold().scores(seen) == pytest.approx(-np.log1p(np.exp([-5.0, 5.0, 0.0])))


@pytest.fixture(scope="module")
def seen() -> Shadows:
    """Train trees that are deep enough to remember their rows."""
    trees = {"count": 4, "max_depth": 20}
    config = small_config(data={"rows": 450}, model={"kind": "extra-trees", "hidden": None}, trees=trees)
    return shadows(config, divide(read_table(config), config).population, 6)


def test_each_row_is_in_half_of_the_models(seen: Shadows) -> None:
    assert (seen.is_in.sum(axis=0) == 3).all()
    assert np.abs(seen.is_in[0].mean() - 0.5) < 0.01


def test_a_model_that_remembers_gives_its_members_away(seen: Shadows) -> None:
    by_loss, by_ratio = members_told(seen)
    assert by_loss.auc > 0.6
    assert by_ratio.auc > 0.55, "with two models of each sort to compare with"


def test_few_models_do_not_lean_to_one_side() -> None:
    """Where a model does not remember, each row is in as many of the others as it is not, and no score follows."""
    rng = np.random.default_rng(2)
    halves = [half for _ in range(2) for first in [rng.permutation(np.arange(2000) < 1000)] for half in (first, ~first)]
    seen = Shadows(rng.normal(size=(4, 2000)), np.stack(halves))
    assert roc_of(LikelihoodRatio().scores(seen), seen.is_in[0]).auc == pytest.approx(0.5, abs=0.04)


def test_against_another_models_members_the_same_attack_is_by_chance(seen: Shadows) -> None:
    rng = np.random.default_rng(1)
    coins = [roc_of(LossThreshold().scores(seen), rng.permutation(seen.is_in[0])).auc for _ in range(50)]
    assert np.mean(coins) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("models", [0, 2, 5])
def test_a_row_must_be_in_half_of_the_models(models: int) -> None:
    config = small_config()
    with pytest.raises(ConfigError, match="--shadows"):
        shadows(config, divide(read_table(config), config).population, models)
