from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import DirectGrid, weights_in
from tests.wire import announced, declared, read_answer
from werkbund.core.errors import CheckpointError, ConfigError, QuorumError
from werkbund.core.kinds import Half
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.kinds import TRAIN
from werkbund.evaluation import Contest
from werkbund.federation import run
from werkbund.federation.asking import network_asks
from werkbund.flower.wire.codec import Ask
from werkbund.plant.leaving import DELIVER, HELLO, asked_anyway
from werkbund.report import read_run
from werkbund.selection import Everyone
from werkbund.server.preflight import EVERYBODY

ALL = network_asks(Everyone().declaration)
LAST = {"evaluation": {"keep_best": False}}


class Moody(DirectGrid):
    """Lose a client while `away` says so, given the kind of task and the round."""

    away: Any = None

    def send(self, tasks: Tasks) -> None:
        self.offline = set(self.away(tasks.kind.name, tasks.round)) if self.away else set()
        super().send(tasks)


class Boastful(DirectGrid):
    """Let the first plant tell other figures of the model that it was given."""

    figures = ""

    def _arrival(self, ask: Ask) -> Replies | Failure:
        arrival = super()._arrival(ask)
        if isinstance(arrival, Replies) and arrival.kind is DELIVER and ask.name == "plant-1":
            return replace(arrival, clear={**arrival.clear, "figures": np.array([self.figures])})
        return arrival


def _moody(deployment: Any, away: Any) -> Moody:
    grid = Moody({name: deployment.desk(name).answer for name in deployment.kits})
    grid.away = away
    return grid


def _rounds(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [line for line in lines if line["cohort"]]


def test_a_deployed_run_is_the_run_in_one_process_to_the_last_bit(deployed: Any) -> None:
    deployment = deployed()
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=False)
    np.testing.assert_array_equal(weights_in(there.folder), weights_in(here.folder))
    assert there.summary["metrics"] == here.summary["metrics"]
    assert there.summary["threshold"] == here.summary["threshold"]
    results = [json.loads((folder / "result.json").read_text()) for folder in (there.folder, here.folder)]
    for key in ("curve", "cost_curve", "best_round"):
        assert results[0][key] == results[1][key]
    by_client = [[{**line, "local": None} for line in result["per_client"]] for result in results]
    assert by_client[0] == by_client[1]
    assert (there.folder / "model.onnx").read_bytes() == (here.folder / "model.onnx").read_bytes()


def test_what_a_plant_learns_alone_is_what_the_comparison_says(deployed: Any) -> None:
    deployment = deployed()
    there = deployment.run()
    here = run(deployment.config, out=deployment.folder / "local", compare=True)
    alone = [
        [line["local"] for line in json.loads((folder / "result.json").read_text())["per_client"]]
        for folder in (there.folder, here.folder)
    ]
    assert all(one is not None for one in alone[0])
    first, second = ([one["average_precision"] for one in each] for each in alone)
    assert first == pytest.approx(second, abs=1e-12)  # one counts everybody's rows on edges for all of them


def test_plants_figures_make_the_contest_that_their_rows_make(deployed: Any) -> None:
    deployment = deployed()
    there = json.loads((deployment.run().folder / "result.json").read_text())
    done = run(deployment.config, out=deployment.folder / "local", compare=True)
    told, drawn = Contest.from_json(there["own_rows"]), read_run(done.folder).own_rows
    assert drawn is not None
    assert [(line.name, line.rows, line.failures) for line in told.plants] == [
        (line.name, line.rows, line.failures) for line in drawn.plants
    ]
    for who in ("federated", "local_mean", "nothing", "everything"):
        for name, mean in drawn.figures[who].items():
            bins = {"average_precision": 0.03, "cost": 1e-6}[name]  # plants rank rows by bins of scores
            assert told.figures[who][name].by_rows.mean == pytest.approx(mean.by_rows.mean, abs=bins)
    assert "local_trees_mean" not in told.figures


def test_a_figure_that_cannot_be_true_is_not_counted(deployed: Any) -> None:
    deployment = deployed()
    lied = {"average_precision": 7.0, "cost": -5.0, "rows": 10**9, "positives": 10**8}
    grid = Boastful({name: deployment.desk(name).answer for name in deployment.kits})
    grid.figures = json.dumps({"offered": lied, "alone": lied})
    result = json.loads((deployment.run(grid=grid).folder / "result.json").read_text())
    honest = {line["name"]: line for line in result["per_client"]}
    plant = {line["name"]: line for line in result["own_rows"]["plants"]}["plant-1"]
    assert plant["rows"] == honest["plant-1"]["rows"]
    assert plant["figures"]["federated"] == {"average_precision": None, "cost": None}


