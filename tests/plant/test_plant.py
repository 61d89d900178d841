from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.deployed import Deployment, deploy
from tests.wire import kind_of
from werkbund.config import changed
from werkbund.core.errors import ClientError
from werkbund.core.rng import keys
from werkbund.core.types import Replies, Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.data.answers import SQUARES
from werkbund.federation.families.networks import network_server
from werkbund.federation.preparing import learn_preparation
from werkbund.plant import Plant, RefusedError
from werkbund.plant import plant as module
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.leaving import DELIVER, KINDS, USUAL, cut_down
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.plant.source import read_plant_table
from werkbund.privacy.sums import SUM_KINDS
from werkbund.trees.protocol.kinds import TREE_KINDS

NOON = datetime(2026, 5, 4, 12, 0).astimezone()


class Asked:
    """Hold a plant, and ask it tasks of a run whose scaling is learnt."""

    def __init__(self, deployment: Deployment, clock: Callable[[], datetime] | None = None) -> None:
        self.deployment, self.now = deployment, NOON
        self.more: dict[str, Any] = {}
        grid = deployment.grid()
        public = for_clients(deployment.config)
        grid.brief(lambda number: Briefing("run", public, number, AI4I_SCHEMA.modes))
        learnt = learn_preparation(grid, AI4I_SCHEMA, 5.0)
        self.weights = network_server(deployment.config, learnt, AI4I_SCHEMA.modes, grid).initial_weights()
        self.briefing = Briefing("run", public, 0, AI4I_SCHEMA.modes, AI4I_SCHEMA, learnt.preparation, (600, 20))
        self.plant = self.started()

    def started(self) -> Plant:
        return self.deployment.plant("plant-1", clock=lambda: self.now)

    def anew(self) -> None:
        """Forget what was settled and answered."""
        shutil.rmtree(self.deployment.kits["plant-1"] / "state")

    def policy(self, **policy: Any) -> None:
        self.deployment.write("plant-1", policy=policy)
        self.plant = self.started()

    def __call__(self, kind: str, round: int = 1, **briefing: Any) -> Replies:
        shared: dict[str, Any] = {"weights": self.weights, "rate": np.ones(()), "mean": np.zeros(8)}
        shared |= {"k": np.array(3), **self.more}
        own = {"factor": np.ones(1), "key": keys(1, "training", round, np.zeros(1, np.int64))}
        tasks = Tasks(kind_of(kind), round, np.array([0]), shared, own)
        return self.plant.answer(replace(self.briefing, **briefing), tasks)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(deploy(tmp_path / "it", data={"rows": 450}))


def _refusal(asked: Asked, kind: str = "train", round: int = 1) -> str | None:
    try:
        asked(kind, round)
    except RefusedError as error:
        return str(error)
    return None


def test_hours_hold_by_the_plants_own_clock(asked: Asked) -> None:
    asked.policy(hours="22:00-06:00")
    for hour, refused in ((12, True), (21, True), (22, False), (23, False), (0, False), (5, False), (6, True)):
        asked.now = NOON.replace(hour=hour)
        assert (_refusal(asked, "evaluate") is not None) is refused
    assert "policy.hours are 22:00-06:00 in local time, and it is 06:00 here" in str(_refusal(asked, "hello"))


def test_a_day_has_so_many_rounds_and_the_next_day_as_many_again(asked: Asked) -> None:
    asked.policy(rounds_a_day=2)
    for round in (1, 2):
        assert _refusal(asked, round=round) is None
    assert "policy.rounds_a_day is 2, and 2 were trained here today" in str(_refusal(asked, round=3))
    asked.plant = asked.started()
    assert _refusal(asked, round=3) is not None, "a restart forgets nothing"
    assert _refusal(asked, "evaluate", 3) is None
    asked.now += timedelta(days=1)
    assert _refusal(asked, round=3) is None


def test_a_counter_that_cannot_be_read_lifts_no_limit(asked: Asked) -> None:
    asked.policy(rounds_a_day=2)
    assert _refusal(asked) is None
    (asked.deployment.store("plant-1").path / "counters.json").write_text("{")
    with pytest.raises(Exception, match=r"counters\.json"):
        asked("train", 2)


def test_training_that_failed_does_not_count(asked: Asked) -> None:
    asked.weights = asked.weights[:-1]
    with pytest.raises(Exception, match=r".+"):
        asked("train")
    assert asked.deployment.store("plant-1").counters() == {}


