from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from werkbund.config import Config, check_config, load_config
from werkbund.config.reading import to_toml
from werkbund.core.errors import ClientError
from werkbund.data import Column, Preparation, Schema
from werkbund.plant.briefing import Briefing, for_clients

SCHEMA = Schema("failed", (Column("heat", "number", "K"), Column("area", "category")))
PREPARATION = Preparation(("heat",), (), (300.1,), (1 / 3,), (("area", ("a", "b")),), ("heat",), ("K",))


def _briefing(**how: Any) -> Briefing:
    values = {"run": "one", "config": for_clients(Config()), "number": 2, "mode_names": ("TWF",), **how}
    return Briefing(**values)


def _travelled(briefing: Briefing) -> Briefing:
    return Briefing.from_json(json.loads(json.dumps(briefing.to_json())))


@pytest.mark.parametrize("briefing", [_briefing(), _briefing(schema=SCHEMA, preparation=PREPARATION, labels=(900, 40))])
def test_a_briefing_comes_back_as_it_was(briefing: Briefing) -> None:
    assert _travelled(briefing) == briefing
    assert _travelled(briefing).fingerprint == briefing.fingerprint


@pytest.mark.parametrize(
    "how",
    [
        {"run": "two"},
        {"number": 3},
        {"mode_names": ()},
        {"schema": SCHEMA},
        {"preparation": PREPARATION},
        {"preparation": replace(PREPARATION, mean=(300.1000000001,))},
        {"labels": (1, 0)},
        {"config": for_clients(check_config({"training": {"learning_rate": 0.1}}))},
    ],
)
def test_whatever_differs_makes_another_fingerprint(how: dict[str, Any]) -> None:
    assert _briefing(**how).fingerprint != _briefing().fingerprint


@pytest.mark.parametrize("values", [{}, {"training": {"learning_rate": 0.25}, "model": {"hidden": [4]}}])
def test_a_server_that_reads_its_configuration_from_the_runs_folder_says_the_same(
    values: dict[str, Any], tmp_path: Path
) -> None:
    config = check_config(values)
    (tmp_path / "config.toml").write_text(to_toml(config))
    again = load_config(tmp_path / "config.toml")
    first, second = (_briefing(config=for_clients(each)) for each in (config, again))
    assert first.fingerprint == second.fingerprint


def test_where_the_servers_data_lie_and_how_they_are_divided_is_not_told() -> None:
    config = check_config(
        {
            "data": {"clients": {"a": "/srv/private-a.csv"}, "label": "failed", "never": ["note"]},
            "clients": {"partition": "dirichlet", "count": 7, "options": {"alpha": 0.5}, "test": 0.3},
        }
    )
    public = for_clients(config)
    assert "private" not in json.dumps(_briefing(config=public).to_json())
    assert (public.data.path, public.data.clients, public.clients.partition, public.clients.count) == (
        None,
        {},
        None,
        None,
    )
    assert (public.clients.test, public.data.label, public.data.never) == (0.3, "failed", ["note"])
    by_path = for_clients(check_config({"data": {"path": "/srv/private.csv", "client": "site"}}))
    assert (by_path.data.path, by_path.data.client) == (None, None)


def test_a_split_that_was_not_changed_is_that_of_the_simulation() -> None:
    assert for_clients(Config()).clients.test == Config().clients.test
    assert for_clients(Config()).clients.validation == Config().clients.validation


@pytest.mark.parametrize("key", sorted(_briefing().to_json()))
@pytest.mark.parametrize("value", [..., 1.5, "text", [1], {"a": 1}, [[]], float("inf")])
def test_whatever_is_written_is_a_briefing_or_refused(key: str, value: Any) -> None:
    values = _briefing(schema=SCHEMA, preparation=PREPARATION).to_json()
    values.pop(key)
    if value is not ...:
        values[key] = value
    try:
        Briefing.from_json(values)
    except ClientError:
        return
    assert key in ("run", "number", "mode_names")


@pytest.mark.parametrize("values", [None, 7, "text", [], {}])
def test_what_is_no_briefing_is_refused(values: Any) -> None:
    with pytest.raises(ClientError, match="incomplete"):
        Briefing.from_json(values)


def test_a_key_that_this_version_does_not_know_is_named() -> None:
    values = _briefing().to_json()
    values["config"] = {**values["config"], "colours": {}}
    with pytest.raises(ClientError, match="cannot follow the server's run: colours"):
        Briefing.from_json(values)
