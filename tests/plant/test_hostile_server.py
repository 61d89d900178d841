"""Whatever a server sends, no row of a plant can be solved for from what comes back, and the kit alone is opened."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import werkbund
from tests.plant.hostile import (
    CONFIG,
    FEATURES,
    ROWS,
    Server,
    briefings,
    honest,
    marked_plant,
    marked_rows,
    numbers_in,
    preparation,
    tasks,
)
from tests.wire import kind_of
from werkbund.config import check_config
from werkbund.core.arrays import AnyArray, Float64Array
from werkbund.core.types import Tasks
from werkbund.data import Column, Schema
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.codec import Ask, encode_ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.learner import ModelSpec, build_network
from werkbund.model import CardFacts, TrainedModel, model_card
from werkbund.plant.settings import SIGNAL_NAMES

MINIMUM = 20
ZERO = np.array([0])
SCHEMA = Schema("failed", tuple(Column(name, "number") for name in FEATURES))
VALUES: Float64Array = marked_rows().select(FEATURES).to_numpy()
STEEP = np.array([500.0, 0.0, 0.0, 0.0, 0.0], np.float32)
"""Weights by which a score tells whether a row's first feature is above its mean."""


_CODE = (sys.prefix, sys.base_prefix, str(Path(werkbund.__file__).parents[1]), "/dev/null", "/proc/self/")
"""What Python opens by itself: code, of which it shows lines in a traceback, and what it knows of its own process."""


