"""Secure sums among real plants: one is killed between masking and opening; what goes over the wire is even noise."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from tests.flower.captured import calls, said
from tests.flower.faults import WORKER, answered, more_rows, only, start_all, uninterrupted
from tests.flower.proxy import RecordingProxy
from tests.flower.trials import Live, live, small, wait_for
from tests.privacy.sums.uniform import SUSPICIOUS, suspicions
from werkbund.core.arrays import Float32Array
from werkbund.engine.kinds import TRAIN
from werkbund.engine.masking import MASKED
from werkbund.federation.folder import Folder
from werkbund.privacy.sums import OPEN

pytestmark = pytest.mark.faults

PLANTS, ROUNDS, SLOW, VICTIM = 4, 3, "plant-1", "plant-4"
SECTIONS: dict[str, dict[str, Any]] = {
    "privacy": {"secure_sums": True},
    "federation": {"rounds": ROUNDS, "round_timeout_s": 60.0},
    "training": {"epochs": 4},
}


@pytest.fixture
def plants(tmp_path: Path) -> Iterator[Live]:
    """Give a federation of four plants of whom the server learns sums alone, one of which trains for a while."""
    with live(tmp_path, small(**SECTIONS), PLANTS, insecure=True, start=False) as held:
        yield held


def _weights(run: Path) -> Float32Array:
    """Return the weights after the last round, whichever are delivered."""
    weights: Float32Array = Folder.existing(run).load_checkpoint().arrays["weights"]
    return weights


def test_a_plant_that_is_killed_between_masking_and_opening_is_in_the_sum(plants: Live, tmp_path: Path) -> None:
    more_rows(plants, SLOW, 12)
    start_all(plants)
    running = plants.submit(out=tmp_path / "run")
    running.wait_for_round(ROUNDS - 1)
    slow = only(plants, SLOW, WORKER)
    os.kill(slow, signal.SIGSTOP)  # so that the sum is not opened before the other is killed
    wait_for(lambda: ROUNDS in answered(plants, VICTIM, TRAIN.name), f"{VICTIM} to mask its last update")
    time.sleep(3.0)  # its answer leaves
    plants.kill(VICTIM)
    assert ROUNDS not in answered(plants, SLOW, TRAIN.name)
    os.kill(slow, signal.SIGCONT)
    assert running.wait_for_end() == ""
    assert ROUNDS not in answered(plants, VICTIM, OPEN.name)
    last = next(line for line in running.rounds() if line["round"] == ROUNDS)
    assert not last["failures"]
    uninterrupted(plants, tmp_path / "alone")
    np.testing.assert_allclose(_weights(running.folder), _weights(tmp_path / "alone"), rtol=0, atol=2e-5)


def test_four_plants_end_at_the_weights_of_one_process_and_send_even_noise(plants: Live, tmp_path: Path) -> None:
    host, port = plants.trial.settings.local_address.split(":")
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(RecordingProxy(host, int(port)))
        file = plants.trial.clients[VICTIM] / "client.toml"
        document = tomlkit.parse(file.read_text(encoding="utf-8"))
        document["server"]["address"] = proxy.address
        file.write_text(tomlkit.dumps(document), encoding="utf-8")
        start_all(plants)
        running = plants.submit(out=tmp_path / "run")
        assert running.wait_for_end() == ""
        recorded = list(proxy.connections)
    assert all(not line["failures"] for line in running.rounds())
    uninterrupted(plants, tmp_path / "alone")
    np.testing.assert_allclose(_weights(running.folder), _weights(tmp_path / "alone"), rtol=0, atol=2e-5)
    masked = [one.arrays[("clear", MASKED)][0] for one in said(calls(recorded)) if ("clear", MASKED) in one.arrays]
    assert len(masked) > 2 * ROUNDS
    for length in {len(words) for words in masked}:
        looks = suspicions(np.stack([words for words in masked if len(words) == length]))
        assert min(looks.values()) > SUSPICIOUS, (length, looks)
