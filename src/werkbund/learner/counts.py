"""What a client counts when it scores its rows: integers and sums that the server merely adds.

Scores are counted in bins of their logit, so that the counts of many clients, added, are the counts of their
rows put together, and every ranking metric of the sum is the pooled metric up to the width of a bin. What the
counts mean is said in `werkbund.evaluation`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, Arrays, BoolArray, Float32Array, Float64Array, FloatingArray, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.edges import (
    BINS_PER_LOGIT,
    EDGES,
    LOWEST_LOGIT,
    NUM_BINS,
    STANDARD_EDGES,
    are_standard,
    checked_edges,
)
from werkbund.core.errors import ClientError, DataError
from werkbund.core.kinds import COUNTS, Field
from werkbund.core.target import ERROR_NAMES, FAILURE, NumberTarget, Target
from werkbund.core.types import Tasks

NUM_DECILES = 10

EDGES_FIELD = Field("shared", EDGES, "logits between the bins of scores; left out: the usual ones", ("edges",), "f4")
"""What a task that asks for counts may say of them."""

ERRORS = "*.errors"
"""Name of the sums of errors of a number, of each split."""

COUNT_FIELDS = (
    Field(
        "sums",
        "*.histogram",
        "held-out rows by class and by score, in 1,024 bins",
        (2, NUM_BINS),
        "iuf",
        "rows",
        COUNTS,
    ),
    Field("sums", "*.modes", "held-out failures by failure mode and score", ("modes", NUM_BINS), "iuf", "rows", COUNTS),
    Field("sums", "*.brier", "sum of squared errors over held-out rows", (), "iuf", signal=COUNTS),
    Field("sums", "*.log_loss", "sum of log losses over held-out rows", (), "iuf", signal=COUNTS),
    Field(
        "sums",
        "*.calibration",
        "rows, scores and failures in ten ranges of the score, summed",
        (NUM_DECILES, 3),
        "iuf",
        signal=COUNTS,
    ),
    Field("sums", "*.spread", "held-out rows that are counted in bins put together", (), "iuf", "rows", COUNTS),
    Field(
        "sums",
        ERRORS,
        "of a number that is foretold: held-out rows, and sums over them of errors",
        (len(ERROR_NAMES),),
        "iuf",
        signal=COUNTS,
        on_request=True,
    ),
)
"""What an answer holds for each split that was scored; `*` is the split's name."""

_HIGHEST_EDGE = LOWEST_LOGIT + (NUM_BINS - 1) / BINS_PER_LOGIT

_PRECISION = 2.0**30  # steps a unit; sums of such multiples are exact in a double up to 2**23

_LIMIT = float(-np.log(np.finfo(np.float64).eps))

_SLACK = 1e-6  # of a row: what rounding may add to a sum of errors

MOST_LOG_LOSS = _LIMIT + 2.0**-30
"""No row's log loss is above this: beyond a logit of 36.04 a double can hardly tell a probability from 0 or 1."""


def edges_of(tasks: Tasks) -> Float32Array:
    """Return the edges of the bins in which a question wants scores counted."""
    return np.asarray(tasks.shared.get(EDGES, STANDARD_EDGES))


def as_shared(edges: Float32Array) -> dict[str, AnyArray]:
    """Return edges as a question shares them: the standard ones are not told."""
    return {} if are_standard(edges) else {EDGES: edges}


def bins_of(logits: npt.ArrayLike, edges: Float32Array = STANDARD_EDGES) -> Int64Array:
    """Return the bin of each logit: 0 to NUM_BINS - 1, the outer bins taking all that lies beyond.

    A bin holds its lower edge: for k > 0 a logit is in bin k or above exactly if it is at least `edges[k - 1]`. On the
    standard edges scaling by a power of two is exact, and tells the bin without a search. On others logits are rounded
    to single precision, in which edges are.

    Examples
    --------
    >>> bins_of([-99.0, -16.0, -1e-30, 0.0, 15.99, float("inf")]).tolist()
    [0, 0, 511, 512, 1023, 1023]
    """
    if not are_standard(edges):
        with np.errstate(over="ignore"):
            return np.searchsorted(edges, np.asarray(logits).astype(np.float32), side="right")
    inside = np.clip(np.asarray(logits, dtype=np.float64), LOWEST_LOGIT, _HIGHEST_EDGE)
    return np.floor(inside * BINS_PER_LOGIT).astype(np.int64) - int(LOWEST_LOGIT * BINS_PER_LOGIT)


