"""A server may say how long and how a plant trains, within the plant's bounds, and nothing about rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.config import Config, check_config, to_toml
from werkbund.config.reading import SERVERS_OWN, leaves_of
from werkbund.data import Column, Derived, Preparation, Schema
from werkbund.plant.agreed import RefusedError, agreed_config
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.rows import check_width
from werkbund.plant.settings import BoundsSection
from werkbund.plant.whitelist import (
    AGREED,
    BOUNDED,
    CHECKS,
    FREE,
    Ground,
    admitted,
    check_preparation,
    check_words,
)

COLUMNS = {"temperature": {"kind": "number", "unit": "K"}, "speed": {"kind": "number", "unit": "rpm"}}
FILE: dict[str, Any] = {"data": {"label": "failed", "columns": COLUMNS}}


def _ground(bounds: dict[str, Any] | None = None, minimum_rows: int = 20, **sections: Any) -> Ground:
    agreed = for_clients(check_config({**FILE, **sections}))
    return Ground(agreed, BoundsSection.model_validate(bounds or {}), minimum_rows)


def _run(**sections: dict[str, Any]) -> Config:
    return check_config({**FILE, **sections})


def test_every_key_of_a_configuration_has_one_rule() -> None:
    keys = [*AGREED, *FREE, *(key for key in leaves_of(Config()) if key in SERVERS_OWN)]
    assert sorted(keys) == sorted(leaves_of(Config())), "a new key must be classified: agreed, free or the server's own"
    assert set(BOUNDED) <= {*FREE}


def test_every_field_of_a_briefing_has_a_rule() -> None:
    assert set(CHECKS) == {field.name for field in dataclasses.fields(Briefing)}


def test_rounds_epochs_and_shipped_networks_may_change() -> None:
    asked = _run(federation={"rounds": 7, "seed": 3}, training={"epochs": 4}, model={"kind": "logistic"})
    told = admitted(for_clients(asked), _ground())
    assert (told.federation.rounds, told.federation.seed, told.training.epochs) == (7, 3, 4)
    assert told.model.kind == "logistic"


OTHERS: dict[str, dict[str, Any]] = {
    "federation.purpose": {"federation": {"purpose": "to rate the night shift"}},
    "data.label": {"data": {"label": "other", "columns": COLUMNS}},
    "data.positive": {"data": {**FILE["data"], "positive": "yes"}},
    "data.empty_label": {"data": {**FILE["data"], "empty_label": 0}},
    "data.target": {"data": {**FILE["data"], "target": "number", "horizon": 5.0, "cap": 9.0}},
    "data.horizon": {"data": {**FILE["data"], "horizon": 5.0}},
    "data.cap": {"data": {**FILE["data"], "cap": 9.0}},
    "data.machine": {"data": {**FILE["data"], "machine": "operator"}},
    "data.machine_reset": {"data": {**FILE["data"], "machine_reset": "speed"}},
    "data.time": {"data": {**FILE["data"], "time": "when"}},
    "data.never": {"data": {**FILE["data"], "never": ["name"]}},
    "data.modes": {"data": {**FILE["data"], "modes": ["sick"]}},
    "data.mode": {"data": {**FILE["data"], "mode": "name"}},
    "data.mode_none": {"data": {**FILE["data"], "mode_none": "none"}},
    "data.columns": {"data": {"label": "failed", "columns": {**COLUMNS, "wage": {"kind": "number"}}}},
    "data.missing": {"data": {**FILE["data"], "missing": {"temperature": [-999]}}},
    "data.windows": {"data": {**FILE["data"], "windows": {"horizon": "1s"}}},
    "features.preset": {"features": {"preset": False}},
    "features.derived": {"features": {"derived": {"one": "temperature - 300"}}},
    "clients.split": {"clients": {"split": "time"}},
    "clients.test": {"clients": {"test": 0.3}},
    "clients.validation": {"clients": {"validation": 0.1}},
    "clients.later": {"clients": {"later": 0.1}},
    "clients.gap": {"clients": {"gap": 24.0}},
    "privacy.secure_sums": {"privacy": {"secure_sums": True}},
    "privacy.colluding": {"privacy": {"colluding": 2}},
    "privacy.strict": {"privacy": {"strict": True}},
    "privacy.unit": {"privacy": {"unit": "row", "target_epsilon": 1.0}},
    "privacy.clip": {"privacy": {"clip": 9.0}},
    "privacy.noise_multiplier": {"privacy": {"unit": "row", "noise_multiplier": 0.0}},
    "privacy.target_epsilon": {"privacy": {"unit": "machine", "target_epsilon": 1e6}},
    "privacy.delta": {"privacy": {"delta": 0.5}},
    "privacy.adaptive_clip": {"privacy": {"unit": "plant", "target_epsilon": 1.0, "adaptive_clip": True}},
    "privacy.shared_noise": {
        "privacy": {"secure_sums": True, "unit": "plant", "target_epsilon": 1.0, "shared_noise": True}
    },
}


@pytest.mark.parametrize("key", AGREED)
def test_what_is_agreed_is_as_in_the_kit(key: str) -> None:
    with pytest.raises(RefusedError, match=rf"{key}\b[^;]* of this run differ"):
        admitted(for_clients(_run(**OTHERS[key])), _ground())


SERVERS: dict[str, dict[str, Any]] = {
    "data.source": {"data": {**FILE["data"], "source": "generator"}},
    "data.path": {"data": {**FILE["data"], "path": "/etc/passwd"}},
    "data.clients": {"data": {**FILE["data"], "clients": {"a": "/dev/zero"}}},
    "data.client": {"data": {**FILE["data"], "client": "operator"}},
    "data.separator": {"data": {**FILE["data"], "separator": ";"}},
    "data.decimal_comma": {"data": {**FILE["data"], "decimal_comma": True}},
    "data.encoding": {"data": {**FILE["data"], "encoding": "cp1252"}},
    "data.skip": {"data": {**FILE["data"], "skip": 2}},
    "data.header": {"data": {**FILE["data"], "header": False}},
    "data.units_row": {"data": {**FILE["data"], "units_row": True}},
    "data.sheet": {"data": {**FILE["data"], "sheet": "rows"}},
    "data.map": {"data": {**FILE["data"], "map": {"north": {"speed": "n"}}}},
    "data.rows": {"data": {**FILE["data"], "rows": 17}},
    "data.plants": {"data": {**FILE["data"], "plants": 17}},
    "data.units": {"data": {**FILE["data"], "units": {"a": {"temperature": 2.0}}}},
    "data.without": {"data": {**FILE["data"], "without": ["a"]}},
    "data.zone": {"data": {**FILE["data"], "zone": "Asia/Tokyo"}},
    "data.tag": {"data": {**FILE["data"], "tag": "operator"}},
    "data.value": {"data": {**FILE["data"], "value": "wage"}},
    "data.fleet": {"data": {**FILE["data"], "fleet": {"days": 9}}},
    "data.events": {"data": {**FILE["data"], "events": {"path": "/etc/passwd"}}},
    "clients.partition": {"clients": {"partition": "iid"}},
    "clients.factors": {"clients": {"factors": {"a": 2.0}}},
    "clients.outer": {"clients": {"outer": "report"}},
    "clients.count": {"clients": {"count": 3}},
    "clients.options": {"clients": {"options": {"alpha": 1.0}}},
    "clients.server": {"clients": {"server": 0.5}},
    "clients.noisy": {"clients": {"noisy": 1}},
    "clients.noise": {"clients": {"noise": 0.9}},
    "model.initial": {"model": {"initial": "/etc/shadow"}},
    "model.initial_rounds": {"model": {"initial_rounds": 500}},
    "strategy.selection": {"strategy": {"selection": {"name": "any.py:X"}}},
    "strategy.pace": {"strategy": {"pace": {"close": "first", "updates": 2}}},
    "strategy.clusters": {"strategy": {"clusters": {"name": "ifca", "count": 20}}},
    "evaluation.clients": {"evaluation": {"clients": 3}},
    "evaluation.server_rows": {"evaluation": {"server_rows": "/dev/stdin"}},
    "evaluation.contributions": {"evaluation": {"contributions": True}},
    "evaluation.local_models": {"evaluation": {"local_models": 3}},
    "world": {"world": {"path": "/etc/hostname"}},
    "attack": {"attack": {"kind": "free-rider"}},
}


@pytest.mark.parametrize("key", SERVERS_OWN)
def test_what_is_the_servers_own_is_not_followed(key: str) -> None:
    asked = _run(**SERVERS[key])
    with pytest.raises(RefusedError, match=rf"^{key} of this run are the server's own"):
        admitted(asked, _ground())
    admitted(for_clients(asked), _ground())


@pytest.mark.parametrize(
    ("sections", "bounds", "named"),
    [
        ({"federation": {"rounds": 11}}, {"rounds": 10}, r"federation\.rounds .* bounds\.rounds"),
        ({"training": {"epochs": 101}}, {}, r"training\.epochs .* bounds\.epochs of client.toml, 100, got 101"),
        ({"training": {"steps": 5}}, {"steps": 4}, r"training\.steps"),
        ({"training": {"learning_rate": 1e9}}, {}, r"training\.learning_rate"),
        ({"training": {"learning_rate": float("inf")}}, {}, r"training\.learning_rate"),
        ({"training": {"batch_size": 1, "steps": 1}}, {}, r"are 1 rows, fewer than policy\.minimum_rows"),
        ({"training": {"batch_size": 6, "steps": 3}}, {}, r"are 18 rows, .* of client.toml, 20"),
        ({"training": {"learning_rate": 10.0, "weight_decay": 0.1}}, {}, r"learning_rate x training\.weight_decay"),
        ({"training": {"learning_rate": 1.0, "proximal": 1.0}}, {}, r"learning_rate x training\.proximal .* got 1"),
        ({"training": {"positive_weight": 1e6}}, {}, r"training\.positive_weight"),
        ({"model": {"kind": "mlp"}}, {"models": ["logistic"]}, r"model\.kind .* bounds\.models"),
        ({"model": {"kind": "pdb:Pdb"}}, {}, r"model\.kind .* code that this plant has not agreed to run"),
        ({"model": {"kind": "xgboost"}}, {}, r"model\.kind"),
        ({"model": {"kind": "mlp", "options": {"device": "cuda"}}}, {}, r"model\.options"),
        ({"model": {"kind": "forest"}, "trees": {"count": 99}}, {"trees": 98}, r"trees\.count"),
        ({"model": {"kind": "trees"}, "trees": {"max_depth": 9}}, {"depth": 8}, r"trees\.max_depth"),
        ({"strategy": {"aggregation": {"name": "mine.py:Mine"}}}, {}, r"strategy\.aggregation .* code that no plant"),
    ],
)
def test_a_run_beyond_a_bound_is_refused_by_name(sections: dict[str, Any], bounds: dict[str, Any], named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        admitted(_run(**sections), _ground(bounds))


@pytest.mark.parametrize("name", ["weight_decay", "proximal"])
@given(rate=st.floats(1e-6, 100.0), pull=st.floats(0.0, 100.0))
def test_a_step_undoes_at_most_a_tenth_of_the_way(name: str, rate: float, pull: float) -> None:
    asked = _run(training={"learning_rate": rate, name: pull})
    if rate * pull <= 0.1:
        admitted(asked, _ground())
    else:
        with pytest.raises(RefusedError, match=rf"learning_rate x training\.{name} .* at most 0\.1"):
            admitted(asked, _ground())


@pytest.mark.parametrize(("alpha", "is_told"), [(0.5, True), (2.0, False)])
def test_the_pull_of_a_rule_undoes_at_most_a_tenth_of_the_way_too(alpha: float, is_told: bool) -> None:
    asked = _run(training={"learning_rate": 0.1}, strategy={"aggregation": {"name": "feddyn", "alpha": alpha}})
    if is_told:
        assert admitted(asked, _ground()).strategy.aggregation.options["alpha"] == alpha
    else:
        with pytest.raises(RefusedError, match=r"aggregation\.alpha must be at most 0\.1, got 0\.2"):
            admitted(asked, _ground())


@given(steps=st.integers(1, 60), batch=st.integers(1, 60), minimum=st.integers(1, 200))
def test_steps_take_at_least_the_minimum_of_rows(steps: int, batch: int, minimum: int) -> None:
    asked = _run(training={"steps": steps, "batch_size": batch})
    if steps * batch >= minimum:
        admitted(asked, _ground(minimum_rows=minimum))
    else:
        with pytest.raises(RefusedError, match=r"fewer than policy\.minimum_rows"):
            admitted(asked, _ground(minimum_rows=minimum))


def test_code_of_a_network_runs_where_the_plant_has_named_it() -> None:
    own = {"kind": "plant.networks:Small", "options": {"width": 3}}
    assert admitted(for_clients(_run(model=own)), _ground(model=own)).model.kind == own["kind"]
    with pytest.raises(RefusedError, match=r"model\.options"):
        admitted(for_clients(_run(model={**own, "options": {"width": 4}})), _ground(model=own))


def test_a_plant_works_by_its_own_file_in_all_that_is_agreed() -> None:
    ground = _ground()
    told = leaves_of(admitted(for_clients(_run(training={"epochs": 3})), ground))
    agreed, usual = leaves_of(ground.agreed), leaves_of(Config())
    assert {key: told[key] for key in AGREED} == {key: agreed[key] for key in AGREED}
    assert {key: told[key] for key in SERVERS_OWN} == {key: usual[key] for key in SERVERS_OWN}


def test_without_a_file_in_the_kit_nothing_is_agreed(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="has agreed to no columns"):
        agreed_config(tmp_path)
    (tmp_path / "federation.toml").write_text(to_toml(_run()), encoding="utf-8")
    assert agreed_config(tmp_path).data.label == "failed"


SCHEMA = Schema(
    "failed",
    (Column("heat", "number", "K", 200.0, 500.0), Column("load", "number"), Column("area", "category")),
    (Derived("power", "heat * load"),),
)
GOOD: dict[str, Any] = {
    "numeric": ("heat", "load"),
    "derived": SCHEMA.derived,
    "mean": (300.0, 1.0, 2.0),
    "scale": (1.0, 1.0, 1.0),
    "categories": (("area", ("hall", "yard")),),
    "units": ("K", ""),
    "ranges": (("heat", (200.0, 500.0)),),
}


def test_a_preparation_holds_numbers_for_the_agreed_columns() -> None:
    assert check_preparation(Preparation(**GOOD), SCHEMA) == ""


_SPY = Derived("spy", "CASE WHEN heat = 300 THEN 1 ELSE 0 END")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"derived": (*SCHEMA.derived, _SPY), "mean": (300.0, 1.0, 2.0, 0.0), "scale": (1.0,) * 4}, "derived"),
        ({"derived": (Derived("power", "heat * failed"),)}, "derived"),
        ({"derived": (), "mean": (300.0, 1.0), "scale": (1.0, 1.0)}, "derived"),
        ({"numeric": ("heat", "failed"), "units": ("K", "")}, "numeric"),
        ({"numeric": ("load", "heat"), "units": ("", "K")}, "numeric"),
        ({"categories": (("operator", ("smith",)),)}, "categories"),
        ({"categories": ()}, "categories"),
        ({"categories": (("area", tuple(map(str, range(10_001)))),)}, "at most 10000 different levels"),
        ({"categories": (("area", ("hall", "hall")),)}, "different levels"),
        ({"units": ("degC", "")}, "units"),
        ({"marks": (("heat", (300.0,)),)}, "marks for missing readings"),
        ({"ranges": ()}, "plausible ranges"),
        ({"ranges": (("heat", (200.0, None)),)}, "plausible ranges"),
        ({"mean": (1e30, 1.0, 2.0)}, "heat is outside the plausible range"),
    ],
)
def test_a_preparation_that_is_more_is_refused(changes: dict[str, Any], named: str) -> None:
    assert named in check_preparation(Preparation(**{**GOOD, **changes}), SCHEMA)


@given(st.lists(st.sampled_from(["heat", "load", "failed", "area", "operator", "power"]), unique=True, max_size=6))
def test_no_other_columns_than_the_agreed_ones_are_prepared(names: list[str]) -> None:
    width = len(names) + 1
    values = {**GOOD, "numeric": tuple(names), "mean": (300.0,) * width, "scale": (1.0,) * width, "units": ()}
    values["ranges"] = tuple(pair for pair in GOOD["ranges"] if pair[0] in names)
    assert (check_preparation(Preparation(**values), SCHEMA) == "") == (names == ["heat", "load"])


@pytest.mark.parametrize(
    "changes",
    [
        {"run": ""},
        {"run": "x" * 201},
        {"number": -1},
        {"number": 2**40},
        {"mode_names": ("a", "a")},
        {"mode_names": tuple(map(str, range(1001)))},
        {"mode_names": ("y" * 500,)},
        {"labels": (-1, 4)},
        {"labels": (1, 2**60)},
    ],
)
def test_words_that_no_run_needs_are_refused(changes: dict[str, Any]) -> None:
    briefing = Briefing("run", _run(), 0)
    check_words(briefing)
    with pytest.raises(RefusedError):
        check_words(dataclasses.replace(briefing, **changes))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"kind": "mlp", "hidden": [2_000, 2_000]}, "got 40"),
        ({"kind": "mlp", "hidden": [2**40]}, "units in one"),
        ({"kind": "mlp", "hidden": [1] * 101}, "100 layers"),
        ({"kind": "residual-mlp", "width": 1_000, "depth": 99}, "got 1"),
        ({"kind": "residual-mlp", "width": 8, "depth": 10**9}, "100 layers"),
    ],
)
def test_a_network_beyond_the_plants_bound_is_not_built(model: dict[str, Any], named: str) -> None:
    with pytest.raises(RefusedError, match=rf"bounds\.parameters of client.toml, 2000000, .*{named}"):
        check_width(_run(model=model), 10, BoundsSection())
    check_width(_run(model={"kind": "mlp", "hidden": [64, 64]}), 10, BoundsSection())


@pytest.mark.parametrize(
    ("personal", "match"),
    [
        (
            {"name": "fine-tuning", "epochs": 6},
            r"strategy\.personal of this run must take at most .* 5, pass",
        ),
        ({"name": "fedrep", "head_epochs": 6}, r"must take at most bounds\.epochs"),
        ({"name": "ditto", "pull": 0.5}, r"learning_rate x strategy\.personal\.pull of this run must be at most 0\.1"),
        ({"name": "fedper", "layers": ["0"] * 101}, "may name at most 100 layers"),
        ({"name": "fedper", "layers": ["*" * 201]}, "may name at most 100 layers, each of at most 200 letters"),
    ],
)
def test_personal_parts_are_within_the_bounds_of_the_plant(personal: dict[str, Any], match: str) -> None:
    ground = _ground({"epochs": 5})
    usual = {"name": personal["name"]}
    assert admitted(_run(strategy={"personal": usual}), ground).strategy.personal.name == personal["name"]
    with pytest.raises(RefusedError, match=match):
        admitted(_run(strategy={"personal": personal}), ground)
