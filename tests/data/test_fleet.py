"""The generated fleet: one seed, one fleet; what is built in is found, and nothing passes who knows the hidden wear."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from werkbund.config import check_config
from werkbund.core.errors import ConfigError
from werkbund.data.fleet import SIGNALS, WornFleet, draw_fleet, oracle_risk
from werkbund.data.wear import ELECTRICAL, MODES, FleetPlan, hazard_of, risk_of, stress_of, wear_rate
from werkbund.federation.population import divide, split_of
from werkbund.federation.tables import read_table
from werkbund.partition.split import TEST, TRAIN, RowTraits

PLAN = FleetPlan(plants=4, machines=4, days=90, step_min=60, life=0.6)
DATA = {"source": "fleet", "plants": 4, "fleet": {"machines": 4, "days": 90, "step_min": 60, "life": 0.6}}


@pytest.fixture(scope="module")
def fleet() -> WornFleet:
    return draw_fleet(PLAN, 0)


def test_a_plant_alone_has_the_rows_that_it_has_in_the_fleet(fleet: WornFleet) -> None:
    alone = draw_fleet(PLAN, 0, (2,))
    own = pl.col("plant") == "plant-3"
    assert alone.readings.equals(fleet.readings.filter(own))
    assert alone.log.equals(fleet.log.filter(own), null_equal=True)


def test_one_seed_is_one_fleet(fleet: WornFleet) -> None:
    assert draw_fleet(PLAN, 0, (0,)).readings.equals(draw_fleet(PLAN, 0, (0,)).readings)
    assert not draw_fleet(PLAN, 1, (0,)).readings.equals(draw_fleet(PLAN, 0, (0,)).readings)


def test_a_machine_that_is_down_says_nothing(fleet: WornFleet) -> None:
    log = fleet.log.with_columns(pl.col("back").fill_null(pl.datetime(2100, 1, 1, time_zone="UTC")))
    found = fleet.readings.sort("time").join_asof(
        log.sort("start"), left_on="time", right_on="start", by=["plant", "machine"], check_sortedness=False
    )
    assert not found.select((pl.col("time") < pl.col("back")).any()).item()
    assert set(SIGNALS) < set(fleet.readings.columns)


def test_a_mode_fails_most_where_it_is_built_in() -> None:
    plan = FleetPlan(plants=4, machines=12, days=90, step_min=60, life=0.5, rare=0.2, often=2.5)
    counts = draw_fleet(plan, 0).log.filter(pl.col("mode").is_in(MODES)).group_by("plant", "mode").len()
    for number, mode in enumerate(MODES):
        of_mode = counts.filter(pl.col("mode") == mode)
        if of_mode["len"].sum() >= 5:
            assert of_mode.sort("len")["plant"][-1] == f"plant-{number + 1}"


def test_hazard_and_wear_are_those_of_the_recipe() -> None:
    wear, load = np.array([[0.9, 0.0, 0.0, 0.0]]), np.array([1.0])
    hazard = hazard_of(wear, load)[0]
    assert hazard[0] == pytest.approx(0.08 * 0.5 * 1.3)
    assert hazard[1:4].max() < 1e-10
    assert hazard[4] == pytest.approx(1.3 / 12_000)
    assert wear_rate(np.zeros(4), np.ones(4), np.ones(4))[2] == pytest.approx(1.22 / (24 * 95) * 0.25)


def test_risk_is_that_of_many_lives() -> None:
    """Play the same 48 hours often, and count."""
    rng, lives = np.random.default_rng(0), 4000
    wear, load, pace = np.array([[0.88, 0.5, 0.6, 0.2]]), np.array([0.6]), np.ones((1, 4))
    expected = risk_of(wear, load, np.array([20.0]), pace, 48)[0]
    total = np.zeros(lives)
    worn = np.repeat(wear, lives, axis=0)

    for _ in range(48):
        total += hazard_of(worn, np.full(lives, 0.6)).sum(axis=1)
        stress = stress_of(np.full(lives, 0.6), np.full(lives, 20.0))
        worn += wear_rate(worn, stress, np.ones((lives, 4))) * rng.gamma(4, 0.25, (lives, 4))
    failed = (rng.random(lives) < -np.expm1(-total)).mean()
    assert failed == pytest.approx(expected, abs=0.03)


def test_windows_foretell_failures_and_pass_no_oracle(fleet: WornFleet) -> None:
    config = check_config({"data": DATA, "clients": {"split": "machines", "later": 0.0}})
    table = read_table(config)
    assert table.origin.generated is not None
    parts = np.concatenate([split_of(config).parts(RowTraits.of(table), np.random.default_rng(0))])
    x = table.frame.select(table.schema.telemetry.windows.feature_names).to_numpy()  # type: ignore[union-attr]
    y, test = table.frame["failure"].to_numpy(), parts == TEST
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)
    model.fit(x[parts == TRAIN], y[parts == TRAIN])
    found = average_precision_score(y[test], model.predict_proba(x[test])[:, 1])
    oracle = average_precision_score(y[test], oracle_risk(fleet, table.frame, 72, 0.6)[test])
    assert 1.5 * y[test].mean() < found < oracle


def test_it_divides_by_plant() -> None:
    config = check_config({"data": {**DATA, "plants": 2}})
    division = divide(read_table(config), config)
    assert division.population.names == ("plant-1", "plant-2")
    assert set(division.population.mode_names) <= {*MODES, ELECTRICAL}


def test_an_impossible_plan_is_refused() -> None:
    with pytest.raises(ConfigError, match="must divide 60"):
        FleetPlan(step_min=7)
    with pytest.raises(ConfigError, match="at least 1"):
        FleetPlan(days=0)