def edge(bin: npt.ArrayLike) -> Float64Array:  # noqa: A002 - the field's own word
    """Return the logit at the lower edge of a standard bin.

    Examples
    --------
    >>> edge([0, 512, 1024]).tolist()
    [-16.0, 0.0, 16.0]
    """
    return np.asarray(bin, dtype=np.float64) / BINS_PER_LOGIT + LOWEST_LOGIT


def logits_of(probabilities: npt.ArrayLike) -> Float64Array:
    """Return log(p / (1 - p)), infinite at 0 and 1: for models that give probabilities and no logits.

    Examples
    --------
    >>> logits_of([0.0, 0.5, 1.0]).tolist()
    [-inf, 0.0, inf]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log1p(-p)


def count_scores(
    logits: FloatingArray,
    labels: AnyArray,
    modes: BoolArray,
    offsets: Int64Array,
    edges: Float32Array = STANDARD_EDGES,
) -> dict[str, AnyArray]:
    """Count the scores of many clients at once.

    Parameters
    ----------
    logits
        (rows,), infinite ones allowed.
    labels
        (rows,), 0 or 1.
    modes
        (rows, modes), which failure modes a row has.
    offsets
        (clients + 1,), rising from 0: client i owns rows `offsets[i]:offsets[i + 1]`, perhaps none.
    edges
        (NUM_BINS - 1,), the logits between bins.

    Returns
    -------
    counts
        One row a client, each the same bits as if the client had counted alone:
        `histogram`, int64 (clients, 2, NUM_BINS), rows by label and bin;
        `modes`, int64 (clients, modes, NUM_BINS), positive rows that have the mode, by bin;
        `brier`, float64 (clients,), sum of (probability - label)²;
        `log_loss`, float64 (clients,), sum of -log(probability of the label), at most 36.04 a row;
        `calibration`, float64 (clients, 10, 3): rows, sum of probabilities, sum of labels, for probabilities
        in [0, 0.1), [0.1, 0.2), ..., [0.9, 1];
        `spread`, int64 (clients,), 0: rows that may be in bins around theirs, of which there are none here.

    Raises
    ------
    DataError
        If the lengths do not fit together, or edges are none.
    ClientError
        If a score is not a number; it says at which positions among these clients.
    """
    _check(logits, labels, modes, offsets)
    num_clients = len(offsets) - 1
    client = np.repeat(np.arange(num_clients), np.diff(offsets))  # (rows,)
    _refuse_nan(logits, client)
    positive = np.asarray(labels) > 0.5
    where = bins_of(logits, checked_edges(edges))
    probability, squared, loss = _errors(np.asarray(logits, dtype=np.float64), positive)
    slot = client * 2 + positive
    return {
        "histogram": _tally(slot * NUM_BINS + where, (num_clients, 2, NUM_BINS)),
        "modes": _mode_histogram(where, modes & positive[:, None], client, num_clients),
        "brier": np.bincount(client, squared, num_clients),
        "log_loss": np.bincount(client, loss, num_clients),
        "calibration": _calibration(probability, positive, client, num_clients),
        "spread": np.zeros(num_clients, np.int64),
    }


def count_rows(
    scores: FloatingArray, table: ClientTable, offsets: Int64Array | None = None, edges: Float32Array = STANDARD_EDGES
) -> dict[str, AnyArray]:
    """Count the scores of a table's rows, and where a number is foretold also its errors.

    Parameters
    ----------
    scores
        (rows,), logits or risks.
    table
        The rows.
    offsets
        Whose rows are counted together; each client's by themselves if left out.
    edges
        As for `count_scores`.

    Returns
    -------
    counts
        Those of `count_scores`, with `errors`, float64 (clients, 6), as `core.target.NumberTarget.errors` gives them.
    """
    ends = table.offsets if offsets is None else offsets
    counts = count_scores(scores, table.labels, table.modes, ends, edges)
    return counts | count_errors(table.target, scores, table.risks, ends)


def count_errors(target: Target, scores: FloatingArray, risks: AnyArray, offsets: Int64Array) -> dict[str, AnyArray]:
    """Return the sums of errors by name, for a number; else nothing."""
    return {"errors": target.errors(scores, risks, offsets)} if isinstance(target, NumberTarget) else {}


def sums_of_histogram(histogram: AnyArray, logits: Float64Array) -> dict[str, AnyArray]:
    """Return the sums that rows in bins have, each taken at the one logit of its bin.

    Parameters
    ----------
    histogram
        (..., 2, bins), rows by label and bin.
    logits
        (bins,), the logit of each bin.

    Returns
    -------
    sums
        `brier` and `log_loss`, (...), and `calibration`, (..., 10, 3), as `count_scores` gives them for such rows.
    """
    rows, failures = histogram.sum(axis=-2), histogram[..., 1, :]
    healthy = histogram[..., 0, :]
    probability, *_ = _errors(logits, np.ones(len(logits), np.bool_))
    (_, *of_healthy), (_, *of_failures) = (_errors(logits, np.full(len(logits), label)) for label in (False, True))
    squared, loss = (
        (healthy * without + failures * with_failure).sum(axis=-1).astype(np.float64)
        for without, with_failure in zip(of_healthy, of_failures, strict=True)
    )
    decile = np.eye(NUM_DECILES)[_deciles(probability)]  # (bins, deciles)
    calibration = [column @ decile for column in (rows, rows * probability, failures)]
    return {"brier": squared, "log_loss": loss, "calibration": np.stack(calibration, axis=-1)}


def no_counts(num_modes: int, target: Target = FAILURE) -> dict[str, AnyArray]:
    """Return the counts of no client: arrays of the right shapes without a row."""
    whole = ("histogram", "modes", "spread")
    return {
        name: np.zeros((0, *shape), np.int64 if name in whole else np.float64)
        for name, shape in count_shapes(num_modes, target).items()
    }


def count_shapes(num_modes: int, target: Target = FAILURE) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of one client's counts, without the axis of clients."""
    errors: dict[str, tuple[int, ...]] = {"errors": (len(ERROR_NAMES),)} if isinstance(target, NumberTarget) else {}
    return errors | {
        "histogram": (2, NUM_BINS),
        "modes": (num_modes, NUM_BINS),
        "brier": (),
        "log_loss": (),
        "calibration": (NUM_DECILES, 3),
        "spread": (),
    }


