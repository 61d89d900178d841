"""Plants whose clocks are wrong take part as if they were right; real processes, TLS and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.flower.trials import Live, Run, live, small, wait_for
from werkbund.config import load_config
from werkbund.federation import run

pytestmark = pytest.mark.faults

AHEAD_S = {"plant-1": 6, "plant-2": 60, "plant-3": -400, "plant-4": 7200}

SET_WRONG = """
import datetime, os, time
from flwr.supercore import date
ahead_s, right = float(os.environ["TEST_AHEAD_S"]), time.time
time.time = lambda: right() + ahead_s
date.now = lambda: datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
"""
"""What each process of a plant runs first: time, as Python and Flower tell it, is another."""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Live, Run]:
    """Run a federation of plants each of whose clocks is another."""
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "sitecustomize.py").write_text(SET_WRONG)
    with live(folder, small(), len(AHEAD_S), start=False) as held:
        held.start("server")
        wait_for(lambda: "listens" in held.log("server"), "the server")
        for name, ahead_s in AHEAD_S.items():
            held.start(name, TEST_AHEAD_S=str(ahead_s), PYTHONPATH=str(folder))
        running = held.submit(out=folder / "run", wait_s=120)
        assert running.wait_for_end() == ""
    return held, running


def test_all_take_part_in_all_rounds_to_the_same_weights(deployed: tuple[Live, Run], tmp_path: Path) -> None:
    held, running = deployed
    assert not any(line["failures"] for line in running.rounds())
    assert all(line["cohort"] == [0, 1, 2, 3] for line in running.rounds()[:4])
    alone = run(load_config(held.trial.config), out=tmp_path / "alone", compare=False)
    assert running.weights().tobytes() == np.load(alone.folder / "model" / "weights.npy").tobytes()
    delivered = running.result()["delivered"]
    assert all(delivered[name]["accepted"] is not None for name in AHEAD_S)


@pytest.mark.parametrize("name", AHEAD_S)
def test_each_is_told_by_how_much_its_clock_is_wrong(deployed: tuple[Live, Run], name: str) -> None:
    said, ahead_s = deployed[0].log(name), AHEAD_S[name]
    side = "ahead of" if ahead_s > 0 else "behind"
    around = [f"clock is {abs(ahead_s) + more} s {side} the server's" for more in (-1, 0, 1)]
    assert any(line in said for line in around), said
    assert "not registered" not in said
