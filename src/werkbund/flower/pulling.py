"""Answers are fetched without waiting for one whose content is still on its way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from flwr.app import Message
from flwr.serverapp import Grid as FlowerApi

PATIENCE_S = 2.0
"""Seconds after which a call to Flower is left to itself."""

_MOST_CALLS = 16
"""At most so many calls are under way at once: while the SuperLink is away, none comes back."""


class Pulling:
    """Fetch answers from Flower, each call in a thread of its own.

    A client announces its answer before it sends the content. If its network fails in between, Flower's own call waits
    for the content for minutes, and with it every other client's answer and the end of the round. Flower hands out an
    announced answer once, so calls that overlap bring each answer once.

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
        self._calls: list[threading.Thread] = []

    def pull(self, numbers: Sequence[str], within_s: float = PATIENCE_S) -> list[Message]:
        """Return what has arrived, also what an earlier call was still waiting for.

        Parameters
        ----------
        numbers
            Of the messages whose answers are looked for.
        within_s
            Seconds to wait at most.
        """
        self._calls = [call for call in self._calls if call.is_alive()]
        if numbers and len(self._calls) < _MOST_CALLS:
            self._calls.append(threading.Thread(target=self._call, args=(list(numbers),), daemon=True))
            self._calls[-1].start()
        if self._calls:
            self._calls[-1].join(max(min(within_s, self._patience_s), 0.0))
        arrived: list[Message] = []
        while not self._done.empty():
            found = self._done.get()
            if isinstance(found, BaseException):
                raise found
            arrived += found
        return arrived

    def _call(self, numbers: list[str]) -> None:
        try:
            self._done.put(list(self._grid.pull_messages(numbers)))
        except BaseException as error:  # Flower's own that say that the run was stopped are no usual ones
            self._done.put(error)