def rows_by_class(histogram: AnyArray) -> Float64Array:
    """Return the rows without and with a failure, (..., 2), of a histogram (..., 2, bins)."""
    return np.asarray(histogram.sum(axis=-1, dtype=np.float64))


def contradictions(counts: Arrays) -> dict[str, BoolArray]:
    """Return what cannot be true of one split's counts, each with the clients at which: (clients,).

    They are of the same rows, and no row can err without end. Counts of another form are compared with nothing, and
    figures that were withheld as a whole contradict none.

    Parameters
    ----------
    counts
        Those of `count_scores`, each with one row a client, of numbers of at least 0.

    Examples
    --------
    >>> flags = np.zeros((2, 0), np.bool_)
    >>> counts = count_scores(np.array([0.3, -2.0]), np.array([1, 0]), flags, np.array([0, 2]))
    >>> contradictions(counts)
    {}
    >>> list(contradictions({**counts, "brier": np.array([2.5])}))
    ['more squared errors than rows']
    """
    if not counts.keys() >= count_shapes(0).keys():
        return {}
    by_class = rows_by_class(counts["histogram"])
    rows, failures = by_class.sum(axis=-1), by_class[..., 1]
    deciles = np.asarray(counts["calibration"], np.float64)  # (clients, 10, 3): rows, scores, failures
    total = deciles.sum(axis=-2)
    modes = counts["modes"].sum(axis=-1, dtype=np.float64).max(axis=-1, initial=0.0)
    most = rows * (1 + _SLACK) + _SLACK
    found = {
        "rows that are not whole numbers": (np.rint(by_class) != by_class).any(axis=-1),
        "more squared errors than rows": counts["brier"] > most,
        f"a log loss above {MOST_LOG_LOSS:.2f} a row": counts["log_loss"] > MOST_LOG_LOSS * most,
        "other rows in its deciles than in its histogram": np.abs(total[..., 0] - rows) > _SLACK,
        "other failures in its deciles than in its histogram": np.abs(total[..., 2] - failures) > _SLACK,
        "rows in bins put together, and others that are not": (counts["spread"] > 0) & (counts["spread"] != rows),
        "a decile of more failures than rows": (deciles[..., 2] > deciles[..., 0] + _SLACK).any(axis=-1),
        "scores above 1": total[..., 1] > most,
        "a failure mode of more rows than there are failures": modes > failures + _SLACK,
    }
    return {what: np.asarray(where) for what, where in found.items() if np.any(where)}


