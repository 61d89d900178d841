"""Keys, certificates and names that are not as they should be: who may not join is told why, and takes no part.

Each with real processes. Final weights are compared with those of a federation that the client did not take part in.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.flower.faults import failures
from tests.flower.misfits import Outcome, command, copied_kit, edit, outcome, tolerant
from tests.flower.trials import Live, live, wait_for
from werkbund.data.ai4i import generated_table
from werkbund.data.rules import COLUMNS
from werkbund.flower.provision import keygen, renew_server

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Keys:
    """Hold a federation in which keys come and go, and the two runs in it."""

    first: Outcome
    second: Outcome


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Run a federation beside which strangers knock, and from which a key is taken; then one with a new client."""
    folder = tmp_path_factory.mktemp("keys")
    with live(folder, tolerant(rounds=12), 3, start=False) as held:
        edit(held.trial.server / "server.toml", server={"host": "0.0.0.0"})  # noqa: S104 - to be reached by another name
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
    edit(astray / "client.toml", server={"address": f"127.0.0.2:{port}"})
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
    frame = generated_table(rows=500, plants=1, seed=77).frame.select(COLUMNS)
    frame.write_csv(folder / "plant-4.csv")
    policy = {
        "draws": "federation",
        "minimum_bin_rows": 1,
    }  # as the others': a plant of its own draws by its own stream
    edit(kits / "plant-4" / "client.toml", data={"path": str(folder / "plant-4.csv")}, policy=policy)
    held.start("plant-4")
    overrides = ["federation.rounds=3"]
    running = held.submit(*overrides, out=folder / "second", wait_s=180)
    assert running.wait_for_end(400.0) == ""
    return outcome(held, running, folder / "without-second", overrides=overrides)


def test_a_revoked_key_is_out_while_the_run_goes_on(keys: Keys) -> None:
    reasons = keys.first.reasons(2)
    out = [number for number, reason in reasons.items() if reason]
    assert out[0] > 2
    assert out == list(range(out[0], 13))
    assert all("offline" in reasons[number] or "no longer" in reasons[number] for number in out[1:])
    assert [client["name"] for client in keys.first.seen["status"]["clients"]] == ["plant-1", "plant-2"]
    np.testing.assert_array_equal(keys.first.weights, keys.first.without)


def test_a_plant_that_was_added_trains_in_the_next_run(keys: Keys) -> None:
    assert keys.second.checks["plant-4"].startswith("ok: 500 rows")
    assert [reason for number in range(3) for reason in keys.second.reasons(number).values()] == [""] * 9
    assert "plant-3" not in keys.second.checks
    np.testing.assert_array_equal(keys.second.weights, keys.second.without)


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


def test_an_expired_certificate_is_told_at_both_ends(tmp_path: Path) -> None:
    with live(tmp_path, tolerant(), 1, start=False) as held:
        renew_server(held.trial.server.parent, days=1, now=datetime.now(UTC) - timedelta(days=10))
        for name in ("server", "plant-1"):
            held.start(name)
        expired = "the server's certificate expired on"
        wait_for(lambda: expired in held.log("plant-1"), "the plant to say so")
        wait_for(lambda: "expired" in held.log("server"), "the server to say so")
        assert "werkbund provision --renew" in held.log("server")
        assert "ask the operator to renew it" in held.log("plant-1")
        assert "connected" not in held.log("plant-1")


def test_two_clients_of_one_name_are_both_left_out(tmp_path: Path) -> None:
    """Without keys nothing tells them apart, so that neither is believed."""
    with live(tmp_path, tolerant(), 3, insecure=True) as held:
        kit = copied_kit(held, "plant-3", "double")
        assert kit.is_dir()
        held.start("double")
        wait_for(lambda: all("connected" in held.log(name) for name in held.trial.clients), "all clients")
        running = held.submit(out=tmp_path / "run", wait_s=180)
        assert running.wait_for_end(400.0) == ""
        after = outcome(held, running, tmp_path / "without", ("plant-3",))
    assert "2 clients say that they are plant-3" in after.checks["plant-3"]
    assert all("2 clients say that they are plant-3" in reason for reason in after.reasons(2).values())
    assert not any(failures(running, 0))
    np.testing.assert_array_equal(after.weights, after.without)
