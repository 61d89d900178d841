"""A server and a client as real processes, with TLS and keys: what they say to each other, and to whom they listen."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.flower.federations import Driver, Running, change, join, make_kits, running, serve, wait_for
from werkbund.core.errors import ConfigError
from werkbund.flower.machine.bundle import bundle_hash
from werkbund.flower.plant.host import ClientHost, approval, stop_client
from werkbund.flower.provision import keygen
from werkbund.flower.server.control import connect
from werkbund.flower.server.host import ServerHost, server_record
from werkbund.flower.server.kit import load_server_settings
from werkbund.plant.settings import load_settings


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kits(tmp_path_factory.mktemp("federation") / "kits", "plant-a", "plant-b")


@pytest.fixture(scope="module")
def server(kits: Path) -> Iterator[Running]:
    with serve(kits) as server:
        wait_for(lambda: server.heard("plant-b may join"))
        yield server


@pytest.fixture(scope="module")
def driver(kits: Path, server: Running) -> Driver:
    return Driver(kits, kits.parent / "drive")


@pytest.fixture(scope="module")
def client(kits: Path, driver: Driver) -> Iterator[Running]:
    with join(kits / "plant-a", lambda bundle: None if bundle == sha256(driver.bundle).hexdigest() else "no") as client:
        driver.await_client()
        yield client


def test_a_message_comes_to_the_worker_and_its_answer_back(driver: Driver, client: Running) -> None:
    assert driver.ask("hello", parameters=1000)["parameters"] == 1000
    assert driver.ask("hello")["head"] == "answer to hello"
    seconds = [driver.ask("again")["seconds"] for _ in range(5)]
    print(f"round trip: median {statistics.median(seconds):.3f} s of {[round(s, 3) for s in seconds]}")
    assert client.heard("connected to 127.0.0.1:")


def test_one_worker_answers_all_messages(driver: Driver, client: Running) -> None:
    assert driver.ask("pid")["body"] == driver.ask("pid")["body"] == str(_worker_pid(client))


def test_a_worker_that_dies_in_a_task_is_reported_and_replaced(driver: Driver, client: Running) -> None:
    before = _worker_pid(client)
    assert re.match(r"the plant's worker died .* \(exit code 3\); it is started anew", driver.ask("die")["error"])
    assert driver.ask("hello")["head"] == "answer to hello"
    assert _worker_pid(client) != before


def test_a_worker_that_is_killed_in_a_task_is_reported_and_replaced(driver: Driver, client: Running) -> None:
    log = client.host.worker.log.path  # type: ignore[union-attr]
    seen = log.read_text().count("hangs") if log.exists() else 0
    number = driver.send("hang")
    # Killed before the task has gone through the pipe, the worker would only be replaced.
    wait_for(lambda: log.exists() and log.read_text().count("hangs") > seen)
    os.kill(_worker_pid(client), signal.SIGKILL)
    assert "(signal 9)" in driver.receive(number)["error"]
    assert driver.ask("hello")["head"] == "answer to hello"


def test_a_worker_that_hangs_is_reported_before_the_message_expires(driver: Driver, client: Running) -> None:
    answer = driver.ask("hang", ttl=5)
    assert re.match(r"the plant's worker did not answer within [0-9.]+ s; it was ended", answer["error"])
    assert driver.ask("hello")["head"] == "answer to hello"


def test_control_and_runtime_are_for_the_servers_machine_alone(kits: Path, server: Running) -> None:
    outside = next((address for address in _own_addresses() if not address.startswith("127.")), None)
    if outside is None:
        pytest.skip("this machine has no address but the loopback one; the gate alone is tested in test_launcher.py")
    context = ssl.create_default_context(cafile=str(kits / "server" / "ca.crt"))
    context.check_hostname = False
    _, port = _address(kits).split(":")
    with httpx.Client(verify=context) as client:
        status = {
            path: client.post(f"https://{outside}:{port}{path}").status_code
            for path in ("/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task", "/docs")
        }
        assert set(status.values()) == {403}
        assert client.get(f"https://{outside}:{port}/health").status_code == 200
        assert client.post(f"https://{outside}:{port}/v1/fleet/pull-messages").status_code not in (403, 404)


def test_keys_come_and_go_with_their_files(kits: Path, server: Running, tmp_path: Path) -> None:
    keygen(tmp_path / "own", "plant-c")
    public = kits / "server" / "clients" / "plant-c.pub"
    shutil.copy(tmp_path / "own" / "client.pub", public)
    wait_for(lambda: server.heard("plant-c may join"))
    assert _names(kits) == ["plant-a", "plant-b", "plant-c"]
    public.unlink()
    wait_for(lambda: server.heard("plant-c may no longer join"))
    assert _names(kits) == ["plant-a", "plant-b"]
    shutil.copy(tmp_path / "own" / "client.pub", public)
    wait_for(lambda: server.heard("Flower takes a key once"))
    public.write_text("no key")
    wait_for(lambda: server.heard("the key of 'plant-c' must be a public key of an elliptic curve"))
    public.unlink()


def test_a_key_that_is_not_registered_is_reported(kits: Path, server: Running, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(kits / "plant-b", stranger)
    (stranger / "client.key").unlink()
    (stranger / "client.pub").unlink()
    keygen(stranger)
    with join(stranger) as client:
        wait_for(lambda: client.heard("this key is not registered with the server: send client.pub to the operator"))


def test_two_clients_with_one_key_are_reported_and_the_first_goes_on(
    kits: Path, driver: Driver, client: Running, tmp_path: Path
) -> None:
    shutil.copytree(kits / "plant-a", tmp_path / "copy", ignore=shutil.ignore_patterns("client.json"))
    with join(tmp_path / "copy") as copy:
        wait_for(lambda: copy.heard("another client runs with the same key"))
        assert driver.ask("pid")["body"] == str(_worker_pid(client))
    with pytest.raises(ConfigError, match="must run once, but process"):
        ClientHost(kits / "plant-a", print, lambda bundle: None).run(_never())


@pytest.mark.faults  # tests/flower/test_capture.py has a whole run without TLS
def test_without_tls_and_keys_it_works_alike_if_both_ends_say_so(tmp_path: Path) -> None:
    open_kits = make_kits(tmp_path / "kits", "plant-a", insecure=True)
    with serve(open_kits) as server, join(open_kits / "plant-a"):
        wait_for(lambda: server.heard("the server listens"))
        assert server.heard("insecure = true: without TLS and without keys")
        driver = Driver(open_kits, tmp_path / "drive")
        driver.await_client()
        assert driver.ask("hello")["head"] == "answer to hello"


def test_another_ca_is_reported(kits: Path, server: Running, tmp_path: Path) -> None:
    other = make_kits(tmp_path / "other", "plant-b")
    shutil.copytree(kits / "plant-b", tmp_path / "lost")
    shutil.copy(other / "server" / "ca.crt", tmp_path / "lost" / "ca.crt")
    with join(tmp_path / "lost") as client:
        wait_for(lambda: client.heard("signed by another CA"))
        assert client.host.supernode.pid is None  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_a_bundle_that_is_not_approved_is_refused(kits: Path, driver: Driver) -> None:
    with running(lambda say: ClientHost(kits / "plant-b", say, None, ["/bin/false"])) as client:
        driver.await_client("plant-b")
        reason = driver.ask("hello", name="plant-b")["error"]
    bundle = sha256(driver.bundle).hexdigest()
    assert reason.startswith(f"plant-b does not approve the app bundle {bundle}")
    assert "policy.bundles in client.toml" in reason
    assert client.heard("does not approve")
    change(kits / "plant-b" / "client.toml", "policy", bundles=[bundle])
    approve = approval(load_settings(kits / "plant-b"))
    assert [approve(known) for known in (bundle, bundle_hash())] == [None, None]


def test_a_client_that_was_killed_comes_back_at_once(driver: Driver, client: Running) -> None:
    """Without the lease Flower would keep it out for more than a minute."""
    before = client.host.supernode.pid  # type: ignore[union-attr]
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: client.host.supernode.pid not in (None, before))  # type: ignore[union-attr]
    wait_for(lambda: client.said[-1].startswith("connected to"), 30)
    assert driver.ask("hello")["head"] == "answer to hello"


def test_a_kit_runs_once(kits: Path, client: Running, server: Running) -> None:
    record = server_record(kits / "server")
    assert record is not None
    assert (record["pid"], record["address"]) == (os.getpid(), _address(kits))
    assert record["children"] == {"superlink": server.host.superlink.pid, "executor": server.host.executor.pid}  # type: ignore[union-attr]
    assert not stop_client(kits / "plant-b")


def test_runs_are_listed_and_stopped(kits: Path, driver: Driver) -> None:
    with connect(load_server_settings(kits / "server")) as control:
        (run,) = [run for run in control.runs() if run.id == driver.run_id]
        assert (run.status, run.sub_status) == ("running", "")
        with pytest.raises(ConfigError, match=r"run 17: .*\[Flower's code 16\]"):
            control.stop_run(17)
        with pytest.raises(ConfigError, match=r"client 17: "):
            control.unregister(17)
        with pytest.raises(ConfigError, match="must be a public key of an elliptic curve"):
            control.register("x", b"ssh-ed25519 AAAA")


def test_private_files_stay_private(kits: Path) -> None:
    copied = kits.parent / "open"
    shutil.copytree(kits / "plant-b", copied, ignore=shutil.ignore_patterns("state"))
    (copied / "client.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"readable by its owner alone, got mode 0644; run `chmod 600"):
        ClientHost(copied, print, lambda bundle: None).run(_never())
    (copied / "client.key").unlink()
    with pytest.raises(ConfigError, match=r"client.key must be there; make one with `werkbund client keygen`"):
        ClientHost(copied, print, lambda bundle: None).run(_never())


def test_a_taken_port_is_reported(kits: Path, server: Running, tmp_path: Path) -> None:
    shutil.copytree(kits / "server", tmp_path / "server", ignore=shutil.ignore_patterns("state"))
    with pytest.raises(ConfigError, match=r"server.port must be free"):
        ServerHost(tmp_path / "server", print).run(_never())


def _worker_pid(client: Running) -> int:
    assert isinstance(client.host, ClientHost)
    wait_for(lambda: client.host.worker.pid)  # type: ignore[union-attr]
    return client.host.worker.pid or 0


def _address(kits: Path) -> str:
    record = server_record(kits / "server")
    assert record is not None
    return str(record["address"])


def _names(kits: Path) -> list[str]:
    with connect(load_server_settings(kits / "server")) as control:
        return [node.name for node in control.nodes()]


def _own_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing; asks the routes alone
        except OSError:
            return []
        return [probe.getsockname()[0]]


def _never() -> threading.Event:
    return threading.Event()
