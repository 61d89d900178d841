"""Which program is run, and the gate before the SuperLink alone; a real one is in `test_deployment.py`."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResultStatus, SubprocessExecutor
from flwr.superlink import extensions
from flwr.superlink.servicer.fleet import fleet_handlers
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.errors import ConfigError
from werkbund.flower.server import launcher
from werkbund.flower.server.launcher import (
    LONGEST_REQUEST,
    OnlyFleetFromOutside,
    check_senders,
    install_gate,
    launch,
    main,
)
from werkbund.flower.wire.codec import MOST_HEAD_BYTES, MOST_SMALL_BYTES

OUTSIDE = ["192.0.2.7", "10.0.0.5", "2001:db8::7", "::ffff:192.0.2.7", "testclient", ""]
INSIDE = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
CLOSED = ["/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/", "/v1/fleet", "/health/x"]


def _ask(path: str, peer: str, kind: str = "http", headers: Sequence[tuple[bytes, bytes]] = ()) -> int | str:
    """Return the status of the answer, `passed` if the request came through, or `closed`."""
    seen: list[int | str] = []

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.append("passed")

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])
        elif message["type"] == "websocket.close":
            seen.append("closed")

    async def receive() -> MutableMapping[str, Any]:
        return {}

    scope = {"type": kind, "path": path, "client": (peer, 5) if peer else None, "headers": headers}
    asyncio.run(OnlyFleetFromOutside(app)(scope, receive, send))
    (answer,) = seen
    return answer


@pytest.mark.parametrize("peer", OUTSIDE)
def test_other_machines_reach_the_fleet_interface_alone(peer: str) -> None:
    assert [_ask(path, peer) for path in ("/v1/fleet/pull-messages", "/health")] == ["passed"] * 2
    assert [_ask(path, peer) for path in CLOSED] == [403] * len(CLOSED)


@pytest.mark.parametrize("peer", INSIDE)
def test_this_machine_reaches_everything(peer: str) -> None:
    assert [_ask(path, peer) for path in CLOSED] == ["passed"] * len(CLOSED)


LONG = str(LONGEST_REQUEST + 1).encode()


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", LONG)],
        [(b"content-length", b"9" * 5000)],
        [(b"content-length", b"-1")],
        [(b"content-length", b"many")],
        [(b"transfer-encoding", b"chunked")],
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_a_request_of_a_plant_that_is_too_long_is_not_read(peer: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert _ask("/v1/fleet/push-object", peer, headers=headers) == 413
    assert _ask("/v1/control/start-run", "127.0.0.1", headers=headers) == "passed"
    assert _ask("/v1/control/start-run", "192.0.2.7", headers=headers) == 403


@pytest.mark.parametrize("length", [0, 1, 2**20, MOST_SMALL_BYTES + MOST_HEAD_BYTES, LONGEST_REQUEST])
def test_a_message_of_the_largest_size_comes_through(length: int) -> None:
    headers = [(b"content-length", str(length).encode())]
    assert _ask("/v1/fleet/push-object", "192.0.2.7", headers=headers) == "passed"


def test_websockets_come_from_this_machine_alone() -> None:
    assert _ask("/v1/fleet/x", "192.0.2.7", "websocket") == "closed"
    assert _ask("/v1/fleet/x", "127.0.0.1", "websocket") == "passed"
    assert _ask("", "", "lifespan") == "passed"


def test_the_gate_comes_before_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "get_middleware", lambda: ("another",))
    install_gate()
    gate, other = extensions.get_middleware()
    assert gate.cls is OnlyFleetFromOutside
    assert other == "another"


@pytest.mark.parametrize("name", ["superlink", "superexec"])
def test_the_first_argument_names_the_program(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(extensions, "get_middleware", lambda: ())
    monkeypatch.setattr(launcher, f"flower_{name}", lambda: given.append(sys.argv))
    monkeypatch.setattr(sys, "argv", ["launcher", name, "--port", "8000"])
    main()
    assert given == [["launcher", "--port", "8000"]]


@pytest.mark.parametrize("arguments", [[], ["supernode"]])
def test_another_program_is_refused(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["launcher", *arguments])
    with pytest.raises(ConfigError, match="the first argument must be one of superlink, superexec, serverapp, got"):
        main()


@given(st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_a_client_answers_in_its_own_name_alone(own: int, senders: list[int]) -> None:
    taken: list[PushMessagesRequest] = []
    before = fleet_handlers.push_messages
    fleet_handlers.push_messages = lambda request, state: taken.append(request)
    try:
        check_senders()
        request = PushMessagesRequest(node=Node(node_id=own))
        for sender in senders:
            request.messages_list.add().metadata.src_node_id = sender
        if set(senders) == {own}:
            fleet_handlers.push_messages(request=request, state=None)
            assert taken == [request]
        else:
            with pytest.raises(HTTPException, match="own name"):
                fleet_handlers.push_messages(request=request, state=None)
            assert taken == []
    finally:
        fleet_handlers.push_messages = before


TOKEN = "c0ffee" * 10


def _spec(kind: TaskType = TaskType.SERVER_APP, **options: Any) -> ExecutionSpec:
    values = {"insecure": False, "root_certificates_path": "/kit/ca.crt", "parent_pid": 7, **options}
    return ExecutionSpec(
        kind, "127.0.0.1:8000", TOKEN, runtime_dependency_install=False, suppress_output=True, task_id=1, **values
    )


@pytest.mark.parametrize(
    "options", [{}, {"insecure": True}, {"parent_pid": None}, {"insecure": True, "root_certificates_path": None}]
)
def test_a_run_gets_its_token_on_standard_input_and_not_as_an_argument(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], tmp_path: Path
) -> None:
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read() + str(sys.orig_argv))"
    given: list[list[str]] = []

    def popen(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
        given.append(command)
        process = real([sys.executable, "-c", code, str(tmp_path / "heard")], **how)
        started.append(process)
        return process

    real, started = subprocess.Popen, list[subprocess.Popen[bytes]]()
    monkeypatch.setattr(subprocess, "Popen", popen)
    assert launch(SubprocessExecutor(), _spec(**options)).status == LaunchResultStatus.ACCEPTED
    (process,), (command,) = started, given
    assert process.wait(timeout=30) == 0
    assert (tmp_path / "heard").read_text().startswith(f"{TOKEN}\n")
    assert TOKEN not in " ".join(command)
    assert command[3] == "serverapp"
    assert ("--insecure" in command, "--root-certificates" in command) == (
        bool(options.get("insecure")),
        not options.get("insecure"),
    )


@pytest.mark.parametrize("kind", [kind for kind in TaskType if kind != TaskType.SERVER_APP])
def test_other_tasks_than_runs_are_not_started(kind: TaskType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert launch(SubprocessExecutor(), _spec(kind)).status == LaunchResultStatus.FAILED


def test_a_run_whose_process_has_died_is_no_error_of_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def popen(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
        started.append(real([sys.executable, "-c", ""], **how))
        started[0].wait(timeout=30)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert launch(SubprocessExecutor(), _spec()).status == LaunchResultStatus.ACCEPTED


def test_the_token_reaches_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(launcher, "flwr_serverapp", lambda: given.append([*sys.argv]))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
    monkeypatch.setattr(sys, "argv", ["launcher", "serverapp", "--insecure"])
    main()
    assert given == [["launcher", "--insecure", "--token", TOKEN]]
