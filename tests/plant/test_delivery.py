from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.deployed import Deployment, deploy
from werkbund.config import changed
from werkbund.core.errors import FederationError, ModelError
from werkbund.core.types import Replies, Tasks
from werkbund.federation.families.networks import NetworkSetup, network_server
from werkbund.federation.preparing import CommonPreparation, learn_preparation
from werkbund.model import CardFacts, TrainedModel, model_card, score_onnx
from werkbund.model.reference import ModelReference
from werkbund.plant.agreement import dissolve
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.leaving import DELIVER
from werkbund.server.preflight import preflight

Deliver = Callable[..., dict[str, Any]]


class Federation:
    """Hold what a server knows about one plant's federation once the scaling is learnt."""

    def __init__(self, deployment: Deployment, run: str = "run") -> None:
        self.deployment, self.run = deployment, run
        grid = deployment.grid()
        public = for_clients(deployment.config)
        grid.brief(lambda number: Briefing(run, public, number))
        told = preflight(grid, 5.0, 1.0, ())
        grid.brief(lambda number: Briefing(run, public, number, told.mode_names, told.schema))
        self.learnt: CommonPreparation = learn_preparation(grid, told.schema, 5.0)
        self.setup: NetworkSetup = network_server(deployment.config, self.learnt, told.mode_names, grid)
        without, with_failure = self.learnt.survey.labels.tolist()
        labels = (without, with_failure)
        self.zeros = np.zeros_like(self.setup.initial_weights())
        self.briefing = Briefing(run, public, 0, told.mode_names, told.schema, self.learnt.preparation, labels)

    def offer(self, weights: Any, **shared: Any) -> dict[str, Any]:
        """Deliver weights to a freshly started plant and return its verdict."""
        facts = CardFacts("it", "2026-01-01T00:00:00+00:00", {}, {}, {}, {})
        card = np.array(
            [json.dumps(model_card(self.setup.model({"weights": self.zeros}, 0.3, "Machine failure"), facts))]
        )
        all_ = {"weights": weights, "threshold": np.array(0.3), "card": card, **shared}
        replies = self.deployment.plant("plant-1").answer(self.briefing, Tasks(DELIVER, 2, np.array([0]), all_))
        return _told(replies)


def _told(replies: Replies) -> dict[str, Any]:
    said = json.loads(str(replies.clear["accepted"][0]))
    figures = json.loads(str(replies.clear["figures"][0])) if "figures" in replies.clear else None
    return {**said, "figures": figures}


@pytest.fixture
def federation(tmp_path: Path) -> Callable[..., Federation]:
    def build(acceptance: dict[str, Any] | None = None, policy: dict[str, Any] | None = None) -> Federation:
        deployment = deploy(tmp_path / "it", federation={"rounds": 8}, training={"learning_rate": 0.5})
        deployment.write("plant-1", acceptance=acceptance or {}, policy=policy or {})
        return Federation(deployment)

    return build


