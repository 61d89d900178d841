from dataclasses import fields, replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import rules
from werkbund.data.generator import LIFE_RANGE_MIN, MIX, Plants, draw_plants, generate, plain_plant, simulate
from werkbund.data.rules import rule_flags

NUM_SEEDS = 60

# What the published file has in 10,000 rows, and the s.d. between seeds of a series drawn by its rules.
PUBLISHED = {
    "failures": (339, 53.0),
    "TWF": (46, 5.5),
    "HDF": (115, 54.0),
    "PWF": (95, 10.0),
    "OSF": (98, 10.7),
    "RNF": (19, 4.5),
    "changes": (119, 0.7),
    "wear at change": (215.7, 10.6 / np.sqrt(119)),
    "speed s.d.": (179.3, 3.0),
}


def _changes(frame: pl.DataFrame) -> Int64Array:
    """Return the rows after which wear falls back."""
    return np.flatnonzero(np.diff(frame[rules.WEAR].to_numpy()) < 0)


def _statistics(frame: pl.DataFrame) -> dict[str, float]:
    changes, wear = _changes(frame), frame[rules.WEAR].to_numpy()
    counted = {mode: float(frame[mode].sum()) for mode in rules.MODES}
    return counted | {
        "failures": float(frame[rules.LABEL].sum()),
        "changes": float(len(changes)),
        "wear at change": float(wear[changes].mean()),
        "speed s.d.": float(frame[rules.SPEED].to_numpy().std()),
    }


@cache
def _plain(seed: int) -> pl.DataFrame:
    return generate(rows=10_000, plants=1, seed=seed)


