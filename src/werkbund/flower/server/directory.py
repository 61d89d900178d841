"""Who is online, by name: a client keeps its name whatever number Flower gives its node."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid as FlowerApi

from werkbund.core.errors import ClientError
from werkbund.flower.wire.codec import WHO, decode_answer, encode_whoami
from werkbund.flower.wire.records import from_records, to_records

_PATIENCE_S, _WAIT_S = 180.0, 5.0
_PAUSE_S = 0.2


class Directory:
    """Know the nodes of a run by their clients' names.

    A node that was registered with its key has its name from the registration. One that registered itself, as nodes
    may where keys are not asked for, is asked once.

    Parameters
    ----------
    grid
        Flower's.
    """

    def __init__(self, grid: FlowerApi) -> None:
        self._grid = grid
        self._names: dict[int, str] = {}
        self._asked: dict[str, tuple[int, float]] = {}
        self.conflicts: dict[str, int] = {}
        """Names that more than one node goes by, with their number: nothing tells which of them is meant."""

    def online(self) -> dict[str, int]:
        """Return the nodes that are online now, by client name."""
        nodes = {int(node.node_id): str(getattr(node, "name", "") or "") for node in self._nodes()}
        self._names |= {node: name for node, name in nodes.items() if name}
        self._ask([node for node in nodes if node not in self._names])
        found: dict[str, int] = {}
        bearers: dict[str, int] = {}
        for node, name in self._names.items():  # in the order in which they were first seen
            if node in nodes:
                found.setdefault(name, node)
                bearers[name] = bearers.get(name, 0) + 1
        self.conflicts = {name: number for name, number in bearers.items() if number > 1}
        return found

    def _nodes(self) -> Iterable[Any]:
        nodes: Iterable[Any] = self._grid.get_nodes()
        return nodes

    def _ask(self, nodes: list[int]) -> None:
        """Ask nodes without a name for it, and wait a while; an answer that comes later is heard next time.

        A node that starts a process for each message may need a minute for the first one.
        """
        now = time.monotonic()
        self._asked = {number: one for number, one in self._asked.items() if one[1] > now}
        owing = {node for node, _ in self._asked.values()}
        self._send([node for node in nodes if node not in owing])
        deadline = time.monotonic() + _WAIT_S
        while self._asked and time.monotonic() < deadline:
            for reply in self._grid.pull_messages(set(self._asked)):
                self._asked.pop(reply.metadata.reply_to_message_id, None)
                self._note(reply)
            if self._asked:
                time.sleep(_PAUSE_S)

    def _send(self, nodes: list[int]) -> None:
        if not nodes:
            return
        records = to_records(encode_whoami())
        messages = [Message(records, dst_node_id=node, message_type="query", ttl=_PATIENCE_S) for node in nodes]
        expires = time.monotonic() + _PATIENCE_S
        for node, number in zip(nodes, self._grid.push_messages(messages), strict=False):
            if number is not None:
                self._asked[number] = (node, expires)

    def _note(self, reply: Message) -> None:
        if reply.has_error():
            return
        try:
            name = decode_answer(from_records(reply.content), WHO).name
        except ClientError:
            return
        if name:
            self._names[int(reply.metadata.src_node_id)] = name