def _check(logits: AnyArray, labels: AnyArray, modes: BoolArray, offsets: Int64Array) -> None:
    rows = len(logits)
    if logits.shape != (rows,) or labels.shape != (rows,) or modes.shape[:1] != (rows,) or modes.ndim != 2:
        raise DataError(
            f"logits, labels and modes must be (rows,), (rows,) and (rows, modes), "
            f"got {logits.shape}, {labels.shape}, {modes.shape}; flatten the model's output"
        )
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
        raise DataError(f"offsets must rise from 0 to the number of rows, {rows}, got {offsets.tolist()[:5]}...")


def _refuse_nan(logits: AnyArray, client: Int64Array) -> None:
    bad = np.isnan(logits)
    if bad.any():
        raise ClientError(
            f"a score must be a number, got {int(bad.sum())} that are not (NaN), at positions "
            f"{np.unique(client[bad]).tolist()[:10]} of the clients scored; the weights have probably "
            "diverged: lower the learning rate or clip the gradients"
        )


def _errors(logits: Float64Array, positive: BoolArray) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return each row's probability, squared error and log loss, without overflow at either end.

    Each is rounded to a multiple of 2**-30, so that their sums are exact up to 8 million and come out with the same
    bits however rows are grouped: by client, over a network, or all at once.
    """
    z = np.clip(logits, -_LIMIT, _LIMIT)
    small = np.exp(-np.abs(z))
    probability = np.where(z >= 0, 1.0, small) / (1.0 + small)
    loss = np.maximum(np.where(positive, -z, z), 0.0) + np.log1p(small)
    return _rounded(probability), _rounded((probability - positive) ** 2), _rounded(loss)


def _rounded(values: Float64Array) -> Float64Array:
    return np.rint(values * _PRECISION) / _PRECISION


def _tally(index: Int64Array, shape: tuple[int, ...]) -> Int64Array:
    size = int(np.prod(shape))
    return np.bincount(index, minlength=size).astype(np.int64, copy=False).reshape(shape)


def _mode_histogram(where: Int64Array, has: BoolArray, client: Int64Array, num_clients: int) -> Int64Array:
    num_modes = has.shape[1]
    row, mode = np.nonzero(has)  # positives alone: few
    return _tally((client[row] * num_modes + mode) * NUM_BINS + where[row], (num_clients, num_modes, NUM_BINS))


def _deciles(probability: Float64Array) -> Int64Array:
    return np.minimum((probability * NUM_DECILES).astype(np.int64), NUM_DECILES - 1)


def _calibration(probability: Float64Array, positive: BoolArray, client: Int64Array, num_clients: int) -> Float64Array:
    decile = _deciles(probability)
    slot, size = client * NUM_DECILES + decile, num_clients * NUM_DECILES
    columns = [np.bincount(slot, weights, size) for weights in (None, probability, positive)]
    return np.stack(columns, axis=-1).reshape(num_clients, NUM_DECILES, 3).astype(np.float64, copy=False)
