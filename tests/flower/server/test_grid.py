from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from tests.deployed import Deployment, deploy, kind_of, weights_in
from tests.flower.fake_network import Network, as_server_app
from tests.spoilt import BAD_TRAINING, Spoil, arrays, head, spoilt
from werkbund.core.errors import ClientError
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.kinds import TRAIN
from werkbund.flower.server.grid import FlowerGrid
from werkbund.flower.wire.codec import Ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import from_records, to_records
from werkbund.ledger import Receipts, verified
from werkbund.plant import load_settings
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.leaving import HELLO
from werkbund.plant.ledger import signing_key

FIRST = 11


@pytest.fixture(autouse=True)
def server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    as_server_app(monkeypatch)


@pytest.fixture(scope="module")
def plants(tmp_path_factory: Any) -> Deployment:
    return deploy(tmp_path_factory.mktemp("plants") / "it", data={"rows": 450})


@pytest.fixture(autouse=True)
def answered_once(plants: Deployment, server_app: None) -> None:
    """Have plants answer before any answer is timed: the first one waits for imports and for rows to be read."""
    if not plants.__dict__.setdefault("warm", False):
        grid = _grid(plants, _network(plants))
        _hello(grid)
        assert len(_received(grid, 60.0)) == len(plants.kits)
        plants.__dict__["warm"] = True


def _network(plants: Deployment, **desks: Any) -> Network:
    names = list(plants.kits)
    taken = {FIRST + place: desks.get(name, plants.desk(name).answer) for place, name in enumerate(names)}
    return Network(taken, {FIRST + place: name for place, name in enumerate(names)})


def _grid(plants: Deployment, network: Network, timeout_s: float = 60.0) -> FlowerGrid:
    grid = FlowerGrid(network, tuple(plants.kits), timeout_s)
    public = for_clients(plants.config)
    grid.brief(lambda number: Briefing("run", public, number))
    return grid


def test_what_answers_say_of_their_plants_ledgers_is_kept(plants: Deployment, tmp_path: Path) -> None:
    grid = FlowerGrid(_network(plants), tuple(plants.kits), 60.0, receipts=Receipts(tmp_path))
    grid.brief(lambda number: Briefing("run", for_clients(plants.config), number))
    _hello(grid)
    assert len(_received(grid)) == 3
    for name, kit in plants.kits.items():
        path, key = kit / "state" / "ledger.jsonl", signing_key(load_settings(kit)).public_key()
        (receipt,) = Receipts(tmp_path).of(name)
        found = verified(path, [key], [receipt])
        assert (found.fault, found.num_receipts, receipt.task) == ("", 1, "hello")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        assert "is missing" in verified(path, [key], [receipt]).fault


def _hello(grid: FlowerGrid, round: int = 0, clients: tuple[int, ...] = (0, 1, 2)) -> None:
    grid.send(Tasks(HELLO, round, np.array(clients)))


def _received(grid: FlowerGrid, timeout_s: float = 5.0) -> dict[int, str]:
    """Return what came by client: the name in its facts, or why it failed."""
    outcomes: dict[int, str] = {}
    for arrival in grid.receive(timeout_s):
        if isinstance(arrival, Failure):
            assert arrival.client not in outcomes
            outcomes[arrival.client] = arrival.reason
        else:
            assert len(arrival) == 1
            outcomes[int(arrival.clients[0])] = json.loads(str(arrival.clear["facts"][0]))["name"]
    return outcomes


ALL = {0: "plant-1", 1: "plant-2", 2: "plant-3"}


def test_everybody_is_asked_and_answers(plants: Deployment) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    assert grid.clients() == tuple(plants.kits)
    _hello(grid)
    assert _received(grid) == ALL
    assert _received(grid, 0.0) == {}
    assert [message.metadata.message_type for message in network.pushed] == ["query"] * 3
    assert {message.metadata.group_id for message in network.pushed} == {"0"}
    assert grid.traffic.messages == 3
    assert grid.traffic.down == sum(from_records(message.content).num_bytes for message in network.pushed)
    assert grid.traffic.up > 0


def test_only_those_that_are_meant_are_asked(plants: Deployment) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    _hello(grid, clients=(2,))
    assert _received(grid) == {2: "plant-3"}
    assert [message.metadata.dst_node_id for message in network.pushed] == [FIRST + 2]


