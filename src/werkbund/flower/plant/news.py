"""What Flower's SuperNode says in its log, in words for the people at a plant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from werkbund.flower.machine.processes import Ended

_ID = re.compile(r"SuperNode ID: (\d+)")
_LOST = "Connection attempt failed"
_AGAIN = "Connection successful after"
_HELD = "[code: 2004]"
_REFUSED = ("[code: 2001]", "401 Unauthorized")
_BY_SIGNAL = "terminated gracefully"


@dataclass(frozen=True)
class News:
    """Say what a line means.

    Parameters
    ----------
    text
        For people.
    node_id
        Number under which the server knows this plant, when it has just let it in.
    """

    text: str
    node_id: int | None = None


def news_of(line: str, address: str) -> News | None:
    """Return what a line of the log means for people; None for most lines."""
    found = _ID.search(line)
    if found is not None:
        return News(f"connected to {address}", int(found[1]))
    if _LOST in line:
        return News(f"the connection to {address} is lost; trying again")
    if _AGAIN in line:
        return News(f"connected to {address} again")
    return None


def is_held(ended: Ended) -> bool:
    """Return whether the server may only be holding an older connection, and will let go of it."""
    return any(_HELD in line for line in ended.lines)


def news_of_end(ended: Ended, is_known: bool) -> str:
    """Return what the end of a SuperNode means for people.

    Parameters
    ----------
    ended
        How it ended.
    is_known
        Whether the server has let this plant in before, and has not said since that it no longer knows its key.
    """
    if is_held(ended) and is_known:
        return (
            "the server still holds the previous connection, trying again (takes up to 80 s); if this goes on, another "
            "client runs with the same key"
        )
    if is_held(ended) or _is_refused(ended):
        return (
            "this key is not registered with the server: send client.pub to the operator; trying again (if it was "
            "registered before, the operator has removed it, or another client runs with the same key)"
        )
    said = next((line.strip() for line in reversed(ended.lines) if line.strip()), "it said nothing")
    return f"the SuperNode ended with code {ended.code} ({said[:200]}); it is started again"


def _is_refused(ended: Ended) -> bool:
    # Flower's SuperNode ends itself by a signal, in good order, when the server refuses a request.
    by_signal = ended.code == 0 and any(_BY_SIGNAL in line for line in ended.lines)
    return by_signal or any(mark in line for mark in _REFUSED for line in ended.lines)
