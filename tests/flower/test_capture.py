"""All bytes that leave a plant in a run, recorded on their way: which fields they are, and that no row is among them.

The server runs without TLS, so that a proxy can read along; else everything is as in production, with real processes.
Three kinds of plants: one allows everything, one refuses signals, one has too few rows for some figures.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomlkit
from typer.testing import CliRunner

from tests.flower.captured import PUSH_PART, Called, Said, announced, calls, cost_of, said
from tests.flower.marked import Marked, in_array, leaks, marked_table, texts_in
from tests.flower.proxy import RecordingProxy
from tests.flower.trials import Live, live, small, wait_for
from werkbund.cli import app
from werkbund.core.arrays import Float64Array
from werkbund.data.rules import TORQUE
from werkbund.plant.settings import SIGNAL_NAMES

ROUNDS = 2
OPEN, CLOSED, FEW = "plant-1", "plant-2", "plant-3"
POLICIES: dict[str, dict[str, Any]] = {
    OPEN: {"signals": list(SIGNAL_NAMES)},
    CLOSED: {"signals": ["vocabulary"]},
    FEW: {"signals": list(SIGNAL_NAMES), "minimum_rows": 250},
}
BY_CLUSTERS = {"selection": {"name": "k-fed", "options": {"candidates": 3}}}
ROWS = {OPEN: 1000, CLOSED: 400, FEW: 800}
FEW_VALUES = 40


@dataclass(frozen=True)
class Captured:
    """Hold what one plant had, announced and sent.

    Parameters
    ----------
    marked
        Its rows.
    check
        What `werkbund client check --json` said before the run.
    sent
        All bytes that left it.
    called, said
        The same, decoded.
    """

    marked: Marked
    check: Mapping[str, Any]
    sent: bytes
    called: list[Called]
    said: list[Said]

    def of(self, kind: str) -> list[Said]:
        """Return its answers to one kind of task."""
        return [one for one in self.said if one.kind == kind]


def capture(
    folder: Path,
    policies: Mapping[str, Mapping[str, Any]],
    rows: Mapping[str, int],
    seed: int,
    **sections: dict[str, Any],
) -> dict[str, Captured]:
    """Run a federation, each plant behind a proxy of its own; return what was recorded, by plant."""
    sections = {"model": {"kind": "mlp", "hidden": [32, 32]}, **sections}
    config = small(federation={"rounds": ROUNDS, "seed": seed}, **sections)
    marked = {name: marked_table(rows[name], seed * 100 + place) for place, name in enumerate(policies)}
    with live(folder, config, len(policies), insecure=True, start=False) as held, contextlib.ExitStack() as stack:
        host, port = held.trial.settings.local_address.split(":")
        proxies = {name: stack.enter_context(RecordingProxy(host, int(port))) for name in policies}
        for name, proxy in proxies.items():
            _lay(held, name, marked[name], policies[name], proxy.address)
        checks = {name: _check(held.trial.clients[name]) for name in policies}
        held.start("server")
        wait_for(lambda: "listens" in held.log("server"), "the server")
        for name in policies:
            held.start(name)
        run = held.submit(out=folder / "run")
        assert run.wait_for_end(180.0) == ""
        assert [line["failures"] for line in run.rounds()] == [[]] * len(run.rounds())
        recorded = {name: list(proxy.connections) for name, proxy in proxies.items()}
    found = {}
    for name, connections in recorded.items():
        called = calls(connections)
        sent = b"".join(connection.sent for connection in connections)
        found[name] = Captured(marked[name], checks[name], sent, called, said(called))
    return found


def _lay(held: Live, name: str, marked: Marked, policy: Mapping[str, Any], address: str) -> None:
    """Give a plant its rows, of which one column is nearly empty where it is to have few values, and its policy."""
    frame = marked.frame
    if "minimum_rows" in policy:
        known = pl.int_range(pl.len()) < FEW_VALUES
        frame = frame.with_columns(pl.when(known).then(pl.col(TORQUE)).otherwise(None).alias(TORQUE))
    kit = held.trial.clients[name]
    frame.write_csv(kit / "rows.csv")
    document = tomlkit.parse((kit / "client.toml").read_text(encoding="utf-8"))
    document["data"]["path"] = "rows.csv"
    document["server"]["address"] = address
    document.setdefault("policy", tomlkit.table()).update(policy)
    (kit / "client.toml").write_text(tomlkit.dumps(document), encoding="utf-8")


def _check(kit: Path) -> Mapping[str, Any]:
    done = CliRunner().invoke(app, ["client", "check", str(kit), "--json"])
    assert done.exit_code == 0, done.output
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Captured]:
    return capture(tmp_path_factory.mktemp("capture"), POLICIES, ROWS, 1, strategy=BY_CLUSTERS)


def _secrets(one: Captured) -> Iterator[Float64Array]:
    """Yield what must not be found: raw values, and those that are computed from each row."""
    yield one.marked.values
    for column in one.marked.derived.T:
        told = column[np.array([float(f"{value:.4e}") != value for value in column.tolist()])]
        yield told


@pytest.mark.parametrize("name", POLICIES)
def test_no_value_of_a_row_is_among_the_bytes(captured: dict[str, Captured], name: str) -> None:
    _check_for_rows(captured[name])


def _check_for_rows(one: Captured) -> None:
    for secret in _secrets(one):
        assert leaks(one.sent, secret) == []
    for answer in one.said:
        for field, array in answer.arrays.items():
            if array.dtype.kind == "U":
                text = "\n".join(array.ravel().tolist()).encode()
                assert leaks(text, one.marked.values) == [], field
            else:
                assert in_array(array, one.marked.values) == [], field
    assert texts_in(one.sent, one.marked.products) == []


def test_what_was_looked_for_would_have_been_found(captured: dict[str, Captured]) -> None:
    one = captured[OPEN]
    row = one.marked.values[7]
    assert len(leaks(one.sent + row.tobytes(), one.marked.values)) == len(row)
    assert len(leaks(one.sent + row.astype("<f4").tobytes(), one.marked.values)) == len(row)
    (vector,) = [array for (_, name), array in one.of("train")[0].arrays.items() if name == "update"]
    vector[0, 5] = row[2]
    assert in_array(vector, one.marked.values) == [row[2]]
    assert texts_in(one.sent + one.marked.products[3].encode(), one.marked.products) == [one.marked.products[3]]


@pytest.mark.parametrize("name", [OPEN, CLOSED])
def test_the_fields_are_those_that_were_announced(captured: dict[str, Captured], name: str) -> None:
    one = captured[name]
    assert {field for answer in one.said for field in answer.fields} == announced(one.check["leaving"])


def test_signals_that_are_refused_are_not_sent(captured: dict[str, Captured]) -> None:
    everything, few = (announced(captured[name].check["leaving"]) for name in (OPEN, CLOSED))
    refused = {field["signal"] for field in captured[OPEN].check["leaving"]} - {"", "vocabulary"}
    assert refused == set(SIGNAL_NAMES) - {"vocabulary"}
    signals = {(one["kind"], one["half"], one["field"]): one["signal"] for one in captured[OPEN].check["leaving"]}
    assert {signals[field] for field in everything - few} == refused - {"norm", "trees"}, "nobody asks for these here"
    facts = _facts(captured[CLOSED])
    assert facts["rows"] is None
    assert facts["policy"]["refused"] == [signal for signal in SIGNAL_NAMES if signal != "vocabulary"]


def test_figures_over_too_few_rows_are_not_sent(captured: dict[str, Captured]) -> None:
    one = captured[FEW]
    sent = {field for answer in one.said for field in answer.fields}
    withheld = announced(one.check["leaving"]) - sent
    assert {name for _, _, name in withheld} == {*(f"*.{name}" for name in _COUNTS), "figures"}
    (openly,) = captured[OPEN].of("centroids")
    assert np.isfinite(openly.arrays["clear", "centroids"]).all()
    (survey,), (squares,) = one.of("survey"), one.of("squares")
    count, missing = survey.arrays["sums", "count"][0], survey.arrays["sums", "missing"][0]
    rows = int(survey.arrays["sums", "labels"].sum())
    few = missing == rows
    assert 0 < few.sum() < len(few)
    assert not count[few].any()
    assert not survey.arrays["sums", "sum"][0][few].any()
    assert not squares.arrays["sums", "squares"][0][few].any()
    assert np.all(count[~few] >= 250)
    assert json.loads(str(survey.arrays["clear", "vocabulary"][0])) == {"Type": ["L"]}
    for answer in one.of("centroids"):
        (centroids,) = answer.arrays["clear", "centroids"]
        told = np.isfinite(centroids).all(axis=1)
        assert 250 * told.sum() <= rows
        assert not centroids[told][:, : len(few)][:, few].any()


_COUNTS = ("histogram", "modes", "brier", "log_loss", "calibration", "spread")


def _facts(one: Captured) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads(str(one.of("hello")[0].arrays["clear", "facts"][0]))
    return facts


@pytest.mark.parametrize("name", POLICIES)
def test_beside_its_answers_a_plant_sends_nothing_but_questions(captured: dict[str, Captured], name: str) -> None:
    one = captured[name]
    questions = sum(call.up for call in one.called if call.path != PUSH_PART)
    assert {call.path for call in one.called if call.up > 2000} <= {PUSH_PART, "/v1/fleet/push-messages"}
    answers = sum(call.up for call in one.called) - questions
    assert sum(answer.parcel.num_bytes for answer in one.said) < answers


@pytest.mark.parametrize("name", POLICIES)
def test_a_round_costs_weights_counts_and_four_kilobytes(captured: dict[str, Captured], name: str) -> None:
    one = captured[name]
    for answer in one.of("train"):
        cost = cost_of(answer, one.called)
        weights = 2 * len(answer.parcel.vector)
        counts = len(answer.parcel.body)
        content = cost.content_down + cost.content_up
        print(f"{name} round {answer.round}: weights {weights}, counts {counts}, content {content}, wire {cost}")
        if answer.round > 1:
            assert content <= 1.02 * (weights + counts) + 4096


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_plants_of_any_policy_send_what_they_announced(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = (OPEN, CLOSED, FEW)
    policies = {
        name: {
            "signals": [signal for signal in SIGNAL_NAMES if rng.random() < 0.5],
            "minimum_rows": int(rng.choice([20, 60, 250])),
            "minimum_failures": int(rng.choice([0, 3, 10])),
        }
        for name in names
    }
    rows = {name: int(rng.integers(450, 900)) for name in names}
    for name, one in capture(tmp_path, policies, rows, seed).items():
        _check_for_rows(one)
        sent, told = {field for answer in one.said for field in answer.fields}, announced(one.check["leaving"])
        assert sent <= told
        missing = {name for _, _, name in told - sent}
        assert missing <= {*(f"*.{count}" for count in _COUNTS), "figures"}, name


@pytest.mark.faults
@pytest.mark.parametrize("combine", ["exact", "bagging"])
def test_plants_whose_trees_are_grown_send_what_they_announced_and_no_row(tmp_path: Path, combine: str) -> None:
    policies: dict[str, dict[str, Any]] = {OPEN: {"signals": list(SIGNAL_NAMES)}, CLOSED: {"signals": ["trees"]}}
    trees: dict[str, Any] = {"model": {"kind": "trees", "hidden": None}, "trees": {"max_depth": 3, "combine": combine}}
    for name, one in capture(tmp_path, policies, ROWS, 5, **trees).items():
        _check_for_rows(one)
        sent, told = {field for answer in one.said for field in answer.fields}, announced(one.check["leaving"])
        assert {field for field in sent ^ told if field[2] != "behind"} == set(), name
