"""What is settled at first contact stays, until a person at the plant settles it anew."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.deployed import Deployment, deploy
from werkbund.cli import app
from werkbund.config import check_config, to_toml
from werkbund.core.errors import CheckpointError
from werkbund.plant.agreed import RefusedError
from werkbund.plant.agreement import agreement_in, dissolve, settled
from werkbund.plant.briefing import for_clients

NOW = datetime(2026, 5, 4, 12, 0).astimezone()
FILE: dict[str, Any] = {"data": {"label": "failed", "columns": {"heat": {"kind": "number"}}}}


def _file(**sections: Any) -> Any:
    return for_clients(check_config({**FILE, **sections}))


def test_the_first_contact_settles_and_later_words_change_nothing(tmp_path: Path) -> None:
    first = settled(tmp_path, _file(), 3, 2, NOW)
    assert (first.seed, first.number, first.split.test, first.split.validation) == (3, 2, 0.25, 0.15)
    for seed, number in ((4, 2), (3, 9), (0, 0)):
        assert settled(tmp_path, _file(federation={"seed": seed}), seed, number, NOW) == first
    assert (tmp_path / "agreement.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "sections",
    [
        {"clients": {"test": 0.3}},
        {"clients": {"validation": 0.2}},
        {"data": {"label": "other", "columns": FILE["data"]["columns"]}},
        {"data": {**FILE["data"], "machine": "tool"}},
        {"data": {"label": "failed", "columns": {"heat": {"kind": "number", "unit": "K"}}}},
        {"features": {"derived": {"double": "heat * 2"}}},
    ],
)
def test_another_file_in_the_kit_needs_a_person(sections: dict[str, Any], tmp_path: Path) -> None:
    first = settled(tmp_path, _file(), 3, 2, NOW)
    with pytest.raises(RefusedError, match=r"client agree"):
        settled(tmp_path, _file(**sections), 3, 2, NOW)
    dissolve(tmp_path)
    again = settled(tmp_path, _file(**sections), 3, 2, NOW)
    assert (again.file, again.stream) != (first.file, first.stream)


def test_how_long_it_trains_and_what_for_is_no_matter_of_the_division(tmp_path: Path) -> None:
    first = settled(tmp_path, _file(), 3, 2, NOW)
    assert settled(tmp_path, _file(training={"epochs": 9}, federation={"purpose": "x"}), 3, 2, NOW) == first


_plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
_nested = _plain | st.lists(_plain, max_size=3) | st.dictionaries(st.text(max_size=5), _plain, max_size=3)
_json = _nested | st.dictionaries(st.text(max_size=5), _nested, max_size=3)


@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(st.sampled_from(["seed", "number", "split", "file", "stream", "since"]), _json) | _json)
def test_an_agreement_of_another_form_is_named(values: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("state")
    (state / "agreement.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"agreement\.json .*client agree --renew"):
        agreement_in(state)


def _agree(deployment: Deployment, *options: str) -> str:
    return CliRunner().invoke(app, ["client", "agree", str(deployment.kits["plant-1"]), *options]).output


def test_a_person_sees_what_is_settled_and_settles_it_anew(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it")
    assert "Nothing is settled yet" in _agree(deployment)
    deployment.run()
    assert "whatever a server says" in _agree(deployment)
    assert json.loads(_agree(deployment, "--json"))["split"]["test"] == 0.25
    kit = deployment.kits["plant-1"]
    text = to_toml(check_config({"data": {"source": "generator"}, "clients": {"test": 0.3}}))
    (kit / "federation.toml").write_text(text, encoding="utf-8")
    assert "answers nothing until you settle it anew" in " ".join(_agree(deployment).split())
    assert "given up" in _agree(deployment, "--renew")
    assert agreement_in(kit / "state") is None


def test_a_plant_at_work_follows_a_person_who_settles_anew(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it")
    first = deployment.grid()
    deployment.run(first)
    before = agreement_in(deployment.kits["plant-1"] / "state")
    _agree(deployment, "--renew")
    deployment.run(first, "second")  # the same processes
    after = agreement_in(deployment.kits["plant-1"] / "state")
    assert before is not None
    assert after is not None
    assert before.stream != after.stream


def test_a_record_lists_what_was_asked_by_day_and_kind(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it")
    kit = str(deployment.kits["plant-1"])
    assert "Nothing has been asked yet" in CliRunner().invoke(app, ["client", "record", kit]).output
    deployment.run()
    lines = json.loads(CliRunner().invoke(app, ["client", "record", kit, "--json"]).output)["days"]
    answered = {line["kind"]: line["answered"] for line in lines}
    assert answered["train"] == 3
    assert answered["survey"] == answered["squares"] == answered["deliver"] == 1
    check = json.loads(CliRunner().invoke(app, ["client", "check", kit, "--json"]).output)["standing"]
    assert check["settled"]
    assert check["left_today"] == 5_000 - sum(answered.values())
    assert "left" in CliRunner().invoke(app, ["client", "check", kit]).output
