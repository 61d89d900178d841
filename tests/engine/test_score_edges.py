"""The edges of the bins in which a round counts scores follow those of the round before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from werkbund.core import Replies, Tasks
from werkbund.core.arrays import AnyArray
from werkbund.core.edges import EDGES, STANDARD_EDGES
from werkbund.core.errors import DataError
from werkbund.core.store import RowStore
from werkbund.engine import Checkpoint, RunState, evaluate, load_checkpoint, one_round, save_checkpoint
from werkbund.engine.kinds import EVALUATE
from werkbund.evaluation import POSSIBLE_ERROR, Counts, average_precision, edges_after

SIZES = (400, 600, 500)


def _crowded(federation: Any) -> Any:
    """Return a federation whose model gives all rows a probability of about 1e-9; one round barely moves it."""
    built = federation(SIZES, refine=edges_after)
    weights = built.state.weights * np.float32(1e-3)
    weights[-1] = -20.7
    return replace(built, state=replace(built.state, weights=weights))


def _precision(record: Any, split: str = "test") -> float:
    return average_precision(Counts.from_arrays(record.counts[split], edges=record.edges))


def test_the_round_after_one_of_crowded_scores_counts_on_edges_among_them(federation: Any) -> None:
    built = _crowded(federation)
    state, first = one_round(built.grid, built.strategy, built.rules, built.state)
    assert first.edges is STANDARD_EDGES
    assert np.isin(STANDARD_EDGES[7::8], state.edges).all()
    table = built.splits.test
    exact = average_precision_score(table.labels, built.work.trainer.score(built.state.weights, table.features))
    assert abs(_precision(first) - exact) > 0.1
    record, edges = first, state.edges
    for _ in range(3):
        record = evaluate(built.grid, built.rules, built.state, edges=edges)
        edges = built.rules.refined(record)
    assert _precision(record) == pytest.approx(exact, abs=POSSIBLE_ERROR)
    np.testing.assert_array_equal(edges, record.edges)  # near enough: the edges stay


def test_scores_that_standard_bins_tell_apart_are_counted_in_these(federation: Any) -> None:
    built = federation(SIZES, refine=lambda counts, edges: edges)
    state, _ = one_round(built.grid, built.strategy, built.rules, built.state)
    assert state.edges is STANDARD_EDGES


def test_edges_are_part_of_a_checkpoint(federation: Any, tmp_path: Path) -> None:
    built = _crowded(federation)
    state, _ = one_round(built.grid, built.strategy, built.rules, built.state)
    save_checkpoint(tmp_path / "c", Checkpoint.of(state))
    again = RunState.of_checkpoint(load_checkpoint(tmp_path / "c"))
    np.testing.assert_array_equal(again.edges, state.edges)
    (_, record), (_, other) = (one_round(built.grid, built.strategy, built.rules, now) for now in (state, again))
    for name, array in record.counts["validation"].items():
        np.testing.assert_array_equal(array, other.counts["validation"][name])


def _evaluated(built: Any, edges: AnyArray) -> Replies:
    shared = {"weights": built.state.weights, EDGES: edges}
    return built.work.evaluate(Tasks(EVALUATE, 1, np.arange(3), shared), RowStore())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "edges",
    [
        STANDARD_EDGES[1:],
        STANDARD_EDGES.astype(np.float64),
        STANDARD_EDGES[::-1],
        np.where(np.arange(1023) == 500, np.float32(np.nan), STANDARD_EDGES),
        np.where(np.arange(1023) == 1022, np.float32(np.inf), STANDARD_EDGES),
        np.minimum(STANDARD_EDGES, np.float32(3.0)),
        np.stack([STANDARD_EDGES, STANDARD_EDGES]),
        np.empty(0, np.float32),
    ],
    ids=["too few", "double", "falling", "no number", "infinite", "equal", "two rows", "none"],
)
def test_edges_that_are_none_are_refused_by_a_client(edges: AnyArray, federation: Any) -> None:
    with pytest.raises(DataError, match="edges must be 1023 rising finite numbers of single precision"):
        _evaluated(federation(SIZES), edges)


def test_all_rows_are_counted_on_any_edges(federation: Any) -> None:
    built = federation(SIZES)
    usual = _evaluated(built, STANDARD_EDGES)
    for edges in (STANDARD_EDGES / 1000, STANDARD_EDGES - 300, np.linspace(-1e38, 1e38, 1023, dtype=np.float32)):
        told = _evaluated(built, np.asarray(edges, np.float32))
        for split in ("validation", "test"):
            rows, expected = (reply.pooled[f"{split}.histogram"].sum(axis=1) for reply in (told, usual))
            np.testing.assert_array_equal(rows, expected)
            for name in ("brier", "log_loss", "calibration"):
                np.testing.assert_array_equal(told.pooled[f"{split}.{name}"], usual.pooled[f"{split}.{name}"])
