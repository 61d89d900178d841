"""Clients that bring what does not fit: a run goes on without them, and says why.

Each with real processes, TLS and keys. Final weights are compared with those of a federation that the client did not
take part in.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.flower.bad_worker import HUGE, WAYS
from tests.flower.faults import data_file
from tests.flower.federations import Driver, driver_bundle
from tests.flower.misfits import Outcome, command, edit, other_version, outcome, start_from, start_spoiling, tolerant
from tests.flower.trials import Live, live, wait_for
from werkbund.data.rules import AIR, LABEL, TORQUE
from werkbund.flower.machine.bundle import bundle_hash
from werkbund.server.preflight import EVERYBODY

pytestmark = pytest.mark.faults

SPOILT = ("a NaN in the update", "a short update", "another layout")
SPY = """
from pathlib import Path
Path({marker!r}).write_text("code of the bundle was run")
from flwr.clientapp import ClientApp
app = ClientApp()
"""


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run a federation of which one client spoils its updates, and one has agreed to other features."""
    folder = tmp_path_factory.mktemp("spoilt")
    marker = folder / "spied"
    bundle = driver_bundle(SPY.format(marker=str(marker)))
    with live(folder, tolerant(), 3, start=False) as held:
        derived = {"derived": {"Twice": f'"{TORQUE}" * 2'}}
        edit(held.trial.clients["plant-3"] / "federation.toml", features=derived)
        edit(held.trial.clients["plant-1"] / "client.toml", policy={"bundles": [sha256(bundle).hexdigest()]})
        for name in ("server", "plant-1", "plant-3"):
            held.start(name)
        start_spoiling(held, "plant-2", SPOILT)
        wait_for(lambda: "listens" in held.log("server"), "the server")
        running = held.submit(out=folder / "run", wait_s=180)
        assert running.wait_for_end(400.0) == ""
        driver = Driver(held.trial.server.parent, folder / "drive", bundle)
        foreign = {name: driver.ask("hello", name=name) for name in ("plant-1", "plant-2")}
        spied: dict[str, Any] = {"foreign": foreign, "spied": marker.exists(), "bundle": sha256(bundle).hexdigest()}
        return outcome(held, running, folder / "without", ("plant-3",), **spied)


def test_updates_with_nan_of_another_length_or_layout_are_left_out(spoilt: Outcome) -> None:
    reasons = spoilt.reasons(1)
    assert len(reasons) == len(SPOILT) + 1
    for number, way in enumerate(SPOILT, start=1):
        assert WAYS[way][1] in reasons[number]
    assert reasons[len(SPOILT) + 1] == ""
    assert not any(spoilt.reasons(0).values())
    np.testing.assert_array_equal(spoilt.weights, spoilt.without)


def test_a_run_with_other_features_than_agreed_is_refused(spoilt: Outcome) -> None:
    refused = "features.derived of this run differ from the federation.toml that this plant has agreed to"
    assert spoilt.checks["plant-3"].startswith("error: refused by its policy: ")
    assert refused in spoilt.checks["plant-3"]
    assert all(refused in reason for reason in spoilt.reasons(2).values())
    own = [event for event in spoilt.events["plant-3"] if event["kind"] == "refusal" and event["code"] != "briefing"]
    assert {event["code"] for event in own} == {"policy"}
    assert all(refused in event["reason"] for event in own)
    assert [spoilt.checks[name][:3] for name in ("plant-1", "plant-2")] == ["ok:", "ok:"]


def test_a_bundle_that_is_not_approved_is_refused_and_an_approved_one_is_not_run(spoilt: Outcome) -> None:
    taken, refused = spoilt.seen["foreign"]["plant-1"], spoilt.seen["foreign"]["plant-2"]
    reason = f"plant-2 does not approve the app bundle {spoilt.seen['bundle']}"
    assert refused["error"].startswith(reason)
    assert reason in spoilt.logs["plant-2"]
    assert json.loads(taken["head"])["code"] == "protocol"
    assert "must be JSON" in json.loads(taken["head"])["reason"]
    assert "does not approve" not in spoilt.logs["plant-1"]
    assert not spoilt.seen["spied"]


@pytest.mark.faults
def test_every_way_to_spoil_an_update_leaves_the_weights_as_they_are_without_it(tmp_path: Path) -> None:
    ways = list(WAYS)
    with live(tmp_path, tolerant(rounds=len(ways) + 1), 3, start=False) as held:
        for name in ("server", "plant-1", "plant-2"):
            held.start(name)
        start_spoiling(held, "plant-3", ways)
        wait_for(lambda: "listens" in held.log("server"), "the server")
        running = held.submit(out=tmp_path / "run", wait_s=180)
        assert running.wait_for_end(600.0) == ""
        after = outcome(held, running, tmp_path / "without")
    reasons = after.reasons(2)
    wrong = {way: reasons[number] for number, way in enumerate(ways, start=1) if not reasons[number]}
    assert wrong == {}
    assert reasons[len(ways) + 1] == ""
    assert "must have at most" in reasons[ways.index(HUGE) + 1]
    np.testing.assert_array_equal(after.weights, after.without)


