"""Who watches a run hears by name which clients failed, and why."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from werkbund.cli.live import LiveRounds
from werkbund.core.types import Failure, RoundRecord
from werkbund.evaluation import RoundNews

OFFLINE, LATE = "is offline", "no answer in time (federation.round_timeout_s)"


def _news(round: int, failed: dict[str, str], clients: int = 4) -> RoundNews:
    failures = tuple(Failure(place, round, reason) for place, reason in enumerate(failed.values()))
    record = RoundRecord(
        round=round,
        scored=round - 1,
        cohort=tuple(range(clients)),
        failures=failures,
        counts={},
        evaluated={},
        loss=0.25,
        update_norm=1.0,
        weights_norm=1.0,
        bytes_down=0,
        bytes_up=0,
        seconds=1.0,
    )
    return RoundNews(record, 40, {}, -1, failed)


def _told(*rounds: RoundNews, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    live = LiveRounds(console)
    for news in rounds:
        live.round(news)
    if terminal:
        console.print(live._picture())
    return out.getvalue()


def test_without_a_terminal_a_line_says_who_fails_and_who_is_back() -> None:
    both = {"Ulm": OFFLINE, "Hof": LATE}
    told = _told(_news(1, {}), _news(2, both), _news(3, both), _news(4, {"Ulm": OFFLINE}), _news(5, {}))
    assert [line for line in told.splitlines() if "Ulm" in line or "Hof" in line] == [
        f"round 2: Ulm: {OFFLINE}",
        f"round 2: Hof: {LATE}",
        "round 4: Hof is back",
        "round 5: Ulm is back",
    ]


def test_of_very_many_clients_nobody_is_named_one_by_one() -> None:
    assert "client-1" not in _told(_news(2, {"client-1": OFFLINE}, clients=1000))


@pytest.mark.parametrize(("number", "more"), [(1, ""), (3, ""), (5, "and 2 more")])
def test_in_a_terminal_those_of_the_last_round_stand_below_the_table(number: int, more: str) -> None:
    failed = {f"plant-{place}": OFFLINE for place in range(number)}
    told = _told(_news(1, {"before": OFFLINE}), _news(2, failed), terminal=True)
    assert f"4 ({number} failed)" in told
    assert [line.strip() for line in told.splitlines() if "offline" in line] == [
        f"plant-{place}: {OFFLINE}" for place in range(min(number, 3))
    ]
    assert (more in told) if more else "more" not in told


@pytest.mark.parametrize("terminal", [False, True])
def test_an_update_that_stands_out_is_told_by_name(terminal: bool) -> None:
    long = {"Hof": "its update is 52 times as long as the middle one"}
    told = _told(replace(_news(1, {}), remarks=long), terminal=terminal)
    assert "Hof: its update is 52 times as long as the middle one" in told
