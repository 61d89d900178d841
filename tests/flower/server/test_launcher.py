"""Which program is run, and the gate before the SuperLink alone; a real one is in `test_deployment.py`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import MutableMapping
from typing import Any

import pytest
from flwr.superlink import extensions

from werkbund.core.errors import ConfigError
from werkbund.flower.server import launcher
from werkbund.flower.server.launcher import OnlyFleetFromOutside, install_gate, main

OUTSIDE = ["192.0.2.7", "10.0.0.5", "2001:db8::7", "::ffff:192.0.2.7", "testclient", ""]
INSIDE = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
CLOSED = ["/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/openapi.json", "/", "/v1/fleet", "/health/x"]


def _ask(path: str, peer: str, kind: str = "http") -> int | str:
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

    scope = {"type": kind, "path": path, "client": (peer, 5) if peer else None}
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
    with pytest.raises(ConfigError, match="the first argument must be one of superlink, superexec, got"):
        main()
