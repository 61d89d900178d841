"""Flower's nodes as a run sees them: who is online, by name, and who is busy with an earlier question.

A client keeps its name whatever number Flower gives its node. One that owes an answer is asked for nothing more before
it gives a sign of life. Both ask nodes for their clients' names, which costs them nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid as FlowerApi

from werkbund.core.errors import ClientError
from werkbund.flower.server.mailbox import Mailbox, is_lost
from werkbund.flower.wire.codec import WHO, decode_answer, encode_whoami
from werkbund.flower.wire.records import from_records, to_records

_PATIENCE_S, _WAIT_S = 180.0, 5.0
_PAUSE_S = 0.2
_KNOCK_S = 60.0


class Directory:
    """Find the nodes that are online by the names of their clients.

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
        online: dict[str, int] = {}
        bearers: dict[str, int] = {}
        for node, name in self._names.items():  # in the order in which they were first seen
            if node in nodes:
                online.setdefault(name, node)
                bearers[name] = bearers.get(name, 0) + 1
        self.conflicts = {name: number for name, number in bearers.items() if number > 1}
        return online

    def _nodes(self) -> Iterable[Any]:
        nodes: Iterable[Any] = self._grid.get_nodes()
        return nodes

    def _ask(self, nodes: list[int]) -> None:
        """Ask nodes without a name for it, and wait a while; an answer that comes later is heard next time.

        A node that starts a process for each message may need a minute for the first one.
        """
        now = time.monotonic()
        self._asked = {number: asked for number, asked in self._asked.items() if asked[1] > now}
        owing = {node for node, _ in self._asked.values()}
        asked = _ask_names(self._grid, [node for node in nodes if node not in owing], _PATIENCE_S)
        self._asked |= {number: (node, now + _PATIENCE_S) for number, node in asked.items()}
        deadline = time.monotonic() + _WAIT_S
        while self._asked and time.monotonic() < deadline:
            for reply in self._grid.pull_messages(set(self._asked)):
                node, _ = self._asked.pop(reply.metadata.reply_to_message_id, (None, 0.0))
                if node == reply.metadata.src_node_id:
                    self._note(reply)
            if self._asked:
                time.sleep(_PAUSE_S)

    def _note(self, reply: Message) -> None:
        if reply.has_error():
            return
        try:
            name = decode_answer(from_records(reply.content), WHO).name
        except ClientError:
            return
        if name:
            self._names[int(reply.metadata.src_node_id)] = name


class BusyClients:
    """Keep the clients that did not answer in time, and find out when they are free again.

    While the message lives its answer may still come. After that the client is asked for its name, which costs it
    nothing; once it has answered that, it has done with whatever it was busy with.

    Parameters
    ----------
    grid
        Flower's.
    mailbox
        Fetches answers from it.
    """

    def __init__(self, grid: FlowerApi, mailbox: Mailbox) -> None:
        self._grid, self._mailbox = grid, mailbox
        self._tasks: dict[int, str] = {}
        self._late: dict[str, int] = {}
        self._knocks: dict[str, int] = {}

    def add(self, number: str, client: int, task: str) -> None:
        """Note a client that owes an answer.

        Parameters
        ----------
        number
            Of the message that may still be answered; empty if its time is over.
        client
            Its number in the run.
        task
            What it was asked, in words.
        """
        self._tasks.setdefault(client, task)
        if number:
            self._late[number] = client

    def tasks(self) -> dict[int, str]:
        """Return what each client that owes an answer was asked, in words."""
        return dict(self._tasks)

    def look(self, online: Mapping[int, int]) -> None:
        """Free the clients that have answered since, and ask those for a sign of life whose answer never will come.

        Parameters
        ----------
        online
            Nodes of the clients that are online. One that is not is free: what it was busy with is over when it
            comes back.
        """
        for client in [client for client in self._tasks if client not in online]:
            self._free(client)
        waiting = [*self._late, *self._knocks]
        for message in self._mailbox.pull(waiting) if waiting else ():
            self.hear(message)
        asked = {*self._late.values(), *self._knocks.values()}
        silent = {online[client]: client for client in self._tasks if client not in asked}
        knocks = _ask_names(self._grid, list(silent), _KNOCK_S)
        self._knocks |= {number: silent[node] for number, node in knocks.items()}

    def hear(self, message: Message) -> None:
        """Free the client of an answer that came late; Flower's word that none will come is no sign of life."""
        for waiting in (self._late, self._knocks):
            client = waiting.pop(message.metadata.reply_to_message_id, None)
            if client is not None and not is_lost(message):
                self._free(client)

    def _free(self, client: int) -> None:
        self._tasks.pop(client, None)
        for waiting in (self._late, self._knocks):
            for number in [number for number, owing in waiting.items() if owing == client]:
                del waiting[number]


def _ask_names(grid: FlowerApi, nodes: Sequence[int], ttl_s: float) -> dict[str, int]:
    """Ask nodes for their clients' names; return message number -> node of each message that Flower took."""
    if not nodes:
        return {}
    records = to_records(encode_whoami())
    messages = [Message(records, dst_node_id=node, message_type="query", ttl=ttl_s) for node in nodes]
    return {number: node for number, node in zip(grid.push_messages(messages), nodes, strict=False) if number}