@cache
def _over_seeds() -> dict[str, Float64Array]:
    drawn = [_statistics(_plain(seed)) for seed in range(NUM_SEEDS)]
    return {name: np.array([table[name] for table in drawn]) for name in PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_file_is_a_likely_draw(name: str) -> None:
    published, _ = PUBLISHED[name]
    drawn = _over_seeds()[name]
    assert abs(published - drawn.mean()) < 3 * drawn.std(ddof=1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_draws_scatter_as_the_rules_say(name: str) -> None:
    _, spread = PUBLISHED[name]
    assert 0.6 * spread < _over_seeds()[name].std(ddof=1) < 1.6 * spread


def test_columns_are_those_of_the_file_and_the_plant() -> None:
    frame = _plain(0)
    assert frame.columns == [*rules.COLUMNS, "plant"]
    floats = {rules.AIR, rules.PROCESS, rules.TORQUE}
    texts = {rules.PRODUCT, rules.TYPE, "plant"}
    for name, dtype in frame.schema.items():
        assert dtype == (pl.Float64 if name in floats else pl.String if name in texts else pl.Int64)
    assert frame.null_count().sum_horizontal().item() == 0


def test_the_same_seed_gives_the_same_table_and_another_another() -> None:
    assert generate(rows=500, plants=4, seed=7).equals(generate(rows=500, plants=4, seed=7))
    assert not generate(rows=500, plants=4, seed=7).equals(generate(rows=500, plants=4, seed=8))


@pytest.mark.parametrize("seed", range(3))
def test_flags_of_a_plain_plant_follow_from_what_is_measured(seed: int) -> None:
    frame = _plain(seed)
    for mode, flags in rule_flags(frame).items():
        np.testing.assert_array_equal(flags, frame[mode].to_numpy() == 1)


def test_flags_of_many_plants_follow_from_true_values() -> None:
    drawn = draw_plants(20, np.random.default_rng(5))
    zero, one = np.zeros(20), np.ones(20)
    exact = {"air_bias": zero, "process_bias": zero, "torque_gain": one, "speed_gain": one}
    columns = {field.name: getattr(drawn, field.name) for field in fields(drawn)}
    frame = simulate(Plants(**(columns | exact)), rows=10_000, seed=5)
    biased = simulate(drawn, rows=10_000, seed=5)
    for mode, flags in rule_flags(frame).items():
        np.testing.assert_array_equal(flags, frame[mode].to_numpy() == 1)
        assert biased[mode].equals(frame[mode])
    assert any((flags != (biased[mode].to_numpy() == 1)).any() for mode, flags in rule_flags(biased).items())


def test_the_label_is_any_counted_mode_or_unexplained() -> None:
    frame = pl.concat([_plain(seed) for seed in range(20)])
    moded = frame.select(pl.max_horizontal("TWF", "HDF", "PWF", "OSF")).to_series().to_numpy() == 1
    failed = frame[rules.LABEL].to_numpy() == 1
    assert failed[moded].all()
    unexplained = (failed & ~moded).sum()
    assert abs(unexplained - 0.0009 * len(frame)) < 5 * np.sqrt(0.0009 * len(frame))


def test_wear_grows_by_the_type_and_falls_back_to_zero() -> None:
    frame = generate(rows=3000, plants=4, seed=2)
    for (_,), plant in frame.group_by("plant", maintain_order=True):
        wear = plant[rules.WEAR].to_numpy()
        step = plant[rules.TYPE].replace_strict({"L": 2, "M": 3, "H": 5}, return_dtype=pl.Int64).to_numpy()
        grown = np.append(True, wear[1:] == wear[:-1] + step[:-1])
        assert wear[0] == 0
        assert (grown | (wear == 0)).all()


def test_wear_equals_a_plain_loop_over_rows() -> None:
    frame = generate(rows=2000, plants=1, seed=11)
    life = generator(11, "generate/tools")
    wear, current, limit = [], 0, max(198.0, life.normal(214.3, 10.6))
    for kind in frame[rules.TYPE]:
        wear.append(current)
        if current >= limit:
            current, limit = 0, max(198.0, life.normal(214.3, 10.6))
        else:
            current += {"L": 2, "M": 3, "H": 5}[kind]
    assert frame[rules.WEAR].to_list() == wear


def test_wear_failures_happen_only_where_a_tool_is_changed() -> None:
    frame = _plain(4)
    failed = np.flatnonzero(frame["TWF"].to_numpy())
    assert set(failed) - {frame.height - 1} <= set(_changes(frame))
    assert frame[rules.WEAR].to_numpy()[failed].min() >= 198


def test_a_plain_plants_temperatures_have_the_published_moments() -> None:
    frame = _plain(1)
    air = frame[rules.AIR].to_numpy()
    difference = frame[rules.PROCESS].to_numpy() - air
    # Rounding to 0.1 adds a twelfth of a squared hundredth to the variance, and moves a mean by far less than
    # 0.01.
    np.testing.assert_allclose([air.mean(), difference.mean()], [300, 10], atol=0.01)
    np.testing.assert_allclose([air.std(), difference.std()], [2, 1], atol=0.01)
    assert np.corrcoef(air[1:], air[:-1])[0, 1] > 0.99


def test_decimals_are_what_reading_their_text_gives() -> None:
    frame = _plain(2)
    for name in (rules.AIR, rules.PROCESS, rules.TORQUE):
        assert all(float(f"{value:.1f}") == value for value in frame[name].unique())


def test_rows_are_shared_evenly_and_numbered_through() -> None:
    frame = generate(rows=1003, plants=10, seed=0)
    assert sorted(frame["plant"].value_counts()["count"].to_list()) == [100] * 7 + [101] * 3
    assert frame[rules.ROW].to_list() == list(range(1, 1004))
    assert frame["plant"].is_sorted()
    assert frame[rules.PRODUCT].n_unique() == 1003
    assert (frame[rules.PRODUCT].str.head(1) == frame[rules.TYPE]).all()


def test_plants_differ_and_failures_stay_as_rare_as_published() -> None:
    rates = []
    for seed in range(10):
        frame = generate(rows=20_000, plants=20, seed=seed)
        heat = frame.group_by("plant").agg(pl.col("HDF").sum())["HDF"].to_numpy()
        rates.append(float(frame[rules.LABEL].to_numpy().mean()))
        assert heat.var(ddof=1) > 3 * heat.mean()  # plants that are alike would give the variance of a Poisson count
    assert 0.025 < np.mean(rates) < 0.042


@pytest.mark.parametrize(("rows", "plants"), [(1, 1), (2, 2), (7, 5), (400, 400), (200_000, 20_000)])
def test_plants_of_few_rows_have_finite_values(rows: int, plants: int) -> None:
    frame = generate(rows=rows, plants=plants, seed=0)
    numbers = frame.select(rules.AIR, rules.PROCESS, rules.SPEED, rules.TORQUE).to_numpy()
    assert frame.height == rows
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize(
    ("rows", "plants", "message"),
    [(10, 0, "plants must be at least 1, got 0"), (3, 4, r"rows must be at least 4 \(one a plant\), got 3")],
)
def test_numbers_that_cannot_be_are_refused(rows: int, plants: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(rows=rows, plants=plants, seed=0)


def test_one_plant_is_the_plain_plant() -> None:
    assert generate(rows=300, plants=1, seed=9).equals(simulate(plain_plant(), rows=300, seed=9))


def test_plants_of_unequal_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"air_bias must have shape \(1,\)"):
        replace(plain_plant(), air_bias=np.zeros(2))


@pytest.mark.parametrize("mix", [[[0.5, 0.3, 0.1]], [[1.2, -0.1, -0.1]]])
def test_a_mix_that_is_no_distribution_is_refused(mix: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="mix must hold"):
        replace(plain_plant(), mix=np.array(mix))


def test_a_tool_life_without_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tool_life must be above 16\.3"):
        replace(plain_plant(), tool_life=np.array([10.0]))


def test_the_same_generator_draws_the_same_plants() -> None:
    first, second = (draw_plants(5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.mix, second.mix)
    np.testing.assert_array_equal(first.speed_gain, second.speed_gain)


def test_drawn_plants_lie_around_the_plain_one() -> None:
    drawn, plain = draw_plants(4000, np.random.default_rng(0)), plain_plant()
    error = 5 / np.sqrt(4000)
    assert abs(drawn.air_mean.mean() - plain.air_mean[0]) < error * drawn.air_mean.std()
    assert abs(drawn.difference_mean.mean() - plain.difference_mean[0]) < error * drawn.difference_mean.std()
    assert abs(drawn.torque_gain.mean() - 1.0) < error * drawn.torque_gain.std()
    np.testing.assert_allclose(drawn.mix.mean(axis=0), MIX, atol=error * 0.2)
    assert drawn.tool_life.min() >= LIFE_RANGE_MIN[0]
    assert drawn.tool_life.max() <= LIFE_RANGE_MIN[1]


def test_a_hot_plant_has_the_smaller_temperature_difference() -> None:
    drawn = draw_plants(200, np.random.default_rng(1))
    assert np.corrcoef(drawn.air_mean, drawn.difference_mean)[0, 1] < -0.999
