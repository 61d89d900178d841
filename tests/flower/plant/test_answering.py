from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deployed import Deployment, deploy
from tests.wire import kind_of, read_answer
from werkbund._version import __version__
from werkbund.audit.evidence import checked_ledger, spent_in
from werkbund.config.reading import changed
from werkbund.core.errors import ClientError
from werkbund.core.rng import keys
from werkbund.core.types import Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.federation.families.networks import NetworkSetup, network_server
from werkbund.federation.preparing import CommonPreparation, learn_preparation
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.codec import Answer, Ask, encode_ask, encode_whoami
from werkbund.flower.wire.parcel import Parcel
from werkbund.ledger import Head, verified
from werkbund.plant import load_settings
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.leaving import HELLO, KINDS
from werkbund.plant.ledger import mac, signing_key
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.trees.protocol.kinds import TREE_KINDS

SECRET = "-".join(("SECRET", "4711"))


class Server:
    """Ask one plant as a server would that has learnt the common scaling."""

    keyed = ("train", "hold", "upload", "loss", "centroids")

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        public = for_clients(deployment.config)
        grid = deployment.grid()
        grid.brief(lambda number: Briefing("run", public, number, AI4I_SCHEMA.modes))
        self.learnt: CommonPreparation = learn_preparation(grid, AI4I_SCHEMA, 5.0)
        self.setup: NetworkSetup = network_server(deployment.config, self.learnt, AI4I_SCHEMA.modes, grid)
        labels = (int(self.learnt.survey.labels[0]), int(self.learnt.survey.labels[1]))
        self.briefing = Briefing("run", public, 0, AI4I_SCHEMA.modes, None, self.learnt.preparation, labels)
        self.weights = self.setup.initial_weights()

    def ask(self, kind: str, round: int = 1, briefed: bool = True, name: str = "plant-1", **how: Any) -> Ask:
        needs: dict[str, dict[str, Any]] = {
            "hello": {},
            "survey": {},
            "squares": {"mean": np.zeros(len(self.learnt.survey.features))},
            "evaluate": {"weights": self.weights},
            "train": {"weights": self.weights, "rate": np.ones(())},
            "hold": {"weights": self.weights, "rate": np.ones(()), "needs": np.array(["loss_std", "norm"])},
            "upload": {"weights": self.weights},
            "loss": {"weights": self.weights, "most": np.array(3)},
            "centroids": {"k": np.array(3)},
            "deliver": {"weights": self.weights, "threshold": np.array(0.5), "card": np.array(["{}"])},
        }
        key = keys(1, "training", round, np.zeros(1, np.int64))
        own: dict[str, Any] = {"factor": np.ones(1), "key": key} if kind in self.keyed else {}
        tasks = Tasks(kind_of(kind), round, np.array([0]), needs.get(kind, {}), own)
        brief = self.briefing.to_json() if briefed else None
        return replace(Ask("run", name, tasks, self.briefing.fingerprint, brief), **how)

    def desk(self) -> Desk:
        return self.deployment.desk("plant-1")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(deploy(tmp_path / "it", data={"rows": 450}))


def _answer(desk: Desk, ask: Ask) -> Answer:
    return read_answer(desk.answer(encode_ask(ask)))


def _entries(server: Server) -> list[dict[str, Any]]:
    """Return what the plant's ledger says of the rounds that were asked."""
    kit = server.deployment.kits["plant-1"]
    found = verified(kit / "state" / "ledger.jsonl", [signing_key(load_settings(kit)).public_key()])
    assert not found.fault
    return [dict(entry) for entry in found.entries if entry.get("round", 0) != 0]


def _events(server: Server) -> list[dict[str, Any]]:
    return [event for event in server.deployment.store("plant-1").events() if event.get("round") != 0]


def test_a_plant_says_its_name_to_whoever_asks(server: Server) -> None:
    answer = read_answer(server.desk().answer(encode_whoami()))
    assert (answer.replies, answer.name, answer.code) == (None, "plant-1", "name")


@pytest.mark.parametrize("kind", ["hello", "survey", "squares", "train", "evaluate"])
def test_an_answer_names_kind_round_client_and_plant(kind: str, server: Server) -> None:
    answer = _answer(server.desk(), server.ask(kind, 5))
    assert answer.replies is not None
    assert (answer.replies.kind.name, answer.replies.round, answer.replies.clients.tolist()) == (kind, 5, [0])
    assert answer.name == "plant-1"


def test_a_task_for_another_client_is_not_done(server: Server) -> None:
    answer = _answer(server.desk(), server.ask("train", name="plant-2"))
    assert (answer.replies, answer.code) == (None, "name")
    assert "this is plant-1, not plant-2" in answer.reason
    assert server.deployment.store("plant-1").counters() == {}


