"""What a round asks of clients: to train, to upload what they held, to count scores."""

from __future__ import annotations

from werkbund.aggregation import FOLDED
from werkbund.core.arrays import Arrays
from werkbund.core.kinds import (
    LARGEST,
    LOSS,
    MOST_ROWS,
    ROWS,
    TRAINING_ROWS,
    Effort,
    Field,
    Kind,
    Sizes,
    as_training,
    nothing,
)
from werkbund.engine.adapting import BIT
from werkbund.learner.counts import COUNT_FIELDS, EDGES_FIELD
from werkbund.selection.questions import ALONG, KEY, NEEDS, RATE, SIGNALS_IN_CLEAR, TAKEN, WEIGHTS

WEIGHT = "weight"
"""Name of the client's weight in the mean, among the sums of its answer."""

_FACTOR = Field("own", "factor", "what the update is multiplied by", (), "f")
_EQUAL = Field("shared", "equal", "whether all clients count alike", (), "b")
_COHORT = Field("shared", "cohort", "numbers of all that were asked, for layers that need them", ("cohort",), "iu")
_EACH = Field("shared", "each", "whether each client's counts are wanted, or those of all together", (), "b")

UPDATE_FIELDS = (
    Field(
        "sums",
        "update",
        "weights after training minus weights before, times the client's weight",
        ("parameters",),
        "f4",
        needed=True,
        vector=True,
    ),
    Field(
        "sums",
        WEIGHT,
        "the client's weight in the mean: its training rows, or 1",
        (),
        "f",
        needed=True,
        least=0.0,
        most=LARGEST,
    ),
    Field("sums", "loss", "mean training loss times training rows", (), "f", "", LOSS, least=0.0, most=LARGEST),
    Field("sums", "rows", "number of training rows", (), "f", TRAINING_ROWS, ROWS, least=0.0, most=MOST_ROWS),
    BIT,
    *FOLDED,
)
"""What an answer with an update holds, beside counts."""


def _uploading(sizes: Sizes, shared: Arrays) -> Effort:
    """Return the cost of sending what was held: the weights went to the client when it trained."""
    return Effort(nothing(sizes), 0.0, sizes.model_bytes)


TRAIN = Kind(
    "train",
    "score the weights that come, train from them, and answer with the update",
    "each round that it trains in",
    (WEIGHTS, ALONG, _COHORT, RATE, NEEDS, _EQUAL, _EACH, EDGES_FIELD, _FACTOR, KEY, TAKEN),
    (*UPDATE_FIELDS, *COUNT_FIELDS, *SIGNALS_IN_CLEAR),
    cost=as_training,
    trains=True,
    repeatable=False,
    updates=True,
)

UPLOAD = Kind(
    "upload",
    "score the weights that come, and answer with the update that was held",
    "when it is chosen and uploads what it held",
    (WEIGHTS, ALONG, _COHORT, RATE, NEEDS, _EQUAL, _EACH, EDGES_FIELD, _FACTOR, KEY, TAKEN),
    (*UPDATE_FIELDS, *COUNT_FIELDS),
    cost=_uploading,
    repeatable=False,
    updates=True,
)

EVALUATE = Kind(
    "evaluate",
    "score the weights that come on held-out rows, and answer with counts",
    "each round, also when it does not train",
    (WEIGHTS, _EACH, EDGES_FIELD, TAKEN),
    COUNT_FIELDS,
    measures=True,
)

PERSONALISE = Kind(
    "personalise",
    "make the client's own model of the weights that come, keep it, and answer with counts of it on held-out rows",
    "after the last round, where a run has personal parts",
    (WEIGHTS, _EACH, EDGES_FIELD, KEY, TAKEN),
    COUNT_FIELDS,
    measures=True,
)
