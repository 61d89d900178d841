"""Who is online, by name: a client keeps its name whatever number Flower gives its node."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid as FlowerApi

from werkbund.core.errors import ClientError
from werkbund.flower.codec import decode_answer, encode_whoami
from werkbund.flower.records import from_records, to_records

_PATIENCE_S = 30.0
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
        """Ask nodes without a name for it; one that does not answer is asked again next time."""
        if not nodes:
            return
        records = to_records(encode_whoami())
        messages = [Message(records, dst_node_id=node, message_type="query", ttl=_PATIENCE_S) for node in nodes]
        waiting = set(filter(None, self._grid.push_messages(messages)))
        deadline = time.monotonic() + _PATIENCE_S
        while waiting and time.monotonic() < deadline:
            for reply in self._grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                self._note(reply)
            if waiting:
                time.sleep(_PAUSE_S)

    def _note(self, reply: Message) -> None:
        if reply.has_error():
            return
        try:
            name = decode_answer(from_records(reply.content)).name
        except ClientError:
            return
        if name:
            self._names[int(reply.metadata.src_node_id)] = name
