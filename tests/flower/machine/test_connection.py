"""Why a server cannot be reached: real servers on loopback that are wrong in one way each."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from werkbund.core.keys import new_key
from werkbund.flower.machine.clock import ServerClock
from werkbund.flower.machine.connection import find_trouble, free_port, split_address
from werkbund.flower.provision.certificates import Authority, certificate_bytes, new_authority, server_certificate
from werkbund.flower.provision.keys import pem_private

NOW = datetime.now(UTC)


class _Healthy(http.server.BaseHTTPRequestHandler):
    ahead_s = 0.0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(datetime.now(UTC).timestamp() + self.ahead_s)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that break off are what is tested


class _Server6(_Server):
    address_family = socket.AF_INET6


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("federation", NOW)


@pytest.fixture
def roots(tmp_path: Path, authority: Authority) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(certificate_bytes(authority.certificate))
    return path


@contextmanager
def listening(
    folder: Path,
    authority: Authority | None,
    now: datetime = NOW,
    days: int = 10,
    ahead_s: float = 0.0,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """Run a server with a certificate for 127.0.0.1, or without TLS; yield its address."""
    handler = type("Handler", (_Healthy,), {"ahead_s": ahead_s})
    server = (_Server6 if ":" in host else _Server)((host, 0), handler)
    if authority is not None:
        key, names = new_key(), ["federation.example.com"]
        (folder / "server.key").write_bytes(pem_private(key))
        certificate = server_certificate(authority, key.public_key(), names, now, days)
        (folder / "server.crt").write_bytes(certificate_bytes(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _text(address: str, roots: Path | None, passing: bool | None = None) -> str:
    trouble = find_trouble(address, roots)
    assert trouble is not None
    assert passing is None or trouble.passing is passing
    return trouble.text


def test_a_right_server_is_no_trouble(tmp_path: Path, authority: Authority, roots: Path) -> None:
    with listening(tmp_path, authority) as address:
        assert find_trouble(address, roots) is None
    with listening(tmp_path, None) as address:
        assert find_trouble(address, None) is None


def test_another_ca_is_named(tmp_path: Path, authority: Authority, roots: Path) -> None:
    with listening(tmp_path, new_authority("federation", NOW)) as address:
        text = _text(address, roots, passing=False)
    assert f"signed by another CA than {roots}" in text
    assert "ask the operator for the right ca.crt" in text


def test_an_expired_certificate_is_named_with_its_date(tmp_path: Path, roots: Path) -> None:
    before = NOW - timedelta(days=30)
    old = new_authority("federation", before)
    roots.write_bytes(certificate_bytes(old.certificate))
    with listening(tmp_path, old, before, days=20) as address:
        text = _text(address, roots, passing=False)
    assert f"the server's certificate expired on {before + timedelta(days=20):%Y-%m-%d}" in text
    assert "ask the operator to renew it" in text


def test_an_expired_ca_is_told_from_an_expired_server(tmp_path: Path, roots: Path) -> None:
    before = NOW - timedelta(days=30)
    old = new_authority("federation", before, days=20)
    roots.write_bytes(certificate_bytes(old.certificate))
    fresh = Authority(old.key, new_authority("federation", NOW).certificate)
    with listening(tmp_path, fresh) as address:
        assert f"the certificate of the CA, {roots}, has expired" in _text(address, roots)


def test_a_certificate_of_tomorrow_is_a_matter_of_clocks(tmp_path: Path, authority: Authority, roots: Path) -> None:
    with listening(tmp_path, authority, NOW + timedelta(days=3)) as address:
        assert "not valid yet; check this machine's clock" in _text(address, roots)


def test_another_name_is_reported_with_the_right_ones(tmp_path: Path, authority: Authority, roots: Path) -> None:
    with listening(tmp_path, authority, host="127.0.0.2") as address:
        text = _text(address, roots, passing=False)
    assert "not made for 127.0.0.2, but for federation.example.com, localhost, 127.0.0.1, ::1;" in text


def test_a_server_that_is_away_is_tried_again(roots: Path) -> None:
    port = free_port()
    text = _text(f"127.0.0.1:{port}", roots, passing=True)
    assert text == f"server 127.0.0.1:{port} is not reachable (connection refused); trying again"
    assert "the name nowhere.invalid cannot be resolved" in _text("nowhere.invalid:8000", roots, passing=True)


def test_two_that_do_not_speak_the_same(tmp_path: Path, authority: Authority, roots: Path) -> None:
    with listening(tmp_path, None) as address:
        assert "does not speak TLS" in _text(address, roots)
    with listening(tmp_path, authority) as address:
        assert "does not speak plain HTTP" in _text(address, None)
        assert "set insecure = false" in _text(address, None)


@pytest.mark.parametrize("ahead_s", [0, 6, -6, 60, 400, -400, 86_400])
@pytest.mark.parametrize("secure", [True, False])
def test_a_clock_is_set_by_the_servers(
    tmp_path: Path, authority: Authority, roots: Path, ahead_s: float, secure: bool
) -> None:
    clock = ServerClock()
    with listening(tmp_path, authority if secure else None, ahead_s=ahead_s) as address:
        assert find_trouble(address, roots if secure else None, clock) is None
    assert clock.ahead_s == pytest.approx(-ahead_s, abs=1.5)
    assert clock.time() == pytest.approx(time.time() + ahead_s, abs=2.0)


def test_a_broken_ca_file_is_reported(roots: Path) -> None:
    roots.write_text("nothing")
    assert "is no certificate" in _text("127.0.0.1:1", roots, passing=False)


@pytest.mark.parametrize(("address", "parts"), [("a.b:80", ("a.b", 80)), ("[2001:db8::5]:8000", ("2001:db8::5", 8000))])
def test_addresses_are_taken_apart(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