def test_the_folder_tells_what_happened(deployed: Any) -> None:
    deployment = deployed({"plant-3": {"signals": ["rows", "loss"]}})
    stages: list[str] = []

    class Ear:
        def stage(self, what: str) -> None:
            stages.append(what)

        def round(self, news: Any) -> None:
            stages.append(f"round {news.record.round}")

    shown: list[Any] = []
    done = deployment.run(watcher=Ear(), seen=shown.append)
    assert [one.client for one in shown[0].checks] == [*deployment.kits, EVERYBODY]
    assert (done.folder / "report.html").stat().st_size > 1000
    about = json.loads((done.folder / "run.json").read_text())
    assert about["clients"] == list(deployment.kits)
    assert about["absent"] == {}
    assert any("vocabulary" in finding["message"] for finding in about["findings"])
    result = json.loads((done.folder / "result.json").read_text())
    assert set(result["delivered"]) == set(deployment.kits)
    assert result["delivered"]["plant-3"]["figures"] == {}
    assert stages[0] == "asking 3 clients about themselves"
    assert [stage for stage in stages if stage.startswith("round")] == ["round 1", "round 2", "round 3", "round 4"]


def test_a_client_that_joins_later_is_briefed_and_trains(deployed: Any) -> None:
    deployment = deployed(federation={"rounds": 4}, **LAST)
    grid = _moody(deployment, lambda kind, round: {"plant-3"} if round < 3 and kind != "deliver" else set())
    done = deployment.run(grid)
    failed = {line["round"]: [(f["client"], f["reason"]) for f in line["failures"]] for line in _rounds(done.folder)}
    assert failed == {1: [(2, "is offline")], 2: [(2, "is offline")], 3: [], 4: []}
    asked = [(ask.tasks.kind, ask.tasks.round) for ask in grid.asked if ask.name == "plant-3"]
    assert asked[:2] == [(TRAIN, 3), (TRAIN, 4)]
    assert json.loads((done.folder / "run.json").read_text())["absent"] == {"plant-3": "is offline"}
    assert done.summary["delivered"]["plant-3"]["accepted"] in (True, False)


def test_a_plant_that_pauses_in_the_middle_gives_nothing_from_then_on(deployed: Any) -> None:
    deployment = deployed(federation={"rounds": 4}, **LAST)

    def away(kind: str, round: int) -> set[str]:
        if (kind, round) == ("train", 3):
            deployment.write("plant-2", policy={"pause": True})
        return set()

    grid = _moody(deployment, away)
    done = deployment.run(grid)
    reasons = {line["round"]: [f["reason"] for f in line["failures"]] for line in _rounds(done.folder)}
    assert reasons[1] == reasons[2] == []
    assert [len(reasons[round]) for round in (3, 4)] == [1, 1]
    assert "policy.pause is set" in reasons[3][0]
    given = [(ask.tasks.kind, ask.tasks.round) for ask, parcel in grid.answered if ask.name == "plant-2"]
    useful = [
        (ask.tasks.kind, ask.tasks.round)
        for ask, parcel in grid.answered
        if ask.name == "plant-2" and read_answer(parcel).replies is not None
    ]
    assert (TRAIN, 2) in useful
    assert (TRAIN, 3) in given
    assert not [one for one in useful if one[1] >= 3]
    assert done.summary["delivered"]["plant-2"]["accepted"] is None


@pytest.mark.parametrize(
    ("policies", "kind", "round"),
    [
        ({name: {"pause": True} for name in ("plant-1", "plant-2")}, "hello", 0),
        ({name: {"minimum_rows": 5000} for name in ("plant-1", "plant-2")}, "survey", 0),
        ({name: {"rounds_a_day": 1} for name in ("plant-1", "plant-2")}, "train", 2),
    ],
)
def test_too_few_clients_end_the_run_and_each_is_named_with_its_reason(
    policies: Any, kind: str, round: int, deployed: Any
) -> None:
    deployment = deployed(policies, federation={"quorum": 0.6})
    with pytest.raises(QuorumError) as caught:
        deployment.run()
    assert caught.value.round == round
    assert (caught.value.needed, caught.value.answered) == (2, 1)
    assert list(caught.value.reasons) == ["plant-1", "plant-2"]
    assert all("refused by its policy: policy." in reason for reason in caught.value.reasons.values())


def test_nobody_there_is_an_error_that_names_everybody(deployed: Any) -> None:
    deployment = deployed()
    grid = deployment.grid()
    grid.offline = set(deployment.kits)
    with pytest.raises(QuorumError, match=re.escape("plant-1: is offline; plant-2: is offline; plant-3: is offline")):
        deployment.run(grid)


