"""A plant whose way out is a proxy, IPv6, or another address than before: each with real processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.flower.federations import Driver, change, join, make_kits, serve, wait_for
from tests.flower.http_proxy import http_proxy
from tests.flower.proxy import RecordingProxy
from werkbund.flower.machine.connection import free_port, split_address
from werkbund.flower.plant import host
from werkbund.flower.server.kit import load_server_settings

pytestmark = pytest.mark.faults


@pytest.fixture
def kits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):  # what goes there is lost
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    return make_kits(tmp_path / "kits", "plant-a")


def test_a_plant_joins_through_a_proxy_that_asks_for_a_key(kits: Path, tmp_path: Path) -> None:
    client = kits / "plant-a" / "client.toml"
    with http_proxy(tmp_path, "plant:p@ss") as proxy, serve(kits) as server:
        wait_for(lambda: server.heard("plant-a may join"))
        change(client, "server", proxy=f"http://plant:p%40ss@localhost:{proxy.port}")
        driver = Driver(kits, tmp_path / "drive")
        with join(kits / "plant-a") as plant:
            driver.await_client()
            assert driver.ask("hello", parameters=1000)["parameters"] == 1000
            assert len(proxy.lines()) > 1
            assert set(proxy.lines()) == {f"CONNECT {load_server_settings(kits / 'server').local_address} 200"}
            assert not any("p%40ss" in line or "p@ss" in line for line in plant.said)


def test_a_plant_joins_over_ipv6(kits: Path, tmp_path: Path) -> None:
    change(kits / "server" / "server.toml", "server", host="::1")
    address = load_server_settings(kits / "server").local_address
    change(kits / "plant-a" / "client.toml", "server", address=address)
    with serve(kits) as server, join(kits / "plant-a") as plant:
        wait_for(lambda: server.heard("the server listens at ::1"))
        wait_for(lambda: plant.heard(f"connected to {address}"))
        assert address.startswith("[::1]:")


def test_a_plant_goes_on_at_another_address(kits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LOST_S", 2.0)
    address = load_server_settings(kits / "server").local_address
    with RecordingProxy(*split_address(address)) as old, serve(kits) as server:
        wait_for(lambda: server.heard("plant-a may join"))
        change(
            kits / "plant-a" / "client.toml",
            "server",
            address=f"127.0.0.1:{old.port}",
            further_addresses=[address],
        )
        driver = Driver(kits, tmp_path / "drive")
        with join(kits / "plant-a") as plant:
            driver.await_client()
            wait_for(lambda: plant.heard(f"connected to 127.0.0.1:{old.port}"))
            old.cut()
            wait_for(lambda: plant.heard(f"connected to {address}"))
            driver.await_client()
            assert driver.ask("hello")["head"] == "answer to hello"