def test_the_first_model_is_judged_against_what_the_plant_learns_alone(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss"})
    refused = built.offer(built.setup.initial_weights() * 100)
    assert refused["accepted"] is False
    assert "of what this plant learns alone, worse by more than the tolerance of 0" in refused["reason"]
    assert set(refused["figures"]) == {"offered", "alone"}
    lead = refused["figures"]["offered"]["log_loss"] - refused["figures"]["alone"]["log_loss"]
    built.deployment.write("plant-1", acceptance={"metric": "log_loss", "tolerance": lead + 1e-9})
    taken = built.offer(built.setup.initial_weights() * 100)
    assert taken["accepted"] is True
    alone = refused["figures"]["alone"]
    assert taken["figures"]["present"]["log_loss"] == pytest.approx(alone["log_loss"], abs=1e-9)
    assert {name: taken["figures"][name] for name in ("offered", "alone")} == refused["figures"]


def test_a_plant_that_refuses_the_first_model_uses_what_it_learns_alone(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss"})
    told = built.offer(built.setup.initial_weights() * 100)
    assert told["accepted"] is False
    assert told["reason"].endswith("; this plant keeps what it learnt alone")
    current = built.deployment.store("plant-1").current()
    assert current is not None
    card = json.loads((current / "model_card.json").read_text())
    assert card["here"]["accepted"] is True
    assert card["here"]["reason"] == told["reason"]
    assert card["training"] == {"clients": 1, "rounds": 8, "kept_round": 8}
    assert "from the rows of this plant alone" in card["limits"][-1]
    again = built.offer(built.setup.initial_weights() * 100)
    assert "of the model in use" in again["reason"]
    assert again["figures"]["present"]["log_loss"] == pytest.approx(told["figures"]["alone"]["log_loss"], rel=1e-6)
    assert built.deployment.store("plant-1").current() == current


def test_a_plant_that_has_no_time_to_learn_alone_says_so_and_answers(tmp_path: Path) -> None:
    deployment = deploy(tmp_path / "it", federation={"rounds": 8, "round_timeout_s": 0.001})
    told = Federation(deployment).offer(Federation(deployment).zeros)
    assert "of what this plant learns alone, in 1 of 8 rounds for want of time" in told["reason"]
    assert set(told["figures"]) == {"offered", "alone"}


def test_the_next_model_is_judged_against_the_one_in_use(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 0.05})
    zero = built.zeros
    first = built.offer(zero)  # says one half everywhere
    assert first["accepted"] is False
    own = built.deployment.store("plant-1").current()
    built.deployment.write("plant-1", acceptance={"metric": "log_loss", "tolerance": 10.0})
    assert built.offer(zero)["accepted"] is True
    store = built.deployment.store("plant-1")
    one = store.current()
    built.deployment.write("plant-1", acceptance={"metric": "log_loss", "tolerance": 0.0})
    same = built.offer(zero)
    assert same["accepted"] is True
    assert same["reason"] == "log loss 0.6931 against 0.6931 of the model in use"
    assert set(same["figures"]) == {"offered", "alone", "present"}
    two = store.current()
    assert two != one
    worse = built.offer(built.setup.initial_weights() * 100)
    assert worse["accepted"] is False
    assert "of the model in use, worse by more than the tolerance of 0" in worse["reason"]
    assert store.current() == two
    assert store.rollback() == one
    assert store.current() == one
    assert (one / "model.onnx").is_file()
    assert store.rollback() == own
    with pytest.raises(ModelError):
        store.rollback()


def test_a_model_in_use_is_no_rival_under_another_division_of_rows(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 10.0})
    assert built.offer(built.zeros)["accepted"] is True
    assert "the model in use" in built.offer(built.zeros)["reason"]
    dissolve(built.deployment.kits["plant-1"] / "state")
    again = built.offer(built.zeros)
    assert "the model in use may know rows that are held out by now" in again["reason"]
    assert set(again["figures"]) == {"offered", "alone"}
    assert set(built.offer(built.zeros)["figures"]) == {"offered", "alone", "present"}


@pytest.mark.parametrize("seed", [0, 2, 3, 44, 999])
def test_a_run_of_another_seed_is_judged_on_the_same_held_out_rows(seed: int, federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 10.0})
    first = built.offer(built.zeros)["figures"]["offered"]
    other = changed(built.briefing.config, federation={"seed": seed})
    built.briefing = replace(built.briefing, config=other, run=f"run {seed}", number=seed)
    again = built.offer(built.zeros)["figures"]
    assert again["offered"] == again["present"] == first


@pytest.mark.parametrize(("bins", "seed"), [(2, 0), (5, 1), (20, 2), (20, 3), (50, 4)])
def test_what_is_told_of_a_verdict_is_of_bins_and_the_exact_figures_stay_here(
    bins: int, seed: int, federation: Any
) -> None:
    built: Federation = federation({"tolerance": 1.0}, {"minimum_bin_rows": bins})
    weights = np.random.default_rng(seed).normal(0, 1, len(built.zeros)).astype(np.float32)
    told = built.offer(weights)
    assert told["reason"] == "judged by its own held-out rows, against what this plant learns alone"
    (folder,) = (built.deployment.store("plant-1").path / "models").glob("[0-9]*")
    here = json.loads((folder / "model_card.json").read_text())["here"]
    assert f"{here['offered']['average_precision']:.4f} against" in here["reason"]
    built.deployment.write("plant-1", acceptance={"tolerance": 1.0})
    assert built.offer(weights)["figures"]["offered"] == here["offered"]
    assert told["figures"]["offered"]["brier"] != here["offered"]["brier"]


