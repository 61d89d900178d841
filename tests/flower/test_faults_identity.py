"""Clients that are not who they should be, or bring what does not fit: a run goes on without them, and says why.

Each with real processes, TLS and keys unless the test is about their absence. Final weights are compared with those of
a federation that the client did not take part in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import tomlkit

from tests.flower.bad_worker import HUGE, WAYS
from tests.flower.faults import data_file, events, failures
from tests.flower.federations import Driver, driver_bundle
from tests.flower.misfits import (
    away_where_it_failed,
    command,
    copied_kit,
    other_version,
    start_from,
    start_spoiling,
    weights_without,
)
from tests.flower.trials import Live, Run, live, small, wait_for
from werkbund.data.ai4i import generated_table
from werkbund.data.rules import AIR, COLUMNS, TORQUE
from werkbund.flower.bundle import bundle_hash
from werkbund.flower.provision import keygen, renew_server

SPOILT = ("a NaN in the update", "a short update", "another layout")
SPY = """
from pathlib import Path
Path({marker!r}).write_text("code of the bundle was run")
from flwr.clientapp import ClientApp
app = ClientApp()
"""


@dataclass(frozen=True)
class Outcome:
    """Hold what is left of a run after the processes have ended.

    Parameters
    ----------
    rounds, checks
        As the run's folder says.
    weights, without
        That were kept; and those of the same run without whoever failed.
    logs, events
        What each host said, and each plant's own record.
    seen
        What else a test looks at.
    """

    rounds: list[dict[str, Any]]
    checks: dict[str, str]
    weights: npt.NDArray[np.float32]
    without: npt.NDArray[np.float32]
    logs: Mapping[str, str]
    events: Mapping[str, list[dict[str, Any]]]
    seen: Mapping[str, Any]

    def reasons(self, client: int) -> dict[int, str]:
        """Return why a client failed, by round in which somebody trained."""
        training = [line for line in self.rounds if line["cohort"]]
        found = {line["round"]: [one for one in line["failures"] if one["client"] == client] for line in training}
        return {number: "; ".join(one["reason"] for one in failed) for number, failed in found.items()}


def outcome(
    held: Live, running: Run, folder: Path, always: Sequence[str] = (), overrides: Sequence[str] = (), **seen: Any
) -> Outcome:
    """Gather what is left of a run, and compute what it would be without those who failed.

    `always` names the clients of whom nothing was taken.
    """
    names = json.loads((running.folder / "run.json").read_text())["clients"]
    checks = json.loads((running.folder / "preflight.json").read_text())["checks"]
    told = {check["client"]: f"{check['level']}: {check['what']}" for check in checks}
    rounds = running.rounds()
    without = weights_without(held, folder, names, away_where_it_failed(rounds, names, always), overrides)
    logs = {name: held.log(name) for name in ("server", *held.trial.clients)}
    own = {name: events(held, name) for name in held.trial.clients}
    return Outcome(rounds, told, running.weights(), without, logs, own, seen)


def _small(**federation: Any) -> Any:
    return small(federation={"quorum": 0.2, **federation}, evaluation={"keep_best": False})


def _edit(path: Path, **sections: Mapping[str, Any]) -> None:
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        document.setdefault(name, tomlkit.table()).update(values)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run a federation of which one client spoils its updates, and one has agreed to other features."""
    folder = tmp_path_factory.mktemp("spoilt")
    marker = folder / "spied"
    bundle = driver_bundle(SPY.format(marker=str(marker)))
    with live(folder, _small(), 3, start=False) as held:
        derived = {"derived": {"Twice": f'"{TORQUE}" * 2'}}
        _edit(held.trial.clients["plant-3"] / "federation.toml", features=derived)
        _edit(held.trial.clients["plant-2"] / "client.toml", policy={"bundles": [sha256(bundle).hexdigest()]})
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
    refused = "features of this run differ from the federation.toml that this plant has agreed to"
    assert spoilt.checks["plant-3"].startswith("error: refused by its policy: ")
    assert refused in spoilt.checks["plant-3"]
    assert all(refused in reason for reason in spoilt.reasons(2).values())
    own = [event for event in spoilt.events["plant-3"] if event["kind"] == "answer"]
    assert {event["refused"] for event in own} == {"policy"}
    assert all(refused in event["reason"] for event in own)
    assert [spoilt.checks[name][:3] for name in ("plant-1", "plant-2")] == ["ok:", "ok:"]


def test_a_bundle_that_is_not_approved_is_refused_and_an_approved_one_is_not_run(spoilt: Outcome) -> None:
    refused, taken = spoilt.seen["foreign"]["plant-1"], spoilt.seen["foreign"]["plant-2"]
    reason = f"plant-1 does not approve the app bundle {spoilt.seen['bundle']}"
    assert refused["error"].startswith(reason)
    assert reason in spoilt.logs["plant-1"]
    assert json.loads(taken["head"])["code"] == "protocol"
    assert "must be JSON" in json.loads(taken["head"])["reason"]
    assert "does not approve" not in spoilt.logs["plant-2"]
    assert not spoilt.seen["spied"]