def test_each_gets_its_own_row_of_what_is_its_own(plants: Deployment) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    grid.send(Tasks(HELLO, 0, np.array([0, 2]), {"all": np.ones(2)}, {"mine": np.array([[1, 2], [3, 4]])}))
    for message, mine in zip(network.pushed, ([1, 2], [3, 4]), strict=True):
        body = _ask(message).tasks
        assert body.shared["all"].tolist() == [1, 1]
        assert body.own["mine"].tolist() == [mine]


def _ask(message: Message) -> Ask:
    from tests.wire import read_ask

    return read_ask(from_records(message.content))


def test_without_a_briefing_nothing_is_sent(plants: Deployment) -> None:
    grid = FlowerGrid(_network(plants), tuple(plants.kits), 5.0)
    with pytest.raises(ClientError, match="brief"):
        _hello(grid)


def test_who_is_offline_fails_at_once_and_is_asked_when_back(plants: Deployment) -> None:
    network = _network(plants)
    network.offline = {FIRST + 1}
    grid = _grid(plants, network)
    _hello(grid)
    assert _received(grid) == {**ALL, 1: "is offline"}
    network.offline = set()
    _hello(grid, 1)
    assert _received(grid) == ALL


def test_a_message_that_is_not_taken_fails_at_once(plants: Deployment) -> None:
    network = _network(plants)
    network.refused = {FIRST, FIRST + 2}
    grid = _grid(plants, network)
    _hello(grid)
    lost = "its message could not be delivered"
    assert _received(grid) == {0: lost, 1: "plant-2", 2: lost}


def test_messages_too_large_for_the_superlink_are_all_not_delivered(plants: Deployment) -> None:
    class Full(Network):
        def push_messages(self, messages: Any) -> list[str]:
            return []

    network = _network(plants)
    grid = _grid(plants, Full(network.desks, network.names))
    _hello(grid)
    assert _received(grid) == dict.fromkeys(ALL, "its message could not be delivered")


def test_who_still_owes_an_answer_is_not_asked_again_until_it_came(plants: Deployment) -> None:
    network = _network(plants)
    network.silent = {FIRST + 1}
    grid = _grid(plants, network)
    _hello(grid)
    assert _received(grid, 0.0) == {}  # no time at all: what came is late too
    _hello(grid, 1)
    busy = "is still busy with its hello task of round 0"
    assert _received(grid) == {**ALL, 1: busy}
    pushed = len(network.pushed)
    network.silent = set()
    _hello(grid, 2)
    assert len(network.pushed) == pushed + 3
    assert _received(grid) == ALL


def test_a_late_answer_is_never_heard(plants: Deployment) -> None:
    network = _network(plants)
    network.silent = {FIRST}
    grid = _grid(plants, network)
    _hello(grid, 3)
    assert _received(grid, 0.0) == {}
    network.silent = set()
    _hello(grid, 4, clients=(0,))
    arrivals = list(grid.receive(5.0))
    assert [arrival.round for arrival in arrivals] == [4]


def test_who_let_a_task_expire_is_asked_again_once_it_answers_to_its_name(plants: Deployment) -> None:
    network = _network(plants)
    network.replies[FIRST] = lambda message: Error(code=3)  # the SuperLink's own answer when the time is over
    grid = _grid(plants, network)
    _hello(grid, clients=(0,))
    assert _received(grid) == {0: "no answer in time (federation.round_timeout_s)"}
    for round in (1, 2):
        _hello(grid, round, clients=(0,))
        assert _received(grid) == {0: "is still busy with its hello task of round 0"}
    network.replies.clear()
    network.silent = {FIRST}
    pushed = len(network.pushed)
    assert pushed == 3, "one task, and twice the question for its name, which expired too"
    for round in (3, 4):
        _hello(grid, round, clients=(0,))
        assert _received(grid) == {0: "is still busy with its hello task of round 0"}
    assert len(network.pushed) == pushed
    network.silent = set()
    _hello(grid, 6, clients=(0,))
    assert _received(grid) == {0: "plant-1"}