MISFITS = {
    "plant-3": "its rows do not fit the federation's columns; `werkbund client check` there says what to write",
    "plant-4": "has another schema than most",
    "plant-5": "DataError; its text stays at the plant, in state/events.jsonl",
    "plant-6": "it is not that of the installed version of Werkbund; install the server's version",
    "plant-7": "runs Werkbund 0.99.0, the server",
    "plant-8": "an answer of 'plant-x' came instead; two clients may use the same key",
}


@pytest.fixture(scope="module")
def misfits(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run a federation of which two clients fit, and of which each other one is wrong in its own way."""
    folder = tmp_path_factory.mktemp("misfits")
    with live(folder, tolerant(rounds=3), 8, start=False) as held:
        _in_celsius(held, "plant-2")
        _replace(held, "plant-3", pl.read_csv(data_file(held, "plant-3")).drop(TORQUE))
        _replace(held, "plant-4", _twin(held, "plant-4"))
        labels = pl.when(pl.col(LABEL) == 1).then(pl.lit("ja")).otherwise(pl.lit("nein"))
        _replace(held, "plant-5", pl.read_csv(data_file(held, "plant-5")).with_columns(labels.alias(LABEL)))
        edit(held.trial.clients["plant-7"] / "client.toml", policy={"bundles": [bundle_hash()]})
        edit(held.trial.clients["plant-8"] / "client.toml", client={"name": "plant-x"})
        for name in ("server", "plant-1", "plant-2", "plant-3", "plant-4", "plant-5", "plant-8"):
            held.start(name)
        newer = other_version(folder / "newer", "0.99.0")
        for name in ("plant-6", "plant-7"):
            start_from(held, name, newer)
        wait_for(lambda: "listens" in held.log("server"), "the server", patience_s=180.0)
        running = held.submit(out=folder / "run", wait_s=240)
        assert running.wait_for_end(400.0) == ""
        checked = {name: command("client", "check", str(held.trial.clients[name]), "--json") for name in ("plant-2",)}
        status = command("server", "status", str(held.trial.server), "--json")
        return outcome(held, running, folder / "without", tuple(MISFITS), checked=checked, status=json.loads(status))


def _replace(held: Live, name: str, frame: pl.DataFrame) -> None:
    frame.write_csv(data_file(held, name))


def _in_celsius(held: Live, name: str) -> None:
    """Let a plant measure one temperature in another unit, under a name of its own."""
    frame = pl.read_csv(data_file(held, name))
    _replace(held, name, frame.with_columns((pl.col(AIR) - 273.15).alias("air")).drop(AIR))
    columns = {AIR: {"column": "air", "unit": "degC"}}
    edit(held.trial.clients[name] / "client.toml", columns=columns)


def _twin(held: Live, name: str) -> pl.DataFrame:
    """Return a plant's rows in the other published form of the table, whose label has another name."""
    frame = pl.read_csv(data_file(held, name))
    kind = pl.when(pl.col(LABEL) == 1).then(pl.lit("Overstrain Failure")).otherwise(pl.lit("No Failure"))
    return frame.with_columns(kind.alias("Failure Type")).rename({LABEL: "Target"})


@pytest.mark.faults
@pytest.mark.parametrize("name", MISFITS)
def test_who_does_not_fit_is_named_with_its_reason(misfits: Outcome, name: str) -> None:
    number = int(name.removeprefix("plant-")) - 1
    assert misfits.checks[name].startswith("error: ")
    assert MISFITS[name] in misfits.checks[name]
    assert all(misfits.reasons(number).values())


@pytest.mark.faults
def test_the_weights_are_those_of_the_clients_that_fit(misfits: Outcome) -> None:
    np.testing.assert_array_equal(misfits.weights, misfits.without)
    assert {name: text[:3] for name, text in misfits.checks.items() if name not in {*MISFITS, EVERYBODY}} == {
        "plant-1": "ok:",
        "plant-2": "ok:",
    }


@pytest.mark.faults
def test_the_plants_side_hears_what_is_wrong(misfits: Outcome) -> None:
    traces = {name: json.dumps(misfits.events[name]) + misfits.logs[name] for name in MISFITS}
    assert TORQUE in traces["plant-3"]
    assert "another schema" in traces["plant-4"]
    assert LABEL in traces["plant-5"]
    assert "does not approve the app bundle" in misfits.logs["plant-6"]
    assert "install the same version at both ends" in traces["plant-7"]
    assert "this is plant-x, not plant-8" in traces["plant-8"]
