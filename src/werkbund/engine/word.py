"""A client is held to its word: what an answer says must fit what the client said before, and itself.

What a kind declares bounds any answer of any run; here stands what depends on the run: how many training rows a client
said it has, what its update may weigh in this round, and of how many held-out rows its counts were so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, Float64Array, Int64Array, under
from werkbund.core.kinds import HELD_OUT, TRAINING_ROWS, Half
from werkbund.core.types import Replies
from werkbund.engine.kinds import WEIGHT
from werkbund.learner.counts import contradictions, rows_by_class

_SLACK = 1e-9


@dataclass(frozen=True)
class Word:
    """Hold what clients said, and may say.

    Parameters
    ----------
    rows
        (all clients,), training rows of each, NaN where nobody knows; empty where nobody is held to any.
    least, most
        (all clients,), what the update of each must and may weigh; empty where any weight will do.
    beside
        What each must and may add to an update for each unit of its weight, least and most, (all clients,) by name.
    held_out
        By split (all clients, 2), held-out rows without and with a failure that each has counted; -1 where none were.
    most_held_out
        (all clients,), rows of a split that each can hold out at most; empty where any number will do.
    """

    rows: Float64Array = field(default_factory=lambda: np.empty(0))
    least: Float64Array = field(default_factory=lambda: np.empty(0))
    most: Float64Array = field(default_factory=lambda: np.empty(0))
    beside: Mapping[str, tuple[Float64Array, Float64Array]] = field(default_factory=dict)
    held_out: Arrays = field(default_factory=dict)
    most_held_out: Float64Array = field(default_factory=lambda: np.empty(0))

    def broken(self, replies: Replies, changed: frozenset[str] = frozenset()) -> dict[int, str]:
        """Return at which places of an answer its client breaks its word, each with how.

        Parameters
        ----------
        replies
            An answer of the declared form, within the declared bounds.
        changed
            Names of sums that layers of privacy changed, which say nothing by themselves.
        """
        if not len(self.rows):
            return {}
        found = {**self._too_many_training(replies, changed), **self._counts(replies)}
        if "rows" in replies.sums and "rows" not in changed:
            found |= self._rows(replies)
        if len(self.most) and replies.kind.updates and WEIGHT not in changed:
            found |= self._total_weight(replies) if WEIGHT in replies.pooled else self._weights(replies)
            for name in self.beside.keys() & replies.sums.keys() - changed:
                found |= self._beside(name, replies)
        return found

    def _too_many_training(self, replies: Replies, changed: frozenset[str]) -> dict[int, str]:
        """Look at all numbers that are declared to be training rows."""
        found: dict[int, str] = {}
        said = self.rows[replies.clients]
        halves: tuple[tuple[Half, Arrays], ...] = (("sums", replies.sums), ("clear", replies.clear))
        for half, name, array in ((half, name, array) for half, arrays in halves for name, array in arrays.items()):
            declared = replies.kind.answered(half, name)
            if declared is None or declared.unit != TRAINING_ROWS or name in changed or array.dtype.kind not in "iuf":
                continue
            most = array.reshape(len(replies), -1).max(axis=1, initial=0)
            why = f"its {name} say {{:g}} training rows, and it said it has {{:g}}"
            found |= {place: why.format(most[place], said[place]) for place in np.flatnonzero(most > said).tolist()}
        return found

    def _rows(self, replies: Replies) -> dict[int, str]:
        said, given = self.rows[replies.clients], replies.sums["rows"]
        wrong = np.flatnonzero(np.abs(given - said) > _SLACK * said)  # never where nobody knows
        why = "it now has {:g} training rows and said {:g} before the first round"
        return {place: why.format(given[place], said[place]) for place in wrong.tolist()}

    def _weights(self, replies: Replies) -> dict[int, str]:
        least, most = self.least[replies.clients], self.most[replies.clients]
        given = replies.sums[WEIGHT]
        wrong = np.flatnonzero((given < least * (1 - _SLACK)) | (given > most * (1 + _SLACK)))
        why = "its update weighs {:g}, and by what it said of its rows it weighs {}"
        return {
            place: why.format(given[place], _between(float(least[place]), float(most[place])))
            for place in wrong.tolist()
        }

    def _total_weight(self, replies: Replies) -> dict[int, str]:
        """Look at the weight of updates of which the sum alone is told: who lies does not show, that somebody does."""
        least, most = float(self.least[replies.clients].sum()), float(self.most[replies.clients].sum())
        given = float(replies.pooled[WEIGHT])
        if least * (1 - _SLACK) <= given <= most * (1 + _SLACK):
            return {}
        why = (
            f"the sum of {len(replies)} updates weighs {given:g}, and by what their clients said of their rows it "
            f"weighs {_between(least, most)}: one of them lies, and sums do not show which"
        )
        return dict.fromkeys(range(len(replies)), why)

    def _beside(self, name: str, replies: Replies) -> dict[int, str]:
        least, most = (bound[replies.clients] for bound in self.beside[name])
        given, weight = replies.sums[name], replies.sums[WEIGHT]
        wrong = np.flatnonzero((given < least * weight * (1 - _SLACK)) | (given > most * weight * (1 + _SLACK)))
        why = f"its {name} is {{:g}} for each unit of its weight, and by what it said of its rows it is {{}}"
        each = np.divide(given, weight, out=np.zeros_like(given), where=weight > 0)
        return {
            place: why.format(each[place], _between(float(least[place]), float(most[place])))
            for place in wrong.tolist()
        }

    def _counts(self, replies: Replies) -> dict[int, str]:
        found: dict[int, str] = {}
        for split in HELD_OUT:
            counts = counts_of(replies, split)
            for what, where in contradictions(counts).items() if counts else ():
                places = np.flatnonzero(where).tolist() if len(where) == len(replies) else range(len(replies))
                found |= dict.fromkeys(places, f"its {split} counts contradict one another: {what}")
            if len(counts.get("histogram", ())) == len(replies):
                found |= self._too_many(split, replies, counts["histogram"])
                found |= self._changed(split, replies, counts["histogram"]) if split in self.held_out else {}
        return found

    def _too_many(self, split: str, replies: Replies, histogram: AnyArray) -> dict[int, str]:
        if not len(self.most_held_out):
            return {}
        now, most = rows_by_class(histogram).sum(axis=-1), self.most_held_out[replies.clients]
        why = "its counts are over {:g} {} rows, and by what it said of its rows it has at most {:g}"
        return {place: why.format(now[place], split, most[place]) for place in np.flatnonzero(now > most).tolist()}

    def _changed(self, split: str, replies: Replies, histogram: AnyArray) -> dict[int, str]:
        before, now = self.held_out[split][replies.clients], rows_by_class(histogram)
        wrong = np.flatnonzero(((before >= 0) & (before != now)).any(axis=-1))
        why = "its {} rows without and with a failure are {:g} and {:g}, and were {:g} and {:g} before in this run"
        return {place: why.format(split, *now[place], *before[place]) for place in wrong.tolist()}


def counts_of(replies: Replies, split: str) -> dict[str, AnyArray]:
    """Return a split's counts by their own names, with one row a client, or one for all; empty where there are none."""
    return under(f"{split}.", replies.figures)


