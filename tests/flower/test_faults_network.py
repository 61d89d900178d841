"""A network that is cut, or swallows everything, between clients and server while a run goes on, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flower.faults import (
    WORKER,
    answered,
    failures,
    last_round,
    more_rows,
    signal_in_training,
    start_all,
    uninterrupted,
    wait_for_failure,
    wait_until_it_trains,
)
from tests.flower.proxy import RecordingProxy
from tests.flower.trials import Live, Run, live, small, wait_for

pytestmark = pytest.mark.faults
FAR, NUMBER = "plant-3", 2
TIMEOUT_S, SLACK_S = 30.0, 15.0
LATE, GONE = "no answer in time (federation.round_timeout_s)", "went offline before it had answered"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Run, RecordingProxy]]:
    """Give a federation of three whose last client is behind a proxy, and its long run."""
    folder = tmp_path_factory.mktemp("far")
    config = small(federation={"rounds": 5000, "round_timeout_s": TIMEOUT_S}, training={"epochs": 4})
    with live(folder, config, 3, start=False) as held, _behind_a_proxy(held, FAR) as proxy:
        more_rows(held, FAR, 8)
        start_all(held)
        yield held, held.submit(out=folder / "run"), proxy


def _behind_a_proxy(held: Live, *names: str) -> RecordingProxy:
    """Return a proxy, to be entered, that these clients then connect through; TLS passes through it untouched."""

    class Between(RecordingProxy):
        def __enter__(self) -> RecordingProxy:
            super().__enter__()
            for name in names:
                held.set(name, "server", address=f"localhost:{self.port}")
            return self

    host, _, port = held.trial.settings.local_address.rpartition(":")
    return Between(host, int(port))


def test_a_network_that_is_cut_for_a_while_costs_one_round(far: tuple[Live, Run, RecordingProxy]) -> None:
    held, running, proxy = far
    began = wait_until_it_trains(held, running, FAR)
    signal_in_training(held, FAR, WORKER, 0)
    proxy.cut()
    round, reason = wait_for_failure(running, NUMBER, began)
    assert reason == LATE
    wait_for(lambda: last_round(running) > round + 3, "rounds without the client")
    assert "the connection to" in held.log(FAR)
    before = held.log(FAR)
    proxy.restore()
    back = wait_until_it_trains(held, running, FAR)
    later = [reason for number, reason in failures(running, NUMBER) if round < number < back]
    assert {reason.partition(" of round")[0] for reason in later} <= {
        "is still busy with its train task",
        "is offline",
        GONE,
    }
    assert "connected to" in held.log(FAR).removeprefix(before)
    assert "not registered" not in held.log(FAR)
    assert all(line["seconds"] < TIMEOUT_S + SLACK_S for line in running.rounds() if line["round"] > began)


def test_a_network_that_is_cut_until_the_client_counts_as_offline(far: tuple[Live, Run, RecordingProxy]) -> None:
    held, running, proxy = far
    began = wait_until_it_trains(held, running, FAR)
    proxy.cut()
    wait_for(lambda: "is offline" in _told_after(running, began), "the client to count as offline")
    proxy.restore()
    assert wait_until_it_trains(held, running, FAR) > began
    assert _told_after(running, began).count(LATE) <= 1
    assert "not registered" not in held.log(FAR)


def test_a_network_that_swallows_everything_costs_one_round(far: tuple[Live, Run, RecordingProxy]) -> None:
    held, running, proxy = far
    began = wait_until_it_trains(held, running, FAR)
    signal_in_training(held, FAR, WORKER, 0)
    proxy.freeze()
    round, reason = wait_for_failure(running, NUMBER, began)
    assert reason == LATE
    wait_for(lambda: last_round(running) > round + 3, "rounds without the client")
    proxy.thaw()
    back = wait_until_it_trains(held, running, FAR)
    assert [reason for number, reason in failures(running, NUMBER) if round <= number < back].count(LATE) == 1
    assert all(line["seconds"] < TIMEOUT_S + SLACK_S for line in running.rounds() if line["round"] > began)


def test_a_run_whose_clients_are_all_cut_off_fails_clearly_and_goes_on_later(tmp_path: Path) -> None:
    config = small(federation={"rounds": 8, "round_timeout_s": TIMEOUT_S}, training={"epochs": 4})
    names = ("plant-1", "plant-2", "plant-3")
    with live(tmp_path, config, 3, start=False) as held, _behind_a_proxy(held, *names) as proxy:
        more_rows(held, FAR, 8)
        start_all(held)
        running = held.submit(out=tmp_path / "run")
        running.wait_for_round(3)
        proxy.cut()
        said = running.wait_for_end()
        assert all(f"{name}: {LATE}" in said for name in names[1:])
        assert "werkbund server resume" in said
        proxy.restore()
        running = held.resume(running.folder)
        assert running.wait_for_end(300) == ""
        assert running.weights().tobytes() == uninterrupted(held, tmp_path / "alone").tobytes()
        assert answered(held, FAR) == list(range(1, 9))


def _told_after(running: Run, round: int) -> list[str]:
    return [reason for number, reason in failures(running, NUMBER) if number > round]
