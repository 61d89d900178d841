"""SCAFFOLD over real SuperNodes: a killed plant comes back with its control variate, to the bits of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.flower.faults import more_rows, start_all, uninterrupted
from tests.flower.trials import Live, Run, live, small
from werkbund.core.arrays import Float32Array
from werkbund.core.store import PendingStore
from werkbund.engine import RunState
from werkbund.federation.families.family import ClientKnowledge
from werkbund.federation.folder import Folder
from werkbund.plant import PlantFolder

pytestmark = pytest.mark.faults

SLOW, ROUNDS, PATIENCE_S = "plant-3", 6, 400.0


def _own_controls(held: Live, run: str, state: RunState) -> Float32Array:
    """Return what each plant keeps once it hears what was taken: (clients, parameters)."""
    one, rows = np.zeros(1, np.int64), []
    for number, kit in enumerate(held.trial.clients.values()):
        store = PendingStore(PlantFolder(kit / "state").notes.open(run, ROUNDS + 2, begins=True), ROUNDS + 2)
        store.settle(one, state.taken[[number]], is_last=True)
        rows.append(store.rows("own control", one, np.zeros_like(state.weights))[0])
    return np.stack(rows)


def _check_sums(held: Live, running: Run) -> None:
    """Assert that the server's control variate is the mean of the plants', by rows."""
    folder = Folder(running.folder)
    learnt, state = folder.read_sealed("learnt.json"), RunState.of_checkpoint(folder.load_checkpoint())
    rows, own = ClientKnowledge.from_json(learnt).common.rows, _own_controls(held, learnt["run"], state)
    assert own.any(axis=1).all()
    np.testing.assert_allclose(state.carry["control"], rows @ own / rows.sum(), atol=1e-5)


def test_a_plant_that_is_killed_comes_back_with_its_control_to_the_bits_of_one_process(tmp_path: Path) -> None:
    section = {"rounds": ROUNDS, "round_timeout_s": 120.0, "quorum": 1.0}
    config = small(federation=section, strategy={"aggregation": {"name": "scaffold"}})
    with live(tmp_path, config, 3, start=False) as held:
        more_rows(held, SLOW, 6)
        start_all(held)
        running = held.submit(out=tmp_path / "run")
        running.wait_for_round(2)
        held.kill(SLOW)
        assert SLOW in running.wait_for_end(PATIENCE_S)
        held.start(SLOW)
        running = held.resume(running.folder)
        assert running.wait_for_end(PATIENCE_S) == ""
        assert running.weights().tobytes() == uninterrupted(held, tmp_path / "alone").tobytes()
        _check_sums(held, running)
