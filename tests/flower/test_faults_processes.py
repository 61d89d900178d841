"""Processes that are killed, hang, come late or leave, while a run goes on: each with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flower.faults import (
    EXECUTOR,
    SERVERAPP,
    SUPERLINK,
    SUPERNODE,
    WORKER,
    answered,
    entries,
    failures,
    last_round,
    more_rows,
    only,
    signal_in_training,
    start_all,
    uninterrupted,
    wait_for_failure,
    wait_until_gone,
    wait_until_it_trains,
)
from tests.flower.trials import Live, Run, live, small, wait_for
from werkbund.core.errors import ClientError, ConfigError
from werkbund.evaluation import Nobody
from werkbund.federation.folder import Folder

pytestmark = pytest.mark.faults

SLOW, NUMBER, ROUNDS = "plant-3", 2, 10
TIMES = 12
TIMEOUT_S, SLACK_S = 30.0, 15.0
LATE, GONE = "no answer in time (federation.round_timeout_s)", "went offline before it had answered"


@pytest.fixture
def calm(tmp_path: Path) -> Iterator[Live]:
    """Give a federation of three in which the last one trains for a second or two, and time enough for outages."""
    config = small(federation={"rounds": ROUNDS, "round_timeout_s": 120.0}, training={"epochs": 4})
    with live(tmp_path, config, 3, start=False) as held:
        more_rows(held, SLOW, TIMES)
        start_all(held)
        yield held


def _freeze_before_an_answer_is_taken(held: Live, running: Run) -> int:
    """Stop the run's process while it waits for the slow client's answer, let that client answer; return the round."""
    quick = next(name for name in held.trial.clients if name != SLOW)
    before, process = len(answered(held, quick)), only(held, "server", SERVERAPP)
    wait_for(lambda: len(answered(held, quick)) > before, f"an answer of {quick}")
    os.kill(process, signal.SIGSTOP)
    round = answered(held, quick)[-1]
    wait_for(lambda: answered(held, SLOW)[-1] == round, f"the answer of {SLOW} to round {round}")
    assert _checkpoint(running) == round - 1
    return round


def _start_again(held: Live) -> None:
    before = held.log("server")
    held.start("server")
    wait_for(lambda: "listens" in held.log("server").removeprefix(before), "the server")


def _checkpoint(running: Run) -> int:
    return Folder(running.folder).load_checkpoint().round


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(calm: Live, tmp_path: Path) -> None:
    running = calm.submit(out=tmp_path / "run")
    running.wait_for_round(2)
    with pytest.raises(ConfigError, match="must run once, but process"):
        calm.resume(running.folder)

    round = _freeze_before_an_answer_is_taken(calm, running)
    process = only(calm, "server", SERVERAPP)
    os.kill(process, signal.SIGKILL)
    wait_until_gone(process)
    with pytest.raises(ClientError) as told:
        running.submitted.follow(Nobody(), lambda checks: None)
    assert "the run's process has ended without a word; `werkbund server resume" in str(told.value)

    running = calm.resume(running.folder)
    running.wait_for_round(round + 1)
    executor = only(calm, "server", EXECUTOR)
    os.kill(executor, signal.SIGKILL)
    wait_until_gone(executor)
    assert not calm.descendants("server", SERVERAPP)
    wait_for(lambda: "the executor ended with code -9" in calm.log("server"), "the server to say so")

    running = calm.resume(running.folder)
    running.wait_for_round(last_round(running) + 1)
    calm.kill("server")
    _start_again(calm)
    running = calm.resume(running.folder)
    assert running.wait_for_end(180) == ""

    assert running.weights().tobytes() == uninterrupted(calm, tmp_path / "alone").tobytes()
    assert [line["round"] for line in running.rounds()] == list(range(1, ROUNDS + 2))
    assert all(not line["failures"] for line in running.rounds())
    for name in calm.trial.clients:
        assert answered(calm, name) == sorted(set(answered(calm, name))), "no round was trained twice"
    assert all(verdict["accepted"] is not None for verdict in running.result()["delivered"].values())


@pytest.mark.faults
def test_a_superlink_that_is_killed_costs_a_run_nothing_but_time(calm: Live, tmp_path: Path) -> None:
    running = calm.submit(out=tmp_path / "run")
    for round in (2, 4):
        running.wait_for_round(round)
        link = only(calm, "server", SUPERLINK)
        os.kill(link, signal.SIGKILL)
        wait_until_gone(link)
    assert running.wait_for_end(240) == ""
    assert calm.log("server").count("the SuperLink ended with code -9") == 2
    assert running.weights().tobytes() == uninterrupted(calm, tmp_path / "alone").tobytes()
    assert all(not line["failures"] for line in running.rounds())


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Run]]:
    """Give a federation of three and its long run, in which the last client trains for a second or two."""
    folder = tmp_path_factory.mktemp("restless")
    config = small(federation={"rounds": 5000, "round_timeout_s": TIMEOUT_S}, training={"epochs": 4})
    with live(folder, config, 3, start=False) as held:
        more_rows(held, SLOW, TIMES)
        start_all(held)
        yield held, held.submit(out=folder / "run")


def _is_no_longer_than_allowed(running: Run, first: int) -> bool:
    return all(line["seconds"] < TIMEOUT_S + SLACK_S for line in running.rounds() if line["round"] >= first)


def test_a_worker_that_is_killed_fails_one_round_and_comes_back(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    pid = signal_in_training(held, SLOW, WORKER, signal.SIGKILL)
    round, reason = wait_for_failure(running, NUMBER, began)
    assert "the plant's worker died in the middle of the task (signal 9); it is started anew" in reason
    assert reason in held.log(SLOW)
    assert wait_until_it_trains(held, running, SLOW) > round
    assert only(held, SLOW, WORKER) != pid
    assert [number for number, _ in failures(running, NUMBER) if number > began] == [round]
    assert _is_no_longer_than_allowed(running, began)


@pytest.mark.faults
def test_a_supernode_that_is_killed_holds_one_round_and_comes_back(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    signal_in_training(held, SLOW, SUPERNODE, signal.SIGKILL)
    _comes_back_after_one_round(held, running, began)
    ended, _, after = held.log(SLOW).rpartition("the SuperNode ended with code -9")
    assert ended
    assert "connected to" in after


@pytest.mark.faults
def test_a_client_that_is_killed_as_a_whole_and_started_again_comes_back(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    parts = [only(held, SLOW, part) for part in (SUPERNODE, WORKER)]
    signal_in_training(held, SLOW, WORKER, 0)
    held.kill(SLOW)
    for pid in parts:
        wait_until_gone(pid)
    before = held.log(SLOW)
    held.start(SLOW)
    _comes_back_after_one_round(held, running, began)
    assert "connected to" in held.log(SLOW).removeprefix(before)


def _comes_back_after_one_round(held: Live, running: Run, began: int) -> None:
    """Assert that the slow client held one round, was left out while it was away, and trains again."""
    round, reason = wait_for_failure(running, NUMBER, began)
    assert reason in (LATE, GONE)
    back = wait_until_it_trains(held, running, SLOW)
    later = [told for number, told in failures(running, NUMBER) if round < number < back]
    assert all(told in ("is offline", GONE) or told.startswith("is still busy with its train task") for told in later)
    assert _is_no_longer_than_allowed(running, began)


@pytest.mark.faults
def test_a_worker_that_hangs_is_ended_in_time(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    pid = signal_in_training(held, SLOW, WORKER, signal.SIGSTOP)
    round, reason = wait_for_failure(running, NUMBER, began)
    assert "the plant's worker did not answer within" in reason
    assert reason in held.log(SLOW)
    wait_until_gone(pid)
    assert wait_until_it_trains(held, running, SLOW) > round
    assert [number for number, _ in failures(running, NUMBER) if number > began] == [round]
    assert _is_no_longer_than_allowed(running, began)


@pytest.mark.faults
def test_a_supernode_that_hangs_holds_one_round_alone(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    pid = signal_in_training(held, SLOW, SUPERNODE, signal.SIGSTOP)
    try:
        round, reason = wait_for_failure(running, NUMBER, began)
        assert reason == LATE
        wait_for(lambda: last_round(running) > round + 3, "rounds without the client")
    finally:
        with contextlib.suppress(ProcessLookupError):  # the plant's own supervision may have ended it
            os.kill(pid, signal.SIGCONT)
    back = wait_until_it_trains(held, running, SLOW)
    later = [told for number, told in failures(running, NUMBER) if round < number < back]
    assert later[0].startswith("is still busy with its train task of round")
    assert not [told for told in later if told == reason], "it held a second round"
    assert _is_no_longer_than_allowed(running, began)


def test_a_client_that_pauses_is_left_out_until_it_goes_on(restless: tuple[Live, Run]) -> None:
    held, running = restless
    began = wait_until_it_trains(held, running, SLOW)
    assert "takes no part" in _client(held, "pause")
    round, reason = wait_for_failure(running, NUMBER, began)
    assert reason == "refused by its policy: policy.pause is set: this plant takes no part until it is lifted"
    wait_for(lambda: last_round(running) > round + 3, "rounds without the client")
    assert {told for number, told in failures(running, NUMBER) if number >= round} == {reason}
    refused = [entry for entry in entries(held, SLOW) if entry.get("code") == "policy"]
    assert refused[-1]["reason"] == reason
    _client(held, "unpause")
    assert wait_until_it_trains(held, running, SLOW) > round


def test_a_run_that_is_stopped_says_so_and_can_go_on(restless: tuple[Live, Run]) -> None:
    _, running = restless
    running.wait_for_round(1)
    running.submitted.stop()
    assert (
        running.wait_for_end() == f"the run was stopped; `werkbund server resume {running.folder}` goes on where it was"
    )


def test_a_run_that_is_stopped_before_its_process_began_says_so(restless: tuple[Live, Run], tmp_path: Path) -> None:
    held, _ = restless
    running = held.submit(out=tmp_path / "never")
    running.submitted.stop()
    with pytest.raises(ClientError, match=r"stopped.*it did not reach its first checkpoint; start it anew"):
        running.submitted.follow(Nobody(), lambda checks: None)


def _client(held: Live, command: str) -> str:
    arguments = [sys.executable, "-m", "werkbund", "client", command, str(held.trial.clients[SLOW])]
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


@pytest.mark.faults
def test_a_client_may_join_in_the_middle_and_another_leave_for_good(tmp_path: Path) -> None:
    config = small(federation={"rounds": 40, "round_timeout_s": 4 * TIMEOUT_S}, training={"epochs": 4})
    with live(tmp_path, config, 3, start=False) as held:
        more_rows(held, "plant-2", TIMES)
        start_all(held, but="plant-3")
        running = held.submit(out=tmp_path / "run", wait_s=20)
        running.wait_for_round(4)
        held.start("plant-3")
        joined = wait_until_it_trains(held, running, "plant-3")
        held.end("plant-1")
        left, _ = wait_for_failure(running, 0)
        assert running.wait_for_end(600) == ""
        others = {reason for number, reason in failures(running, 2) if number < joined}
        assert others == {"is offline"}
        assert [number for number, _ in failures(running, 2)] == list(range(1, joined))
        assert {number for number, _ in failures(running, 0)} == set(range(left, 42))
        about = json.loads((running.folder / "run.json").read_text(encoding="utf-8"))
        assert about["absent"] == {"plant-3": "is offline"}
        delivered = running.result()["delivered"]
        assert delivered["plant-1"] == {"accepted": None, "reason": "is offline", "figures": {}}
        assert all(delivered[name]["accepted"] is not None for name in ("plant-2", "plant-3"))


@pytest.mark.faults
def test_a_backup_that_was_made_in_mid_run_can_be_gone_on_with(calm: Live, tmp_path: Path) -> None:
    running, state = calm.submit(out=tmp_path / "run"), calm.trial.server / "state"
    running.wait_for_round(3)
    shutil.copytree(running.folder, tmp_path / "backup")
    with sqlite3.connect(state / "superlink.db") as now, sqlite3.connect(tmp_path / "superlink.db") as backup:
        now.backup(backup)
    running.wait_for_round(last_round(running) + 1)
    calm.kill("server")
    shutil.rmtree(running.folder)
    for file in state.glob("superlink.db*"):
        file.unlink()
    (tmp_path / "backup").rename(running.folder)
    (tmp_path / "superlink.db").rename(state / "superlink.db")
    _start_again(calm)
    running = calm.resume(running.folder)
    assert running.wait_for_end(240) == ""
    assert running.weights().tobytes() == uninterrupted(calm, tmp_path / "alone").tobytes()
    assert all(not line["failures"] for line in running.rounds())
