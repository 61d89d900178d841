"""What the launcher of the SuperNode changes in Flower's loop, and that it is still there to be changed."""

from __future__ import annotations

import inspect
import re
import time

import httpx
import pytest
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import fleet_http_connection, start_client_internal

from werkbund.core.errors import ConfigError
from werkbund.flower.plant.supernode import (
    ASKING_S,
    READY_S,
    Pauses,
    give_up_with_the_run,
    take_ahead_s,
    take_poll_s,
    wait_out_silence,
)


def test_flower_still_pauses_as_the_launcher_expects() -> None:
    assert start_client_internal.time is time
    source = inspect.getsource(start_client_internal)
    assert source.count(f"time.sleep({ASKING_S})") == 1
    assert source.count("time.sleep(0.5)") == 2
    assert set(re.findall(r"\btime\.\w+", source)) == {"time.sleep"}


def test_pauses_are_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    pauses = Pauses(0.25)
    for seconds in (3, 0.5, 0.001):
        pauses.sleep(seconds)
    assert slept == [0.25, READY_S, 0.001]


def test_the_option_is_taken_out() -> None:
    arguments = ["supernode", "--poll-s", "0.2", "--insecure"]
    assert take_poll_s(arguments) == 0.2
    assert arguments == ["supernode", "--insecure"]
    assert take_poll_s(arguments) == 3


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_pause_is_a_positive_number(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--poll-s must be a number of seconds above 0, got .* 0.5 is usual"):
        take_poll_s(["supernode", "--poll-s", text])


def test_a_pause_must_be_given() -> None:
    with pytest.raises(ConfigError, match="got ''"):
        take_poll_s(["supernode", "--poll-s"])


def test_how_far_the_clock_is_ahead_is_taken_out() -> None:
    for text, ahead_s in (("6.0", 6.0), ("-400.5", -400.5), ("0", 0.0)):
        arguments = ["supernode", "--ahead-s", text, "--insecure"]
        assert take_ahead_s(arguments) == ahead_s
        assert arguments == ["supernode", "--insecure"]
    assert take_ahead_s(["supernode"]) == 0.0
    for text in ("nan", "inf", "soon", ""):
        with pytest.raises(ConfigError, match="--ahead-s must be a number of seconds by which this machine's clock"):
            take_ahead_s(["supernode", "--ahead-s", text])


def test_a_message_whose_run_has_ended_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pull_objects(" in inspect.getsource(start_client_internal._pull_and_store_message)

    def pull_objects(names: list[str], **options: object) -> dict[str, bytes]:
        if options:
            raise RunNotRunningException
        return dict.fromkeys(names, b"content")

    monkeypatch.setattr(start_client_internal, "pull_objects", pull_objects)
    give_up_with_the_run()
    assert start_client_internal.pull_objects(["a"]) == {"a": b"content"}
    with pytest.raises(RuntimeError, match="its run has ended"):
        start_client_internal.pull_objects(["a"], pull_object_fn=None)


def test_a_connection_that_takes_too_long_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    silence = httpx.ConnectTimeout("_ssl.c:989: The handshake operation timed out")
    wrong = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    before = fleet_http_connection.make_simple_http_retry_invoker()
    assert before.should_giveup is not None
    assert before.should_giveup(silence), "Flower has learnt it; the launcher need not change this any more"
    monkeypatch.setattr(
        fleet_http_connection,
        "make_simple_http_retry_invoker",
        fleet_http_connection.make_simple_http_retry_invoker,
    )
    wait_out_silence()
    invoker = fleet_http_connection.make_simple_http_retry_invoker()
    assert invoker.should_giveup is not None
    assert not invoker.should_giveup(silence)
    assert invoker.should_giveup(wrong)
    assert not invoker.should_giveup(httpx.ConnectError("refused"))