def test_a_client_that_only_counts_as_online_is_not_ready_before_it_gives_a_sign_of_life(plants: Deployment) -> None:
    network = _network(plants)
    network.silent, network.offline = {FIRST}, {FIRST + 1}
    grid = _grid(plants, network)
    assert grid.ready() == {"plant-1", "plant-3"}, "nobody is in doubt"
    grid.doubt()
    assert grid.ready() == set()
    assert grid.ready() == {"plant-3"}
    _hello(grid)
    owing = "is still busy with what it was asked before the run went on"
    assert _received(grid) == {0: owing, 1: "is offline", 2: "plant-3"}
    network.silent = network.offline = set()
    assert grid.ready() == {"plant-1", "plant-2", "plant-3"}
    _hello(grid, 1)
    assert _received(grid) == ALL


def test_who_was_offline_owes_nothing(plants: Deployment) -> None:
    network = _network(plants)
    network.silent = {FIRST}
    grid = _grid(plants, network)
    _hello(grid, clients=(0,))
    assert _received(grid, 0.0) == {}
    network.silent, network.offline = set(), {FIRST}
    _hello(grid, 1, clients=(0,))
    assert _received(grid) == {0: "is offline"}
    network.offline = set()
    _hello(grid, 2, clients=(0,))
    assert _received(grid) == {0: "plant-1"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Error(code=8), "its worker process crashed"),
        (Error(code=7), "app bundle"),
        (Error(code=3), "no answer in time"),
        (Error(code=5), "went offline"),
        (Error(code=77), "Flower's code 77"),
        (Error(code=2, reason="the worker died\n\x1b[31m"), "the worker died  [31m"),
    ],
)
def test_an_error_in_place_of_an_answer_is_that_clients_failure(error: Error, reason: str, plants: Deployment) -> None:
    network = _network(plants)
    network.replies = {FIRST + 1: lambda message: error}
    grid = _grid(plants, network)
    _hello(grid)
    outcomes = _received(grid)
    assert outcomes.pop(1).endswith(reason) or reason in outcomes.get(1, reason)
    assert outcomes == {0: "plant-1", 2: "plant-3"}


def _vector(**how: Any) -> RecordDict:
    values: dict[str, Any] = {"dtype": "float32", "shape": (1,), "stype": "raw.float32.le", "data": b"abcd", **how}
    content = ConfigRecord({"head": b"{}"})
    return RecordDict({"werkbund": content, "vector": ArrayRecord({"vector": Array(**values)})})


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"other": ConfigRecord({"head": b"{}"})}),
        RecordDict({"werkbund": ConfigRecord({"head": "{}"})}),
        RecordDict({"werkbund": ConfigRecord({"body": b""})}),
        RecordDict({"werkbund": ConfigRecord({"head": b"{}", "body": 1})}),
        RecordDict({"werkbund": ConfigRecord({"head": b"{}"}), "more": MetricRecord({"a": 1})}),
        RecordDict({"werkbund": ConfigRecord({"head": b"{}"}), "more": ConfigRecord({"a": 1})}),
        RecordDict({"werkbund": ConfigRecord({"head": b"{}"}), "vector": ArrayRecord()}),
        _vector(stype="numpy.ndarray"),
        _vector(),
    ],
)
def test_other_records_than_ours_are_that_clients_failure(records: RecordDict, plants: Deployment) -> None:
    network = _network(plants)
    network.replies = {FIRST: lambda message: records}
    grid = _grid(plants, network)
    _hello(grid, clients=(0, 1))
    outcomes = _received(grid)
    assert outcomes[1] == "plant-2"
    assert outcomes[0] not in ("plant-1", "")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (head(kind="survey"), "it answered its survey task of round 0 instead"),
        (head(round=9), "it answered its hello task of round 9 instead"),
        (head(client=2), "instead"),
        (head(client=-1), "whole number"),
        (head(name="plant-3"), "an answer of 'plant-3' came instead; two clients may use the same key"),
        (head(name=""), "an answer of '' came instead"),
        (head(name="x" * 9000), "two clients may use the same key"),
        (head(code="policy", reason=""), "policy"),
        (head(code="policy", reason="not today"), "not today"),
        (head(code="briefing"), "briefing"),
    ],
)
def test_an_answer_to_something_else_is_that_clients_failure(how: Spoil, reason: str, plants: Deployment) -> None:
    network = _network(plants, **{"plant-2": spoilt(plants.desk("plant-2").answer, lambda ask: how)})
    grid = _grid(plants, network)
    _hello(grid)
    outcomes = _received(grid)
    assert reason in outcomes[1]
    assert len(outcomes[1]) < 300
    assert (outcomes[0], outcomes[2]) == ("plant-1", "plant-3")