@pytest.mark.parametrize(("version", "done"), [("0.1.99", True), ("0.2.0", False), ("1.1.0", False), ("", False)])
def test_only_servers_of_the_same_release_are_answered(version: str, done: bool, server: Server) -> None:
    assert __version__.startswith("0.1.")
    parcel = encode_ask(server.ask("hello"))
    head = json.dumps(json.loads(parcel.head) | {"werkbund": version}).encode()
    answer = read_answer(server.desk().answer(replace(parcel, head=head)))
    assert (answer.replies is not None) is done
    assert done or (answer.code == "version" and "install the same version" in answer.reason)


def test_without_knowing_what_the_run_is_about_a_plant_asks_for_it(server: Server) -> None:
    answer = _answer(server.desk(), server.ask("train", briefed=False))
    assert (answer.replies, answer.code) == (None, "briefing")


def test_what_the_run_is_about_is_remembered_over_a_restart(server: Server) -> None:
    assert _answer(server.desk(), server.ask("hello")).replies is not None
    assert _answer(server.desk(), server.ask("train", briefed=False)).replies is not None


def test_a_description_that_reads_differently_here_is_refused(server: Server) -> None:
    answer = _answer(server.desk(), server.ask("hello", briefing="0" * 16))
    assert (answer.replies, answer.code) == (None, "failed")
    assert "reads differently here" in answer.reason
    assert _answer(server.desk(), server.ask("hello", briefed=False)).code == "briefing", "and is not kept"


@pytest.mark.parametrize("brief", [{}, [], 7, "text", {"run": 1}])
def test_a_description_that_is_none_is_refused(brief: Any, server: Server) -> None:
    parcel = encode_ask(server.ask("hello"))
    head = json.dumps(json.loads(parcel.head) | {"brief": brief}).encode()
    answer = read_answer(server.desk().answer(replace(parcel, head=head)))
    assert (answer.replies, answer.code) == (None, "failed")
    assert "description of the run is incomplete" in answer.reason


@pytest.mark.parametrize("section", ["unknown", "federation"])
def test_a_configuration_of_another_version_is_refused_by_its_key(section: str, server: Server) -> None:
    brief = server.briefing.to_json()
    brief["config"] = {**brief["config"], section: {"colour": 1}}
    answer = _answer(server.desk(), server.ask("hello", brief=brief))
    assert "this version cannot follow the server's run" in answer.reason
    assert section in answer.reason


@pytest.mark.parametrize("kind", ["dance", "keep", "any", ""])
def test_a_kind_of_task_that_is_not_declared_is_refused_with_those_that_are(kind: str, server: Server) -> None:
    answer = _answer(server.desk(), server.ask(kind))
    assert (answer.replies, answer.code) == (None, "failed")
    for known in KINDS:
        assert known.name in answer.reason
    assert server.deployment.store("plant-1").counters() == {}


def test_training_before_the_scaling_is_learnt_is_refused(server: Server) -> None:
    bare = replace(server.briefing, preparation=None)
    answer = _answer(server.desk(), server.ask("train", briefing=bare.fingerprint, brief=bare.to_json()))
    assert answer.code == "failed"
    assert "before the common scaling is learnt" in answer.reason


def test_the_same_task_gets_the_same_bytes_and_is_done_once(server: Server) -> None:
    first = server.desk().answer(encode_ask(server.ask("train")))
    again = server.desk().answer(encode_ask(server.ask("train", briefed=False)))
    assert again == first
    assert sum(server.deployment.store("plant-1").counters().values()) == 1
    done, repeated = _entries(server)
    assert (done["task"], repeated["task"], repeated["again"]) == ("train", "train", True)
    assert done["id"] == repeated["id"]


def test_an_update_that_is_held_is_uploaded_once_and_a_restart_loses_nothing(server: Server) -> None:
    desk, counted = server.desk(), server.deployment.store("plant-1").counters
    first = desk.answer(encode_ask(server.ask("hold")))
    assert desk.answer(encode_ask(server.ask("hold"))) == first
    assert sum(counted().values()) == 1
    anew = server.desk()
    assert anew.answer(encode_ask(server.ask("hold"))) == first
    uploaded = anew.answer(encode_ask(server.ask("upload")))
    assert read_answer(uploaded).replies is not None
    assert server.desk().answer(encode_ask(server.ask("upload"))) == uploaded, "also after a restart"
    assert sum(counted().values()) == 1
    answer = _answer(server.desk(), server.ask("upload", 2))
    assert (answer.replies, answer.code) == (None, "failed")
    assert "holds no update of round 2" in answer.reason


def test_a_recorded_answer_comes_even_when_the_day_is_full(server: Server) -> None:
    server.deployment.write("plant-1", policy={"rounds_a_day": 1})
    first = server.desk().answer(encode_ask(server.ask("train")))
    assert server.desk().answer(encode_ask(server.ask("train"))) == first
    assert "rounds_a_day" in _answer(server.desk(), server.ask("train", 2)).reason