def with_counts(held_out: Arrays, answers: Iterable[Replies], num_clients: int) -> Mapping[str, AnyArray]:
    """Return of how many held-out rows clients' counts are, with what these usable answers say for the first time.

    Parameters
    ----------
    held_out
        What is known, as `Word` has it.
    answers
        Counts that came added over several clients say nothing about any of them.
    num_clients
        Of the federation.
    """
    known = {split: array.copy() for split, array in held_out.items()}
    for replies in answers:
        for split in HELD_OUT:
            histogram = counts_of(replies, split).get("histogram")
            if histogram is not None and len(replies) == len(histogram):
                own = known.setdefault(split, np.full((num_clients, 2), -1.0))
                own[replies.clients] = rows_by_class(histogram)
    return known


def weights_expected(
    rows: Float64Array, cohort: AnyArray, factors: Float64Array, equal: bool
) -> tuple[Float64Array, Float64Array]:
    """Return what the update of each client of a cohort must and may weigh, (all clients,) each; 0 for all others.

    It weighs its factor, times its training rows unless all count alike. Where nobody knows how many it has, it weighs
    no more than the client with the most.

    Parameters
    ----------
    rows
        (all clients,), training rows that each said it has; NaN where nobody knows.
    cohort, factors
        (cohort,), client numbers and the selector's factors.
    equal
        Whether all clients count alike but for their factors.
    """
    unknown = np.isnan(rows)
    units = np.where(unknown, np.nan, rows > 0) if equal else rows
    highest = 1.0 if equal else float(np.max(rows, where=~unknown, initial=0.0)) or np.inf
    least, most = np.zeros(len(rows)), np.zeros(len(rows))
    least[cohort] = factors * np.where(unknown, 0.0, units)[cohort]
    most[cohort] = factors * np.where(unknown, highest, units)[cohort]
    return least, most


def added_expected(
    rows: Float64Array, clients: Int64Array, of_rows: Callable[[Float64Array], Float64Array]
) -> tuple[Float64Array, Float64Array]:
    """Return what some clients must and may add to an update for each unit of weight, (all clients,); 0 for all others.

    Where nobody knows how many rows a client has, it adds no more than the client with the most.

    Parameters
    ----------
    rows
        (all clients,), training rows that each said it has; NaN where nobody knows.
    clients
        (clients,), who is asked.
    of_rows
        Given training rows, return what a client with as many adds, (clients,).
    """
    unknown = np.isnan(rows[clients])
    highest = float(np.max(rows, where=~np.isnan(rows), initial=0.0))
    added = of_rows(np.where(unknown, highest, rows[clients]))
    least, most = np.zeros(len(rows)), np.zeros(len(rows))
    least[clients], most[clients] = np.where(unknown, 0.0, added), added
    return least, most


def most_held_out(training: Float64Array, told: Float64Array, test: float, validation: float) -> Float64Array:
    """Return how many rows of a split each client can hold out at most: (all clients,).

    Where it told how many rows it has, all but its training rows; else ten times what the shares would give, since
    whole machines are held out, and no less than a hundred.

    Parameters
    ----------
    training, told
        (all clients,), training rows of each, and all its rows; NaN where nobody knows.
    test, validation
        Shares of the rows that are held out.
    """
    usual = 10 * max(test, validation) / (1 - test - validation)
    largest = float(np.max(training, where=~np.isnan(training), initial=0.0))
    known = np.where(np.isnan(training), largest, training)
    guessed = np.maximum(usual * known, 100.0)
    return np.where(np.isnan(told), guessed, np.maximum(told - np.nan_to_num(training), 0.0))


def _between(least: float, most: float) -> str:
    return f"{most:g}" if least == most else f"{least:g} to {most:g}"
