"""The layers through which an answer leaves: clip, noise, quantise, mask; each has a half at the client and the server.

Layers are applied in order at the client, and unwound in reverse at the server, which knows their sum alone. Nothing
here knows how clients train or how updates become weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Int64Array, UInt64Array
from werkbund.core.errors import ConfigError, FederationError


@dataclass(frozen=True)
class Departure:
    """Say which answers of which round pass the layers.

    Parameters
    ----------
    round
        From 1.
    clients
        (answers,), client numbers, ascending: at a client those whose rows are given; at the server those whose
        answers are in the sum.
    keys
        (answers,), key of each of these clients' random stream in this round. At the server empty: it holds none.
    cohort
        (cohort,), client numbers of all that were asked, ascending: some may be missing from the sum.
    num_parameters
        Length of an update.
    sent
        What the aggregator sent along with the weights, by name.
    """

    round: int
    clients: Int64Array
    keys: UInt64Array
    cohort: Int64Array
    num_parameters: int
    sent: Arrays = field(default_factory=dict)


class Layer(Protocol):
    """Change what leaves a client, and undo over the sum what can be undone. A frozen value; it keeps nothing."""

    @property
    def on(self) -> tuple[str, ...]:
        """Names of the arrays that it changes: for most `update` alone."""

    @property
    def sums_only(self) -> bool:
        """Whether the server may see the sum of all answers alone, since a single one tells it nothing, or too much."""

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        """Return the changed arrays of some answers: the client's half.

        Parameters
        ----------
        answers
            Named arrays, (answers, ...), already weighted, as the layers before left them.
        departure
            Whose they are.

        Returns
        -------
        changed
            Those that `on` names, with one row an answer; the type of numbers may be another, such as uint64.
        """

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        """Return the changed arrays of the sum: the server's half.

        Parameters
        ----------
        total
            Named arrays, (...), the sums of the answers, as the layers behind left them.
        departure
            Whose answers are in the sum.
        """


@dataclass(frozen=True)
class Stack:
    """Apply layers in order at the client, and unwind them in reverse at the server.

    An empty stack does nothing: it returns what it is given.

    Parameters
    ----------
    layers
        The first is the first that an answer passes.
    """

    layers: tuple[Layer, ...] = ()

    @property
    def changes(self) -> frozenset[str]:
        """Names of the arrays that any layer changes."""
        return frozenset(name for layer in self.layers for name in layer.on)

    @property
    def sums_only(self) -> bool:
        """Whether any layer forbids the server to read single answers."""
        return any(layer.sums_only for layer in self.layers)

    def check(self, sees: str, needs: frozenset[str] = frozenset()) -> None:
        """Refuse an aggregator or a selector that must see single updates which the stack hides.

        Parameters
        ----------
        sees
            What the aggregator must see: `sum` or `each`.
        needs
            Names of the signals that the selector needs of each client.

        Raises
        ------
        ConfigError
            If one of the two needs what is hidden.
        """
        hidden = sorted({name for layer in self.layers if layer.sums_only for name in layer.on})
        if hidden and sees == "each":
            raise ConfigError(
                f"privacy hides each client's {', '.join(hidden)}, but strategy.aggregation must see every update in "
                "clear; choose a rule that needs sums alone, or switch the layer off"
            )
        wanted = sorted(needs & set(hidden))
        if wanted:
            raise ConfigError(
                f"privacy hides each client's {', '.join(wanted)}, which strategy.selection needs of single clients; "
                "choose another method, or switch the layer off"
            )

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        """Return answers, (answers, ...) by name, as they leave their clients.

        Raises
        ------
        FederationError
            If a layer finds no array to work on, or returns others than it declares, or another number of rows.
        """
        for layer in self.layers:
            _refuse_missing(layer, answers)
            changed = layer.leave(answers, departure)
            _refuse_odd(layer, changed, len(departure.clients))
            answers = {**answers, **changed}
        return answers

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        """Return the sums of answers, (...) by name, as they were before they left.

        Raises
        ------
        FederationError
            If a layer finds no array to work on, or returns others than it declares.
        """
        for layer in reversed(self.layers):
            _refuse_missing(layer, total)
            changed = layer.unwind(total, departure)
            _refuse_odd(layer, changed, None)
            total = {**total, **changed}
        return total


def added(total: Arrays, answers: Arrays) -> dict[str, AnyArray]:
    """Return sums with more answers in them, added one after the other; integers wrap around.

    Parameters
    ----------
    total
        (...) by name; empty before the first answers.
    answers
        (answers, ...) by name.

    Examples
    --------
    >>> rows = {"update": np.array([[2**64 - 1, 5], [3, 6]], np.uint64)}
    >>> added({}, rows)["update"].tolist()
    [2, 11]
    """
    sums: dict[str, AnyArray] = {}
    for name, rows in answers.items():
        summed = total[name].copy() if name in total else np.zeros(rows.shape[1:], rows.dtype)
        for row in rows:
            summed += row
        sums[name] = summed
    return sums


def _refuse_missing(layer: Layer, arrays: Arrays) -> None:
    lacking = [name for name in layer.on if name not in arrays]
    if lacking:
        raise FederationError(f"{layer} works on {', '.join(lacking)}, got {', '.join(sorted(arrays)) or 'nothing'}")


def _refuse_odd(layer: Layer, changed: Mapping[str, AnyArray], num_rows: int | None) -> None:
    odd = [name for name in changed if name not in layer.on]
    if odd:
        raise FederationError(f"{layer} may change {', '.join(layer.on)} alone, and changed {', '.join(odd)}")
    uneven = [name for name, array in changed.items() if num_rows is not None and array.shape[:1] != (num_rows,)]
    if uneven:
        raise FederationError(f"{layer} must return {num_rows} rows of {', '.join(uneven)}, one an answer")