def test_the_key_of_another_client_is_found_out(plants: Deployment) -> None:
    network = _network(plants, **{"plant-2": plants.desk("plant-1").answer})
    grid = _grid(plants, network)
    _hello(grid)
    assert "an answer of 'plant-1' came instead" in _received(grid)[1]


def test_what_the_run_is_about_is_sent_once_and_again_to_who_has_lost_it(plants: Deployment, tmp_path: Path) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    for round in range(3):
        _hello(grid, round)
        assert _received(grid) == ALL
    assert [_ask(message).brief is not None for message in network.pushed] == [True] * 3 + [False] * 6
    (plants.kits["plant-2"] / "state" / "briefings").rename(tmp_path / "lost")
    network.desks = {**network.desks, FIRST + 1: plants.desk("plant-2").answer}
    _hello(grid, 3)
    assert _received(grid) == ALL
    again = network.pushed[12:]
    assert [(message.metadata.dst_node_id, _ask(message).brief is not None) for message in again] == [(FIRST + 1, True)]


def test_who_has_lost_it_and_cannot_be_reached_again_fails(plants: Deployment, tmp_path: Path) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    _hello(grid)
    assert _received(grid) == ALL
    (plants.kits["plant-2"] / "state" / "briefings").rename(tmp_path / "lost")
    network.desks = {**network.desks, FIRST + 1: plants.desk("plant-2").answer}
    _hello(grid, 1)
    network.refused = {FIRST + 1}
    assert _received(grid) == {**ALL, 1: "its message could not be delivered"}


def test_another_briefing_is_sent_to_everybody(plants: Deployment) -> None:
    network = _network(plants)
    grid = _grid(plants, network)
    _hello(grid)
    assert _received(grid) == ALL
    public = for_clients(plants.config)
    grid.brief(lambda number: Briefing("another run", public, number))
    _hello(grid, 1)
    assert _received(grid) == ALL
    assert all(_ask(message).brief for message in network.pushed)


def test_a_run_over_flowers_messages_is_the_direct_one_and_no_bad_answer_moves_it(tmp_path: Path) -> None:
    ways: dict[str, tuple[Spoil, str]] = {
        **{
            name: BAD_TRAINING[name]
            for name in ("a NaN in the update", "no update", "another layout", "a bomb", "no head")
        },
        "another kind": (head(kind="evaluate"), "it answered its evaluate task"),
        "another round": (head(round=1), "it answered its train task of round 1"),
        "another client": (head(client=0), "instead"),
        "another name": (head(name="plant-1"), "same key"),
    }
    listed = list(ways.values())
    sections: dict[str, Any] = {
        "federation": {"rounds": len(listed) + 1},
        "data": {"rows": 450},
        "evaluation": {"keep_best": False},
    }
    one, other = deploy(tmp_path / "one", **sections), deploy(tmp_path / "other", **sections)

    def spoil(ask: Ask) -> Spoil | None:
        bad = ask.tasks.kind == TRAIN and ask.tasks.round <= len(listed)
        return listed[ask.tasks.round - 1][0] if bad else None

    network = _network(one, **{"plant-2": spoilt(one.desk("plant-2").answer, spoil)})
    one.run(FlowerGrid(network, tuple(one.kits), 60.0))
    lines = [json.loads(line) for line in (one.folder / "run" / "rounds.jsonl").read_text().splitlines()]
    said = {line["round"]: "; ".join(f["reason"] for f in line["failures"]) for line in lines if line["cohort"]}
    wrong = {
        name: said[number]
        for number, (name, (_, reason)) in enumerate(ways.items(), start=1)
        if not re.search(reason, said[number])
    }
    assert wrong == {}
    assert said[len(listed) + 1] == ""

    absent = _network(other)
    whole = other.desk("plant-2").answer

    def away(message: Message) -> Any:
        parcel = from_records(message.content)
        kind, round = kind_of(parcel)
        return Error(code=5) if kind == "train" and round <= len(listed) else to_records(whole(parcel))

    absent.replies = {FIRST + 1: away}
    other.run(FlowerGrid(absent, tuple(other.kits), 60.0))
    np.testing.assert_array_equal(weights_in(one.folder / "run"), weights_in(other.folder / "run"))


