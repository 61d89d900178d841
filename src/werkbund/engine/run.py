"""Rounds, one after the other, until the caller has seen enough."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from werkbund.aggregation import FedAvg
from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ClientError
from werkbund.core.rng import keys
from werkbund.core.types import RoundRecord, Tasks
from werkbund.engine.asking import ask
from werkbund.engine.folding import fold_answers
from werkbund.engine.grid import Grid
from werkbund.engine.kinds import TRAIN
from werkbund.engine.round import one_round
from werkbund.engine.state import Rules, RunState, Strategy


def rounds(
    grid: Grid, strategy: Strategy, rules: Rules, state: RunState, last: int
) -> Iterator[tuple[RunState, RoundRecord]]:
    """Do rounds up to number `last`, from wherever `state` stands.

    Yields
    ------
    state, record
        After each round. A caller that stops reading stops the run; one that starts again from a state it kept goes
        on as if nothing had been.
    """
    while state.round < last:
        state, record = one_round(grid, strategy, rules, state)
        yield state, record


def weights_from_client(grid: Grid, client: int, weights: Float32Array, rules: Rules, num_rounds: int) -> Float32Array:
    """Let one client train alone, and take its weights as the first global ones.

    Parameters
    ----------
    grid
        Reaches the clients.
    client
        Which one.
    weights
        (parameters,), those it starts from.
    rules
        Give seed and time-out.
    num_rounds
        How often it does a round's local training.

    Raises
    ------
    ClientError
        If it does not answer usefully, or has no training rows.
    """
    name = grid.clients()[client]
    alone, mean = np.array([client]), FedAvg(step=1.0, momentum=0.0)
    for number in range(num_rounds):
        own = {"factor": np.ones(1), "key": keys(rules.seed, f"first client {number}", 0, alone)}
        tasks = Tasks(TRAIN, 0, alone, {"weights": weights, "rate": np.ones(())}, own)
        arrivals = ask(grid, [tasks], rules.timeout_s, rules.form(len(weights)))
        folded = fold_answers(arrivals, mean, alone, len(weights))
        if folded.failures:
            reason = folded.failures[0].reason
            raise ClientError(f"{name} was to train the first weights (model.initial) and failed: {reason}")
        if not folded.weight > 0:
            raise ClientError(f"{name} was to train the first weights (model.initial) and has no training rows")
        weights, _ = mean.finish(folded.accumulator, weights, {})
    return weights
