"""A plant keeps control variates and layers of its own over real SuperNodes, also when it is killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.flower.faults import more_rows, start_all, uninterrupted
from tests.flower.trials import Live, live, small
from werkbund.core.arrays import AnyArray, under
from werkbund.core.store import PendingStore, RowStore, Store
from werkbund.engine import RunState
from werkbund.engine.inprocess import KEPT
from werkbund.federation.families.family import ClientKnowledge
from werkbund.federation.folder import Folder
from werkbund.plant import PlantFolder

pytestmark = pytest.mark.faults

SLOW, ROUNDS, PATIENCE_S = "plant-3", 6, 400.0


def _kept(held: Live, folder: Path, name: str) -> list[AnyArray]:
    """Return what each plant keeps under a name that begins so, once it hears what was taken."""
    state, run = _state(folder), Folder(folder).read_sealed("learnt.json")["run"]
    folders = [PlantFolder(kit / "state") for kit in held.trial.clients.values()]
    stores = [each.notes.open(run, ROUNDS + 2, begins=True) for each in folders]
    return [_row(store, 0, int(taken), name) for store, taken in zip(stores, state.taken, strict=True)]


def _kept_in_one_process(folder: Path, name: str) -> list[AnyArray]:
    state, store = _state(folder), RowStore()
    store.go_back(under(KEPT, state.world))
    return [_row(store, client, int(taken), name) for client, taken in enumerate(state.taken)]


def _row(store: Store, client: int, taken: int, name: str) -> AnyArray:
    one, kept = np.array([client]), PendingStore(store, ROUNDS + 2)
    kept.settle(one, np.array([taken]), is_last=True)
    (full,) = [each for each in kept.names() if each.startswith(name)]
    row: AnyArray = kept.rows(full, one, np.empty(0))[0]
    return row


def _state(folder: Path) -> RunState:
    return RunState.of_checkpoint(Folder(folder).load_checkpoint())


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ({"aggregation": {"name": "scaffold"}}, "own control"),
        ({"personal": {"name": "fedper"}}, "personal."),
    ],
    ids=["scaffold", "fedper"],
)
def test_a_plant_that_is_killed_comes_back_with_what_it_kept_to_the_bits_of_one_process(
    strategy: Mapping[str, Any], name: str, tmp_path: Path
) -> None:
    section = {"rounds": ROUNDS, "round_timeout_s": 120.0, "quorum": 1.0}
    config = small(federation=section, strategy=dict(strategy))
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
        alone = uninterrupted(held, tmp_path / "alone")
        assert running.weights().tobytes() == alone.tobytes()
        own = _kept(held, running.folder, name)
        assert all(row.any() for row in own)
        np.testing.assert_array_equal(own, _kept_in_one_process(tmp_path / "alone", name))
        if name == "own control":
            _check_sums(running.folder, np.stack(own))


def _check_sums(folder: Path, own: AnyArray) -> None:
    """Assert that the server's control variate is the mean of the plants', by rows."""
    learnt, state = Folder(folder).read_sealed("learnt.json"), _state(folder)
    rows = ClientKnowledge.from_json(learnt).common.rows
    np.testing.assert_allclose(state.carry["control"], rows @ own / rows.sum(), atol=1e-5)
