"""Learn the common preparation: every client counts its own training rows, the server adds the counts."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from werkbund.core.types import Replies, Tasks
from werkbund.data import Preparation, Schema, SurveyCounts
from werkbund.data.statistics import feature_names, squares_each, survey_each
from werkbund.engine import Grid, Handler, gather
from werkbund.federation.population import RawTable


@dataclass(frozen=True)
class Learnt:
    """Hold what the clients' counts gave: the preparation, and the counts of all clients together."""

    preparation: Preparation
    survey: SurveyCounts
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class StatisticsWork:
    """Count a client's training rows.

    Parameters
    ----------
    table
        The raw training rows of the clients that live here.
    schema
        What the columns mean.
    """

    table: RawTable
    schema: Schema

    def handlers(self) -> dict[str, Handler]:
        """Return the functions for the kinds `survey` and `squares`."""
        return {"survey": self.survey, "squares": self.squares}

    def survey(self, tasks: Tasks) -> Replies:
        """Answer with counts and sums, and in clear with the levels of each category and the number of rows."""
        arrays, vocabularies = [], []
        for frame, offsets in self.table.pieces(tasks.clients):
            counted, levels = survey_each(frame, self.schema, offsets)
            arrays.append(counted)
            vocabularies += [json.dumps(one) for one in levels]
        sums = {name: np.concatenate([counted[name] for counted in arrays]) for name in arrays[0]}
        clear = {"vocabulary": np.array(vocabularies), "rows": sums["labels"].sum(axis=1)}
        return Replies("survey", tasks.round, tasks.clients, sums, clear)

    def squares(self, tasks: Tasks) -> Replies:
        """Answer with sums of squared deviations from the common mean."""
        pieces = self.table.pieces(tasks.clients)
        summed = [squares_each(frame, self.schema, tasks.shared["mean"], offsets) for frame, offsets in pieces]
        return Replies("squares", tasks.round, tasks.clients, {"squares": np.concatenate(summed)})


def learn_preparation(grid: Grid, schema: Schema, timeout_s: float) -> Learnt:
    """Ask all clients twice, and fit the preparation to the sums.

    Parameters
    ----------
    grid
        Reaches clients that know the kinds of `StatisticsWork`.
    schema
        The same as the clients'.
    timeout_s
        Seconds to wait for each of the two answers.
    """
    first = gather(grid, "survey", {}, timeout_s)
    vocabularies = [json.loads(text) for text in np.unique(first.clear["vocabulary"])]
    levels = {name: sorted({level for one in vocabularies for level in one[name]}) for name in vocabularies[0]}
    total = SurveyCounts.from_arrays(feature_names(schema), first.sums, levels)
    second = gather(grid, "squares", {"mean": total.mean}, timeout_s)
    return Learnt(Preparation.fit(schema, total, second.sums["squares"]), total, first.clear["rows"])
