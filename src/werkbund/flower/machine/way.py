"""The way from a plant to the server: straight, or through an HTTP proxy, which is asked for a tunnel by CONNECT.

A proxy sees the server's name and what TLS makes of the rest. The federation's own CA stays the only one that the
server's certificate is compared with. Without TLS, which is for trials on one machine, no proxy is taken.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import httpx
from flwr.supercore.protobuf.client import ProtobufClient

from werkbund.core.hosts import is_loopback

_LONGEST_ANSWER = 2**16
_USUAL_PORT = 80
_TUNNELLED = 200
_ASKS_FOR_A_KEY = 407
_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class ProxyError(OSError):
    """Say, for people, why a proxy lets nothing through."""


@dataclass(frozen=True)
class Way:
    """Say how the server is reached.

    Parameters
    ----------
    host
        The server's name or address, without brackets.
    port
        The server's.
    proxy
        URL of an HTTP proxy, with its user and password if it asks for them; None: straight.
    """

    host: str
    port: int
    proxy: str | None = None

    @property
    def shown_proxy(self) -> str:
        """Host and port of the proxy, without its password."""
        host, port = _host_and_port(self.proxy or "")
        return f"{host}:{port}"

    @property
    def first(self) -> tuple[str, int]:
        """Host and port of whom this machine itself speaks to."""
        return (self.host, self.port) if self.proxy is None else _host_and_port(self.proxy)

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection on which the server answers.

        Raises
        ------
        ProxyError
            If the proxy cannot be reached, or gives no tunnel.
        OSError
            If the server cannot be reached where there is no proxy.
        """
        if self.proxy is None:
            return socket.create_connection((self.host, self.port), timeout_s)
        if urlsplit(self.proxy).scheme != "http":
            raise ProxyError(f"the proxy {self.shown_proxy} must be given as http://HOST:PORT, no other kind is known")
        try:
            connection = socket.create_connection(self.first, timeout_s)
        except socket.gaierror as error:
            raise ProxyError(f"the name of the proxy, {self.first[0]}, cannot be resolved") from error
        except OSError as error:
            raise ProxyError(f"the proxy {self.shown_proxy} is not reachable ({error.strerror or error})") from error
        try:
            connection.sendall(self._request())
            self._check(_answer(connection))
        except ProxyError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise ProxyError(f"the proxy {self.shown_proxy} broke off ({error})") from error
        return connection

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return a process's variables, changed so that it takes this way, and none for its own machine."""
        kept = {name: value for name, value in given.items() if name.lower() not in _NAMES}
        return kept if self.proxy is None else {**kept, "HTTPS_PROXY": self.proxy}

    def _request(self) -> bytes:
        target = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        url = urlsplit(self.proxy or "")
        if url.username is not None:
            key = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(key).decode()}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _check(self, line: str) -> None:
        words = line.split(" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
        if status == _TUNNELLED:
            return
        if status == _ASKS_FOR_A_KEY:
            raise ProxyError(
                f"the proxy {self.shown_proxy} asks for a user and a password, or refuses those that it was given: "
                'write proxy = "http://USER:PASSWORD@HOST:PORT" in [server] of client.toml, or into HTTPS_PROXY'
            )
        raise ProxyError(
            f"the proxy {self.shown_proxy} lets nothing through to {self.host}:{self.port} (it answers {line!r}); ask "
            "your IT department to allow CONNECT to it"
        )


def way_to(address: tuple[str, int], proxy: str | None, insecure: bool = False) -> Way:
    """Return the way to a server.

    Parameters
    ----------
    address
        The server's host and port.
    proxy
        URL of an HTTP proxy; empty: none; None: that of the variable HTTPS_PROXY, unless NO_PROXY names the server or
        the server is on this machine.
    insecure
        Whether there is no TLS; then no proxy is taken.
    """
    host, port = address
    if insecure or proxy == "":
        return Way(host, port)
    return Way(host, port, proxy or _proxy_of_variables(host, port))


def take_way(client: ProtobufClient, verify: ssl.SSLContext | bool = True, way: Way | None = None) -> None:
    """Have a client of Flower's take a way, whatever the variables of this process say; None: straight."""
    proxy, timeout = None if way is None else way.proxy, client._client.timeout
    client._client.close()
    client._client = httpx.Client(verify=verify, timeout=timeout, follow_redirects=True, trust_env=False, proxy=proxy)


def spare_loopback(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a process's variables, changed so that it never asks a proxy for its own machine."""
    told = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    names = ",".join([*filter(None, [told]), "localhost", "127.0.0.1", "::1"])
    return {**variables, "NO_PROXY": names, "no_proxy": names}


def _proxy_of_variables(host: str, port: int) -> str | None:
    proxies = getproxies_environment()
    url = proxies.get("https") or proxies.get("all")
    if not url or is_loopback(host) or proxy_bypass_environment(f"{host}:{port}", proxies):
        return None
    return url if "://" in url else f"http://{url}"


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _USUAL_PORT


def _answer(connection: socket.socket) -> str:
    """Return the first line of a proxy's answer, and take the rest of its head off the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)  # what follows the head is the server's
        if not byte or len(head) > _LONGEST_ANSWER:
            break
        head += byte
    return head.partition(b"\r\n")[0].decode("latin-1")