def test_a_paused_plant_gives_not_even_a_recorded_answer(server: Server) -> None:
    desk = server.desk()
    assert _answer(desk, server.ask("train")).replies is not None
    server.deployment.write("plant-1", policy={"pause": True})
    for one in (desk, server.desk()):
        answer = _answer(one, server.ask("train"))
        assert (answer.replies, answer.code) == (None, "policy")
        assert "policy.pause" in answer.reason


def test_a_recorded_answer_holds_nothing_that_is_refused_since(server: Server) -> None:
    desk = server.desk()
    before = _answer(desk, server.ask("train")).replies
    assert before is not None
    assert any("." in name for name in before.sums)
    server.deployment.write("plant-1", policy={"signals": []})
    after = _answer(desk, server.ask("train")).replies
    assert after is not None
    assert sorted(after.sums) == ["update", "weight"]
    np.testing.assert_array_equal(after.sums["update"], before.sums["update"])


def test_a_file_that_was_spoilt_pauses_the_plant_and_is_not_quoted(server: Server) -> None:
    desk = server.desk()
    assert _answer(desk, server.ask("hello")).replies is not None
    (server.deployment.kits["plant-1"] / "client.toml").write_text(
        f'[client]\nname = "plant-1"\n[server]\naddress = "a:1"\n[data]\nquery = "{SECRET}"\npath = "{SECRET}"\n'
    )
    answer = _answer(desk, server.ask("train"))
    assert (answer.replies, answer.code) == (None, "policy")
    assert SECRET not in answer.reason
    assert SECRET in json.dumps(_events(server))


def test_what_left_is_written_down_for_the_plants_own_audit(server: Server) -> None:
    desk = server.desk()
    parcel = desk.answer(encode_ask(server.ask("train", 4)))
    desk.answer(encode_ask(server.ask("dance", 4)))
    done, refused = _entries(server)
    replies = read_answer(parcel).replies
    assert replies is not None
    assert (done["kind"], done["task"], done["run"], done["round"]) == ("answer", "train", "run", 4)
    left = {(field["half"], field["name"]): (field["shape"], field["bytes"]) for field in done["left"]}
    arrays = {("sums", name): array for name, array in replies.sums.items()}
    assert left == {where: (list(array.shape), array.nbytes) for where, array in arrays.items()}
    assert done["privacy"]["protected"] == "minimum rows alone"
    assert (refused["kind"], refused["task"], refused["code"]) == ("refusal", "dance", "failed")
    assert read_answer(parcel).ledger == Head(done["seq"], refused["prev"])
    secret = (server.deployment.store("plant-1").path / "ledger.secret").read_bytes()
    update = np.ascontiguousarray(replies.sums["update"], "<f4").tobytes()
    (told,) = [field["hmac"] for field in done["left"] if field["name"] == "update"]
    assert told == mac(secret, done["id"], "sums", "update", update)
    weights = hashlib.sha256(np.ascontiguousarray(server.weights, "<f4").tobytes()).hexdigest()
    assert done["weights"] == weights


def test_what_noised_training_costs_is_charged_and_adds_up_to_what_the_run_promised(tmp_path: Path) -> None:
    privacy = {"unit": "row", "target_epsilon": 4.0}
    noised = Server(deploy(tmp_path / "it", data={"rows": 450}, privacy=privacy, training={"positive_weight": "none"}))
    desk, rounds = noised.desk(), noised.deployment.config.federation.rounds
    for round in range(1, rounds + 1):
        assert _answer(desk, noised.ask("train", round)).replies is not None
    charges = [entry["privacy"]["charge"] for entry in _entries(noised)]
    assert len(charges) == rounds
    assert {charge["relation"] for charge in charges} == {"add or remove one"}
    (spent,) = spent_in(checked_ledger(noised.deployment.kits["plant-1"])).values()
    assert spent == pytest.approx(4.0, abs=0.02)


@pytest.mark.parametrize("name", ["\u2028", "\n{}", "=1+1", "a" * 5000, "\x1b[2J", "\x85"])
def test_a_hostile_name_of_a_run_does_not_break_the_ledger(name: str, server: Server) -> None:
    desk = server.desk()
    assert _answer(desk, server.ask("train", run=name)).name == "plant-1"
    assert _answer(desk, server.ask("train", 2)).replies is not None
    first, second = _entries(server)
    assert len(first["run"]) <= 200
    assert (first["round"], second["round"]) == (1, 2)


