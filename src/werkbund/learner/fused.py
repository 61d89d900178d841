"""Compiled training and scoring of chains: the fast path of the general loop, with the same numbers.

Python threads share the clients out; the compiled code runs without the interpreter's lock. A client's numbers do
not depend on who computes them, so the number of threads changes nothing but time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array, UInt64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ModelError
from werkbund.learner.batches import num_steps
from werkbund.learner.chains import Chain
from werkbund.learner.plan import TrainingPlan

try:
    from werkbund.learner import fused_kernels as kernels
    from werkbund.learner.fused_steps import Recipe
except Exception:  # Numba is missing, or whatever a broken installation raises: the general path does the work
    kernels = None  # type: ignore[assignment]

Work = Callable[[slice], None]

_KINDS = ("relu", "tanh", "silu", "gelu")
_OPTIMIZERS = ("sgd", "adam", "adamw")
_BLOCK = 128  # rows scored at a time
_LANES = 16
_PIECES_A_THREAD = 4  # so that a thread that comes late costs little
_WORTH_A_THREAD = 500_000  # products of two numbers below which a second thread costs more than it saves


@cache
def fused_available() -> bool:
    """Say whether the compiled kernels can be had: Numba is installed, loads, and may compile. Compiles them."""
    try:
        return kernels is not None and kernels.prepare()
    except Exception:  # whatever a broken installation raises
        return False


def train_chain(
    chain: Chain,
    plan: TrainingPlan,
    table: ClientTable,
    clients: Int64Array,
    start: Float32Array,
    keys: UInt64Array,
    weight: Float64Array | None = None,
    correction: Float32Array | None = None,
    pull: Float64Array | None = None,
    home: Float32Array | None = None,
    num_threads: int | None = None,
) -> tuple[Float32Array, Float64Array]:
    """Train each of these clients: the steps of `werkbund.learner.train`, compiled.

    Parameters
    ----------
    chain
        The network.
    plan
        How each client trains.
    table
        The training rows of all clients.
    clients
        (cohort,), which of them train.
    start
        Weights to start from: (parameters,) for all alike, or (cohort, parameters).
    keys
        (cohort,), key of each client's random stream.
    weight
        (cohort,); if given, updates come back in place of weights: (weights - start) times this.
    correction
        Added to the mean gradient of each step before it is clipped: (parameters,) for all alike, or
        (cohort, parameters); None for nothing.
    pull
        (cohort,), strength of a pull beside the plan's; None for none.
    home
        Weights that both pull to, in either shape of `start`; None: those at the start.
    num_threads
        By default as many as PyTorch uses, fewer for little work.

    Returns
    -------
    weights
        (cohort, parameters), each client's weights after its last step, or its weighted update.
    loss
        (cohort,), mean loss over all rows drawn, before the step that used them; NaN for a client without rows.
    """
    begin = np.ascontiguousarray(np.atleast_2d(start), dtype=np.float32)
    _check(chain, begin.shape[1], table.features)
    if len(begin) not in (1, len(clients)) or len(keys) != len(clients):
        raise ModelError(
            f"start must have one row or one a client, keys one a client: {len(clients)} clients, "
            f"got {len(begin)} and {len(keys)}"
        )
    sizes = table.sizes[clients]
    largest = int(sizes.max(initial=1))
    weights = np.empty((len(clients), chain.num_parameters), np.float32)
    factors = None if weight is None else weight[:, None].astype(np.float32)
    loss = np.full(len(clients), np.nan)
    recipe = _recipe(chain, plan, min(plan.batch_size, largest))
    pushes, pulls = _steering(correction, pull, len(clients), chain.num_parameters)
    begin, homes = _homes(begin, home, weights.shape)
    room = _room(chain, recipe.batch_size, blocks=5 if len(pushes) else 4)
    x, y = np.ascontiguousarray(table.features), np.ascontiguousarray(table.labels)
    offsets, numbers = (np.ascontiguousarray(a, np.int64) for a in (table.offsets, clients))
    keys = np.ascontiguousarray(keys)

    def make() -> Work:
        scratch = room.scratch()
        words, order = np.empty((2, largest), np.uint64), np.empty(largest, np.int64)
        counts = np.empty(2 * largest + 2, np.int64)

        def work(piece: slice) -> None:
            own, to, push = (rows if len(rows) <= 1 else rows[piece] for rows in (begin, homes, pushes))
            kernels.train_clients(
                scratch, room.layers, room.places, recipe, x, y, offsets, numbers[piece], own, to, push,
                pulls[piece], keys[piece], words, order, counts, weights[piece], loss[piece],
            )  # fmt: skip
            if factors is not None:
                weights[piece] -= own
                weights[piece] *= factors[piece]

        return work

    cost = 3 * chain.num_parameters * num_steps(sizes, plan) * np.minimum(sizes, plan.batch_size)
    _spread(make, cost, num_threads)
    return weights, loss


def logits_chain(
    chain: Chain, weights: Float32Array, features: Float32Array, num_threads: int | None = None
) -> Float32Array:
    """Score rows.

    Parameters
    ----------
    chain
        The network.
    weights
        (parameters,)
    features
        (rows, features), scaled.
    num_threads
        By default as many as PyTorch uses, fewer for little work.

    Returns
    -------
    logits
        (rows,)
    """
    _check(chain, len(weights), features)
    room = _room(chain, _BLOCK, blocks=0)
    vector, x = np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(features, np.float32)
    logits = np.empty(len(x), np.float32)
    kind = _KINDS.index(chain.activation)

    def make() -> Work:
        scratch = room.scratch()

        def work(piece: slice) -> None:
            rows = slice(piece.start * _BLOCK, piece.stop * _BLOCK)
            kernels.score_rows(scratch, room.layers, room.places, kind, _BLOCK, vector, x[rows], logits[rows])

        return work

    _spread(make, np.full(-(-len(x) // _BLOCK), chain.num_parameters * _BLOCK), num_threads)
    return logits


def _steering(
    correction: Float32Array | None, pull: Float64Array | None, num_clients: int, num_parameters: int
) -> tuple[Float32Array, Float64Array]:
    """Return corrections, one a client, one for all or none at all, and a pull for each client."""
    rows = np.empty((0, num_parameters)) if correction is None else np.atleast_2d(correction)
    pulls = np.zeros(num_clients) if pull is None else np.ascontiguousarray(pull, np.float64)
    return np.ascontiguousarray(rows, np.float32), pulls


def _homes(begin: Float32Array, home: Float32Array | None, shape: tuple[int, ...]) -> tuple[Float32Array, Float32Array]:
    """Return weights to start from, (1 or clients, parameters), and what they are pulled to: none for the start."""
    if home is None:
        return begin, np.empty((0, shape[1]), np.float32)
    own = np.ascontiguousarray(np.broadcast_to(begin, shape))
    return own, np.ascontiguousarray(np.atleast_2d(home), np.float32)


def _check(chain: Chain, num_parameters: int, features: Float32Array) -> None:
    if num_parameters != chain.num_parameters:
        raise ModelError(f"weights must have {chain.num_parameters} parameters, got {num_parameters}")
    if features.ndim != 2 or features.shape[1] != chain.widths[0] or features.dtype != np.float32:
        raise ModelError(f"features must be (rows, {chain.widths[0]}) float32, got {features.shape} {features.dtype}")


def _recipe(chain: Chain, plan: TrainingPlan, batch_size: int) -> Recipe:
    return Recipe(
        activation=_KINDS.index(chain.activation),
        optimizer=_OPTIMIZERS.index(plan.optimizer),
        learning_rate=float(plan.learning_rate),
        momentum=float(plan.momentum),
        weight_decay=float(plan.weight_decay),
        clip_norm=float(plan.clip_norm or 0),
        positive_weight=float(plan.positive_weight),
        proximal=float(plan.proximal),
        epochs=plan.epochs,
        steps=plan.steps or 0,
        batch_size=batch_size,
    )


@dataclass(frozen=True)
class _Room:
    """Say how one thread's flat array is divided."""

    layers: Int64Array
    places: kernels.Places
    size: int

    def scratch(self) -> Float32Array:
        """Return an array of zeros that begins at a cache line, with its single 1."""
        whole = np.zeros(self.size + _LANES, np.float32)
        first = -(whole.ctypes.data // 4) % _LANES
        scratch = whole[first : first + self.size]
        scratch[self.places.constant_one] = 1
        return scratch


class _Divider:
    """Hand out parts of a flat array, each a multiple of 16 numbers long."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, length: int) -> int:
        first, self.size = self.size, self.size + _padded(length)
        return first


def _room(chain: Chain, batch_size: int, blocks: int) -> _Room:
    """Divide the flat array: zeros, a one, weights, further blocks of the same length, copies, a batch's values.

    In training there are four: gradients, start, first and second moments; with a correction a fifth.
    """
    divider = _Divider()
    padded = [_padded(width) for width in chain.widths]
    hidden = range(len(padded) - 2)
    divider.take(max(padded))
    constant_one, block = divider.take(1), divider.size
    matrices = [(divider.take(padded[i] * padded[i + 1]), divider.take(padded[i + 1])) for i in hidden]
    head = divider.take(padded[-2] + 1)
    length = divider.size - block
    divider.take(blocks * length)
    copies = [divider.take(padded[i] * padded[i + 1]) for i in hidden]
    values = [divider.take(batch_size * width) for width in padded[:-1]]
    slopes = [divider.take(batch_size * padded[i + 1]) for i in hidden]
    deltas = [divider.take(batch_size * padded[i + 1]) for i in hidden]
    pairs = [(chain.widths[i : i + 2], padded[i : i + 2], values[i : i + 2]) for i in hidden]
    layers = list(map(_layer, pairs, matrices, zip(copies, slopes, deltas, strict=True)))
    places = kernels.Places(
        constant_one=constant_one,
        row=padded[-2],
        inputs=padded[0],
        rows=values[0],
        top=values[-1],
        head=head,
        block=block,
        length=length,
        labels=divider.take(batch_size),
        logits=divider.take(batch_size),
        errors=divider.take(batch_size),
    )
    return _Room(np.array(layers, np.int64).reshape(-1, len(kernels.LayerPlaces._fields)), places, divider.size)


def _layer(
    pairs: tuple[Sequence[int], Sequence[int], Sequence[int]], matrix: tuple[int, int], rest: tuple[int, int, int]
) -> kernels.LayerPlaces:
    """Return a hidden layer's row.

    Parameters
    ----------
    pairs
        Below the layer and above it: widths, padded widths, and where a batch's values lie.
    matrix
        Where weights and bias lie.
    rest
        Where the transposed copy, the activation's derivative and the output's gradient lie.
    """
    (inputs, outputs), (row_in, row_out), (below, above) = pairs
    (weight, bias), (copy, slope, delta) = matrix, rest
    return kernels.LayerPlaces(
        inputs=inputs, outputs=outputs, row_in=row_in, row_out=row_out, weight=weight, bias=bias,
        copy=copy, below=below, above=above, slope=slope, delta=delta,
    )  # fmt: skip


def _padded(length: int) -> int:
    return -(-length // _LANES) * _LANES


def _spread(make: Callable[[], Work], cost: AnyArray, num_threads: int | None) -> None:
    """Let threads, this one among them, work through pieces of about the same cost; each makes its own scratch."""
    total = np.cumsum(cost)
    if num_threads is None:
        num_threads = min(torch.get_num_threads(), int(cost.sum()) // _WORTH_A_THREAD)
    if num_threads <= 1 or len(cost) <= 1:
        make()(slice(0, len(cost)))
        return
    shares = np.linspace(0, total[-1], num_threads * _PIECES_A_THREAD + 1)[1:-1]
    edges = np.unique([0, *np.searchsorted(total, shares), len(cost)]).tolist()
    pieces = deque(slice(*pair) for pair in pairwise(edges))

    def run() -> None:
        work = make()
        while True:
            try:
                piece = pieces.popleft()
            except IndexError:
                return
            work(piece)

    with ThreadPoolExecutor(num_threads - 1) as pool:
        helpers = [pool.submit(run) for _ in range(num_threads - 1)]
        run()
        for helper in helpers:
            helper.result()