def test_how_long_an_answer_took_is_measured_where_it_is_asked_for_whatever_the_client_says(plants: Deployment) -> None:
    liar = spoilt(plants.desk("plant-2").answer, lambda ask: arrays("clear", seconds=np.array([1e-9])))
    network = _network(plants, **{"plant-2": liar})
    grid = _grid(plants, network)
    for needs, measured in ((["loss", "seconds"], True), (["loss"], False)):
        grid.send(Tasks(HELLO, len(needs), np.array([0, 1]), {"needs": np.array(needs)}))
        time.sleep(0.05)
        for arrival in grid.receive(5.0):
            assert isinstance(arrival, Replies)
            assert ("seconds" in arrival.clear) is measured
            assert not measured or 0.05 <= arrival.clear["seconds"][0] < 5.0


def test_when_enough_have_come_nobody_waits_for_the_others(plants: Deployment) -> None:
    network = _network(plants)
    network.silent = {FIRST}
    grid = _grid(plants, network)
    grid.send(Tasks(HELLO, 1, np.array([0, 1, 2]), keep=2))
    arrivals = list(grid.receive(60.0))
    (given_up,) = [arrival for arrival in arrivals if isinstance(arrival, Failure)]
    assert len(arrivals) == 3
    assert (given_up.client, given_up.reason) == (0, "came after enough others (over-commitment)")
    assert given_up.seconds > 0
    _hello(grid, 2)
    assert _received(grid) == {**ALL, 0: "is still busy with its hello task of round 1"}
    network.silent = set()
    _hello(grid, 3)
    assert _received(grid) == ALL


def test_an_answer_may_be_as_large_as_the_weights_ask_for(plants: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("werkbund.flower.server.grid.MOST_SMALL_BYTES", 1000)
    reply = {"update": np.ones((1, 500), np.float32)}

    def answer(message: Message) -> RecordDict:
        from werkbund.flower.wire.codec import Answer, encode_answer

        ask = _ask(message)
        replies = Replies(TRAIN, ask.tasks.round, ask.tasks.clients, reply)
        return to_records(encode_answer(ask, Answer(replies, name="plant-1")))

    network = _network(plants)
    network.replies = {FIRST: answer}
    grid = _grid(plants, network)
    for parameters, fits in ((500, True), (100, False)):
        weights = {"weights": np.zeros(parameters, np.float32)}
        grid.send(Tasks(TRAIN, parameters, np.array([0]), weights))
        (arrival,) = grid.receive(5.0)
        assert isinstance(arrival, Replies) is fits


@pytest.mark.parametrize("lie", ["another node", "another run", "a node that is nobody", "both"])
@pytest.mark.parametrize("client", [0, 1, 2])
def test_nobody_answers_for_another_client(plants: Deployment, lie: str, client: int) -> None:
    """Answers to the right message from the wrong node, or in the wrong run, are no answers; the right one counts."""
    network, honest = _network(plants), list[Message]()
    real = network._reply

    def forged(message: Message) -> Message | None:
        reply = real(message)
        assert reply is not None
        if message.metadata.dst_node_id == FIRST + client:
            honest.append(reply)
            reply = real(message)
            assert reply is not None
            if lie != "another run":
                reply.metadata.__dict__["_src_node_id"] = 99 if lie.startswith("a node") else FIRST + (client + 1) % 3
            if lie in ("another run", "both"):
                reply.metadata.__dict__["_run_id"] = 77
        return reply

    network.__dict__["_reply"] = forged
    grid = _grid(plants, network)
    _hello(grid)
    assert _received(grid, 1.0) == {number: name for number, name in ALL.items() if number != client}
    _hello(grid, 1)
    assert "busy" in _received(grid, 0.5)[client]
    assert len(honest) == 1


def test_an_answer_counts_once(plants: Deployment) -> None:
    network = _network(plants)
    pulled = network._pulled
    network.__dict__["_pulled"] = lambda wanted: 3 * pulled(wanted)
    grid = _grid(plants, network)
    _hello(grid)
    arrivals = list(grid.receive(5.0))
    assert sorted(int(arrival.clients[0]) for arrival in arrivals if isinstance(arrival, Replies)) == [0, 1, 2]


def test_a_parcel_survives_flowers_records() -> None:
    for parcel in (Parcel(b"{}"), Parcel(b"{}", b"body"), Parcel(b"{}", b"", b"abcd"), Parcel(b"{}", b"b", b"abcd")):
        assert from_records(to_records(parcel)) == parcel