class Watch:
    """Note what this process opens, starts and connects to while a plant answers."""

    def __init__(self, kit: Path) -> None:
        self.kit, self.is_on, self.seen = str(kit), False, list[str]()
        sys.addaudithook(self._note)

    @contextmanager
    def on(self) -> Iterator[None]:
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path = os.path.abspath(str(arguments[0])) if isinstance(arguments[0], str | os.PathLike) else ""
            if path and not path.startswith((self.kit, *_CODE)):
                self.seen.append(f"open {path}")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "import"):
            self.seen.append(f"{event} {arguments[:1]}")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return a server of a plant whose budgets are wide, so that others of its rules are tried."""
    folder = tmp_path_factory.mktemp("hostile")
    wide: dict[str, Any] = {"answers_a_day": 10**6, "answers_a_version": 10**6}
    deployment = marked_plant(folder / "it", signals=[name for name in SIGNAL_NAMES if name != "trees"], **wide)
    return Server(Desk(deployment.plant("plant-1")))


def _honest_round(server: Server) -> None:
    """Ask each kind once, so that all code of a run is imported."""
    weights = np.zeros(5, np.float32)
    common: dict[str, AnyArray] = {"weights": weights, "rate": np.ones(()), "mean": np.array([450.0, 2250, 60, 150])}
    common |= {"needs": np.array(["loss", "norm"]), "most": np.array(40), "k": np.array(3)}
    facts = CardFacts("it", "2026-01-01T00:00:00+00:00", {}, {}, {}, {})
    network = build_network(ModelSpec("logistic"), len(FEATURES), 0)
    model = TrainedModel.of(network, ModelSpec("logistic"), weights, preparation(), 0.5, "failed")
    common |= {"threshold": np.array(0.5), "card": np.array(json.dumps(model_card(model, facts)))}
    own: dict[str, AnyArray] = {"factor": np.ones(1), "key": np.array([7], np.uint64)}
    for kind in ("hello", "survey", "squares", "loss", "train", "hold", "upload", "evaluate", "centroids", "deliver"):
        server.ask(honest(), Tasks(kind_of(kind), 1, ZERO, common, own))


def _directed(server: Server) -> None:
    """Ask what an attacker would: the same sums by other words, steep weights, single steps, samples of any size."""
    rng = np.random.default_rng(5)
    own: dict[str, AnyArray] = {"factor": np.ones(1), "key": np.array([7], np.uint64)}
    rate = np.ones(())
    for number in range(40):
        config = check_config({**CONFIG, "federation": {**CONFIG["federation"], "seed": number}})
        other = honest(config, number=number, run=f"run {number % 4}")
        server.ask(other, Tasks(kind_of("survey"), number, ZERO))
        mean = VALUES[number] if number % 2 else rng.uniform(0, 3000, 4)
        server.ask(other, Tasks(kind_of("squares"), number, ZERO, {"mean": mean}))
    one_step = check_config({**CONFIG, "training": {**CONFIG["training"], "steps": 1, "batch_size": MINIMUM}})
    for number in range(80):
        feature, at = number % 4, rng.integers(ROWS)
        weights = np.zeros(5, np.float32)
        weights[feature] = 500.0  # a step at one row's value
        mean = [450.0, 2250.0, 60.0, 150.0]
        mean[feature] = float(VALUES[at, feature])
        steep = honest(preparation=preparation(mean=tuple(mean)))
        server.ask(steep, Tasks(kind_of("evaluate"), number, ZERO, {"weights": weights}))
        shared: dict[str, AnyArray] = {"weights": weights if number % 2 else np.zeros(5, np.float32), "rate": rate}
        server.ask(honest(one_step), Tasks(kind_of("train"), number, ZERO, shared, own))
    for most in range(1, ROWS):
        sample: dict[str, AnyArray] = {"weights": STEEP, "rate": rate, "most": np.array(most)}
        server.ask(honest(), Tasks(kind_of("loss"), 1, ZERO, sample, own))


@pytest.mark.parametrize("num_tasks", [400, pytest.param(20_000, marks=pytest.mark.faults)])
def test_of_so_many_tasks_none_tells_a_row_opens_a_file_or_imports(num_tasks: int, server: Server) -> None:
    _honest_round(server)
    assert all(answer.replies is not None for _, answer in server.answers[:-1]), "an honest run is answered"
    watch = Watch(server.desk._plant.settings.kit)
    modules, before = set(sys.modules), len(server.answers)
    secret = {value.hex() for value in VALUES.ravel().tolist()}

    @settings(
        max_examples=num_tasks,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(briefing=briefings(SCHEMA), task=tasks(), damage=st.integers(0, 60))
    def ask(briefing: Any, task: Tasks, damage: int) -> None:
        sent = Ask(briefing.run, "plant-1", task, briefing.fingerprint, briefing.to_json())
        try:
            parcel = encode_ask(sent)
        except (ValueError, TypeError):
            return  # nothing that can be put into a message
        if damage == 0:
            parcel = Parcel(parcel.head[:-3], parcel.body, parcel.vector)
        with watch.on():
            answer = server.send(sent, parcel)
        assert answer.replies is not None or answer.code in ("policy", "failed", "protocol", "name", "version")
        told = {float(number).hex() for number in numbers_in(answer).tolist()}
        assert secret.isdisjoint(told)

    ask()
    answered = [(sent, answer) for sent, answer in server.answers if answer.replies is not None]
    assert len(server.answers) - before >= num_tasks * 0.9
    assert len(answered) > num_tasks / 100, "some of it is answered, else nothing was tried"
    assert sorted(set(watch.seen)) == []
    assert set(sys.modules) - modules == set()
    with watch.on():
        _directed(server)
    assert sorted(set(watch.seen)) == []
    _check_sums_are_over_one_set_of_rows(server)
    _check_squares_follow_from_three_numbers(server)
    _check_bins_hold_enough_rows(server)
    _check_losses_are_over_whole_samples(server)
    _check_updates_are_no_single_rows(server)


def _sums(server: Server, kind: str, name: str) -> list[tuple[Tasks, AnyArray]]:
    told = [(sent.tasks, answer.replies.sums) for sent, answer in server.answers if answer.replies is not None]
    return [(sent, sums[name][0]) for sent, sums in told if sent.kind.name == kind and name in sums]


def _check_sums_are_over_one_set_of_rows(server: Server) -> None:
    """The rank of what was told: one vector, whatever was asked."""
    for name in ("sum", "count", "missing", "labels"):
        told = np.stack([array for _, array in _sums(server, "survey", name)])
        assert len(told) > 40
        assert len(np.unique(told, axis=0)) == 1, name


def _check_squares_follow_from_three_numbers(server: Server) -> None:
    """Sum of (x - m)**2 is q - 2 m s + m**2 n: with one set of rows no other number is told, whatever m was."""
    asked = _sums(server, "squares", "squares")
    sums, count = _sums(server, "survey", "sum")[0][1], _sums(server, "survey", "count")[0][1]
    (first, squares), *others = asked
    for sent, told in others:
        mean, at = np.asarray(sent.shared["mean"], np.float64), np.asarray(first.shared["mean"], np.float64)
        usable = (np.abs(mean) < 1e4) & (np.abs(at) < 1e4)
        expected = squares - 2 * (mean - at) * sums + (mean**2 - at**2) * count
        np.testing.assert_allclose(told[usable], expected[usable], rtol=1e-6)


def _check_bins_hold_enough_rows(server: Server) -> None:
    seen = 0
    for _, answer in server.answers:
        for name, array in {} if answer.replies is None else answer.replies.sums.items():
            if name.endswith((".histogram", ".calibration")):
                rows = array[0].sum(axis=0) if name.endswith("histogram") else array[0][:, 0]
                assert rows[rows > 0].min() >= MINIMUM
                seen += 1
    assert seen > 50


def _check_losses_are_over_whole_samples(server: Server) -> None:
    """However many rows a sample is said to have, there are as few samples as the minimum leaves room for."""
    told, asked = set(), 0
    for sent, answer in server.answers:
        weights = sent.tasks.shared.get("weights")
        is_steep = weights is not None and np.array_equal(weights, STEEP)
        if answer.replies is not None and sent.tasks.kind.name == "loss" and is_steep:
            told.add(float(answer.replies.clear["loss"][0]))
            asked += 1
    assert asked == ROWS - 1
    assert len(told) <= ROWS // MINIMUM


def _check_updates_are_no_single_rows(server: Server) -> None:
    """A gradient of logistic regression is (p - y) times the prepared row and 1: its direction tells the row."""
    how = preparation()
    rows = np.concatenate([(VALUES - how.mean) / how.scale, np.ones((ROWS, 1))], axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    every = [array for kind in ("train", "upload") for _, array in _sums(server, kind, "update")]
    updates = [array for array in every if array.shape == (5,) and np.isfinite(array).all()]
    told = np.unique(np.array(updates, np.float64), axis=0)[:300]
    pairs = told[:, None] - told[None, :]
    directions = np.concatenate([told, pairs[np.triu_indices(len(told), 1)]])
    length = np.linalg.norm(directions, axis=1)
    directions = directions[length > 0] / length[length > 0, None]
    assert len(told) > 10
    assert np.abs(directions @ rows.T).max() < 1 - 1e-9


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 5, 6, 19])
def test_an_update_over_fewer_rows_than_the_minimum_is_refused(steps: int, batch: int, tmp_path: Path) -> None:
    server = Server(Desk(marked_plant(tmp_path / "it").plant("plant-1")))
    training = {**CONFIG["training"], "steps": steps, "batch_size": batch}
    shared: dict[str, AnyArray] = {"weights": np.zeros(5, np.float32), "rate": np.ones(())}
    own: dict[str, AnyArray] = {"factor": np.ones(1), "key": np.array([7], np.uint64)}
    briefing = honest(check_config({**CONFIG, "training": training}))
    answer = server.ask(briefing, Tasks(kind_of("train"), 1, ZERO, shared, own))
    assert (answer.replies is None) == (steps * batch < MINIMUM)


def test_a_server_does_not_choose_the_rows_of_an_update(tmp_path: Path) -> None:
    training = {**CONFIG["training"], "steps": 2, "batch_size": 20}
    briefing = honest(check_config({**CONFIG, "training": training}))
    told = {}
    for policy in ("own", "federation"):
        server = Server(Desk(marked_plant(tmp_path / policy, draws=policy).plant("plant-1")))
        for key in (1, 2, 3, 4, 5):
            shared: dict[str, AnyArray] = {"weights": np.zeros(5, np.float32), "rate": np.ones(())}
            own: dict[str, AnyArray] = {"factor": np.ones(1), "key": np.array([key], np.uint64)}
            replies = server.ask(briefing, Tasks(kind_of("train"), 1, ZERO, shared, own)).replies
            assert replies is not None
            told[policy, key] = replies.sums["update"].tobytes()
    assert len({told["own", key] for key in (1, 2, 3, 4, 5)}) == 1
    assert len({told["federation", key] for key in (1, 2, 3, 4, 5)}) == 5
