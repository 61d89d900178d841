"""The connection that a server still holds for a plant whose client died: given back before the next one is made.

Flower lets a node in again only when its heartbeat has been missing for about a minute. Whoever holds the key may say
that the old connection is over, so a client that remembers its number is let in at once.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from werkbund.core.errors import ConfigError


class Lease:
    """Remember the number under which the server knows this plant.

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
        """The number; None if there was no connection from here yet."""
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
            return int(record["node_id"]) if record["place"] == self._place() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, node_id: int) -> None:
        """Write the number down."""
        record = {"node_id": str(node_id), "place": self._place()}
        self._path.write_text(json.dumps(record), encoding="utf-8")

    def give_back(self, address: str, root_certificates: bytes, private_key: Path) -> bool | None:
        """Tell the server that the previous connection is over.

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
                client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
        except httpx.HTTPStatusError as error:
            return error.response.status_code != httpx.codes.UNAUTHORIZED
        except (httpx.HTTPError, ValueError):
            return None
        return True

    def _place(self) -> str:
        return f"{platform.node()}:{self._path.resolve()}"


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a plant's private key.

    Raises
    ------
    ConfigError
        If it is missing, open to others, or no key of an elliptic curve in the format of OpenSSH.
    """
    check_private(path, "make one with `werkbund client keygen`, or copy it from the kit again")
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("a key of another kind")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} must be a private key of an elliptic curve in the format of OpenSSH, without password: {error}; "
            "make one with `werkbund client keygen`"
        ) from error
    return key


def check_private(path: Path, remedy: str) -> None:
    """Check that a file is there and that its owner alone can read it.

    Raises
    ------
    ConfigError
        If not.
    """
    if not path.is_file():
        raise ConfigError(f"{path} must be there; {remedy}")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(f"{path} must be readable by its owner alone, got mode {mode:04o}; run `chmod 600 {path}`")
