"""The kept model goes to every client, which judges it by its own rows and takes it or does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.core.text import one_line
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine import Grid
from werkbund.engine.asking import NO_ANSWER, ask
from werkbund.evaluation import Metrics
from werkbund.plant.leaving import DELIVER

_WHOSE, _BY_MODE, _LARGEST = ("offered", "alone", "present"), "recall_by_mode", 1e15


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
    grid: Grid, packed: Arrays, threshold: float, card: Mapping[str, Any], round: int, timeout_s: float
) -> dict[str, Delivered]:
    """Send the model to all clients.

    Parameters
    ----------
    grid
        Reaches the clients.
    packed, threshold, card
        What is delivered: what was learnt, as named arrays; where to look; about it.
    round
        The round that gave it.
    timeout_s
        Seconds to wait for their verdicts.

    Returns
    -------
    delivered
        By client name. Nothing waits for a client that does not answer.
    """
    names = grid.clients()
    texts = np.array([json.dumps(dict(card))])
    shared = {**packed, "threshold": np.array(threshold), "card": texts}
    delivered = dict.fromkeys(names, Delivered(None, NO_ANSWER))
    for arrival in ask(grid, [Tasks(DELIVER, round, np.arange(len(names)), shared)], timeout_s):
        if isinstance(arrival, Failure):
            delivered[names[arrival.client]] = Delivered(None, arrival.reason)
        else:
            for client in arrival.clients.tolist():
                delivered[names[client]] = _verdict(arrival)
    return delivered


def _verdict(replies: Replies) -> Delivered:
    """Read one client's verdict; it may run other code, or mean ill."""
    try:
        told = json.loads(str(replies.clear["accepted"].ravel()[0]))
        figures = json.loads(str(replies.clear["figures"].ravel()[0])) if "figures" in replies.clear else {}
        if not isinstance(told["accepted"], bool) or not isinstance(told["reason"], str) or not _are_figures(figures):
            raise ValueError("a verdict has a truth, a text, and figures by name")
        return Delivered(told["accepted"], one_line(told["reason"]), figures)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        return Delivered(None, one_line(f"its answer cannot be read: {error!r}"))


def _are_figures(told: Any) -> bool:
    return isinstance(told, dict) and all(who in _WHOSE and _are_metrics(values) for who, values in told.items())


def _are_metrics(values: Any) -> bool:
    if not isinstance(values, dict) or not set(values) <= set(Metrics.__dataclass_fields__):
        return False
    by_mode = values.get(_BY_MODE, {})
    plain = [value for name, value in values.items() if name != _BY_MODE]
    return isinstance(by_mode, dict) and all(map(_is_figure, [*plain, *by_mode.values()]))


def _is_figure(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and abs(value) <= _LARGEST)
