"""Learn the common preparation: every client counts its own training rows, the server adds the counts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Float64Array, Int64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.types import Replies, Tasks
from werkbund.data import Preparation, Schema, SurveyCounts
from werkbund.data.answers import (
    SQUARES,
    SUMMED_SQUARES,
    SURVEY,
    all_levels,
    survey_shapes,
    usable_squares,
    usable_survey,
)
from werkbund.data.checks import Finding
from werkbund.data.checks.units import doubts
from werkbund.data.plausibility import odd_squares, rows_told, unlike_the_others
from werkbund.data.statistics import category_names, feature_names, squares_each, survey_each
from werkbund.engine import Gathered, Grid, Handler, Rules, gather, grid_in_process
from werkbund.engine.statistics import Compare
from werkbund.engine.worker import forgetful
from werkbund.federation.wiring import sums_of
from werkbund.partition.population import Population, RawTable


@dataclass(frozen=True)
class CommonPreparation:
    """Hold the preparation that is the same at all clients, and the counts that it was fitted to.

    Parameters
    ----------
    preparation
        From raw units to features.
    survey
        The counts of all clients together.
    rows
        (clients,), training rows of each client; 0 where a client did not answer.
    missing
        Why each client that was not counted is missing, by name.
    counted
        (clients,), training rows that each client's counts are over, whether it tells them or not; NaN where they do
        not say, and where it did not answer.
    refused
        Names of those of the missing that did answer, and what they said cannot be used: the federation goes on without
        them.
    held_out
        (clients,), rows of a split that each can hold out at most; empty where nobody is held to any.
    doubts
        What looks odd about what single clients told; for people, and not written down.
    """

    preparation: Preparation
    survey: SurveyCounts
    rows: Int64Array
    missing: Mapping[str, str] = field(default_factory=dict)
    counted: Float64Array = field(default_factory=lambda: np.empty(0))
    refused: tuple[str, ...] = ()
    held_out: Float64Array = field(default_factory=lambda: np.empty(0))
    doubts: tuple[Finding, ...] = ()

    def held_to_its_word(self, rules: Rules, names: Sequence[str]) -> Rules:
        """Return the rules of a run whose clients, of these names, are held to what they said."""
        left_out = tuple(number for number, name in enumerate(names) if name in self.refused)
        return replace(rules, training_rows=self.counted, most_held_out=self.held_out, left_out=left_out)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; floats keep every bit through JSON."""
        return {
            "preparation": self.preparation.to_json(),
            "features": list(self.survey.features),
            "survey": {name: array.tolist() for name, array in self.survey.to_arrays().items()},
            "vocabulary": {name: list(levels) for name, levels in self.survey.vocabulary.items()},
            "rows": self.rows.tolist(),
            "missing": dict(self.missing),
            "counted": [None if math.isnan(rows) else rows for rows in self.counted.tolist()],
            "refused": list(self.refused),
            "held_out": self.held_out.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CommonPreparation:
        """Return what `to_json` described."""
        arrays = {name: np.asarray(array) for name, array in values["survey"].items()}
        survey = SurveyCounts.from_arrays(values["features"], arrays, values["vocabulary"])
        rows = np.asarray(values["rows"], dtype=np.int64)
        counted = np.array([math.nan if each is None else each for each in values.get("counted", ())], np.float64)
        preparation, refused = Preparation.from_json(values["preparation"]), tuple(values.get("refused", ()))
        held_out = np.array(values.get("held_out", ()), np.float64)
        return cls(preparation, survey, rows, values["missing"], counted, refused, held_out)


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

    def handlers(self) -> dict[Kind, Handler]:
        """Return the functions for the kinds `survey` and `squares`."""
        return {SURVEY: forgetful(self.survey), SQUARES: forgetful(self.squares)}

    def survey(self, tasks: Tasks) -> Replies:
        """Answer with counts and sums, and in clear with the levels of each category and the number of rows."""
        arrays, vocabularies = [], []
        for frame, offsets in self.table.pieces(tasks.clients):
            counted, levels = survey_each(frame, self.schema, offsets)
            arrays.append(counted)
            vocabularies += [json.dumps(by_column) for by_column in levels]
        sums = {name: np.concatenate([counted[name] for counted in arrays]) for name in arrays[0]}
        clear = {"vocabulary": np.array(vocabularies), "rows": sums["labels"].sum(axis=1)}
        return Replies(SURVEY, tasks.round, tasks.clients, sums, clear)

    def squares(self, tasks: Tasks) -> Replies:
        """Answer with sums of squared deviations from the common mean.

        Raises
        ------
        ClientError
            If the mean is not one number a feature: with one a row, a sum would tell single rows.
        """
        mean, width = tasks.shared["mean"], len(feature_names(self.schema))
        if mean.shape != (width,) or not np.isfinite(mean).all():
            raise ClientError(f"the mean must be {width} finite numbers, got the shape {mean.shape}")
        pieces = self.table.pieces(tasks.clients)
        summed = [squares_each(frame, self.schema, mean, offsets) for frame, offsets in pieces]
        return Replies(SQUARES, tasks.round, tasks.clients, {SUMMED_SQUARES: np.concatenate(summed)})


def learn_preparation(grid: Grid, schema: Schema, timeout_s: float, quorum: float = 1.0) -> CommonPreparation:
    """Ask all clients twice, and fit the preparation to the sums.

    A client that leaves between the two questions is left out of both.

    Parameters
    ----------
    grid
        Reaches clients that know the kinds of `StatisticsWork`.
    schema
        The same as the clients'.
    timeout_s
        Seconds to wait for each of the two answers.
    quorum
        Share of the clients that must answer; the others' rows are not in the common scaling.

    Raises
    ------
    QuorumError
        If too few answer.
    """
    survey, squares, far = usable_survey(schema), usable_squares(schema, SUMMED_SQUARES), _far_survey(schema)
    of_survey, of_squares = survey_shapes(schema), {SUMMED_SQUARES: (len(feature_names(schema)),)}
    absent: Mapping[str, str] = {}
    refused: set[str] = set()
    while True:
        first = gather(grid, SURVEY, {}, timeout_s, quorum, absent, survey, far, of_survey)
        texts = np.unique(first.clear["vocabulary"].values).tolist() if "vocabulary" in first.clear else ()
        levels = all_levels(texts, category_names(schema))
        total = SurveyCounts.from_arrays(feature_names(schema), first.sums, levels)
        odd = _far_squares(first, total.mean, schema)
        second = gather(grid, SQUARES, {"mean": total.mean}, timeout_s, quorum, first.missing, squares, odd, of_squares)
        refused |= {*first.refused, *second.refused}
        if second.missing.keys() == first.missing.keys():
            break
        first.check_left(second)
        absent = second.missing  # both sums must be over the same rows: again, without those who have left
    preparation = Preparation.fit(schema, total, second.sums[SUMMED_SQUARES])
    rows, counted = _rows_of(first, len(grid.clients()))
    names = [grid.clients()[client] for client in first.clients.tolist()]
    told = (first.each, np.asarray(second.each[SUMMED_SQUARES], np.float64)) if first.each else None
    odd_looking = tuple(doubts(schema, names, *told)) if told else ()
    return CommonPreparation(
        preparation, total, rows, second.missing, counted, tuple(sorted(refused)), doubts=odd_looking
    )


def _rows_of(answers: Gathered, num_clients: int) -> tuple[Int64Array, Float64Array]:
    """Return the training rows that each client told, 0 for none, and that its counts are over, NaN where unknown."""
    rows, counted = np.zeros(num_clients, np.int64), np.full(num_clients, np.nan)
    if "rows" in answers.clear:
        rows[answers.clear["rows"].clients] = answers.clear["rows"].values
    if answers.each:
        counted[answers.clients] = rows_told(answers.each)
    return rows, np.where(rows > 0, rows, counted)


def _far_survey(schema: Schema) -> Compare:
    """Return what compares the answers to `survey`."""
    return lambda arrays, clients: unlike_the_others(arrays, schema)


def _far_squares(survey: Gathered, mean: Float64Array, schema: Schema) -> Compare:
    """Return what compares the answers to `squares` with one another, and with the survey."""

    def compare(arrays: Arrays, clients: Int64Array) -> Mapping[int, str]:
        places = np.searchsorted(survey.clients, clients)
        counted = {name: array[places] for name, array in survey.each.items()}
        return odd_squares(arrays[SUMMED_SQUARES], counted, mean, schema)

    return compare


def learn_in_process(config: Config, population: Population) -> CommonPreparation:
    """Let clients that are all here count their rows, and fit the common preparation."""
    statistics = StatisticsWork(population.splits["train"], population.schema)
    grid = grid_in_process(population.names, statistics.handlers(), sums_of(config))
    return learn_preparation(grid, population.schema, config.federation.round_timeout_s)
