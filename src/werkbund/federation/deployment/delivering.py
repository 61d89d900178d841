"""The kept model goes to every client, which judges it by its own rows and takes it or does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.core.types import Failure, Replies, Tasks
from werkbund.core.weights import FloatArray
from werkbund.engine import Grid


@dataclass(frozen=True)
class Delivered:
    """Hold what became of a model at one client.

    Parameters
    ----------
    accepted
        Whether it was taken; None if the client did not answer.
    reason
        Why, in words.
    figures
        How the model (`offered`), what the plant learns alone (`alone`) and the model it had before (`present`) do on
        its held-out rows; empty where it does not tell.
    """

    accepted: bool | None
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def deliver(
    grid: Grid, weights: FloatArray, threshold: float, card: Mapping[str, Any], round: int, timeout_s: float
) -> dict[str, Delivered]:
    """Send the model to all clients.

    Parameters
    ----------
    grid
        Reaches the clients.
    weights, threshold, card
        What is delivered.
    round
        The round that gave the weights.
    timeout_s
        Seconds to wait for their verdicts.

    Returns
    -------
    delivered
        By client name. Nothing waits for a client that does not answer.
    """
    names = grid.clients()
    texts = np.array([json.dumps(dict(card))])
    shared = {"weights": weights, "threshold": np.array(threshold), "card": texts}
    grid.send(Tasks("deliver", round, np.arange(len(names)), shared))
    found = dict.fromkeys(names, Delivered(None, "no answer in time"))
    for arrival in grid.receive(timeout_s):
        if isinstance(arrival, Failure):
            found[names[arrival.client]] = Delivered(None, arrival.reason)
        elif arrival.kind == "deliver":
            found[names[int(arrival.clients[0])]] = _verdict(arrival)
    return found


def _verdict(replies: Replies) -> Delivered:
    try:
        told = json.loads(str(replies.clear["accepted"].ravel()[0]))
        figures = json.loads(str(replies.clear["figures"].ravel()[0])) if "figures" in replies.clear else {}
        return Delivered(bool(told["accepted"]), str(told["reason"]), dict(figures))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return Delivered(None, f"its answer cannot be read: {error!r}")
