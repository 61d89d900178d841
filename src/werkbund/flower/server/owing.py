"""Clients that owe an answer: none is asked for more before it gives a sign of life."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Message
from flwr.serverapp import Grid as FlowerApi

from werkbund.flower.server.pulling import Pulling, is_lost
from werkbund.flower.wire.codec import encode_whoami
from werkbund.flower.wire.records import to_records

_KNOCK_S = 60.0


class Owing:
    """Know the clients that did not answer in time, and find out when they are free again.

    While the message lives its answer may still come. After that the client is asked for its name, which costs it
    nothing; once it has answered that, it has done with whatever it was busy with.

    Parameters
    ----------
    grid
        Flower's.
    pulling
        Fetches answers from it.
    """

    def __init__(self, grid: FlowerApi, pulling: Pulling) -> None:
        self._grid, self._pulling = grid, pulling
        self._tasks: dict[int, str] = {}
        self._late: dict[str, int] = {}
        self._knocks: dict[str, int] = {}

    def add(self, number: str, client: int, task: str) -> None:
        """Note a client that owes an answer.

        Parameters
        ----------
        number
            Of the message that may still be answered; empty if it has expired.
        client
            Whose.
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
        """Free the clients that have answered, and knock at those whose answer never will come.

        Parameters
        ----------
        online
            Nodes of the clients that are online. One that is not is free: what it was busy with is over when it
            comes back.
        """
        for client in [client for client in self._tasks if client not in online]:
            self._free(client)
        waiting = [*self._late, *self._knocks]
        for message in self._pulling.pull(waiting) if waiting else ():
            self.hear(message)
        asked = {*self._late.values(), *self._knocks.values()}
        self._knock({client: online[client] for client in self._tasks if client not in asked})

    def hear(self, message: Message) -> None:
        """Take an answer that came late; any is a sign of life, except that none will come."""
        for waiting in (self._late, self._knocks):
            client = waiting.pop(message.metadata.reply_to_message_id, None)
            if client is not None and not is_lost(message):
                self._free(client)

    def _free(self, client: int) -> None:
        self._tasks.pop(client, None)
        for waiting in (self._late, self._knocks):
            for number in [number for number, owing in waiting.items() if owing == client]:
                del waiting[number]

    def _knock(self, nodes: Mapping[int, int]) -> None:
        if not nodes:
            return
        records = to_records(encode_whoami())
        messages = [Message(records, dst_node_id=node, message_type="query", ttl=_KNOCK_S) for node in nodes.values()]
        numbers = self._grid.push_messages(messages)
        self._knocks |= {number: client for number, client in zip(numbers, nodes, strict=False) if number}