def test_a_refused_model_lies_beside_with_the_reason_in_its_card(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss"})
    refused = built.offer(built.setup.initial_weights() * 100)
    store = built.deployment.store("plant-1")
    (folder,) = (each for each in (store.path / "models").iterdir() if each.is_dir() and each != store.current())
    card = json.loads((folder / "model_card.json").read_text())
    assert card["here"]["accepted"] is False
    assert card["here"]["reason"] == refused["reason"]


def test_the_card_says_where_from_when_and_how_it_does_here(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 100.0})
    told = built.offer(built.setup.initial_weights())
    current = built.deployment.store("plant-1").current()
    assert current is not None
    card = json.loads((current / "model_card.json").read_text())
    assert card["name"] == "it"
    assert card["run"] == "run"
    assert card["received"].endswith("+00:00")
    assert card["here"]["offered"] == told["figures"]["offered"]
    assert (current / "model_card.md").read_text()


def test_the_onnx_file_scores_a_table_as_the_model_does(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 100.0})
    weights = built.setup.initial_weights()
    built.offer(weights)
    current = built.deployment.store("plant-1").current()
    assert current is not None
    model = TrainedModel.load(current / "model")
    frame = pl.read_csv(built.deployment.kits["plant-1"] / "rows.csv")
    offered = built.setup.model({"weights": weights}, 0.3, "Machine failure")
    np.testing.assert_array_equal(model.score(frame), offered.score(frame))
    assert model.threshold_probability == pytest.approx(0.3)
    probability, _ = score_onnx((current / "model.onnx").read_bytes(), frame)
    np.testing.assert_allclose(probability, model.score(frame), atol=2e-6)


def test_histograms_of_its_rows_lie_beside_the_model_at_the_plant_and_do_not_leave(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 100.0})
    told = built.offer(built.setup.initial_weights())
    current = built.deployment.store("plant-1").current()
    assert current is not None
    reference = ModelReference.read(current)
    rows = pl.read_csv(built.deployment.kits["plant-1"] / "rows.csv").height
    assert 0 < reference.columns["Torque [Nm]"].rows < rows
    assert reference.fingerprint == TrainedModel.load(current / "model").fingerprint
    assert "memory" not in json.dumps(told)


def test_what_is_no_model_is_neither_kept_nor_taken(federation: Any) -> None:
    built: Federation = federation()
    weights = built.setup.initial_weights()
    for offered, shared in (
        (weights[:-1], {"card": np.array(["{}"])}),
        (weights * np.float32(np.nan), {}),
        (weights, {"card": np.array(["no JSON"])}),
        (weights, {"threshold": np.array(np.nan)}),
        (weights, {"threshold": np.array(7.0)}),
    ):
        with pytest.raises((FederationError, ValueError)):
            built.offer(offered, **shared)
    assert built.deployment.store("plant-1").current() is None


@pytest.mark.parametrize(
    "policy",
    [
        {"signals": ["rows", "loss", "counts", "vocabulary"]},
        {"minimum_failures": 10_000},
        {"minimum_rows": 150},
    ],
)
def test_figures_stay_here_where_the_plant_does_not_tell_them(policy: dict[str, Any], federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 100.0}, policy)
    told = built.offer(built.setup.initial_weights())
    assert told == {
        "accepted": True,
        "reason": "judged by its own rows, of which it does not tell",
        "figures": None,
    }
    current = built.deployment.store("plant-1").current()
    assert current is not None
    assert "log loss" in json.loads((current / "model_card.json").read_text())["here"]["reason"]


def test_a_model_in_use_that_cannot_score_these_rows_does_not_stand_in_the_way(federation: Any) -> None:
    built: Federation = federation({"metric": "log_loss", "tolerance": 100.0})
    built.offer(built.setup.initial_weights())
    current = built.deployment.store("plant-1").current()
    assert current is not None
    for file in (current / "model").iterdir():
        file.write_bytes(b"damaged")
    told = built.offer(built.setup.initial_weights())
    assert told["accepted"] is True
    assert "alone" in told["reason"]
    assert built.deployment.store("plant-1").current() != current
