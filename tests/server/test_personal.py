"""Personal parts at plants: what never leaves, what a restart keeps, and which model a plant takes into use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.deployed import Deployment, DirectGrid, deploy, learnt
from tests.wire import read_answer
from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ConfigError
from werkbund.engine import Rules, RunState, Strategy, personalise, rounds
from werkbund.engine.kinds import TRAIN
from werkbund.engine.personal import PERSONAL_MODEL
from werkbund.evaluation import Contest
from werkbund.model import load_model
from werkbund.model.network import TrainedModel
from werkbund.plant.offers import OFFERS

EVERYBODY, ONE = np.arange(3), np.zeros(1, np.int64)
METHODS = ["fedper", "fedrep", "ditto", "fine-tuning"]


def _deploy(folder: Path, name: str, **options: Any) -> Deployment:
    deployment = deploy(folder, strategy={"personal": {"name": name, **options}})
    for plant in deployment.kits:
        deployment.write(plant, acceptance={"tolerance": 1.0})
    return deployment


def _kept(deployment: Deployment, plant: str, run: str, round: int, name: str) -> Float32Array:
    """Return the row that a plant keeps under a name that begins so."""
    store = deployment.store(plant).notes.open(run, round, False)
    (full,) = [each for each in store.names() if each.startswith(name)]
    row: Float32Array = store.rows(full, ONE, np.empty(0))[0]
    return row


@pytest.mark.parametrize("name", METHODS)
def test_plants_started_anew_each_round_give_the_weights_and_models_of_one_process(name: str, tmp_path: Path) -> None:
    plants = learnt(_deploy(tmp_path / "it", name))
    here = plants.here
    strategy, rules = here.strategy, here.rules
    state = RunState.begin(here.initial_weights(), strategy)
    for expected, _ in rounds(here.grid, strategy, rules, state, 3):
        ((state, _),) = rounds(plants.grid(OFFERS), strategy, rules, state, expected.round)
        np.testing.assert_array_equal(state.weights, expected.weights)
    local = personalise(here.grid, rules, expected, EVERYBODY, expected.edges)
    remote = personalise(plants.grid(OFFERS), rules, state, EVERYBODY, state.edges)
    assert not remote.models
    for client, plant in enumerate(plants.deployment.kits):
        own = _kept(plants.deployment, plant, "run", 4, PERSONAL_MODEL)
        np.testing.assert_array_equal(own, local.models[client])
    np.testing.assert_array_equal(remote.record.counts["test"]["histogram"], local.record.counts["test"]["histogram"])


def _rounds(grid: DirectGrid, strategy: Strategy, rules: Rules, state: RunState, last: int) -> RunState:
    return list(rounds(grid, strategy, rules, state, last))[-1][0]


@pytest.mark.parametrize("name", ["fedper", "fedrep", "ditto"])
def test_no_number_of_a_personal_part_is_in_what_leaves(name: str, tmp_path: Path) -> None:
    plants = learnt(_deploy(tmp_path / "it", name))
    here, grid = plants.here, plants.grid(OFFERS)
    _rounds(grid, here.strategy, here.rules, RunState.begin(here.initial_weights(), here.strategy), 2)
    answers = [(ask, parcel) for ask, parcel in grid.answered if ask.tasks.kind == TRAIN]
    assert len(answers) == 6
    for ask, parcel in answers:
        assert len(parcel.vector) == 4 * here.parting.common.num_parameters
        own = {*_kept(plants.deployment, ask.name, "run", ask.tasks.round, "pending.personal").tolist()}
        replies = read_answer(parcel, asked=TRAIN).replies
        assert replies is not None
        left = {float(x) for half in (replies.sums, replies.clear) for a in half.values() for x in np.ravel(a)}
        moved = own - {0.0}
        assert moved
        assert not moved & left


def test_counts_of_own_models_are_in_bins_of_enough_rows(tmp_path: Path) -> None:
    plants = learnt(_deploy(tmp_path / "it", "ditto"))
    for plant in plants.deployment.kits:
        plants.deployment.write(plant, policy={"minimum_bin_rows": 20})
    here = plants.here
    state = RunState.begin(here.initial_weights(), here.strategy)
    record = personalise(plants.grid(OFFERS), here.rules, state, EVERYBODY, state.edges).record
    bins = record.counts["test"]["histogram"].sum(axis=1)
    assert bins.sum() > 100
    assert bins[bins > 0].min() >= 20


def _raw(deployment: Deployment, plant: str) -> pl.DataFrame:
    return pl.read_csv(deployment.kits[plant] / "rows.csv")


@pytest.mark.parametrize("name", METHODS)
def test_a_plant_takes_its_own_model_and_the_contest_shows_the_common_one_beside_it(name: str, tmp_path: Path) -> None:
    deployment = _deploy(tmp_path / "it", name)
    done = deployment.run()
    result = json.loads((done.folder / "result.json").read_text())
    contest = Contest.from_json(result["own_rows"])
    assert {"federated", "global", "local_mean"} <= set(contest.figures)
    assert result["personal"] == {"untrained": []}
    common = load_model(done.folder / "model")
    assert isinstance(common, TrainedModel)
    run = json.loads((done.folder / "run.json").read_text())["id"]
    seen = []
    for plant in deployment.kits:
        told = result["delivered"][plant]
        assert told["accepted"], told
        line = next(line for line in contest.plants if line.name == plant)
        figure = told["figures"]["personal"]["average_precision"]
        assert line.figures["federated"]["average_precision"] == pytest.approx(
            np.nan if figure is None else figure, nan_ok=True
        )
        current = deployment.store(plant).current()
        assert current is not None
        own = load_model(current / "model")
        assert isinstance(own, TrainedModel)
        np.testing.assert_array_equal(own.weights, _kept(deployment, plant, run, 4, PERSONAL_MODEL))
        assert (own.logits(_raw(deployment, plant)) != common.logits(_raw(deployment, plant))).any()
        seen.append(own.weights)
    assert len(np.unique(np.stack(seen), axis=0)) == 3
    assert "own" in (done.folder / "model_card.md").read_text()


def test_a_plant_that_made_no_own_model_is_offered_the_common_one(tmp_path: Path) -> None:
    deployment = _deploy(tmp_path / "it", "ditto")
    plant = next(iter(deployment.kits))
    deployment.write(plant, policy={"tasks": ["hello", "survey", "squares", "train", "evaluate", "deliver"]})
    told = json.loads((deployment.run().folder / "result.json").read_text())["delivered"]
    assert "personal" not in told[plant]["figures"]
    assert all("personal" in told[other]["figures"] for other in deployment.kits if other != plant)


def test_own_models_come_after_the_last_round_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"deliver_every must be 0 with strategy\.personal\.name = 'ditto'"):
        deploy(tmp_path / "it", federation={"deliver_every": 1}, strategy={"personal": {"name": "ditto"}})