def test_of_fewer_rows_than_the_minimum_only_the_columns_are_told(asked: Asked) -> None:
    asked.policy(minimum_rows=400)
    for kind in ("survey", "squares", "train", "evaluate", "deliver"):
        assert "nothing about so few rows leaves this plant" in str(_refusal(asked, kind))
    facts = json.loads(str(asked("hello").clear["facts"][0]))
    assert facts["rows"] is None
    assert facts["policy"]["minimum_rows"] == 400


def test_the_policy_of_the_file_holds_from_the_next_task_on(asked: Asked) -> None:
    assert "loss" in asked("train").sums
    asked.deployment.write("plant-1", policy={"signals": ["rows"]})
    assert sorted(asked("train", 2).sums) == ["rows", "update", "weight"]
    asked.deployment.write("plant-1", policy={"pause": True})
    assert "policy.pause is set" in str(_refusal(asked, round=3))
    asked.deployment.write("plant-1")
    assert _refusal(asked, round=3) is None


def test_nothing_leaves_that_the_declaration_would_cut(asked: Asked) -> None:
    for kind in sorted(
        {one.name for one in KINDS} - {DELIVER.name, *(one.name for one in (*TREE_KINDS, *SUM_KINDS))}
    ):  # what is uploaded must be held before
        replies = asked(kind)
        assert replies.sums or replies.clear or kind in ("hold", "centroids")
        again = cut_down(replies, USUAL)
        assert set(again.sums) == set(replies.sums)
        assert set(again.clear) == set(replies.clear)


def test_an_update_that_is_held_and_uploaded_is_that_of_training_and_one_rounds_work(asked: Asked) -> None:
    asked.policy(rounds_a_day=2)
    asked.more = {"needs": np.array(["norm"])}
    trained = asked("train")
    held, uploaded = asked("hold"), asked("upload")
    assert held.sums == {}
    np.testing.assert_allclose(held.clear["norm"], trained.clear["norm"], rtol=1e-6)
    assert set(uploaded.sums) == set(trained.sums)
    np.testing.assert_array_equal(uploaded.sums["update"], trained.sums["update"])
    assert asked.deployment.store("plant-1").counters() == {"2026-05-04": 2}
    assert "2 were trained here today" in str(_refusal(asked, "hold", 2))
    assert _refusal(asked, "upload") is None


def test_what_was_held_survives_a_restart_and_is_gone_in_the_next_round(asked: Asked) -> None:
    asked("hold")
    here = asked("upload")
    asked.plant = asked.started()
    np.testing.assert_array_equal(asked("upload").sums["update"], here.sums["update"])
    with pytest.raises(ClientError, match="holds no update of round 2"):
        asked("upload", 2)


ALL_NEEDS = np.array(["battery", "joules", "loss", "loss_rms", "loss_std", "norm", "seconds", "train_loss", "update"])


@pytest.mark.parametrize("kind", ["train", "hold"])
@pytest.mark.parametrize("refused", [(), ("loss",), ("norm",), ("loss", "norm", "rows")])
def test_numbers_in_clear_are_those_that_are_asked_and_allowed(
    kind: str, refused: tuple[str, ...], asked: Asked
) -> None:
    asked.policy(signals=[signal for signal in SIGNAL_NAMES if signal not in refused])
    assert asked(kind).clear == {}, "what nobody asks for is not told"
    asked.more = {"needs": ALL_NEEDS}
    told = set(asked(kind, 2).clear)
    assert told == {
        *(set() if "loss" in refused else {"loss", "loss_rms", "loss_std", "train_loss"}),
        *(set() if "norm" in refused else {"norm"}),
    }


def test_a_loss_over_few_rows_is_one_over_as_many_as_the_policy_wants(asked: Asked) -> None:
    losses = {}
    for minimum in (1, 20):
        asked.policy(minimum_rows=minimum)
        for most in (3, 20):
            asked.more = {"most": np.array(most)}
            losses[minimum, most] = float(asked("loss").clear["loss"][0])
    assert losses[1, 3] != losses[1, 20]
    assert losses[20, 3] == losses[20, 20] == losses[1, 20]


