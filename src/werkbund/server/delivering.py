"""A model goes to every client, which judges it by its own rows and takes it or does not.

The kept one does at the end; the best one so far while the run goes on, where the configuration asks for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays, Int64Array
from werkbund.core.text import one_line
from werkbund.core.types import Failure, Replies, RoundRecord, Tasks
from werkbund.engine import Checkpoint, Grid
from werkbund.engine.asking import NO_ANSWER, ask
from werkbund.evaluation import ClientPeriods, Metrics
from werkbund.federation.families.contract import Setup
from werkbund.federation.folder import Folder
from werkbund.model import CardFacts, model_card
from werkbund.plant.delivery import ALONE_LATER, OFFERED_LATER, PERSONAL
from werkbund.plant.leaving import DELIVER

_WHOSE = ("offered", PERSONAL, "alone", "present", OFFERED_LATER, ALONE_LATER)
_BY_MODE, _LARGEST = "recall_by_mode", 1e15


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
        How the model (`offered`), the client's own model of it where it made one (`personal`), what the plant learns
        alone (`alone`) and the model it had before (`present`) do on its held-out rows, and the judged one and `alone`
        in a later period; empty where it does not tell.
    """

    accepted: bool | None
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def periods(self, name: str) -> ClientPeriods:
        """Return its figures before and in the later period."""
        judged = PERSONAL if PERSONAL in self.figures else "offered"
        told = (self.figures.get(who) for who in (judged, OFFERED_LATER, "alone", ALONE_LATER))
        return ClientPeriods(name, *told)


@dataclass(frozen=True)
class OfferedModel:
    """Hold a model that is delivered.

    Parameters
    ----------
    learnt
        What was learnt, as named arrays.
    threshold
        A row is decided positive if its probability is at least this.
    card
        The model's card.
    round
        Number of the round after the last that was done, when it is delivered.
    """

    learnt: Arrays
    threshold: float
    card: Mapping[str, Any]
    round: int


def deliver(
    grid: Grid, offer: OfferedModel, timeout_s: float, clients: Int64Array | None = None
) -> dict[str, Delivered]:
    """Send a model to clients, and wait for their verdicts.

    Parameters
    ----------
    grid
        Reaches the clients.
    offer
        The model.
    timeout_s
        Seconds to wait.
    clients
        Numbers of those that it goes to, ascending; all if left out.

    Returns
    -------
    delivered
        By client name. Nothing waits for a client that does not answer.
    """
    names = grid.clients()
    asked = np.arange(len(names)) if clients is None else clients
    texts = np.array([json.dumps(dict(offer.card))])
    shared = {**offer.learnt, "threshold": np.array(offer.threshold), "card": texts}
    delivered = {names[client]: Delivered(None, NO_ANSWER) for client in asked.tolist()}
    for arrival in ask(grid, [Tasks(DELIVER, offer.round, asked, shared)], timeout_s):
        if isinstance(arrival, Failure):
            delivered[names[arrival.client]] = Delivered(None, arrival.reason)
        else:
            for client in arrival.clients.tolist():
                delivered[names[client]] = _verdict(arrival)
    return delivered


class Midway:
    """Save checkpoints and note rounds as ever, and deliver the best model every few rounds if it is better.

    Parameters
    ----------
    folder
        The run's.
    setup
        Its parts.
    label
        What the model foretells.
    """

    def __init__(self, folder: Folder, setup: Setup, label: str) -> None:
        self._folder, self._setup, self._label = folder, setup, label
        self._thresholds: dict[int, float] = {}
        self._delivered = 0

    def note(self, record: RoundRecord, scores: Mapping[str, Metrics]) -> None:
        """Note a round, and the threshold of what it scored."""
        self._folder.append_round(record, scores)
        if "validation" in scores:
            self._thresholds[record.scored] = scores["validation"].threshold

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint, and deliver the best model if it is due."""
        self._folder.save_checkpoint(checkpoint)
        every, round = self._setup.config.federation.deliver_every, checkpoint.round
        best = int(checkpoint.progress.get("best_round", -1))
        due = every > 0 and round > 0 and round % every == 0 and round < self._setup.num_rounds
        if due and best > self._delivered and best in self._thresholds:
            self._deliver(self._setup.restore(checkpoint).at(best, checkpoint.best).learnt, best, round + 1)
            self._delivered = best

    def _deliver(self, learnt: Arrays, round: int, now: int) -> None:
        threshold, config = self._thresholds[round], self._setup.config
        model = self._setup.model(learnt, threshold, self._label)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        facts = CardFacts(self._folder.path.name, created, training={"kept_round": round, "finished": False})
        timeout_s = config.federation.round_timeout_s
        offer = OfferedModel(learnt, threshold, model_card(model, facts), now)
        delivered = deliver(self._setup.grid, offer, timeout_s)
        verdicts = {name: vars(verdict) for name, verdict in delivered.items()}
        self._folder.write_json("delivered.json", {"round": round, "delivered": verdicts})


def _verdict(replies: Replies) -> Delivered:
    """Read one client's verdict; it may run other code, or mean ill."""
    try:
        verdict = json.loads(str(replies.clear["accepted"].ravel()[0]))
        figures = json.loads(str(replies.clear["figures"].ravel()[0])) if "figures" in replies.clear else {}
        if (
            not isinstance(verdict["accepted"], bool)
            or not isinstance(verdict["reason"], str)
            or not _are_figures(figures)
        ):
            raise ValueError("a verdict has a truth, a text, and figures by name")
        return Delivered(verdict["accepted"], one_line(verdict["reason"]), figures)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        return Delivered(None, one_line(f"its answer cannot be read: {error!r}"))


def _are_figures(figures: Any) -> bool:
    return isinstance(figures, dict) and all(who in _WHOSE and _are_metrics(own) for who, own in figures.items())


def _are_metrics(values: Any) -> bool:
    if not isinstance(values, dict) or not set(values) <= set(Metrics.__dataclass_fields__):
        return False
    by_mode = values.get(_BY_MODE, {})
    plain = [value for name, value in values.items() if name != _BY_MODE]
    return isinstance(by_mode, dict) and all(map(_is_figure, [*plain, *by_mode.values()]))


def _is_figure(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and abs(value) <= _LARGEST)
