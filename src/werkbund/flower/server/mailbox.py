"""Fetching answers from Flower without waiting for one whose content is still on its way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from flwr.app import Message, Metadata
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid as FlowerApi

PATIENCE_S = 2.0
"""Seconds after which a call to Flower is left to itself."""

_MOST_CALLS = 16
"""At most so many calls are under way at once: while the SuperLink is away, none comes back."""

_LOST = (3, 4)  # the message or its answer has expired, or is known no more


def is_lost(message: Message) -> bool:
    """Return whether Flower says by a message that no answer will come, because the time for it is over."""
    return bool(message.has_error() and message.error.code in _LOST)


def is_answer_to(message: Message, asked: Metadata) -> bool:
    """Return whether a message comes from the node that was asked, in the same run; or from the SuperLink for it."""
    given = message.metadata
    return bool(given.run_id == asked.run_id and given.src_node_id in (asked.dst_node_id, SUPERLINK_NODE_ID))


@dataclass(frozen=True)
class _Call:
    thread: threading.Thread
    numbers: frozenset[str]


class Mailbox:
    """Fetch answers from Flower, each call in a thread of its own.

    A client announces its answer before it sends the content. If its network fails in between, Flower's own call waits
    for the content for minutes, and with it every other client's answer and the end of the round. Flower hands out an
    announced answer once, so calls that overlap bring each answer once.

    Flower forgets a question as soon as the content of its answer is fetched. A later call that asks for it then hears
    that there is none, maybe before the earlier one has come back with it; so that is believed only when no call that
    might bring the answer is under way.

    Parameters
    ----------
    grid
        Flower's.
    patience_s
        Seconds after which a call is left to itself.
    """

    def __init__(self, grid: FlowerApi, patience_s: float = PATIENCE_S) -> None:
        self._grid, self._patience_s = grid, patience_s
        self._done: queue.SimpleQueue[list[Message] | BaseException] = queue.SimpleQueue()
        self._calls: list[_Call] = []
        self._answered: set[str] = set()
        self._doubtful: list[Message] = []

    def pull(self, numbers: Sequence[str], within_s: float = PATIENCE_S) -> list[Message]:
        """Return the answers that have arrived, also those that an earlier call was still waiting for.

        Parameters
        ----------
        numbers
            Of the messages whose answers are looked for.
        within_s
            Seconds to wait at most.
        """
        self._calls = self._under_way()
        if numbers and len(self._calls) < _MOST_CALLS:
            thread = threading.Thread(target=self._call, args=(list(numbers),), daemon=True)
            self._calls.append(_Call(thread, frozenset(numbers)))
            thread.start()
        if self._calls:
            self._calls[-1].thread.join(max(min(within_s, self._patience_s), 0.0))
        under_way = self._under_way()  # looked at before the answers: who has ended has put his there
        return self._trustworthy(self._taken(), {number for call in under_way for number in call.numbers})

    def _under_way(self) -> list[_Call]:
        return [call for call in self._calls if call.thread.is_alive()]

    def _taken(self) -> list[Message]:
        arrived: list[Message] = []
        while not self._done.empty():
            result = self._done.get()
            if isinstance(result, BaseException):
                raise result
            arrived += result
        return arrived

    def _trustworthy(self, arrived: list[Message], awaited: set[str]) -> list[Message]:
        """Return what arrived, without a "no answer" to what was answered, or still may be: its number is `awaited`."""
        answers = [message for message in arrived if not is_lost(message)]
        self._answered |= {_number(message) for message in answers}
        lost = [*self._doubtful, *(message for message in arrived if is_lost(message))]
        lost = [message for message in lost if _number(message) not in self._answered]
        self._doubtful = [message for message in lost if _number(message) in awaited]
        self._answered &= awaited
        return [*answers, *(message for message in lost if _number(message) not in awaited)]

    def _call(self, numbers: list[str]) -> None:
        try:
            self._done.put(list(self._grid.pull_messages(numbers)))
        except BaseException as error:  # Flower's own that say that the run was stopped are no usual ones
            self._done.put(error)


def _number(message: Message) -> str:
    return str(message.metadata.reply_to_message_id)
