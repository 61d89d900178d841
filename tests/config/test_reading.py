"""Configurations are read, changed, checked and written in one place, with faults that name the key."""

from __future__ import annotations

import pickle
import tomllib
from pathlib import Path

import pytest

from werkbund.aggregation import FedAvg
from werkbund.config.reading import changed, check_config, load_config, to_toml, valid_keys
from werkbund.config.rows import ColumnSection, DerivedSection
from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError


def test_an_empty_file_is_the_built_in_federation(tmp_path: Path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text("")
    assert load_config(path) == Config()


def test_a_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = load_config(None, ["federation.rounds=7", "model.hidden=[4, 3]", "training.positive_weight=2.5"])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert load_config(path) == config


def test_overrides_come_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text("[federation]\nrounds = 5\nseed = 2\n")
    config = load_config(path, ["federation.rounds=9", "model.kind=logistic"])
    assert (config.federation.rounds, config.federation.seed, config.model.kind) == (9, 2, "logistic")


def test_data_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "federation.toml").write_text('[data]\npath = "table.csv"\nlabel = "y"\n')
    assert load_config(tmp_path / "federation.toml").data.path == str(tmp_path / "table.csv")


def test_changed_leaves_other_keys_alone() -> None:
    config = changed(load_config(None, ["federation.seed=4"]), federation={"rounds": 3})
    assert (config.federation.seed, config.federation.rounds) == (4, 3)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("federation.rouds=3", ["federation.rouds", "did you mean federation.rounds"]),
        ("training.epochs=-1", ["training.epochs", "greater than or equal to 1", "-1"]),
        ("federation.rounds=many", ["federation.rounds", "integer", "'many'"]),
        ("training.optimizer=adagrad", ["training.optimizer", "'sgd', 'adam' or 'adamw'", "adagrad"]),
        ("strategy.selection.fraction=1.5", ["strategy", "less than or equal to 1", "1.5"]),
        ("evaluation.missed_failure=0", ["evaluation.missed_failure", "greater than 0"]),
        ("clients.test=0.9", ["clients.test + clients.validation", "below 1"]),
        ("modle=3", ["modle is not a key", "model"]),
        ("data.columns.a.knd=number", ["data.columns.a.knd is not a key", "did you mean data.columns.a.kind?"]),
        ("data.columns.a.low=cold", ["data.columns.a.low", "number", "'cold'"]),
        ("features.derived.b=3", ["features.derived.b", "3"]),
        ("features.derived.b.unit=K", ["features.derived.b", "'K'"]),
        ("data.clients.north=3", ["data.clients.north", "string", "3"]),
    ],
)
def test_a_fault_names_key_rule_and_value(override: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("override", ["rounds", "=3", "federation..rounds=1", "federation.rounds.deep=1"])
def test_an_override_that_is_no_assignment_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(None, [override])


def test_every_fault_of_a_file_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"federation": {"rounds": 0, "quorum": 2.0}, "training": {"epochs": 0}})
    assert len(str(caught.value).splitlines()) == 3


def test_faults_of_two_columns_are_two() -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({"data": {"columns": {"a": {"low": "cold"}, "b": {"low": "cold"}}}})
    keys = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["data.columns.a.low", "data.columns.b.low"]


def test_a_missing_file_and_a_file_that_is_no_toml_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("rounds == 3")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_every_key_says_what_it_is_for() -> None:
    described = [*valid_keys().values(), *ColumnSection.model_fields.values(), *DerivedSection.model_fields.values()]
    assert len(described) > 90
    assert [field for field in described if not (field.description or "").endswith(".")] == []


def test_valid_keys_hold_nested_sections() -> None:
    assert {"federation.rounds", "strategy.aggregation.momentum"} <= set(valid_keys())


def test_options_of_an_aggregator_are_its_keys_with_its_rules_and_defaults() -> None:
    section = check_config({"strategy": {"aggregation": {"step": 2.0}}}).strategy.aggregation
    assert section.options == {"weighting": "examples", "step": 2.0, "momentum": FedAvg().momentum}
    assert pickle.loads(pickle.dumps(section)) == section  # noqa: S301 - our own bytes
    for values, fault in [
        ({"step": 0.0}, "strategy.aggregation.step: should be greater than 0"),
        ({"weighting": "rows"}, "strategy.aggregation.weighting: should be 'examples', 'equal' or 'factor'"),
        ({"momentun": 0.5}, r"strategy.aggregation.momentun is not .* did you mean strategy.aggregation.momentum\?"),
        ({"name": "fedavgm"}, r"strategy.aggregation.name must be one of .*did you mean fedavg\?"),
        ({"name": 3}, "strategy.aggregation.name: should be a valid string"),
    ]:
        with pytest.raises(ConfigError, match=fault):
            check_config({"strategy": {"aggregation": values}})


def test_an_aggregator_of_ones_own_runs_no_code_while_a_configuration_is_read() -> None:
    values = {"name": "nowhere.py:Mine", "sharpness": 3}
    section = check_config({"strategy": {"aggregation": values}}).strategy.aggregation
    assert (section.name, section.options) == ("nowhere.py:Mine", {"sharpness": 3})
    assert check_config(tomllib.loads(to_toml(changed(Config(), strategy={"aggregation": values})))).strategy == (
        changed(Config(), strategy={"aggregation": values}).strategy
    )


@pytest.mark.parametrize("section", ["training", "trees"])
@pytest.mark.parametrize("weight", ["1e12", "1e-9", "0", "-1", "inf", "nan"])
def test_a_weight_beside_which_one_class_does_not_count_is_refused_by_name(section: str, weight: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [f"{section}.positive_weight={weight}"])
    said = str(refused.value)
    assert said.startswith(f"{section}.positive_weight: must be in [1e-06, 1e+06] or 'balanced'")
    assert said.endswith(f"got {float(weight) if weight not in ('0', '-1') else int(weight)!r}")


@pytest.mark.parametrize("section", ["training", "trees"])
def test_a_weight_that_is_no_number_is_told_the_words_there_are(section: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}.positive_weight: should be 'none'.* or 'balanced', got 'heavy'"):
        load_config(None, [f"{section}.positive_weight=heavy"])
    assert load_config(None, [f"{section}.positive_weight=1e6"]) is not None