def test_a_process_says_first_what_is_at_work_and_what_is_allowed(server: Server) -> None:
    _answer(server.desk(), server.ask("hello"))
    path = server.deployment.store("plant-1").path / "ledger.jsonl"
    started, policy, *_ = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (started["kind"], started["software"]["werkbund"]) == ("start", __version__)
    assert (policy["kind"], policy["allows"]["policy"]["minimum_rows"]) == ("policy", 20)


COLUMNS = (
    "Type",
    "Air temperature [K]",
    "Rotational speed [rpm]",
    "Tool wear [min]",
    "Machine failure",
    "TWF",
)


def _inflated(parcel: Parcel) -> bytes:
    answer = read_answer(parcel)
    arrays = [] if answer.replies is None else [*answer.replies.sums.items(), *answer.replies.clear.items()]
    return parcel.to_bytes() + json.dumps([[name, array.tolist()] for name, array in arrays], default=str).encode()


@pytest.mark.parametrize("column", COLUMNS)
def test_no_answer_quotes_a_value_of_a_row(column: str, server: Server) -> None:
    path = server.deployment.kits["plant-1"] / "rows.csv"
    frame = pl.read_csv(path, infer_schema=False)
    values = frame[column].to_list()
    values[60] = SECRET
    frame.with_columns(pl.Series(column, values)).write_csv(path)
    desk = server.desk()
    for kind in (one.name for one in KINDS):
        for whole in (False, True):
            briefing = replace(server.briefing, schema=AI4I_SCHEMA) if whole else server.briefing
            ask = server.ask(kind, briefing=briefing.fingerprint, brief=briefing.to_json())
            assert SECRET.encode() not in _inflated(desk.answer(encode_ask(ask)))


def test_rows_that_do_not_fit_are_told_of_at_the_plant_alone(server: Server) -> None:
    path = server.deployment.kits["plant-1"] / "rows.csv"
    frame = pl.read_csv(path)
    frame.rename({"Type": SECRET}).write_csv(path)
    answer = _answer(server.desk(), server.ask("survey"))
    assert answer.code == "failed"
    assert SECRET not in answer.reason
    assert "client check" in answer.reason
    assert SECRET in json.dumps(_events(server))
    path.unlink()
    answer = _answer(server.desk(), server.ask("survey"))
    assert answer.code == "failed"
    assert "rows.csv" not in answer.reason


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: Any) -> Server:
    return Server(deploy(tmp_path_factory.mktemp("lasting") / "it", data={"rows": 450}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["train", "hello"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
KEYS = ["werkbund", "kind", "round", "attempt", "client", "arrays", "run", "name", "briefing", "brief"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2), st.binary(max_size=9))
def test_whatever_is_asked_is_answered_or_no_task(lasting: Server, changes: dict[str, Any], vector: bytes) -> None:
    desk = lasting.desk()
    for kind in ("hello", "evaluate"):
        parcel = encode_ask(lasting.ask(kind))
        head = json.dumps(json.loads(parcel.head) | changes).encode()
        with contextlib.suppress(ClientError):
            read_answer(desk.answer(replace(parcel, head=head, vector=vector or parcel.vector)))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: Any) -> Server:
    """Give the plant of a run of trees that allows them."""
    everything = {"plant-1": {"signals": list(SIGNAL_NAMES)}}
    server = Server(deploy(tmp_path_factory.mktemp("growing") / "it", everything, data={"rows": 450}))
    trees = changed(server.briefing.config, model={"kind": "trees", "hidden": None})
    server.briefing = replace(server.briefing, config=trees)
    return server


@pytest.mark.parametrize("kind", [one.name for one in TREE_KINDS])
def test_a_question_of_trees_without_what_it_needs_is_a_failure_and_not_the_end(kind: str, growing: Server) -> None:
    desk, ask = growing.desk(), growing.ask(kind)
    for shared in ({}, {"mark": np.zeros(16, np.uint8)}, {"lows": np.zeros(1), "classes": np.array("x")}):
        answer = _answer(desk, replace(ask, tasks=Tasks(kind_of(kind), 9, np.array([0]), shared)))
        assert (answer.replies, answer.code) == (None, "failed") or set(answer.replies.clear) == {"behind"}  # type: ignore[union-attr]
    assert "is of another run than one of trees" in _answer(desk, growing.ask("train")).reason


@pytest.mark.parametrize("kind", sorted(one.name for one in {*KINDS} - {HELLO, *TREE_KINDS}))
def test_a_task_without_what_it_needs_is_a_failure_and_not_the_end(kind: str, lasting: Server) -> None:
    desk = lasting.desk()
    ask = lasting.ask(kind)
    for shared in ({}, {"weights": np.zeros(3, np.float32)}, {"mean": np.zeros(1)}):
        answer = _answer(desk, replace(ask, tasks=Tasks(kind_of(kind), 9, np.array([0]), shared)))
        assert answer.replies is not None or answer.code in ("failed", "policy")
        assert kind == "survey" or answer.replies is None
