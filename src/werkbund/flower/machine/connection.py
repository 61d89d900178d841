"""A connection to the server: what stands in its way, the key that it is signed with, and the previous one given back.

Flower lets a node in again only when its heartbeat has been missing for about a minute. Whoever holds the key may say
that the old connection is over, so a client whose process died, and that remembers its number, is let in at once.
"""

from __future__ import annotations

import http.client
import json
import platform
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx
from cryptography import x509
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from pydantic import BaseModel

from werkbund.core.errors import CheckpointError
from werkbund.core.files import write_atomically
from werkbund.core.keys import read_private_key
from werkbund.core.stored import read_stored
from werkbund.flower.machine.clock import ServerClock
from werkbund.flower.machine.way import ProxyError, Way, take_way

HERE = "127.0.0.1"
"""Address by which a machine reaches itself."""

PATIENCE_S = 10.0

Step = Literal["name", "proxy", "server", "TLS", "certificate"]

_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_...


@dataclass(frozen=True)
class Trouble:
    """Say why the server cannot be reached.

    Parameters
    ----------
    text
        What is wrong and what to do, for people.
    passing
        Whether it may go away by itself.
    step
        Of the way to the server, the one that failed.
    """

    text: str
    passing: bool = False
    step: Step = "certificate"


def find_trouble(
    address: str, root_certificates: Path | None, clock: ServerClock | None = None, proxy: str | None = None
) -> Trouble | None:
    """Ask the server for a sign of life and return why none came; None if all is well.

    Parameters
    ----------
    address
        Host and port.
    root_certificates
        The CA's certificate; None without TLS.
    clock
        Is set by the server's.
    proxy
        URL of an HTTP proxy on the way; None: straight.
    """
    way = Way(*split_address(address), proxy)
    try:
        connection = _Connection(way, root_certificates)
    except (OSError, ValueError) as error:  # `ssl.SSLError` is an OSError
        return Trouble(f"{root_certificates} is no certificate ({error}); copy ca.crt from the kit again")
    try:
        connection.connect()
        asked = time.time()
        connection.request("GET", "/health")
        date = connection.getresponse().getheader("Date")
    except ProxyError as error:
        return Trouble(f"{error}; trying again", passing=True, step="proxy")
    except ssl.SSLCertVerificationError as error:
        return Trouble(_certificate_trouble(error, way, root_certificates))
    except (ssl.SSLError, http.client.HTTPException, ConnectionResetError) as error:
        return Trouble(_protocol_trouble(address, root_certificates, error), passing=True, step="TLS")
    except socket.gaierror:
        return Trouble(
            f"the name {way.host} cannot be resolved; check [server] address in client.toml and this machine's "
            "network; trying again",
            passing=True,
            step="name",
        )
    except OSError as error:
        reason = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error) or "no answer"
        return Trouble(f"server {address} is not reachable ({reason}); trying again", passing=True, step="server")
    finally:
        connection.close()
    if clock is not None:
        clock.set_by(date, asked)
    return None


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address.

    Examples
    --------
    >>> split_address("[::1]:8000")
    ('::1', 8000)
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def free_port(preferred: int = 0) -> int:
    """Return a port of this machine that nobody listens at: the preferred one if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, preferred))
        except OSError:
            probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


def trusting(root_certificates: bytes) -> ssl.SSLContext:
    """Return what trusts the federation's CA, in PEM, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root_certificates.decode("ascii"))
    return context


class LastConnection(BaseModel):
    """Say what the file of a lease holds."""

    node_id: str
    place: str


