"""What stands in for the network: Flower's own messages, handed to plants' desks in this process.

Messages are inflated from their bytes again on each way, as they are after a journey. Only SuperLink and SuperNodes
are missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from tests.deployed import Answerer
from werkbund.flower.wire.records import from_records, to_records


def as_server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be a ServerApp's, as Flower's messages want to know."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


Reply = Any
"""What comes back for a message: Flower's RecordDict or Error; None for nothing."""


@dataclass
class Network:
    """Carry messages to nodes, by the verbs of Flower's grid that ours uses.

    Parameters
    ----------
    desks
        By node number.
    names
        The name that a node is registered under; empty if it registered itself.
    silent
        Numbers of nodes that do not answer until they are taken out; then they answer what was asked before too.
    refused
        Numbers of nodes for which no message is taken.
    offline
        Numbers of nodes that are not there.
    """

    desks: Mapping[int, Answerer]
    names: Mapping[int, str]
    silent: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    offline: set[int] = field(default_factory=set)
    replies: dict[int, Callable[[Message], Reply]] = field(default_factory=dict)
    pushed: list[Message] = field(default_factory=list)
    pulled: list[set[str]] = field(default_factory=list)
    _open: list[Message] = field(default_factory=list)
    _at_work: Any = field(default_factory=threading.Lock)  # a grid may ask again before the first call has come back

    def get_node_ids(self) -> Iterable[int]:
        return [node for node in self.desks if node not in self.offline]

    def get_nodes(self) -> Iterable[Any]:
        return [NodeInfo(node_id=node, name=self.names.get(node, "")) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            self.pushed.append(message)
            taken = message.metadata.dst_node_id not in self.refused
            if taken:
                self._open.append(_travelled(message))
            numbers.append(message.metadata.message_id if taken else "")  # as the SuperLink's answer says it
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        with self._at_work:
            return self._pulled(set(message_ids))

    def _pulled(self, wanted: set[str]) -> list[Message]:
        self.pulled.append(wanted)
        arrived = []
        for message in reversed([message for message in self._open if message.metadata.message_id in wanted]):
            node = message.metadata.dst_node_id
            if node in self.silent | self.offline:
                continue
            reply = self._reply(message)
            self._open.remove(message)
            if reply is not None:
                arrived.append(_travelled(reply))
        return arrived

    def _reply(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        answer = self.replies[node](message) if node in self.replies else _answer(self.desks[node], message)
        return None if answer is None else Message(answer, reply_to=message)


def _answer(desk: Answerer, message: Message) -> RecordDict:
    return to_records(desk(from_records(message.content)))


def _travelled(message: Message) -> Message:
    """Return a message as it is after it was sent and received."""
    with no_object_id_recompute():
        number = message.metadata.message_id or message.object_id
        contents = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
        again = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(again, Message)
    again.metadata.__dict__["_message_id"] = number
    return again
