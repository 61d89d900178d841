"""What a selector may ask before it chooses: kinds of tasks.

The engine adds what a selector need not know itself: weights, learning rate, streams, the signals that are wanted.
"""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.core.kinds import FORWARD, LARGEST, NORM, NUMBER_BYTES, Effort, Field, Kind, Signal, Sizes
from werkbund.core.kinds import LOSS as LOSS_SIGNAL

CENTROIDS_SIGNAL = Signal("centroids", "mean training rows of a few clusters, where clients are chosen by them", False)

WEIGHTS = Field("shared", "weights", "the common weights", ("parameters",), "f", vector=True)
ALONG = Field("shared", "sent.*", "what the aggregator sends along with the weights")
RATE = Field("shared", "rate", "factor of the learning rate in this round", (), "f", least=0.0, most=1.0)
NEEDS = Field("shared", "needs", "names of the signals that are wanted in clear", ("signals",), "U")
KEY = Field("own", "key", "of the client's random stream", (), "u", stream=True)
TAKEN = Field("own", "taken", "last round whose update of the client moved the weights; 0 for none", (), "i", least=0)

_LOSSES = {
    "loss": "mean loss of the weights that came, as it is trained, over training rows",
    "loss_std": "standard deviation of that loss from row to row",
    "loss_rms": "root of the mean square of that loss",
    "train_loss": "mean loss while it trained",
}

_LENGTHS = {
    "norm": "length of the update",
    "change": "length of the update minus the one that it sent last",
}

SIGNALS_IN_CLEAR = (
    *(
        Field("clear", name, what, (), "f", signal=LOSS_SIGNAL, on_request=True, least=0.0, most=LARGEST)
        for name, what in _LOSSES.items()
    ),
    *(
        Field("clear", name, what, (), "f", signal=NORM, on_request=True, least=0.0, most=LARGEST)
        for name, what in _LENGTHS.items()
    ),
)
"""What a client that trains tells of itself, each where the task names it among its needs."""


def _forward(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of one pass forward over the training rows, or over `most` of them."""
    rows = np.minimum(sizes.rows, float(shared["most"])) if "most" in shared else sizes.rows
    return Effort(rows * FORWARD, sizes.model_bytes, NUMBER_BYTES)


def _held_back(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of a round's training whose update stays where it was made."""
    return Effort(sizes.examples, sizes.model_bytes, NUMBER_BYTES)


def _clustering(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of clusters: each training row is read, the weights do not travel, a few rows go back.

    The distances of k-means are taken for a pass forward; how many features a row has is not known here, and a few
    rows of numbers weigh next to nothing.
    """
    return Effort(sizes.rows * FORWARD, 0.0, NUMBER_BYTES * float(shared.get("k", 1)))


HOLD = Kind(
    "hold",
    "train, keep the update, and tell signals about it; who is chosen uploads it",
    "when a run lets it train and hold its update, before it chooses clients",
    (WEIGHTS, ALONG, RATE, NEEDS, KEY, TAKEN),
    SIGNALS_IN_CLEAR,
    cost=_held_back,
    trains=True,
    repeatable=False,
)

LOSS = Kind(
    "loss",
    "how high the loss of the received weights is, over all training rows or a few",
    "when a run asks for its loss before it chooses clients",
    (
        WEIGHTS,
        RATE,
        NEEDS,
        KEY,
        TAKEN,
        Field(
            "shared",
            "most",
            "over so many rows at most, drawn at random",
            (),
            "iu",
            minimum="minimum_rows",
            sample=True,
        ),
    ),
    (
        Field(
            "clear",
            "loss",
            f"{_LOSSES['loss']}: all, or a few drawn at random",
            (),
            "f",
            signal=LOSS_SIGNAL,
            least=0.0,
            most=LARGEST,
        ),
    ),
    cost=_forward,
)

CENTROIDS = Kind(
    "centroids",
    "mean rows of a few clusters of the prepared training rows",
    "when a run asks for clusters, mostly once",
    (
        Field("shared", "k", "number of clusters", (), "iu"),
        Field(
            "shared",
            "least",
            "rows below which a cluster has no centroid",
            (),
            "iu",
            minimum="minimum_rows",
            added=True,
        ),
        KEY,
    ),
    (
        Field(
            "clear",
            "centroids",
            "mean prepared training rows of a few clusters",
            ("clusters", "prepared features"),
            "f",
            signal=CENTROIDS_SIGNAL,
        ),
    ),
    cost=_clustering,
    once=True,
)

QUESTIONS = (LOSS, HOLD, CENTROIDS)
"""All of them; a method of one's own may ask others that its clients know."""
