from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.spoilt import Spoil, arrays, head, spoilt, without
from tests.wire import read_answer
from werkbund.core.errors import QuorumError
from werkbund.data.answers import SURVEY
from werkbund.federation.asking import network_asks
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.leaving import KINDS, signals_asked
from werkbund.selection import Everyone
from werkbund.server.preflight import EVERYBODY, Preflight, preflight


def _facts(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Return a way to say other facts."""

    def text(before: Any) -> Any:
        facts = json.loads(str(before[0]))
        changed = change(facts)
        return np.array([json.dumps(facts if changed is None else changed)])

    return arrays("clear", facts=text)


def _said(**values: Any) -> Spoil:
    return _facts(lambda facts: facts.update(values))


def _schema(**values: Any) -> Spoil:
    return _facts(lambda facts: facts["schema"].update(values))


def _raw(text: str) -> Spoil:
    return arrays("clear", facts=np.array([text]))


def _preflight(deployment: Any, how: Spoil | None = None, quorum: float = 0.5) -> tuple[Preflight, Any]:
    grid = deployment.grid(**{"plant-3": spoilt(deployment.desk("plant-3").answer, lambda ask: how)})
    public = for_clients(deployment.config)
    grid.brief(lambda number: Briefing("run", public, number))
    return preflight(grid, 5.0, quorum, signals_asked(KINDS, network_asks(Everyone().declaration))), grid


def test_what_fits_is_said_with_versions_and_rows(deployed: Any) -> None:
    flight, _ = _preflight(deployed())
    assert [(check.client, check.level) for check in flight.checks[:3]] == [(f"plant-{i}", "ok") for i in (1, 2, 3)]
    assert "300 rows, Werkbund" in flight.checks[0].what
    assert flight.mode_names == ("TWF", "HDF", "PWF", "OSF", "RNF")
    assert json.loads(json.dumps(flight.to_json()))["facts"]["plant-1"]["rows"] == 300


@pytest.mark.parametrize(("plants", "others"), [(2, "the other's"), (3, "the two others' together"), (4, ""), (5, "")])
def test_few_plants_are_warned_that_each_can_subtract_its_own(plants: int, others: str, deployed: Any) -> None:
    deployment = deployed(clients={"count": plants}, data={"plants": plants})
    grid = deployment.grid()
    grid.brief(lambda number: Briefing("run", for_clients(deployment.config), number))
    checks = preflight(grid, 5.0, 0.5, frozenset()).checks
    said = [(check.level, check.what) for check in checks if check.client == EVERYBODY]
    assert bool(said) == bool(others)
    assert all(level == "warning" and f"{plants} take part" in what and others in what for level, what in said)
    assert len(checks) == plants + len(said)


@pytest.mark.parametrize("bins", [(1, 1, 1), (20, 20, 20), (1, 5, 1), (5, 20, 1), (50, 1, 50)])
@pytest.mark.parametrize("asked", [frozenset(), frozenset({"counts", "rows"})])
def test_whose_scores_are_counted_in_bins_is_said_where_they_are_asked_for(
    bins: tuple[int, ...], asked: frozenset[str], deployed: Any
) -> None:
    known = dict(zip(("plant-1", "plant-2", "plant-3"), bins, strict=True))
    deployment = deployed({name: {"minimum_bin_rows": rows} for name, rows in known.items()})
    grid = deployment.grid()
    grid.brief(lambda number: Briefing("run", for_clients(deployment.config), number))
    said = [check for check in preflight(grid, 5.0, 0.5, asked).checks if "bins" in check.what]
    assert len(said) == (bool(asked) and max(known.values()) > 1)
    for check in said:
        assert (check.client, check.level) == (EVERYBODY, "warning")
        assert "minimum_bin_rows" in check.remedy
        assert all(rows == 1 or f"of {rows} rows at" in check.what for rows in bins)
        if len(set(bins)) == 1:
            assert check.what.endswith(f"of {bins[0]} rows at all plants")
        else:
            assert {name for name in known if name in check.what} == {name for name, rows in known.items() if rows > 1}


@pytest.mark.parametrize("told", ["all", -3, True, 10**9, 1.5, None, [20]])
def test_bins_of_no_number_of_rows_are_not_spoken_of(told: Any, deployed: Any) -> None:
    flight, _ = _preflight(deployed(), _said(policy={"minimum_bin_rows": told}))
    assert not [check for check in flight.checks if "bins" in check.what]


def test_each_of_two_plants_can_have_the_others_figures(deployed: Any) -> None:
    """What is warned of is so: what both were told, less one's own, is the other's."""
    deployment = deployed(clients={"count": 2}, data={"plants": 2})
    grid = deployment.grid()
    deployment.run(grid)
    briefs = [ask.brief for ask in grid.asked if ask.name == "plant-1" and ask.brief and ask.brief["preparation"]]
    surveys = {ask.name: read_answer(parcel).replies for ask, parcel in grid.answered if ask.tasks.kind == SURVEY}
    own, other = (replies.sums for _, replies in sorted(surveys.items()) if replies is not None)
    told, rows = briefs[-1], sum(briefs[-1]["labels"])
    labels = np.array(told["labels"]) - own["labels"][0]
    np.testing.assert_array_equal(labels, other["labels"][0])
    sums = np.array(told["preparation"]["mean"]) * rows - own["sum"][0]
    np.testing.assert_allclose(sums, other["sum"][0], rtol=1e-9)


BAD: dict[str, Spoil] = {
    "no JSON": _raw("facts"),
    "no object": _raw("[1]"),
    "nothing": _raw(""),
    "deep": _raw("[" * 5000),
    "no facts": arrays("clear", facts=None),
    "a number": arrays("clear", facts=np.array([1.5])),
    "no row": arrays("clear", facts=np.array("{}")),
    "two rows": arrays("clear", facts=np.array(["{}", "{}"])),
    "a table": arrays("clear", facts=np.array([["{}"]])),
    "infinite rows": _said(rows=float("inf")),
    "rows of texts": _said(rows="many"),
    "a clock of words": _said(clock="noon"),
    "a clock before time": _said(clock="0001-01-01T00:00:00+14:00"),
    "modes in a number": _said(modes=3),
    "modes of numbers": _said(modes=[1]),
    "very many modes": _said(modes=[str(n) for n in range(2000)]),
    "versions in a list": _said(versions=["0.1"]),
    "a policy in a list": _said(policy=[1]),
    "refusals of numbers": _said(policy={"refused": 3}),
    "no schema": _said(schema=None),
    "a schema in a list": _said(schema=[]),
    "a schema without features": _schema(features=[]),
    "features of numbers": _schema(features=[1, 2]),
    "a feature with a list as its name": _schema(features=[{"name": ["a"], "kind": "number"}]),
    "a feature of another kind": _schema(features=[{"name": "a", "kind": "colour"}]),
    "a feature with too much": _schema(features=[{"name": "a", "kind": "number", "owner": "me"}]),
    "limits in texts": _schema(features=[{"name": "a", "kind": "number", "low": "0"}]),
    "a derived feature that is code": _schema(derived=[{"name": "a", "expression": "__import__('os')"}]),
    "never in a text": _schema(never="UDI"),
    "a label in a list": _schema(label=["Machine failure"]),
    "another schema key": _schema(owner="me"),
    "half of a pair": _raw('{"name": "\\ud800"}'),
    "no protocol": without("protocol"),
    "another kind": head(kind="survey"),
    "a number that nobody has": head(client=17),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_that_clients_fault_alone(name: str, deployed: Any) -> None:
    flight, _ = _preflight(deployed(), BAD[name])
    levels = {check.client: check.level for check in flight.checks}
    assert levels == {"plant-1": "ok", "plant-2": "ok", "plant-3": "error", EVERYBODY: "warning"}
    assert list(flight.facts) == ["plant-1", "plant-2"]
    (check,) = [check for check in flight.checks if check.client == "plant-3"]
    assert check.what
    assert len(check.what) < 2100
    json.dumps(flight.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("how", "level", "what"),
    [
        (_said(versions={"werkbund": "0.7.1"}), "error", "runs Werkbund 0.7.1"),
        (_said(versions={}), "error", "runs Werkbund unknown"),
        (_schema(label="Target"), "error", "label is 'Target', not 'Machine failure'"),
        (_said(clock=(datetime.now(UTC) - timedelta(hours=2)).isoformat()), "warning", "s behind"),
        (_said(clock=(datetime.now(UTC) + timedelta(hours=2)).isoformat()), "warning", "s ahead"),
        (_said(policy={"refused": ["rows"]}), "warning", "does not tell rows, by its policy"),
        (_said(policy={"refused": ["centroids", "loss"]}), "warning", "does not tell loss, by its policy"),
    ],
)
def test_what_does_not_fit_is_said_with_a_remedy(how: Spoil, level: str, what: str, deployed: Any) -> None:
    flight, _ = _preflight(deployed(), how)
    (check,) = [check for check in flight.checks if check.client == "plant-3"]
    assert (check.level, what in check.what) == (level, True)
    assert check.remedy or "policy" in check.what


def test_that_a_client_refuses_what_nobody_asks_for_is_not_spoken_of(deployed: Any) -> None:
    flight, _ = _preflight(deployed(), _said(policy={"refused": ["norm", "centroids"]}))
    assert [check.level for check in flight.checks if check.client != EVERYBODY] == ["ok"] * 3


def test_what_a_client_says_cannot_move_the_terminal(deployed: Any) -> None:
    flight, _ = _preflight(deployed(), _said(versions={"werkbund": "0.9\n\x1b[2J" + "9" * 5000}))
    (check,) = [check for check in flight.checks if check.client == "plant-3"]
    assert check.what.isprintable()
    assert len(check.what) < 300


def test_the_schema_is_the_one_that_most_have_whoever_answers_first(deployed: Any) -> None:
    flight, _ = _preflight(deployed(), _schema(label="Target"))
    assert flight.schema.label == "Machine failure"


def test_below_the_quorum_every_client_that_does_not_fit_is_named(deployed: Any) -> None:
    with pytest.raises(QuorumError) as caught:
        _preflight(deployed({"plant-1": {"pause": True}}), _schema(label="Target"), quorum=0.6)
    assert set(caught.value.reasons) == {"plant-1", "plant-3"}
    assert "policy.pause" in caught.value.reasons["plant-1"]
    assert "label is 'Target'" in caught.value.reasons["plant-3"]


@pytest.mark.parametrize("mended", [False, True])
def test_a_plant_in_another_unit_is_named_with_the_lines_that_it_writes(mended: bool, deployed: Any) -> None:
    deployment = deployed()
    kit = deployment.kits["plant-2"]
    pl.read_csv(kit / "rows.csv").with_columns(pl.col("Tool wear [min]") / 60).write_csv(kit / "rows.csv")
    line = '[columns]\n"Tool wear [min]" = { unit = "h" }'
    if mended:
        (kit / "client.toml").write_text(f"{(kit / 'client.toml').read_text()}\n{line}\n")
    assert _doubts(deployment.run().folder) == ([] if mended else [("plant-2", line)])


def _doubts(folder: Path) -> list[tuple[str, str]]:
    checks = json.loads((folder / "preflight.json").read_text())["checks"]
    return [(check["client"], check["remedy"]) for check in checks if "looks like" in check["what"]]