@pytest.mark.faults
def test_every_way_to_spoil_an_update_leaves_the_weights_as_they_are_without_it(tmp_path: Path) -> None:
    ways = list(WAYS)
    with live(tmp_path, _small(rounds=len(ways) + 1), 3, start=False) as held:
        for name in ("server", "plant-1", "plant-2"):
            held.start(name)
        start_spoiling(held, "plant-3", ways)
        wait_for(lambda: "listens" in held.log("server"), "the server")
        running = held.submit(out=tmp_path / "run", wait_s=180)
        assert running.wait_for_end(600.0) == ""
        found = outcome(held, running, tmp_path / "without")
    reasons = found.reasons(2)
    wrong = {way: reasons[number] for number, way in enumerate(ways, start=1) if not reasons[number]}
    assert wrong == {}
    assert reasons[len(ways) + 1] == ""
    assert "more than" in reasons[ways.index(HUGE) + 1]
    np.testing.assert_array_equal(found.weights, found.without)


MISFITS = {
    "plant-3": "its rows do not fit the federation's columns; `werkbund client check` there says what to write",
    "plant-4": "has another schema than most",
    "plant-5": "DataError; its text stays at the plant, where `werkbund client check` shows it",
    "plant-6": "it is not that of the installed version of Werkbund; install the server's version",
    "plant-7": "runs Werkbund 0.99.0, the server",
    "plant-8": "an answer of 'plant-x' came instead; two clients may use the same key",
}


