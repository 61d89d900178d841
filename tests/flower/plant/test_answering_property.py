"""Whatever a plant's rows and policy are: its answers hold what is declared and allowed, and no row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deployed import Deployment, DirectGrid, small_config
from tests.flower.marked import in_array, leaks, texts_in
from tests.wire import announced, declared, read_answer
from werkbund.core.arrays import Arrays, Float64Array
from werkbund.core.errors import QuorumError
from werkbund.core.types import Replies
from werkbund.data.answers import SQUARES, SURVEY
from werkbund.federation.asking import Asks, network_asks, tree_asks
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant.leaving import DELIVER, asked_anyway
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.selection import build_selector
from werkbund.selection.questions import CENTROIDS

WATCHED = "plant-a"
DATA: dict[str, Any] = {
    "label": "failed",
    "machine": "machine",
    "mode": "mode",
    "mode_none": "none",
    "columns": {"heat": {"kind": "number", "unit": "K"}, "load": {"kind": "number"}, "area": {"kind": "category"}},
}


@dataclass(frozen=True)
class Case:
    """Hold one plant's rows and policy."""

    seed: int
    rows: int
    missing: float
    rare: int
    policy: dict[str, Any]
    selector: str = "all"
    trees: str = ""

    @property
    def asks(self) -> Asks:
        """What the run asks for."""
        chosen = build_selector(self.selector, **OPTIONS.get(self.selector, {})).declaration
        return tree_asks(self.trees) if self.trees else network_asks(chosen)


@dataclass(frozen=True)
class Secret:
    """Hold what must not leave: numbers of rows, and texts that are in few."""

    numbers: Float64Array
    texts: tuple[str, ...]


ROWS: dict[str, Any] = {
    "seed": st.integers(0, 2**16),
    "rows": st.integers(60, 400),
    "missing": st.sampled_from([0.0, 0.5, 0.97]),
    "rare": st.integers(1, 6),
}
CASES = st.builds(
    Case,
    **ROWS,
    policy=st.fixed_dictionaries(
        {
            "signals": st.sets(st.sampled_from(SIGNAL_NAMES)).map(sorted),
            "minimum_rows": st.integers(12, 150),
            "minimum_failures": st.integers(0, 12),
        }
    ),
    selector=st.sampled_from(["all", "pow-d", "cpow-d", "ocs", "k-fed", "lag", "tifl", "ucb-cs"]),
)
GROWING = st.builds(
    Case,
    **ROWS,
    policy=st.fixed_dictionaries(
        {
            "signals": st.sets(st.sampled_from(SIGNAL_NAMES)).map(lambda some: sorted({*some, "trees"})),
            "minimum_rows": st.integers(12, 60),
            "minimum_failures": st.integers(0, 3),
            "minimum_cell_rows": st.integers(0, 9),
        }
    ),
    trees=st.sampled_from(["exact", "bagging"]),
)
OPTIONS: dict[str, dict[str, Any]] = {"pow-d": {"candidates": 3}, "cpow-d": {"candidates": 3, "most": 2}}
"""Those of selectors that else would ask nobody where all train."""


