from __future__ import annotations

from typing import Any

import pytest
from flwr.app import Error

from tests.flower.fake_network import Network, as_server_app
from tests.wire import read_ask
from werkbund.flower.server import nodes as module
from werkbund.flower.server.nodes import Directory
from werkbund.flower.wire.codec import WHO, Answer, encode_answer
from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import from_records


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    as_server_app(monkeypatch)
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)


def _desk(name: str) -> Any:
    def answer(parcel: Parcel) -> Parcel:
        ask = read_ask(parcel)
        assert ask.tasks.kind == WHO
        return encode_answer(ask, Answer(None, "name", "", name))

    return answer


def _network(names: dict[int, str], registered: dict[int, str] | None = None) -> Network:
    return Network({node: _desk(name) for node, name in names.items()}, registered or {})


def test_nodes_that_were_registered_by_name_are_not_asked() -> None:
    network = _network({1: "?", 2: "?"}, {1: "Hof", 2: "Ulm"})
    assert Directory(network).online() == {"Hof": 1, "Ulm": 2}
    assert network.pushed == []


def test_nodes_without_a_name_are_asked_once() -> None:
    network = _network({1: "?", 2: "Ulm", 3: "Jena"}, {1: "Hof"})
    directory = Directory(network)
    for _ in range(3):
        assert directory.online() == {"Hof": 1, "Ulm": 2, "Jena": 3}
    assert [message.metadata.dst_node_id for message in network.pushed] == [2, 3]
    assert all(read_ask(from_records(message.content)).name == "" for message in network.pushed)


def test_only_who_is_there_now_is_online_and_a_name_may_come_back_with_another_number() -> None:
    network = _network({1: "?", 2: "?"}, {1: "Hof", 2: "Ulm"})
    directory = Directory(network)
    directory.online()
    network.offline = {2}
    assert directory.online() == {"Hof": 1}
    network.desks = {**network.desks, 7: _desk("?")}
    network.names = {**network.names, 7: "Ulm"}
    assert directory.online() == {"Hof": 1, "Ulm": 7}
    assert directory.conflicts == {}


def test_two_nodes_of_one_name_are_a_conflict_and_the_first_is_asked() -> None:
    network = _network({1: "?", 2: "?", 3: "Hof"}, {1: "Hof", 2: "Ulm"})
    directory = Directory(network)
    assert directory.online() == {"Hof": 1, "Ulm": 2}
    assert directory.conflicts == {"Hof": 2}
    network.offline = {1}
    assert directory.online() == {"Hof": 3, "Ulm": 2}
    assert directory.conflicts == {}


@pytest.mark.parametrize("how", ["silent", "error", "other records", "refused", "no name"])
def test_who_does_not_say_its_name_is_not_online_and_is_asked_again(how: str) -> None:
    network = _network({1: "Hof", 2: "Ulm"})
    if how == "silent":
        network.silent = {2}
    elif how == "refused":
        network.refused = {2}
    elif how == "no name":
        network.desks = {**network.desks, 2: _desk("")}
    else:
        network.replies = {2: lambda message: Error(code=2) if how == "error" else message.content}
    directory = Directory(network)
    assert directory.online() == {"Hof": 1}
    network.silent, network.refused, network.replies = set(), set(), {}
    network.desks = {**network.desks, 2: _desk("Ulm")}
    assert directory.online() == {"Hof": 1, "Ulm": 2}


def test_nobody_there_is_nobody_online() -> None:
    network = _network({})
    assert Directory(network).online() == {}
    assert network.pushed == []


def test_no_node_names_another_one() -> None:
    network = _network({1: "Hof", 2: "Ulm"})
    real = network._reply

    def forged(message: Any) -> Any:
        reply = real(message)
        if reply is not None and message.metadata.dst_node_id == 2:
            reply.metadata.__dict__["_src_node_id"] = 1
        return reply

    network.__dict__["_reply"] = forged
    assert Directory(network).online() == {"Hof": 1}
