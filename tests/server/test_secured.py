"""Plants of a deployed federation of which the server learns sums alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import Answerer, Deployment, DirectGrid, deploy, kind_of, weights_in
from tests.privacy.sums.uniform import SUSPICIOUS, suspicions
from tests.wire import read_answer, read_ask
from werkbund.audit.evidence import checked_ledger, spent_in
from werkbund.core.arrays import Float32Array, UInt8Array
from werkbund.core.errors import ClientError, ConfigError, QuorumError
from werkbund.core.keys import new_key, ssh_public
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.engine.masking import MASKED, SUM
from werkbund.federation.folder import Folder
from werkbund.flower.wire.codec import encode_ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.model import load_model
from werkbund.model.trees import TreeModel
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.privacy.sums import KEYS, OPEN
from werkbund.server import run_deployed

FOUR: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 3, "seed": 1},
    "data": {"source": "generator", "rows": 800, "plants": 4},
    "clients": {"count": 4},
    "privacy": {"secure_sums": True},
}
"""Four plants, of which one may drop out of a sum."""

OPEN_EYED: dict[str, Any] = {"privacy": {"secure_sums": False}}
"""The section of a federation whose server sees all."""

NAMES = ("plant-1", "plant-2", "plant-3", "plant-4")
FIRST, SECOND = NAMES[:2]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Float32Array:
    """Return the weights of the run in which the server sees all."""
    return weights_in(deploy(tmp_path_factory.mktemp("plain") / "it", **{**FOUR, **OPEN_EYED}).run().folder)


@pytest.fixture
def secured(tmp_path: Path) -> Deployment:
    """Return the plants of the run in which it learns sums alone."""
    return deploy(tmp_path / "it", **FOUR)


def _masked(grid: DirectGrid, name: str) -> list[UInt8Array]:
    """Return the masked words that a plant sent."""
    answers = [read_answer(parcel, asked=ask.tasks.kind).replies for ask, parcel in grid.answered if ask.name == name]
    return [answer.clear[MASKED][0] for answer in answers if answer is not None and MASKED in answer.clear]


def _unreachable(desk: Answerer, kind: str, round: int) -> Answerer:
    """Return a plant that cannot be reached by one kind of message in one round."""

    def answer(parcel: Parcel) -> Parcel:
        if kind_of(parcel) == (kind, round):
            raise ClientError("its line is down")
        return desk(parcel)

    return answer


def _failures(run: Path) -> list[list[str]]:
    lines = [json.loads(line) for line in (run / "rounds.jsonl").read_text(encoding="utf-8").splitlines()]
    return [[failure["reason"] for failure in line["failures"]] for line in lines[:3]]


def _near(found: Float32Array, expected: Float32Array) -> None:
    assert expected.any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_run_ends_at_the_plain_runs_weights_and_all_that_is_added_leaves_as_even_noise(
    secured: Deployment, plain: Float32Array
) -> None:
    grid = secured.grid()
    _near(weights_in(secured.run(grid).folder), plain)
    assert {KEYS, OPEN, TRAIN, EVALUATE} <= {ask.tasks.kind for ask, _ in grid.answered}
    for ask, parcel in grid.answered:
        halves = {entry[0] for entry in json.loads(parcel.head).get("arrays", [])}
        assert halves <= {"clear"}, ask.tasks.kind
        assert not parcel.vector
    for name in NAMES:
        sent = _masked(grid, name)
        assert len(sent) > 6
        for length in {len(words) for words in sent}:  # statistics, updates and counts
            looks = suspicions(np.stack([words for words in sent if len(words) == length]))
            assert min(looks.values()) > SUSPICIOUS, (name, length, looks)


def test_a_plant_that_is_gone_between_masking_and_opening_is_in_the_sum(
    secured: Deployment, plain: Float32Array
) -> None:
    gone = _unreachable(secured.desk(FIRST).answer, OPEN.name, 2)
    run = secured.run(secured.grid(**{FIRST: gone}))
    _near(weights_in(run.folder), plain)
    assert _failures(run.folder) == [[], [], []]


def test_a_plant_that_is_gone_before_masking_is_left_out_and_the_others_go_on(secured: Deployment) -> None:
    gone = _unreachable(secured.desk(FIRST).answer, TRAIN.name, 2)
    run = secured.run(secured.grid(**{FIRST: gone}))
    assert _failures(run.folder) == [[], ["its line is down"], []]


def test_what_a_plant_needs_for_an_opening_is_on_its_disk(secured: Deployment, plain: Float32Array) -> None:
    grid = secured.grid(**{FIRST: lambda parcel: secured.desk(FIRST).answer(parcel)})  # started anew for each message
    _near(weights_in(secured.run(grid).folder), plain)
    opened = [parcel for ask, parcel in grid.answered if ask.name == FIRST and ask.tasks.kind == OPEN]
    assert len(opened) > 6
    assert all(read_answer(parcel).replies is not None for parcel in opened)
    file = secured.kits[FIRST] / "state" / "sums.npz"
    assert file.stat().st_mode & 0o077 == 0


def test_a_plant_whose_kit_has_another_key_of_a_plant_takes_no_part(secured: Deployment) -> None:
    other = ssh_public(new_key().public_key(), SECOND)
    (secured.kits[FIRST] / "plants" / f"{SECOND}.pub").write_bytes(other)
    run = secured.run()
    assert _failures(run.folder) == [["has no keys for secure sums"]] * 3


def test_a_plant_that_is_not_in_its_own_register_says_so(secured: Deployment) -> None:
    (secured.kits[FIRST] / "plants" / f"{FIRST}.pub").unlink()
    grid = secured.grid()
    secured.run(grid)
    reasons = {read_answer(parcel).reason for ask, parcel in grid.answered if ask.tasks.kind == KEYS}
    assert any("plant-1 must have a key among those of all plants" in reason for reason in reasons)


def test_what_is_to_be_added_leaves_under_masks_or_not_at_all(secured: Deployment) -> None:
    desk, told = secured.desk(FIRST), list[str]()

    def answer(parcel: Parcel) -> Parcel:
        ask = read_ask(parcel)
        if ask.tasks.kind != TRAIN:
            return desk.answer(parcel)
        bare = {key: array for key, array in ask.tasks.shared.items() if not key.startswith(SUM)}
        reply = desk.answer(encode_ask(replace(ask, tasks=replace(ask.tasks, shared=bare))))
        told.append(read_answer(reply).reason)
        return reply

    secured.run(secured.grid(**{FIRST: answer}))
    assert len(told) == 3
    assert all("under masks alone (privacy.secure_sums)" in reason for reason in told)


def test_a_run_without_secure_sums_gets_no_keys(tmp_path: Path) -> None:
    plants = deploy(tmp_path / "it", **{**FOUR, **OPEN_EYED, "federation": {"rounds": 1}})
    desk, reasons = plants.desk(FIRST), list[str]()

    def answer(parcel: Parcel) -> Parcel:
        ask = read_ask(parcel)
        if ask.tasks.kind == TRAIN:
            keys = replace(ask, tasks=replace(ask.tasks, kind=KEYS, shared={}, own={}))
            reasons.append(read_answer(desk.answer(encode_ask(keys))).reason)
        return desk.answer(parcel)

    plants.run(plants.grid(**{FIRST: answer}))
    assert len(reasons) == 1
    assert "this run makes no secure sums" in reasons[0]


def test_a_server_without_the_plants_keys_says_so(secured: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.secure_sums must be false where the server knows no plants' keys"):
        run_deployed(secured.config, secured.grid(), folder=Folder.create("x", secured.folder / "run"))


def test_a_resumed_run_ends_at_the_same_weights(secured: Deployment, plain: Float32Array) -> None:
    desk, stopped = secured.desk(FIRST), list[int]()

    def answer(parcel: Parcel) -> Parcel:
        if kind_of(parcel) == (TRAIN.name, 2) and not stopped:
            stopped.append(2)
            raise KeyboardInterrupt
        return desk.answer(parcel)

    with pytest.raises(KeyboardInterrupt):
        secured.run(secured.grid(**{FIRST: answer}))
    _near(weights_in(secured.resume().folder), plain)


def test_trees_under_masks_are_those_of_the_plain_run_to_the_bit(tmp_path: Path) -> None:
    kind: dict[str, dict[str, Any]] = {"model": {"kind": "forest", "hidden": None}}
    kind["trees"] = {"count": 2, "together": 2, "max_depth": 2, "num_bins": 16, "rank_error": 0.05}
    policies = {name: {"signals": list(SIGNAL_NAMES)} for name in NAMES}
    digests = []
    for number, how in enumerate(({}, OPEN_EYED)):
        plants = deploy(tmp_path / str(number), policies, **{**FOUR, **kind, **how})
        model = load_model(plants.run().folder / "model")
        assert isinstance(model, TreeModel)
        digests.append(model.ensemble.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("unit", ["machine", "plant"])
def test_plants_add_shares_of_noise_write_down_what_that_costs_and_take_part_within_a_budget(
    unit: str, tmp_path: Path
) -> None:
    sections: dict[str, dict[str, Any]] = {
        **FOUR,
        "training": {"positive_weight": "none"},
        "strategy": {"aggregation": {"weighting": "equal" if unit == "plant" else "examples"}},
        "privacy": {"secure_sums": True, "unit": unit, "target_epsilon": 4.0, "shared_noise": True},
    }
    budgets = {name: {"epsilon": 4.0, "delta": 1e-2 if unit == "plant" else 1e-3} for name in NAMES}
    deployment = deploy(tmp_path / "it", policies=budgets, **sections)
    told = deployment.run().summary
    assert told["rounds"] == 3
    for name in NAMES:
        (spent,) = spent_in(checked_ledger(deployment.kits[name])).values()
        assert spent == pytest.approx(4.0, abs=0.05)
        kept = json.loads((deployment.store(name).path / "spending.json").read_text())["charges"]
        assert [(charge["unit"], charge["count"], charge["shared"]) for charge in kept] == [(unit, 3, True)]
    deployment.write(FIRST, policy={**budgets[FIRST], "epsilon": 4.1})
    with pytest.raises(QuorumError, match=r"plant-1: .*policy\.epsilon is 4\.1 .* one more training would exceed it"):
        deployment.run(name="again")
