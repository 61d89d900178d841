"""What Flower's SuperNode says in its log, in words for the people at a plant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from werkbund.flower.processes import Ended

_ID = re.compile(r"SuperNode ID: (\d+)")
_LOST = "Connection attempt failed"
_AGAIN = "Connection successful after"
_REFUSED = re.compile(r"\[code: (2001|2004)\]")
_HELD = "2004"


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
    return _code(ended) == _HELD


def news_of_end(ended: Ended, is_known: bool) -> str:
    """Return what the end of a SuperNode means for people.

    Parameters
    ----------
    ended
        How it ended.
    is_known
        Whether the server has let this plant in before, and has not said since that it no longer knows its key.
    """
    if _code(ended) == _HELD and is_known:
        return (
            "the server still holds the previous connection, trying again (takes up to 80 s); if this goes on, another "
            "client runs with the same key"
        )
    if _code(ended) or ended.code == 0:  # Flower ends its SuperNode in good order when a request is refused
        return (
            "this key is not registered with the server: send client.pub to the operator; trying again "
            "(if it was registered before, the operator has removed it)"
        )
    said = next((line.strip() for line in reversed(ended.lines) if line.strip()), "it said nothing")
    return f"the SuperNode ended with code {ended.code} ({said[:200]}); it is started again"


def _code(ended: Ended) -> str:
    found = _REFUSED.search("\n".join(ended.lines))
    return found[1] if found is not None else ""
