"""The way out through a real proxy process, to real servers on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.flower.http_proxy import http_proxy
from tests.flower.machine.test_connection import NOW, authority, listening, roots  # noqa: F401 - fixtures
from werkbund.flower.machine.connection import find_trouble, free_port, split_address
from werkbund.flower.machine.way import Way, spare_loopback, way_to
from werkbund.flower.provision.certificates import Authority, new_authority

FAR = ("federation.example.com", 8000)
KEY = "plant:p%40ss"  # as a URL has it


def test_a_proxy_that_knows_the_key_gives_a_tunnel(tmp_path: Path, authority: Authority, roots: Path) -> None:  # noqa: F811
    with listening(tmp_path, authority) as address, http_proxy(tmp_path, "plant:p@ss") as proxy:
        url = f"http://{KEY}@localhost:{proxy.port}"
        assert find_trouble(address, roots, proxy=url) is None
        wrong = find_trouble(address, roots, proxy=f"http://localhost:{proxy.port}")
        assert wrong is not None
        assert wrong.step == "proxy"
        assert f"localhost:{proxy.port} asks for a user and a password" in wrong.text
        wrong = find_trouble(address, roots, proxy=f"http://plant:no@localhost:{proxy.port}")
        assert wrong is not None
        assert "plant:no" not in wrong.text
        assert proxy.lines() == [f"CONNECT {address} {status}" for status in (200, 407, 407)]


def test_a_proxy_that_forbids_the_server_is_named(tmp_path: Path, authority: Authority, roots: Path) -> None:  # noqa: F811
    with listening(tmp_path, authority) as address, http_proxy(tmp_path, "", "refuse") as proxy:
        trouble = find_trouble(address, roots, proxy=f"http://localhost:{proxy.port}")
    assert trouble is not None
    assert trouble.step == "proxy"
    assert f"lets nothing through to {address} (it answers 'HTTP/1.1 403 Forbidden')" in trouble.text


def test_a_proxy_that_looks_into_tls_is_named(tmp_path: Path, roots: Path) -> None:  # noqa: F811
    company = new_authority("company proxy", NOW)
    with listening(tmp_path, company) as address, http_proxy(tmp_path) as proxy:
        trouble = find_trouble(address, roots, proxy=f"http://localhost:{proxy.port}")
    assert trouble is not None
    assert trouble.step == "certificate"
    assert "company proxy" in trouble.text
    assert "to pass untouched" not in trouble.text
    assert f"ask your IT department to let {address} pass untouched" in trouble.text


@pytest.mark.parametrize(
    ("host", "words"),
    [("localhost", "is not reachable"), ("no-such-proxy.invalid", "no-such-proxy.invalid, cannot be resolved")],
)
def test_a_proxy_that_is_not_there_is_named(tmp_path: Path, host: str, words: str) -> None:
    trouble = find_trouble("127.0.0.1:9", None, proxy=f"http://{host}:{free_port()}")
    assert trouble is not None
    assert trouble.step == "proxy"
    assert words in trouble.text


def test_no_other_kind_of_proxy_is_taken() -> None:
    trouble = find_trouble("127.0.0.1:9", None, proxy="socks5://user:secret@proxy.example.com:1080")
    assert trouble is not None
    assert "must be given as http://HOST:PORT" in trouble.text
    assert "secret" not in trouble.text


def test_a_server_at_an_address_of_ipv6_answers(tmp_path: Path, authority: Authority, roots: Path) -> None:  # noqa: F811
    with listening(tmp_path, authority, host="::1") as address, http_proxy(tmp_path) as proxy:
        assert split_address(address)[0] == "::1"
        assert find_trouble(address, roots) is None
        assert find_trouble(address, roots, proxy=f"http://localhost:{proxy.port}") is None
        assert proxy.lines() == [f"CONNECT {address} 200"]


def test_variables_name_the_proxy_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert way_to(FAR, None).proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    assert way_to(FAR, None).proxy == "http://proxy:3128"
    assert way_to(FAR, "http://other:1").proxy == "http://other:1"
    assert way_to(FAR, "").proxy is None
    assert way_to(FAR, None, insecure=True).proxy is None
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert way_to((host, 8000), None).proxy is None
    monkeypatch.setenv("NO_PROXY", "other.org,.example.com")
    assert way_to(FAR, None).proxy is None


def test_a_process_is_told_its_way_and_nothing_else() -> None:
    given = {"PATH": "/bin", "HTTP_PROXY": "a", "https_proxy": "b", "ALL_PROXY": "c", "no_proxy": "d"}
    assert Way(*FAR).variables(given) == {"PATH": "/bin"}
    assert Way(*FAR, "http://proxy:1").variables(given) == {"PATH": "/bin", "HTTPS_PROXY": "http://proxy:1"}
    spared = spare_loopback(given)
    assert spared["no_proxy"] == spared["NO_PROXY"] == "d,localhost,127.0.0.1,::1"