class Lease:
    """Keep the number under which the server knows this plant, and end the connection that it names.

    Parameters
    ----------
    path
        File that keeps it. It counts for this folder on this machine alone: a copy elsewhere must not end the
        connection of the original.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def node_id(self) -> int | None:
        """Flower's number of this plant's last connection; None if there was none from here."""
        try:
            record = read_stored(self._path, LastConnection, "remove it")
            return int(record["node_id"]) if record["place"] == self._place() else None
        except (CheckpointError, ValueError):
            return None

    def remember(self, node_id: int) -> None:
        """Write down the number of the connection that was just made."""
        record = {"node_id": str(node_id), "place": self._place()}
        write_atomically(self._path, json.dumps(record).encode())

    def give_back(
        self, address: str, root_certificates: bytes, private_key: Path, proxy: str | None = None
    ) -> bool | None:
        """Tell the server that the previous connection is over.

        Parameters
        ----------
        address
            The server's, `host:port`.
        root_certificates
            The CA's certificate in PEM.
        private_key
            File of the plant's key, which signs the request.
        proxy
            URL of an HTTP proxy on the way; None: straight.

        Returns
        -------
        bool or None
            True if the server took it, or held none; False if it does not know this key; None if there was nothing
            to give back, or it cannot be told now.
        """
        node_id = self.node_id
        if node_id is None:
            return None
        key = read_private_key(private_key)
        signing = NodeAuthHttpInterceptor(key, key.public_key())
        try:
            with FleetHttpClient.from_server_address(address, False, root_certificates, [signing]) as client:
                take_way(client, trusting(root_certificates), Way(*split_address(address), proxy))
                client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
        except httpx.HTTPStatusError as error:
            return error.response.status_code != httpx.codes.UNAUTHORIZED
        except (httpx.HTTPError, ValueError):
            return None
        return True

    def _place(self) -> str:
        return f"{platform.node()}:{self._path.resolve()}"


class _Connection(http.client.HTTPConnection):
    """Speak HTTP to the server at the end of a way, within TLS where there are certificates."""

    def __init__(self, way: Way, root_certificates: Path | None) -> None:
        super().__init__(way.host, way.port, timeout=PATIENCE_S)
        self._way, self._context = way, None
        if root_certificates is not None:
            self._context = trusting(root_certificates.read_bytes())

    def connect(self) -> None:
        """Make the connection."""
        self.sock = self._way.connect(PATIENCE_S)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._way.host)


def _certificate_trouble(error: ssl.SSLCertVerificationError, way: Way, root_certificates: Path | None) -> str:
    code, certificate = error.verify_code, _shown_certificate(way)
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        return (
            f"the server's certificate is not made for {way.host}, but for {_names(certificate)}; use one of these in "
            "[server] address in client.toml, or ask the operator to make one for this name"
        )
    if code == _EXPIRED and certificate is not None and certificate.not_valid_after_utc < datetime.now(UTC):
        end = certificate.not_valid_after_utc
        return f"the server's certificate expired on {end:%Y-%m-%d}; ask the operator to renew it; trying again"
    if code == _EXPIRED:
        return f"the certificate of the CA, {root_certificates}, has expired; ask the operator for a new kit"
    if code == _NOT_YET:
        return "the server's certificate is not valid yet; check this machine's clock and the server's; trying again"
    if way.proxy is not None and certificate is not None:
        issuer = certificate.issuer.rfc4514_string()
        return (
            f"the certificate that came through the proxy {way.shown_proxy} is signed by {issuer!r} and not by "
            f"{root_certificates}: a proxy that looks into TLS puts its own in place of the server's; ask your IT "
            f"department to let {way.host}:{way.port} pass untouched; trying again"
        )
    return (
        f"the server's certificate was signed by another CA than {root_certificates} ({error.verify_message}): this is "
        "the wrong server, or ca.crt is of another federation; ask the operator for the right ca.crt; trying again"
    )


def _shown_certificate(way: Way) -> x509.Certificate | None:
    """Return the server's certificate, whoever signed it: for messages only, it is not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with way.connect(PATIENCE_S) as plain, context.wrap_socket(plain, server_hostname=way.host) as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(True) or b"")
    except (OSError, ValueError):
        return None


def _names(certificate: x509.Certificate | None) -> str:
    if certificate is None:
        return "other names"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no name at all"
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return ", ".join([*names.get_values_for_type(x509.DNSName), *addresses])


def _protocol_trouble(address: str, root_certificates: Path | None, error: Exception) -> str:
    if root_certificates is None:
        return (
            f"server {address} does not speak plain HTTP ({error or type(error).__name__}); set insecure = false in "
            "[server] of client.toml; trying again"
        )
    return (
        f"server {address} does not speak TLS ({error or type(error).__name__}): something else listens there, or the "
        "server runs without TLS; trying again"
    )
