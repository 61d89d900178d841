"""What is under way in a simulated world: answers and failures that will come, each at its moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.core.errors import CheckpointError
from werkbund.core.kinds import Kind
from werkbund.core.types import Failure, Replies

_PENDING = "pending"


@dataclass(frozen=True, eq=False)
class Event:
    """Hold what comes of one client's task, and when.

    Parameters
    ----------
    at_s
        On the simulated clock, in seconds.
    arrival
        The answer of one client, or its failure.
    """

    at_s: float
    arrival: Replies | Failure

    @property
    def client(self) -> int:
        """Its number."""
        return self.arrival.client if isinstance(self.arrival, Failure) else int(self.arrival.clients[0])


def rows_apart(replies: Replies) -> Iterator[Replies]:
    """Yield an answer client by client; what was added over clients already cannot be told apart and is left out."""
    for place in range(len(replies)):
        row = slice(place, place + 1)
        sums, clear = ({name: array[row] for name, array in half.items()} for half in (replies.sums, replies.clear))
        yield replace(replies, clients=replies.clients[row], sums=sums, clear=clear, pooled={})


def parts_of(events: Sequence[Event]) -> dict[str, Any]:
    """Return events as JSON values and named arrays, for a checkpoint; nothing for none."""
    if not events:
        return {}
    arrays: dict[str, Any] = {}
    values = []
    for number, event in enumerate(events):
        arrival = event.arrival
        if isinstance(arrival, Failure):
            values.append({"at_s": event.at_s, "failure": vars(arrival)})
            continue
        head = {"kind": arrival.kind.name, "round": arrival.round, "client": event.client}
        values.append({"at_s": event.at_s, **head, "fingerprint": arrival.fingerprint})
        for half, named in (("sums", arrival.sums), ("clear", arrival.clear)):
            arrays |= {f"{_PENDING}.{number}.{half}.{name}": array for name, array in named.items()}
    return {_PENDING: values, **arrays}


def events_of(state: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Event]:
    """Return the events that `parts_of` described.

    Parameters
    ----------
    state
        A grid's; without pending events there are none.
    kinds
        Those that may be pending, by name.

    Raises
    ------
    CheckpointError
        If an event is of another kind.
    """
    return [_event(number, values, state, kinds) for number, values in enumerate(state.get(_PENDING, ()))]


def _event(number: int, values: Mapping[str, Any], state: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Event:
    if "failure" in values:
        return Event(values["at_s"], Failure(**values["failure"]))
    kind = kinds.get(values["kind"])
    if kind is None:
        raise CheckpointError(f"a pending answer must be to one of {', '.join(kinds)}, got {values['kind']!r}")
    halves: dict[str, Arrays] = {}
    for half in ("sums", "clear"):
        prefix = f"{_PENDING}.{number}.{half}."
        halves[half] = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
    clients = np.array([values["client"]], np.int64)
    replies = Replies(kind, values["round"], clients, halves["sums"], halves["clear"], values["fingerprint"])
    return Event(values["at_s"], replies)
