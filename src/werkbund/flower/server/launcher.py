"""Start one of Flower's programs on the server: `python -m werkbund.flower.server.launcher NAME <its arguments>`.

`superlink` is what plants connect to, `superexec` starts a process a run, which is `serverapp`. The SuperLink gets a
gate: Flower's Control, Runtime and Fleet API share one port, and in its open edition no account is asked for. Without
the gate a plant could start runs and register keys. A run's process gets its token on its standard input: every user
of a machine can read the arguments of its processes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import IO, Any, cast

from fastapi import HTTPException
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult, SubprocessExecutor
from flwr.superlink import extensions
from flwr.superlink.cli import flower_superlink, flwr_serverapp
from flwr.superlink.servicer.fleet import fleet_handlers
from starlette.middleware import Middleware

from werkbund.core.errors import ConfigError
from werkbund.flower.machine.processes import follow_parent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FLEET = "/v1/fleet/"
"""What plants need; Flower asks there for a registered key."""

HEALTH = "/health"
_MODULE = "werkbund.flower.server.launcher"

LONGEST_REQUEST = 2**27
"""Bytes that a request of a plant may have: vectors come in pieces, the small arrays of a message at once."""

_REFUSALS = {
    403: b"Only this machine may use this interface.\n",
    413: b"A request must say its length, and be shorter.\n",
}


class OnlyFleetFromOutside:
    """Answer 403 to other machines, except where plants ask for work and answer it; and 413 to what is too long there.

    The address is the peer's own. Behind a proxy on the server's machine it is the proxy's, unless that hands on
    `X-Forwarded-For`; such a proxy must pass on `/v1/fleet/` and `/health` alone.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        allowed = scope["type"] == "lifespan" or _is_allowed(scope)
        if allowed and not _is_too_long(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _refuse(send, 413 if allowed else 403)


def install_gate() -> None:
    """Put the gate before everything else that Flower's SuperLink does with a request."""
    before = extensions.get_middleware

    def get_middleware() -> tuple[Middleware, ...]:
        return (Middleware(OnlyFleetFromOutside), *before())

    extensions.get_middleware = get_middleware


def check_senders() -> None:
    """Let each plant answer in its own name alone: Flower takes a sender's word for whose answer it sends."""
    push: Callable[..., PushMessagesResponse] = fleet_handlers.push_messages

    def push_messages(request: PushMessagesRequest, state: LinkState) -> PushMessagesResponse:
        own = request.node.node_id
        if any(message.metadata.src_node_id != own for message in request.messages_list):
            raise HTTPException(403, "a client must answer in its own name")
        return push(request=request, state=state)

    fleet_handlers.push_messages = push_messages


def launch(executor: SubprocessExecutor, spec: ExecutionSpec) -> LaunchResult:
    """Start a run's process; stands for Flower's own method, which puts the token among its arguments."""
    if spec.task_type != TaskType.SERVER_APP:
        return LaunchResult.failed(f"this server runs ServerApps alone, got a task of type {spec.task_type}")
    command = [sys.executable, "-m", _MODULE, "serverapp", "--runtime-api-address", spec.runtime_api_address]
    command += ["--parent-pid", str(spec.parent_pid)] if spec.parent_pid is not None else []
    command += ["--insecure"] if spec.insecure else ["--root-certificates", str(spec.root_certificates_path)]
    process = subprocess.Popen(  # noqa: S603 - our own program, with arguments as a list
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with contextlib.suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as pipe:  # if it has died, Flower notices
        pipe.write(f"{spec.token}\n".encode())
    return LaunchResult.accepted()


def superlink() -> None:
    """Run the SuperLink behind its gate."""
    install_gate()
    check_senders()
    flower_superlink()


def superexec() -> None:
    """Run the SuperExec, whose runs get their tokens where nobody else can read them."""
    SubprocessExecutor.launch = launch
    flower_superexec()


def serverapp() -> None:
    """Run the server's part of a run, with the token that comes on standard input."""
    sys.argv += ["--token", sys.stdin.readline().strip()]  # Python's own list: the system keeps the arguments given
    flwr_serverapp()


PROGRAMS = {"superlink": superlink, "superexec": superexec, "serverapp": serverapp}
"""Name on the command line -> what it runs; the arguments behind the name are those of Flower's own program."""


def main() -> None:
    """Run the program that the first argument names.

    Raises
    ------
    ConfigError
        If it names none of `PROGRAMS`.
    """
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in PROGRAMS:
        raise ConfigError(f"the first argument must be one of {', '.join(PROGRAMS)}, got {name!r}; name the program")
    follow_parent()
    PROGRAMS[name]()


def _is_allowed(scope: Scope) -> bool:
    if _is_loopback((scope.get("client") or ("", 0))[0]):
        return True
    path = str(scope["path"])
    return scope["type"] == "http" and (path == HEALTH or path.startswith(FLEET))


def _is_too_long(scope: Scope) -> bool:
    """Return whether a request of a plant is too long, or does not say how long it is, before any of it is read."""
    if scope["type"] != "http" or not str(scope["path"]).startswith(FLEET):
        return False
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    says_it = length.isdigit() and len(length) < 20 and b"transfer-encoding" not in headers
    return not says_it or int(length) > LONGEST_REQUEST


async def _refuse(send: Send, status: int) -> None:
    text = _REFUSALS[status]
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


if __name__ == "__main__":
    main()
