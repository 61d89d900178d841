"""Names and addresses by which plants reach the server."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from werkbund.core.defaults import SERVER_PORT
from werkbund.core.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The server's own processes reach it by these; its certificate always names them."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_RULE = "--host must be a DNS name or an IP address, such as federation.example.com or 10.0.0.5"


def check_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts in lower case, each once, in the order given.

    Raises
    ------
    ConfigError
        If there is none, or one is neither a DNS name nor an address that others can connect to.
    """
    if not hosts:
        raise ConfigError(f"{_RULE}, got none; name what plants will connect to (127.0.0.1 for a trial on one machine)")
    return tuple(dict.fromkeys(_checked(host.strip().lower()) for host in hosts))


def check_port(port: int) -> int:
    """Return a port if a server can listen at it.

    Raises
    ------
    ConfigError
        If it is not in 1..65535.
    """
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port must be in 1..65535, got {port}; {SERVER_PORT} is the usual one")
    return port


def as_address(host: str) -> Address | None:
    """Return a host as an IP address; None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def with_port(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets.

    Examples
    --------
    >>> with_port("::1", 8000)
    '[::1]:8000'
    """
    return f"[{host}]:{port}" if isinstance(as_address(host), ipaddress.IPv6Address) else f"{host}:{port}"


def _checked(host: str) -> str:
    address = as_address(host)
    if address is not None:
        if address.is_unspecified or "%" in host:
            raise ConfigError(f"{_RULE}, got {host!r}, to which nobody else can connect; name the server's own address")
        return str(address)
    if not _NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        raise ConfigError(f"{_RULE}, got {host!r}; leave out https:// and the port (it goes to --port)")
    return host
