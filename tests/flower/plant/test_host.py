"""What a SuperNode's log means, in the words that Flower uses."""

from __future__ import annotations

import pytest

from werkbund.flower.machine.processes import Ended
from werkbund.flower.plant.host import News, is_held, news_of, news_of_clock, news_of_end

ADDRESS = "federation.example.com:8000"
REFUSED = "[code: 2004] Failed to activate SuperNode."


@pytest.mark.parametrize(
    ("line", "news"),
    [
        ("INFO :      SuperNode ID: 18446744073709551615", News(f"connected to {ADDRESS}", 18446744073709551615)),
        (
            "WARNING :   Connection attempt failed, retrying in 0.52 seconds",
            News(f"the connection to {ADDRESS} is lost; trying again", is_loss=True),
        ),
        ("INFO :      Connection successful after 3.17 seconds and 4 tries.", News(f"connected to {ADDRESS} again")),
        ("INFO :      Receiving: query message (ID: 12)", None),
        ("", None),
    ],
)
def test_lines_become_news(line: str, news: News | None) -> None:
    assert news_of(line, ADDRESS) == news


def test_a_held_connection_is_told_from_an_unknown_key() -> None:
    ended = Ended(1, ["ERROR :     Exit Code: 305", "Failed to initialize the connection.", REFUSED])
    assert is_held(ended)
    assert news_of_end(ended, is_known=True).startswith(
        "the server still holds the previous connection, trying again (takes up to 80 s)"
    )
    assert news_of_end(ended, is_known=False).startswith(
        "this key is not registered with the server: send client.pub to the operator"
    )


@pytest.mark.parametrize(
    "ended",
    [
        Ended(1, ["[code: 2001] SuperNode authentication is enabled."]),
        Ended(0, ["INFO :  SuperNode terminated gracefully."]),
        Ended(70, ["httpx.HTTPStatusError: Client error '401 Unauthorized' for url 'https://a:1/v1/fleet/x'"]),
    ],
)
def test_a_refusal_is_a_key_that_is_not_registered(ended: Ended) -> None:
    assert not is_held(ended)
    for is_known in (True, False):
        assert "this key is not registered" in news_of_end(ended, is_known)


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [
        (6.0, "is 6 s ahead of the server's"),
        (60.4, "is 60 s ahead of the server's"),
        (-400.0, "is 400 s behind the server's"),
        (-3.0, "is 3 s behind the server's"),
        (0.0, "agrees with the server's again"),
    ],
)
def test_a_clock_is_named(ahead_s: float, text: str) -> None:
    assert f"this machine's clock {text}" in news_of_clock(ahead_s)


def test_another_end_is_reported_with_its_last_words() -> None:
    ended = Ended(-9, ["Traceback", "  OSError: no space left", " "])
    assert news_of_end(ended, True) == "the SuperNode ended with code -9 (OSError: no space left); it is started again"
    assert "(ERROR : boom)" in news_of_end(Ended(0, ["ERROR : boom"]), True)
    assert "it said nothing" in news_of_end(Ended(1, []), True)
