"""A plant's requests bear the server's time, however wrong its own clock is; Flower says whether it takes them."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import HTTPException
from flwr.app import Message, RecordDict
from flwr.app.message import message
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore import date
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.supernode import node_auth_http_interceptor
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flower.fake_network import as_server_app
from werkbund.flower.machine import clock as module
from werkbund.flower.machine.clock import ServerClock, use_clock

WRONG = st.floats(-1e7, 1e7) | st.sampled_from([0.0, 1.9, -1.9, 2.1, 4.9, 6.0, 60.0, 299.0, -6.0, -299.0, -400.0])


@pytest.fixture(autouse=True)
def flowers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Flower's clocks be this machine's, and leave them as they were."""
    for used in (node_auth_http_interceptor, message):
        assert callable(used.now)  # what is replaced is still there
        monkeypatch.setattr(used, "now", date.now)


@contextmanager
def _patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patched:
        for used in (node_auth_http_interceptor, message):
            patched.setattr(used, "now", date.now)
        yield patched


class _Wrong:
    """Stand for the module `time` at a machine whose clock is ahead."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def time(self) -> float:
        return time.time() + self._ahead_s


def _clock_at(ahead_s: float, patched: pytest.MonkeyPatch) -> ServerClock:
    """Return the clock of a machine that is ahead, after it has looked at the server's."""
    wrong, clock = _Wrong(ahead_s), ServerClock()
    patched.setattr(module, "time", wrong)
    clock.set_by(formatdate(time.time(), usegmt=True), wrong.time())
    return clock


def _is_taken() -> bool:
    """Return whether Flower takes a request that is signed now."""
    key = ec.generate_private_key(ec.SECP384R1())
    request = httpx.Request("POST", "https://server/v1/fleet/activate-node")

    def send(context: Any) -> httpx.Response:
        return httpx.Response(200)

    context = type("Context", (), {"request": request})()
    NodeAuthHttpInterceptor(key, key.public_key()).intercept(context, send)
    proto = ActivateNodeRequest(public_key=b64decode(request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER]))
    state = type("State", (), {"protobuf_request": proto})()
    arrived = type("Arrived", (), {"headers": request.headers, "state": state})()
    try:
        authenticate_node(arrived)
    except HTTPException:
        return False
    return True


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WRONG)
def test_a_request_is_taken_whatever_the_plants_clock_says(ahead_s: float) -> None:
    with _patched() as patched:
        use_clock(_clock_at(ahead_s, patched))
        assert abs(ServerClock.now(_clock_at(ahead_s, patched)).timestamp() - time.time()) < module.NOTICEABLE_S + 1
        assert _is_taken()


@pytest.mark.parametrize("ahead_s", [6.0, 60.0, 3600.0, -306.0, -86400.0])
def test_flower_would_refuse_it_by_the_plants_own_time(ahead_s: float) -> None:
    use_clock(ServerClock(-ahead_s))
    assert not _is_taken()


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_an_answer_without_a_time_sets_nothing(date: str | None) -> None:
    clock = ServerClock(7.0)
    clock.set_by(date, time.time())
    assert clock.ahead_s == 7.0


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WRONG)
def test_an_answer_outlives_a_wrong_clock(ahead_s: float) -> None:
    """Flower gives an answer what is left of its question's life: by the plant's own clock that may be nothing."""
    with _patched() as patched:
        as_server_app(patched)
        asked = Message(RecordDict(), dst_node_id=7, message_type="query", ttl=30.0)
        use_clock(_clock_at(ahead_s, patched))
        answer = Message(RecordDict(), reply_to=asked)
        assert 25.0 < answer.metadata.ttl <= 34.0
        assert abs(answer.metadata.created_at - time.time()) < module.NOTICEABLE_S + 1


def test_clocks_that_agree_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for ahead_s in (0.0, 0.4, -0.4, 1.0, -1.0):
        assert _clock_at(ahead_s, monkeypatch).ahead_s == 0.0