def test_centroids_leave_where_the_plant_says_so_and_over_rows_enough(asked: Asked) -> None:
    assert asked("centroids").clear == {}
    asked.policy(signals=list(SIGNAL_NAMES), minimum_rows=1)
    whole = asked("centroids").clear["centroids"]
    assert whole.shape[:2] == (1, 3)
    assert np.isfinite(whole).all()
    asked.more = {"k": np.array(40), "least": np.array(1)}
    asked.anew()
    asked.policy(signals=list(SIGNAL_NAMES), minimum_rows=12)
    told = np.isfinite(asked("centroids").clear["centroids"][0]).all(axis=1)
    assert np.count_nonzero(told) <= 48 // 12, "the server's own minimum counts nothing"
    asked.anew()
    asked.policy(signals=list(SIGNAL_NAMES), minimum_rows=40)
    assert np.isnan(asked("centroids").clear["centroids"]).all()


def test_rows_are_read_once_for_a_run_and_anew_for_the_next(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counting(*args: Any) -> Any:
        read.append("read")
        return original(*args)

    original = read_plant_table
    monkeypatch.setattr(module, "read_plant_table", counting)
    asked("hello", preparation=None, schema=None)
    asked("survey", preparation=None)
    asked("train")
    asked("evaluate", 2)
    assert len(read) == 1
    asked("hello", run="another")
    assert len(read) == 2


def test_another_schema_than_the_federations_is_refused(asked: Asked) -> None:
    features = (replace(AI4I_SCHEMA.features[1], unit="degC"), *AI4I_SCHEMA.features[2:])
    other = replace(AI4I_SCHEMA, features=features, derived=())
    with pytest.raises(ClientError, match="has another schema than the federation"):
        asked("survey", schema=other)


@pytest.mark.parametrize(
    "mean", [np.zeros((300, 8)), np.zeros(1), np.zeros(()), np.full(8, np.nan), np.full(8, np.inf)]
)
def test_a_mean_that_could_tell_single_rows_is_refused(mean: Any, asked: Asked) -> None:
    tasks = Tasks(SQUARES, 0, np.array([0]), {"mean": mean})
    with pytest.raises(ClientError, match=r"must be 8 finite numbers|must have 1 axes"):
        asked.plant.answer(asked.briefing, tasks)


def test_a_server_that_says_another_seed_or_number_gets_the_same_split(asked: Asked) -> None:
    one = asked("survey")
    config = changed(asked.briefing.config, federation={"seed": 99})
    for told in ({"number": 1}, {"number": 77}, {"config": config}, {"config": config, "run": "another"}):
        np.testing.assert_array_equal(one.sums["sum"], asked("survey", **told).sums["sum"])


def test_a_plant_without_any_failure_takes_part(asked: Asked) -> None:
    path = asked.deployment.kits["plant-1"] / "rows.csv"
    frame = pl.read_csv(path)
    none = [pl.lit(0).alias(name) for name in ("Machine failure", *AI4I_SCHEMA.modes)]
    frame.with_columns(none).write_csv(path)
    asked.anew()
    asked.plant = asked.started()
    trained = asked("train")
    assert np.isfinite(trained.sums["update"]).all()
    assert trained.sums["test.histogram"][0, 1].sum() == 0
    assert asked("survey").sums["labels"][0, 1] == 0


def test_a_plant_with_a_budget_trains_with_noise_until_it_is_spent(tmp_path: Path) -> None:
    privacy = {"unit": "row", "noise_multiplier": 3.0}
    asked = Asked(
        deploy(tmp_path / "it", data={"rows": 450}, privacy=privacy, training={"epochs": 1, "batch_size": 1000})
    )
    first = asked("train", 1)
    assert "loss" not in first.sums
    with pytest.raises(ClientError, match="tells no loss of training rows"):
        asked("loss", 1)
    asked.policy(epsilon=3.0)
    done = [_refusal(asked, round=round) for round in range(2, 12)]
    assert done[0] is None
    assert "policy.epsilon is 3 at a delta of 1e-05, and one more training would exceed it" in str(done[-1])
    assert _refusal(asked, "evaluate") is None


def test_a_plant_with_a_budget_answers_no_run_that_promises_nothing(asked: Asked) -> None:
    asked.policy(epsilon=3.0)
    for kind in ("train", "loss", "survey", "evaluate"):
        assert "this run promises nothing of rows or machines" in str(_refusal(asked, kind))