@pytest.fixture(scope="module")
def misfits(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run a federation of which two clients fit, and of which each other one is wrong in its own way."""
    folder = tmp_path_factory.mktemp("misfits")
    with live(folder, _small(rounds=3), 8, start=False) as held:
        _in_celsius(held, "plant-2")
        _replace(held, "plant-3", pl.read_csv(data_file(held, "plant-3")).drop(TORQUE))
        _replace(held, "plant-4", _twin(held, "plant-4"))
        labels = pl.when(pl.col("Machine failure") == 1).then(pl.lit("ja")).otherwise(pl.lit("nein"))
        _replace(held, "plant-5", pl.read_csv(data_file(held, "plant-5")).with_columns(labels.alias("Machine failure")))
        _edit(held.trial.clients["plant-7"] / "client.toml", policy={"bundles": [bundle_hash()]})
        _edit(held.trial.clients["plant-8"] / "client.toml", client={"name": "plant-x"})
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
    _edit(held.trial.clients[name] / "client.toml", columns=columns)


def _twin(held: Live, name: str) -> pl.DataFrame:
    """Return a plant's rows in the other published form of the table, whose label has another name."""
    frame = pl.read_csv(data_file(held, name))
    kind = pl.when(pl.col("Machine failure") == 1).then(pl.lit("Overstrain Failure")).otherwise(pl.lit("No Failure"))
    return frame.with_columns(kind.alias("Failure Type")).rename({"Machine failure": "Target"})


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
    assert {name: text[:3] for name, text in misfits.checks.items() if name not in MISFITS} == {
        "plant-1": "ok:",
        "plant-2": "ok:",
    }


@pytest.mark.faults
def test_the_plants_side_hears_what_is_wrong(misfits: Outcome) -> None:
    told = {name: json.dumps(misfits.events[name]) + misfits.logs[name] for name in MISFITS}
    assert TORQUE in told["plant-3"]
    assert "another schema" in told["plant-4"]
    assert "Machine failure" in told["plant-5"]
    assert "does not approve the app bundle" in misfits.logs["plant-6"]
    assert "install the same version at both ends" in told["plant-7"]
    assert "this is plant-x, not plant-8" in told["plant-8"]


@dataclass(frozen=True)
class Keys:
    """Hold a federation in which keys come and go, and the two runs in it."""

    first: Outcome
    second: Outcome


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Run a federation beside which strangers knock, and from which a key is taken; then one with a new client."""
    folder = tmp_path_factory.mktemp("keys")
    with live(folder, _small(rounds=12), 3, start=False) as held:
        _edit(held.trial.server / "server.toml", server={"host": "0.0.0.0"})  # noqa: S104 - to be reached by another name
        _strangers(held, folder)
        for name in ("server", "plant-1", "plant-2", "plant-3"):
            held.start(name)
        wait_for(lambda: "listens" in held.log("server"), "the server")
        wait_for(lambda: "connected" in held.log("plant-1"), "plant-1")
        for name in ("stranger", "lost", "astray", "double"):
            held.start(name)
        yield Keys(_revoked(held, folder), _added(held, folder))


def _strangers(held: Live, folder: Path) -> None:
    stranger = copied_kit(held, "plant-1", "stranger")
    for name in ("client.key", "client.pub"):
        (stranger / name).unlink()
    keygen(stranger)
    lost = copied_kit(held, "plant-1", "lost")
    command("provision", "--out", str(folder / "other"), "--client", "plant-1", "--host", "localhost")
    shutil.copy(folder / "other" / "plant-1" / "ca.crt", lost / "ca.crt")
    astray = copied_kit(held, "plant-1", "astray")
    port = held.trial.settings.local_address.rpartition(":")[2]
    _edit(astray / "client.toml", server={"address": f"127.0.0.2:{port}"})
    copied_kit(held, "plant-1", "double")


def _revoked(held: Live, folder: Path) -> Outcome:
    kits = held.trial.server.parent
    running = held.submit(out=folder / "first", wait_s=180)
    running.wait_for_round(2)
    command("provision", "--revoke", "plant-3", "--out", str(kits))
    wait_for(lambda: "plant-3 may no longer join" in held.log("server"), "the key to be removed")
    assert running.wait_for_end(600.0) == ""
    wait_for(lambda: "the operator has removed it" in held.log("plant-3"), "plant-3 to hear of it", patience_s=120.0)
    status = json.loads(command("server", "status", str(held.trial.server), "--json"))
    return outcome(held, running, folder / "without-first", status=status)


def _added(held: Live, folder: Path) -> Outcome:
    kits = held.trial.server.parent
    command("provision", "--add", "plant-4", "--out", str(kits))
    wait_for(lambda: "plant-4 may join" in held.log("server"), "the new key")
    held.trial.clients["plant-4"] = kits / "plant-4"
    held.set("plant-4", "server", poll_s=0.1)
    frame = generated_table(500, 1, 77).frame.select(COLUMNS)
    frame.write_csv(folder / "plant-4.csv")
    _edit(kits / "plant-4" / "client.toml", data={"path": str(folder / "plant-4.csv")})
    held.start("plant-4")
    overrides = ["federation.rounds=3"]
    running = held.submit(*overrides, out=folder / "second", wait_s=180)
    assert running.wait_for_end(400.0) == ""
    return outcome(held, running, folder / "without-second", overrides=overrides)


@pytest.mark.faults
def test_a_revoked_key_is_out_while_the_run_goes_on(keys: Keys) -> None:
    reasons = keys.first.reasons(2)
    out = [number for number, reason in reasons.items() if reason]
    assert out[0] > 2
    assert out == list(range(out[0], 13))
    assert all("offline" in reasons[number] or "no longer" in reasons[number] for number in out[1:])
    assert [client["name"] for client in keys.first.seen["status"]["clients"]] == ["plant-1", "plant-2"]
    np.testing.assert_array_equal(keys.first.weights, keys.first.without)


@pytest.mark.faults
def test_a_plant_that_was_added_trains_in_the_next_run(keys: Keys) -> None:
    assert keys.second.checks["plant-4"].startswith("ok: 500 rows")
    assert [reason for number in range(3) for reason in keys.second.reasons(number).values()] == [""] * 9
    assert "plant-3" not in keys.second.checks
    np.testing.assert_array_equal(keys.second.weights, keys.second.without)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stranger", "this key is not registered with the server: send client.pub to the operator"),
        ("lost", "the server's certificate was signed by another CA"),
        ("astray", "the server's certificate is not made for 127.0.0.2, but for localhost"),
        ("double", "another client runs with the same key"),
    ],
)
def test_whoever_may_not_join_is_told_and_takes_no_part(keys: Keys, name: str, message: str) -> None:
    assert message in keys.first.logs[name]
    assert "connected to" not in keys.first.logs[name]
    assert not keys.first.events[name]
    assert not any(keys.first.reasons(0).values())
    assert keys.first.logs["plant-1"].count("connected to") == 1


@pytest.mark.faults
def test_an_expired_certificate_is_told_at_both_ends(tmp_path: Path) -> None:
    with live(tmp_path, _small(), 1, start=False) as held:
        renew_server(held.trial.server.parent, days=1, now=datetime.now(UTC) - timedelta(days=10))
        for name in ("server", "plant-1"):
            held.start(name)
        expired = "the server's certificate expired on"
        wait_for(lambda: expired in held.log("plant-1"), "the plant to say so")
        wait_for(lambda: "expired" in held.log("server"), "the server to say so")
        assert "werkbund provision --renew" in held.log("server")
        assert "ask the operator to renew it" in held.log("plant-1")
        assert "connected" not in held.log("plant-1")


@pytest.mark.faults
def test_two_clients_of_one_name_are_both_left_out(tmp_path: Path) -> None:
    """Without keys nothing tells them apart, so that neither is believed."""
    with live(tmp_path, _small(), 3, insecure=True) as held:
        kit = copied_kit(held, "plant-3", "double")
        assert kit.is_dir()
        held.start("double")
        wait_for(lambda: all("connected" in held.log(name) for name in held.trial.clients), "all clients")
        running = held.submit(out=tmp_path / "run", wait_s=180)
        assert running.wait_for_end(400.0) == ""
        found = outcome(held, running, tmp_path / "without", ("plant-3",))
    assert "2 clients say that they are plant-3" in found.checks["plant-3"]
    assert all("2 clients say that they are plant-3" in reason for reason in found.reasons(2).values())
    assert not any(failures(running, 0))
    np.testing.assert_array_equal(found.weights, found.without)
