"""The rows that plants are judged on and those that they know, and what they decide on these without any model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.errors import DataError
from werkbund.core.target import NumberTarget
from werkbund.data.times import moments
from werkbund.evaluation import HABITS, Costs, HeldOut, Showing, cheapest_interval, inspected, work_of
from werkbund.partition.population import Population


@dataclass(frozen=True)
class OwnRows:
    """Hold the rows that plants are judged on, and those that they know.

    Parameters
    ----------
    population, splits
        The clients' rows, raw and prepared.
    """

    population: Population
    splits: ClientSplits

    @cached_property
    def _machines(self) -> Int64Array:
        """The machine of each row of the whole table: (all rows,)."""
        return self.population.schema.machines(self.population.splits["test"].frame)

    @cached_property
    def _hours(self) -> Float64Array | None:
        """When each row was taken, in hours where the time is one of a calendar; None where that is not known."""
        name, frame = self.population.schema.time, self.population.splits["test"].frame
        if name is None:
            return None
        try:
            hours = moments(frame[name])
        except DataError:
            return None
        return None if np.isnan(hours).any() else hours

    def held_out(self, client: int) -> HeldOut:
        """Return the test rows that judge a client."""
        test = self.splits.test
        place, machines = test.rows(client), self._of(self._machines, client, "test")
        target, true = test.target, test.risks[test.rows(client)] if len(test.risks) else np.empty(0)
        numbers = target.numbers(true) if isinstance(target, NumberTarget) else np.empty(0)
        return HeldOut(test.names[client], test.labels[place], machines, numbers)

    def known_machines(self, client: int) -> Int64Array:
        """Return the machine of each row that does not judge a client: of its training rows, then validation rows."""
        return self._of(self._machines, client, "train", "validation")

    def known(self, client: int) -> tuple[AnyArray, AnyArray]:
        """Return features and labels of the rows that do not judge a client, in the same order."""
        tables = self.splits.train, self.splits.validation
        features = np.concatenate([table.features[table.rows(client)] for table in tables])
        return features, self._known_labels(client)

    def known_risks(self, client: int) -> AnyArray:
        """Return the true risks of the same rows, where a number is foretold."""
        tables = self.splits.train, self.splits.validation
        return np.concatenate([table.followed[table.rows(client)] for table in tables])

    def _known_labels(self, client: int) -> AnyArray:
        tables = self.splits.train, self.splits.validation
        return np.concatenate([table.labels[table.rows(client)] for table in tables])

    def habits(self, client: int, costs: Costs) -> dict[str, Showing]:
        """Return what a client decides on its test rows without any model.

        The interval of its inspections is the one that cost least on the rows that do not judge it.
        """
        test, known = self.held_out(client), self.known_machines(client)
        every = cheapest_interval(self._work(client, "train", "validation"), known, self._known_labels(client), costs)
        shape = test.labels.shape
        alarms = (
            np.zeros(shape, bool),
            np.ones(shape, bool),
            inspected(self._work(client, "test"), test.machines, every),
        )
        return {name: Showing(decided) for name, decided in zip(HABITS, alarms, strict=True)}

    def _work(self, client: int, *splits: str) -> Float64Array:
        hours = self._hours
        own = None if hours is None else self._of(hours, client, *splits)
        return work_of(self._of(self._machines, client, *splits), own)

    def _of(self, values: AnyArray, client: int, *splits: str) -> AnyArray:
        """Return a value of the whole table for a client's rows of some splits, one after the other."""
        tables = [self.population.splits[split] for split in splits]
        return np.concatenate([values[t.rows[t.offsets[client] : t.offsets[client + 1]]] for t in tables])