def table(case: Case) -> tuple[pl.DataFrame, Secret]:
    """Return rows of whose levels, modes and machines some are in few rows, and what of them is secret.

    Rare modes are secret only where the plant says how many failures are too few.
    """
    rng = np.random.default_rng(case.seed)
    numbers = rng.uniform(100, 1000, (case.rows, 2)) + rng.random((case.rows, 2)) * 1e-6
    failed = (numbers[:, 1] > 750) | (rng.random(case.rows) < 0.05)
    areas = np.array(["hall 1", "hall 2", "hall 3"])[rng.integers(0, 3, case.rows)].astype(object)
    modes = np.where(failed, np.where(numbers[:, 0] > 500, "heat", "wear"), "none").astype(object)
    machines = np.array([f"M{case.seed:05d}{number:07d}" for number in np.arange(case.rows) // 5])
    areas[: case.rare] = rare_area = f"A{case.seed:05d}7654321"
    few = np.flatnonzero(failed)[: case.rare]
    modes[few] = rare_mode = f"W{case.seed:05d}7654321"
    heat = numbers[:, 0].astype(object)
    heat[rng.random(case.rows) < case.missing] = None
    notes = [f"N{case.seed:05d}{row:07d}" for row in range(case.rows)]
    columns: dict[str, Any] = {
        "heat": heat,
        "load": numbers[:, 1],
        "area": areas,
        "mode": modes,
        "machine": machines,
        "note": notes,
    }
    frame = pl.DataFrame({**{name: list(values) for name, values in columns.items()}, "failed": failed.astype(int)})
    secret = [*machines, *notes, rare_area]
    secret += [rare_mode] if len(few) < case.policy["minimum_failures"] else []
    return frame, Secret(numbers, tuple(dict.fromkeys(secret)))


def answers(folder: Path, case: Case) -> tuple[list[Parcel], Secret]:
    """Let a plant take part in a whole run beside two others; return all that it answered."""
    frame, secret = table(case)
    others = {
        name: table(Case(2**17 + place, 300, 0.0, 5, case.policy))[0]
        for place, name in enumerate(("plant-b", "plant-c"))
    }
    kits = {name: folder / name for name in (WATCHED, *others)}
    size = 2 if case.selector in OPTIONS else None
    selection = {"name": case.selector, "count": size, "options": OPTIONS.get(case.selector, {})}
    sections: dict[str, Any] = {"strategy": {"selection": {k: v for k, v in selection.items() if v is not None}}}
    if case.trees:
        sections = {"model": {"kind": "trees", "hidden": None}, "trees": {"combine": case.trees, "max_depth": 3}}
    rounds = {"rounds": 1, "quorum": 0.1}
    config = small_config(federation=rounds, data=DATA, clients={"count": None}, **sections)
    deployment = Deployment(folder, config, kits)
    for name, rows in {WATCHED: frame, **others}.items():
        kits[name].mkdir(parents=True)
        rows.write_csv(kits[name] / "rows.csv")
        deployment.write(name, policy=case.policy if name == WATCHED else {"signals": list(SIGNAL_NAMES)})
    grid = deployment.grid()
    assert isinstance(grid, DirectGrid)
    deployment.run(grid)
    return [parcel for ask, parcel in grid.answered if ask.name == WATCHED], secret


def check(case: Case, folder: Path) -> None:
    """Check all of it for one case."""
    parcels, secret = answers(folder, case)
    assert len(parcels) >= 2
    sent = b"".join(parcel.to_bytes() for parcel in parcels)
    assert leaks(sent, secret.numbers) == []
    assert texts_in(sent, secret.texts) == []
    for parcel in parcels:
        replies = read_answer(parcel).replies
        if replies is not None:
            _check_fields(replies, case)
            _check_figures(replies, case, secret)


def _check_fields(replies: Replies, case: Case) -> None:
    allowed = announced(case.policy["signals"], asked_anyway(case.asks))
    left = {declared(replies.kind, "sums", name) for name in (*replies.sums, *replies.pooled)}
    left |= {declared(replies.kind, "clear", name) for name in replies.clear}
    assert left <= allowed


def _check_figures(replies: Replies, case: Case, secret: Secret) -> None:
    """Check that no figure is over too few rows, and that none is a number of a row."""
    minimum = case.policy["minimum_rows"]
    sums = {**replies.sums, **{name: array[None] for name, array in replies.pooled.items()}}
    for name, array in {**sums, **replies.clear}.items():
        if array.dtype.kind == "U":
            assert leaks("\n".join(array.ravel().tolist()).encode(), secret.numbers) == [], name
        else:
            assert in_array(array, secret.numbers) == [], name
        if name.endswith("histogram"):
            assert array.sum() >= minimum
            assert array[0, 1].sum() >= case.policy["minimum_failures"]
        if name.endswith("modes"):
            few = array[0].sum(axis=-1)
            assert np.all((few == 0) | (few >= case.policy["minimum_failures"]))
    if replies.kind == SURVEY:
        count = sums["count"][0]
        assert np.all((count == 0) | (count >= minimum))
        assert not sums["sum"][0][count == 0].any()
    if replies.kind == CENTROIDS and replies.clear:
        told = int(np.isfinite(replies.clear["centroids"]).all(axis=2).sum())
        assert told * minimum <= case.rows
    _check_trees(sums, replies.clear, case)
    if replies.kind == SQUARES:
        assert sums["squares"].shape == (1, 2)


def _check_trees(sums: Arrays, clear: Arrays, case: Case) -> None:
    """Check that no cell and no leaf is of too few rows."""
    least = case.policy.get("minimum_cell_rows", 0)
    for name, rows in (("cells", slice(None)), ("histograms", (..., 2))):
        if name in sums:
            counts = sums[name][rows]
            assert np.all((counts == 0) | (counts >= least)), name
    if "bag.rows" in clear:
        leaf = (clear["bag.left"][0] < 0) & (clear["bag.rows"][0] < case.rows)
        assert np.all(clear["bag.rows"][0][leaf] >= least) or len(leaf) == 1


EXAMPLES = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_a_failure_mode_with_too_few_failures_is_not_judged(tmp_path: Path) -> None:
    """The held-out rows have failures enough, but none of their modes has."""
    openly = _figures(tmp_path / "open", 0)
    told = _figures(tmp_path / "closed", openly["positives"])
    assert {openly["recall_by_mode"][name] is None for name in ("heat", "wear")} == {False}
    assert set(told["recall_by_mode"].values()) == {None}
    assert told.pop("threshold") == pytest.approx(openly.pop("threshold"), abs=1e-4)  # the edges of bins differ
    assert told | {"recall_by_mode": {}} == openly | {"recall_by_mode": {}}


def _figures(folder: Path, minimum_failures: int) -> dict[str, Any]:
    """Return what a plant says about a model that was delivered."""
    policy = {"signals": sorted(SIGNAL_NAMES), "minimum_rows": 20, "minimum_failures": minimum_failures}
    parcels, _ = answers(folder, Case(1, 400, 0.0, 3, policy))
    arrived = [replies for parcel in parcels if (replies := read_answer(parcel).replies) is not None]
    (delivered,) = [replies for replies in arrived if replies.kind == DELIVER]
    figures: dict[str, Any] = json.loads(str(delivered.clear["figures"][0]))["offered"]
    return figures


@EXAMPLES
@given(case=CASES)
def test_answers_hold_what_is_allowed_and_no_row(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    check(case, tmp_path_factory.mktemp("case"))


@settings(EXAMPLES, max_examples=8)
@given(case=GROWING)
def test_answers_about_trees_hold_what_is_allowed_and_no_row(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    check(case, tmp_path_factory.mktemp("case"))


@pytest.mark.faults
@settings(EXAMPLES, max_examples=60)
@given(case=CASES)
def test_answers_hold_what_is_allowed_and_no_row_often(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    check(case, tmp_path_factory.mktemp("case"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("heat", "hot-7654321"), ("failed", "perhaps-7654321"), ("load", "7.654.321,5")],
)
def test_a_refusal_does_not_quote_rows(tmp_path: Path, column: str, value: str) -> None:
    """A column of another form is no reason to tell what is in it."""
    case = Case(1, 200, 0.0, 5, {"signals": sorted(SIGNAL_NAMES), "minimum_rows": 20, "minimum_failures": 0})
    frame, _ = table(case)
    texts = frame[column].cast(pl.String).to_list()
    texts[7] = value
    kit = tmp_path / WATCHED
    deployment = Deployment(tmp_path, small_config(data=DATA, clients={"count": None}), {WATCHED: kit})
    kit.mkdir()
    frame.with_columns(pl.Series(column, texts)).write_csv(kit / "rows.csv")
    deployment.write(WATCHED)
    grid = deployment.grid()
    with pytest.raises(QuorumError) as error:
        deployment.run(grid)
    assert grid.answered
    sent = b"".join(parcel.to_bytes() for _, parcel in grid.answered)
    assert value.encode() not in sent
    assert value not in str(error.value)
    heads = [json.loads(parcel.head) for _, parcel in grid.answered]
    assert {head["code"] for head in heads} == {"failed"}
