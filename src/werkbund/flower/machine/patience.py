"""How long Flower's parts pause before they look again for the content of a message that is still on its way.

A message is announced before its content has arrived, so whoever reads it at once finds a part missing. Flower then
pauses a whole second, and two the next time; most of a short round would be such pauses.
"""

from __future__ import annotations

from typing import Any

from flwr.supercore.inflatable import inflatable_utils

PAUSES: dict[str, Any] = {"initial_backoff": 0.02, "backoff_cap": 1.0, "max_tries_per_object": None}
"""First and longest pause in seconds; the number of tries is bounded by Flower's time limit alone (two hours)."""


def look_again_soon() -> None:
    """Shorten these pauses for whatever this process reads from now on."""
    for function in (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree):
        function.__kwdefaults__.update(PAUSES)
