"""Names and addresses of machines: which is an address, and which this machine alone reaches."""

from __future__ import annotations

import ipaddress


def is_address(name: str) -> bool:
    """Say whether a name is an IP address, without brackets.

    Examples
    --------
    >>> is_address("::1"), is_address("localhost")
    (True, False)
    """
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Say whether this machine alone reaches an address.

    Examples
    --------
    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
