"""Learn the common preparation: every client counts its own training rows, the server adds the counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.arrays import AnyArray, Int64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import ROWS, Field, Kind, Signal
from werkbund.core.types import Replies, Tasks
from werkbund.data import Preparation, Schema, SurveyCounts
from werkbund.data.statistics import category_names, feature_names, squares_each, survey_each
from werkbund.engine import Check, Gathered, Grid, Handler, InProcessGrid, Worker, gather
from werkbund.engine.worker import forgetful
from werkbund.federation.population import Population, RawTable

MOST_LEVELS = 10_000
"""Levels of one category column that a client may tell: each becomes an input of the network."""

_MOST_ROWS = 2.0**48
_LARGEST_SUM = 1e300  # sums of as many clients as there may be stay finite

SUMMED_SQUARES = "squares"
"""Name of the sums of squares in an answer to `SQUARES`."""

VOCABULARY = Signal("vocabulary", "the levels of each category column")

SURVEY = Kind(
    "survey",
    "count and add up the training rows, for the common scaling",
    "once, for the common scaling",
    (),
    (
        Field("sums", "labels", "number of training rows without and with a failure", (2,), unit="rows"),
        Field("sums", "count", "number of values of each numeric feature", ("features",)),
        Field("sums", "missing", "number of missing values of each numeric feature", ("features",)),
        Field("sums", "sum", "sum of each numeric feature over all training rows", ("features",)),
        Field("clear", "rows", "number of training rows", (), unit="rows", signal=ROWS),
        Field("clear", "vocabulary", "levels of each category column", (), "U", signal=VOCABULARY),
    ),
)

SQUARES = Kind(
    "squares",
    "add up squared deviations from the common mean",
    "once, for the common scaling",
    (Field("shared", "mean", "the common mean of each feature", ("features",), "f"),),
    (Field("sums", SUMMED_SQUARES, "sum of squared deviations of each feature from the common mean", ("features",)),),
)


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
    """

    preparation: Preparation
    survey: SurveyCounts
    rows: Int64Array
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; floats keep every bit through JSON."""
        return {
            "preparation": self.preparation.to_json(),
            "features": list(self.survey.features),
            "survey": {name: array.tolist() for name, array in self.survey.to_arrays().items()},
            "vocabulary": {name: list(levels) for name, levels in self.survey.vocabulary.items()},
            "rows": self.rows.tolist(),
            "missing": dict(self.missing),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CommonPreparation:
        """Return what `to_json` described."""
        arrays = {name: np.asarray(array) for name, array in values["survey"].items()}
        survey = SurveyCounts.from_arrays(values["features"], arrays, values["vocabulary"])
        rows = np.asarray(values["rows"], dtype=np.int64)
        return cls(Preparation.from_json(values["preparation"]), survey, rows, values["missing"])


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
    survey, squares = usable_survey(schema), usable_squares(schema)
    absent: Mapping[str, str] = {}
    while True:
        first = gather(grid, SURVEY, {}, timeout_s, quorum, absent, survey)
        total = SurveyCounts.from_arrays(feature_names(schema), first.sums, _vocabulary(first, schema))
        second = gather(grid, SQUARES, {"mean": total.mean}, timeout_s, quorum, first.missing, squares)
        if second.missing.keys() == first.missing.keys():
            break
        absent = second.missing  # both sums must be over the same rows: again, without those who have left
    rows = np.zeros(len(grid.clients()), np.int64)
    if "rows" in first.clear:
        rows[first.clear["rows"].clients] = first.clear["rows"].values
    return CommonPreparation(Preparation.fit(schema, total, second.sums[SUMMED_SQUARES]), total, rows, second.missing)


def learn_in_process(config: Config, population: Population) -> CommonPreparation:
    """Let clients that are all here count their rows, and fit the common preparation."""
    statistics = Worker(StatisticsWork(population.splits["train"], population.schema).handlers())
    grid = InProcessGrid(population.names, statistics)
    return learn_preparation(grid, population.schema, config.federation.round_timeout_s)


def _vocabulary(answers: Gathered, schema: Schema) -> dict[str, list[str]]:
    """Return the levels of each category column that clients told of, sorted."""
    names, texts = category_names(schema), answers.clear.get("vocabulary")
    levels: dict[str, set[str]] = {name: set() for name in names}
    for text in np.unique(texts.values).tolist() if texts is not None else ():
        for name, own in (levels_of(text, names) or {}).items():
            levels[name].update(own)
    return {name: sorted(union) for name, union in levels.items()}


def usable_survey(schema: Schema) -> Check:
    """Return what looks at the answers to `survey`."""
    width = (len(feature_names(schema)),)
    shapes = {"labels": (2,), "count": width, "missing": width, "sum": width}
    names = category_names(schema)

    def check(replies: Replies) -> str | None:
        odd = _odd_sums(replies, shapes, counts=("labels", "count", "missing"))
        if odd or not _rows_are_told(replies):
            return f"its {odd or 'rows'} cannot be added to other clients'; it may run another version"
        texts = replies.clear.get("vocabulary")
        if texts is not None and not all(levels_of(str(text), names) is not None for text in texts.ravel()):
            return f"its vocabulary must be at most {MOST_LEVELS} texts for each category column of the federation"
        return None

    return check


def usable_squares(schema: Schema) -> Check:
    """Return what looks at the answers to `squares`."""
    shapes = {SUMMED_SQUARES: (len(feature_names(schema)),)}

    def check(replies: Replies) -> str | None:
        odd = _odd_sums(replies, shapes, counts=())
        if odd or bool((replies.sums[SUMMED_SQUARES] < 0).any()):
            return "its squares cannot be added to other clients'; it may run another version"
        return None

    return check


def levels_of(text: str, names: tuple[str, ...]) -> Mapping[str, list[str]] | None:
    """Return the levels of each of these columns that a client's text names; None if it is no such text."""
    try:
        levels = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(levels, dict) and set(levels) == set(names) and all(map(_are_levels, levels.values()))
    return levels if fits else None


def _are_levels(values: object) -> bool:
    return isinstance(values, list) and len(values) <= MOST_LEVELS and all(map(_is_text, values))


def _is_text(value: object) -> bool:
    """Say whether this is a text that can be written down: half of a pair of surrogates cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _odd_sums(replies: Replies, shapes: Mapping[str, tuple[int, ...]], counts: tuple[str, ...]) -> str:
    """Return the names of sums that are missing or of another form, and of counts that cannot be counts."""
    odd = [name for name, shape in shapes.items() if not _fits(replies.sums.get(name), shape)]
    odd += [name for name in counts if name not in odd and not _countable(replies.sums[name])]
    return ", ".join(odd)


def _fits(array: AnyArray | None, shape: tuple[int, ...]) -> bool:
    if array is None or array.shape[1:] != shape or array.dtype.kind not in "iuf":
        return False
    return bool((np.abs(array.astype(np.float64)) <= _LARGEST_SUM).all())


def _rows_are_told(replies: Replies) -> bool:
    """Say whether the number of rows, where a client tells it, is one number a client."""
    rows = replies.clear.get("rows")
    return rows is None or (rows.shape == (len(replies),) and rows.dtype.kind in "iu" and _countable(rows))


def _countable(array: AnyArray) -> bool:
    return bool(((array >= 0) & (array <= _MOST_ROWS)).all())
