"""Names and addresses of the server."""

from __future__ import annotations

import pytest

from werkbund.core.errors import ConfigError
from werkbund.flower.provision.hosts import check_hosts, check_port, with_port


def test_hosts_are_kept_in_order_and_once() -> None:
    given = ["Federation.Example.com", "10.0.0.5", "federation.example.com", "plant_server", "2001:DB8:0::1"]
    assert check_hosts(given) == ("federation.example.com", "10.0.0.5", "plant_server", "2001:db8::1")


NO_HOSTS = (
    *("", "https://a.example", "a.example:8000", "[::1]", "*.example", "-a.example", "a..b", "werkstraße.de"),
    *("10.0.0", "999.1.1.1", "0.0.0.0", "::", "fe80::1%eth0", "a b", 'a"\nb', "a" * 64 + ".example"),  # noqa: S104
)


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="--host must be a DNS name or an IP address"):
        check_hosts([host])


def test_there_must_be_a_host() -> None:
    with pytest.raises(ConfigError, match="got none"):
        check_hosts([])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_in_range(port: int) -> None:
    with pytest.raises(ConfigError, match=r"--port must be in 1\.\.65535"):
        check_port(port)


@pytest.mark.parametrize(
    ("host", "address"),
    [("a.example", "a.example:8000"), ("10.0.0.5", "10.0.0.5:8000"), ("2001:db8::1", "[2001:db8::1]:8000")],
)
def test_an_ipv6_address_gets_brackets(host: str, address: str) -> None:
    assert with_port(host, 8000) == address