def test_a_plant_with_too_few_rows_is_left_out_and_said_to_be(deployed: Any) -> None:
    deployment = deployed({"plant-2": {"minimum_rows": 5000}})
    done = deployment.run()
    absent = json.loads((done.folder / "run.json").read_text())["absent"]
    assert list(absent) == ["plant-2"]
    assert "policy.minimum_rows is 5000" in absent["plant-2"]
    assert all([f["client"] for f in line["failures"]] == [1] for line in _rounds(done.folder))
    learnt = json.loads((done.folder / "learnt.json").read_text())
    assert learnt["rows"][1] == 0
    assert sum(learnt["survey"]["labels"]) == sum(learnt["rows"])


SIGNALS = ("rows", "loss", "counts", "vocabulary", "delivery")


@pytest.mark.parametrize("refused", [*SIGNALS, "all"])
@pytest.mark.parametrize("who", ["one", "everybody"])
def test_refused_signals_are_absent_and_the_run_works_without(refused: str, who: str, deployed: Any) -> None:
    allowed = [] if refused == "all" else [signal for signal in SIGNALS if signal != refused]
    unwilling = {"plant-2"} if who == "one" else {"plant-1", "plant-2", "plant-3"}
    deployment = deployed({name: {"signals": allowed} for name in unwilling}, federation={"rounds": 2})
    grid = deployment.grid()
    done = deployment.run(grid)
    assert np.isfinite(weights_in(done.folder)).all()
    seen: dict[str, set[tuple[str, str, str]]] = {name: set() for name in deployment.kits}
    for ask, parcel in grid.answered:
        replies = read_answer(parcel).replies
        assert replies is not None
        assert replies.pooled == {}
        halves: tuple[Half, ...] = ("sums", "clear")
        for half in halves:
            seen[ask.name] |= {declared(replies.kind, half, name) for name in getattr(replies, half)}
    for name, left in seen.items():
        assert left == announced(allowed if name in unwilling else SIGNALS, asked_anyway(ALL))
    if refused in ("delivery", "all"):
        told = [parcel for ask, parcel in grid.answered if ask.tasks.kind == DELIVER and ask.name in unwilling]
        assert told
        for parcel in told:
            replies = read_answer(parcel).replies
            assert replies is not None
            assert not re.search(r"\d", str(json.loads(str(replies.clear["accepted"][0]))["reason"]))
    if refused in ("rows", "all"):
        facts = [read_answer(p).replies for ask, p in grid.answered if ask.tasks.kind == HELLO]
        rows = {reply.clear["facts"][0]: json.loads(str(reply.clear["facts"][0]))["rows"] for reply in facts if reply}
        assert [json.loads(text)["name"] for text, number in rows.items() if number is None] == sorted(
            unwilling, reverse=True
        )


def test_a_client_struck_off_or_added_cannot_go_on_with_the_run(deployed: Any) -> None:
    deployment = deployed()
    deployment.run()
    grid = DirectGrid({name: deployment.desk(name).answer for name in list(deployment.kits)[:2]})
    with pytest.raises(CheckpointError, match="clients were plant-1, plant-2, plant-3"):
        deployment.resume(grid)


def test_a_signal_that_the_selector_needs_and_a_plant_refuses_is_told_once(deployed: Any) -> None:
    refusing = {"signals": ["rows", "loss", "counts", "vocabulary", "delivery"]}
    deployment = deployed({"plant-3": refusing}, strategy={"selection": {"name": "ocs", "count": 2}})
    shown: list[Any] = []
    done = deployment.run(seen=shown.append)
    remarks = [check.what for check in shown[0].checks if check.level != "ok" and check.client != EVERYBODY]
    assert remarks == ["does not tell norm, by its policy"]
    about = json.loads((done.folder / "run.json").read_text())
    assert [plant["refused"] for plant in about["plants"]] == [[], [], ["norm"]]
    assert [plant["bin_rows"] for plant in about["plants"]] == [1, 1, 1]
    for line in _rounds(done.folder):
        assert line["failures"] == []
        held = line["told"]["hold"]
        assert held["clients"] == [0, 1, 2]
        assert [norm is None for norm in held["norm"]] == [False, False, True]


def test_who_does_not_tell_its_rows_is_drawn_as_if_it_had_as_many_as_others(deployed: Any) -> None:
    silent = {"plant-3": {"signals": ["counts", "vocabulary"]}}
    section = {"selection": {"name": "md", "count": 2}}
    deployment = deployed(silent, federation={"rounds": 6}, strategy=section)
    chosen = [line["cohort"] for line in _rounds(deployment.run().folder)]
    assert 0 < sum(2 in cohort for cohort in chosen) < 6


def test_attackers_are_refused_before_anybody_is_asked(deployed: Any) -> None:
    deployment = deployed(attack={"kind": "free-rider"})
    grid = deployment.grid()
    with pytest.raises(ConfigError, match=r"attack.kind must be none in a federation over a network, got 'free-rider'"):
        deployment.run(grid)
    assert not grid.asked
