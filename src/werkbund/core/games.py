"""Games of coalitions: what each player adds to those before it, in drawn orders in which each leads in turn.

The mean over orders is Shapley's value. Who looks at it says himself how many orders are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np

from werkbund.core.arrays import Float64Array

Worth = Callable[[frozenset[int]], float]
"""Says what a coalition of players is worth; asked again for the same ones, so it had better remember."""

WINDOW, TOLERANCE = 10, 0.05
"""So many last estimates must be so near to the newest, in relative distance on average over players."""


def gains_in_turn(worth: Worth, number: int, truncation: float, rng: np.random.Generator) -> Iterator[Float64Array]:
    """Yield for ever what each player adds in one more order, (number,): the first is each player in turn.

    Parameters
    ----------
    worth
        What a coalition of players 0 to number - 1 is worth.
    number
        Of players, at least 1.
    truncation
        Within an order, once all together are no more than this ahead, the rest adds nothing.
    rng
        Draws the players behind the first.

    References
    ----------
    Liu et al., "GTG-Shapley: Efficient and Accurate Participant Contribution Evaluation in Federated Learning", ACM
    TIST 2022, algorithm 1.
    """
    everything = worth(frozenset(range(number)))
    for order in count():
        yield _gains(worth, order % number, number, everything, truncation, rng)


def has_settled(estimates: Sequence[Float64Array], window: int = WINDOW, tolerance: float = TOLERANCE) -> bool:
    """Return whether the last estimates, (players,) each, are near the newest."""
    newest = estimates[-1]
    apart = np.abs(np.array(estimates[-window:]) - newest) / (np.abs(newest) + 1e-12)
    return bool(apart.mean(axis=1).max() <= tolerance)


def _gains(
    worth: Worth, first: int, number: int, everything: float, truncation: float, rng: np.random.Generator
) -> Float64Array:
    """Return what each player adds to those before it in one order, (number,); 0 for those behind the truncation."""
    others = rng.permutation(np.delete(np.arange(number), first))
    gains, so_far = np.zeros(number), worth(frozenset())
    coalition: frozenset[int] = frozenset()
    for player in (first, *others.tolist()):
        if abs(everything - so_far) < truncation:
            break
        coalition |= {player}
        now = worth(coalition)
        gains[player], so_far = now - so_far, now
    return gains
