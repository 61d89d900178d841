"""The operator's side of Flower's Control API: who may join, and which runs there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.run_pb2 import Run
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from werkbund.core.errors import ClientError, ConfigError
from werkbund.flower.machine.connection import trusting
from werkbund.flower.machine.way import take_way
from werkbund.flower.server.kit import ServerSettings

GONE = "unregistered"
_MOST_RUNS = 1000


@dataclass(frozen=True)
class Node:
    """Describe a client as Flower knows it.

    Parameters
    ----------
    node_id
        Flower's number for it.
    name
        The client's name in the federation.
    status
        `registered` (never seen yet), `online`, `offline` or `unregistered`.
    registered_at, last_activated_at, last_deactivated_at
        Moments in ISO 8601; empty if never.
    public_key
        In PEM.
    """

    node_id: int
    name: str
    status: str
    registered_at: str
    last_activated_at: str
    last_deactivated_at: str
    public_key: bytes


@dataclass(frozen=True)
class FlowerRun:
    """Describe a run as Flower knows it.

    Parameters
    ----------
    id
        Flower's number for it.
    status
        `pending`, `starting`, `running` or `finished`.
    sub_status
        How it finished: `completed`, `failed` or `stopped`; else empty.
    details
        In words.
    """

    id: int
    status: str
    sub_status: str
    details: str


class Control:
    """Speak to the SuperLink through Flower's Control API; for a `with` statement, on the server's own machine.

    Parameters
    ----------
    address
        Host and port.
    root_certificates
        The CA's certificate in PEM; None without TLS.
    insecure
        Without TLS.
    """

    def __init__(self, address: str, root_certificates: bytes | None, insecure: bool = False) -> None:
        self._address = address
        self._client = ControlHttpClient.from_server_address(address, insecure, root_certificates, [])
        take_way(self._client, True if root_certificates is None else trusting(root_certificates))

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._client.close()

    def register(self, name: str, public_key: bytes) -> int:
        """Register a client's key with Flower, which lets it join, and return Flower's number for it.

        Parameters
        ----------
        name
            The client's name in the federation.
        public_key
            In PEM or as a line of OpenSSH.

        Raises
        ------
        ConfigError
            If the key is no key of an elliptic curve, or is or was registered already.
        ClientError
            If the SuperLink does not answer.
        """
        request = RegisterNodeRequest(public_key=as_pem(public_key, name), name=name)
        response = self._call(f"the key of {name!r}", self._client.RegisterNode, request)
        return int(response.node_id)

    def unregister(self, node_id: int) -> None:
        """Take a client's key off Flower's list, so that it may no longer join.

        Raises
        ------
        ConfigError
            If no client has this number.
        ClientError
            If the SuperLink does not answer.
        """
        self._call(f"client {node_id}", self._client.UnregisterNode, UnregisterNodeRequest(node_id=node_id))

    def nodes(self) -> list[Node]:
        """Return the clients that may join, by their name.

        Raises
        ------
        ClientError
            If the SuperLink does not answer.
        """
        response = self._call("the list of clients", self._client.ListNodes, ListNodesRequest())
        nodes = [
            Node(
                int(info.node_id),
                str(info.name),
                str(info.status),
                str(info.registered_at),
                str(info.last_activated_at),
                str(info.last_deactivated_at),
                bytes(info.public_key),
            )
            for info in response.nodes_info
        ]
        return sorted((node for node in nodes if node.status != GONE), key=lambda node: (node.name, node.node_id))

    def start_run(self, fab: bytes, config: Mapping[str, str | int | float | bool]) -> int:
        """Start a run of an app bundle, and return its number.

        Parameters
        ----------
        fab
            The bundle.
        config
            Values that replace those of the bundle's own configuration.

        Raises
        ------
        ConfigError
            If the SuperLink refuses the bundle or a value.
        ClientError
            If the SuperLink does not answer.
        """
        bundle = fab_to_proto(Fab(sha256(fab).hexdigest(), fab, {}))
        request = StartRunRequest(fab=bundle, override_config=user_config_to_proto(dict(config)))
        response = self._call("the run", self._client.StartRun, request)
        if not response.HasField("run_id"):
            raise ConfigError(f"the run could not be started: {response.note or 'the SuperLink gave no reason'}")
        return int(response.run_id)

    def stop_run(self, run_id: int) -> None:
        """Stop the run of this number.

        Raises
        ------
        ConfigError
            If no run has this number, or it has finished.
        ClientError
            If the SuperLink does not answer.
        """
        self._call(f"run {run_id}", self._client.StopRun, StopRunRequest(run_id=run_id))

    def runs(self) -> list[FlowerRun]:
        """Return the runs, newest first.

        Raises
        ------
        ClientError
            If the SuperLink does not answer.
        """
        response = self._call("the list of runs", self._client.ListRuns, ListRunsRequest(limit=_MOST_RUNS))
        newest_first = sorted(response.run_dict.values(), key=lambda run: run.pending_at, reverse=True)
        return [_flower_run(run) for run in newest_first]

    def _call(self, what: str, call: Callable[[Any], Any], request: Any) -> Any:
        try:
            return call(request)
        except httpx.HTTPStatusError as error:
            raise ConfigError(f"{what}: {_reason(error)}") from error
        except httpx.HTTPError as error:
            raise ClientError(
                f"the SuperLink at {self._address} does not answer ({error or type(error).__name__}); "
                "start it with `werkbund server start`"
            ) from error


def connect(settings: ServerSettings) -> Control:
    """Open the Control API of the server that has these settings."""
    return Control(settings.local_address, settings.root_certificates, settings.server.insecure)


def as_pem(public_key: bytes, name: str) -> bytes:
    """Return a public key in PEM, as Flower stores it.

    Raises
    ------
    ConfigError
        If it is no key of an elliptic curve, in PEM or OpenSSH.
    """
    try:
        load = load_pem_public_key if public_key.lstrip().startswith(b"-----BEGIN") else load_ssh_public_key
        key = load(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("a key of another kind")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"the key of {name!r} must be a public key of an elliptic curve (P-384): {error}; "
            "the plant makes one with `werkbund client keygen`"
        ) from error
    return bytes(public_key_to_bytes(key))


def _flower_run(run: Run) -> FlowerRun:
    return FlowerRun(int(run.run_id), str(run.status.status), str(run.status.sub_status), str(run.status.details))


def _reason(error: httpx.HTTPStatusError) -> str:
    known = FlowerError.from_json(error.response.text)
    if known is None:
        if error.response.status_code == httpx.codes.FORBIDDEN:
            return "only the server's own machine may ask this"
        return f"the SuperLink answers {error.response.status_code} {error.response.text[:200]}".strip()
    if known.code == ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE:
        return "it is registered already, or was and has been removed; Flower takes a key once, so make a new one"
    details = f" ({known.public_details})" if known.public_details else ""
    return f"{known.message}{details} [Flower's code {known.code}]"
