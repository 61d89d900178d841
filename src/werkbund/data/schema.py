"""What the columns of a table mean, and the arrays that follow from that: labels, failure modes, machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.target import FAILURE, NumberTarget, Target, is_failure
from werkbund.data.expressions import Expression, columns, number_columns, parse, text_columns
from werkbund.data.markers import Marker, interval_of
from werkbund.data.names import is_pattern, nearest, require
from werkbund.data.targets import (
    Value,
    binary_labels,
    machine_numbers,
    mode_flags_of_columns,
    mode_flags_of_text,
    numbers_of,
)
from werkbund.data.time.windows import Telemetry


@dataclass(frozen=True)
class Column:
    """Describe a feature column of the raw table.

    Parameters
    ----------
    name
        As in the table's header.
    kind
        "number", or "category" for texts and codes that have no order.
    unit
        Such as "K" or "rpm"; empty if the number has none.
    low, high
        The plausible range, inclusive, in that unit.
    missing
        Marks that stand for no reading, in that unit; see `data.markers`.
    """

    name: str
    kind: Literal["number", "category"]
    unit: str = ""
    low: float | None = None
    high: float | None = None
    missing: tuple[Marker, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a feature must have a name, got an empty one; write the column's header")
        if is_pattern(self.name):
            raise ConfigError(f"a feature's name must not be a pattern, got {self.name!r}; rename the column")
        if self.kind not in ("number", "category"):
            raise ConfigError(f"kind of {self.name!r} must be 'number' or 'category', got {self.kind!r}")
        if self.kind == "category" and (self.low is not None or self.high is not None):
            raise ConfigError(f"{self.name!r} is a category and can have no range; drop low and high")
        if self.kind == "category" and self.missing:
            raise ConfigError(f"{self.name!r} is a category and can have no marks for missing readings; drop them")
        for marker in self.missing:
            interval_of(marker)
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ConfigError(f"low of {self.name!r} must not be above high, got {self.low} and {self.high}")


@dataclass(frozen=True)
class Derived:
    """Describe a feature that is computed from raw columns.

    Parameters
    ----------
    name
        Of the new feature.
    expression
        In the SQL subset of `data.expressions`; columns with odd names in double quotes.
    unit
        Of the result.
    """

    name: str
    expression: str
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError(f"a derived feature must have a name, got an empty one for {self.expression!r}")
        if not columns(self.tree):
            raise ConfigError(f"derived feature {self.name!r} must read a column, got {self.expression!r}")

    @cached_property
    def tree(self) -> Expression:
        """The expression as a tree of nodes."""
        return parse(self.expression)


@dataclass(frozen=True)
class Schema:
    """Describe a table: what is learnt from, what is foretold, and what must stay out.

    Parameters
    ----------
    label
        The column to foretell.
    features, derived
        What the model sees.
    positive
        The label's value that means failure, or several; None if the column is 0/1 or boolean.
    machine
        The column with the machine's or tool's id.
    machine_reset
        Or: a new machine or tool begins where this column falls back, as tool wear does.
    time
        The column that orders rows; None for the order of the file.
    client
        The column with the site.
    never
        Columns that must not become features: identifiers, and what leaks the label.
    modes
        0/1 columns of failure modes, for evaluation and partitions alone.
    mode, mode_none
        Or one text column that names the mode, and its value for "none".
    telemetry
        What rows were made from, where they are decision points; None where the table holds the rows.
    part
        A column of which "test" marks the rows that judge the model, and no others do.
    target
        What is foretold: whether the label says failure, or the number that it holds.
    """

    label: str
    features: tuple[Column, ...]
    derived: tuple[Derived, ...] = ()
    positive: Value | tuple[Value, ...] | None = None
    machine: str | None = None
    machine_reset: str | None = None
    time: str | None = None
    client: str | None = None
    never: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    mode: str | None = None
    mode_none: str | None = None
    telemetry: Telemetry | None = None
    part: str | None = None
    target: Target = FAILURE

    def __post_init__(self) -> None:
        if not self.label:
            raise ConfigError("label must name a column, got an empty name; set data.label")
        if not self.features:
            raise ConfigError("a schema must have at least one feature, got none; list data.features")
        if self.machine is not None and self.machine_reset is not None:
            raise ConfigError("set machine or machine_reset, not both; drop one of them")
        if self.mode is not None and self.modes:
            raise ConfigError("set mode or modes, not both; drop one of them")
        if isinstance(self.target, NumberTarget) and self.positive is not None:
            raise ConfigError("data.positive is for labels of failures, got it with a number as target; drop it")
        self._check_names()
        for derived in self.derived:
            self._check_derived(derived)

    def _check_names(self) -> None:
        names = [feature.name for feature in self.features] + [feature.name for feature in self.derived]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"feature names must differ, got {', '.join(twice)} more than once; rename or drop")
        for name in names:
            if name in self.forbidden:
                raise ConfigError(f"{name!r} must not be a feature: it is {self.forbidden[name]}; drop the feature")

    def _check_derived(self, derived: Derived) -> None:
        kinds = {column.name: column.kind for column in self.features}
        for name in sorted(columns(derived.tree)):
            if name in self.forbidden:
                raise ConfigError(
                    f"derived feature {derived.name!r} must not read {name!r}: it is {self.forbidden[name]}"
                )
            if name not in kinds:
                raise ConfigError(
                    f"derived feature {derived.name!r} must read declared feature columns, got {name!r}"
                    f"{nearest(name, kinds)}"
                )
        as_number = [name for name in number_columns(derived.tree) if kinds[name] != "number"]
        as_text = [name for name in text_columns(derived.tree) if kinds[name] != "category"]
        for name in sorted(as_number):
            raise ConfigError(f"derived feature {derived.name!r} computes with {name!r}, which is a category")
        for name in sorted(as_text):
            raise ConfigError(f"derived feature {derived.name!r} compares {name!r} with a text, but it is a number")

    @cached_property
    def forbidden(self) -> dict[str, str]:
        """Columns that must never become features, each with what it is instead."""
        named = dict.fromkeys(self.never, "listed in never")
        named |= dict.fromkeys(self.modes, "a failure mode, which leaks the label")
        single = {self.mode: "the failure mode, which leaks the label", self.machine: "the machine's id"}
        single |= {self.client: "the client column", self.label: "the label", self.part: "what is held out"}
        return named | {name: role for name, role in single.items() if name is not None}

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that a table must have to learn from, the label included; none twice."""
        roles = (
            self.label,
            self.machine,
            self.machine_reset,
            self.time,
            self.client,
            *self.modes,
            self.mode,
            self.part,
        )
        names = (*(feature.name for feature in self.features), *(name for name in roles if name is not None))
        return tuple(dict.fromkeys(names))

    def labels(self, frame: pl.DataFrame) -> Float32Array:
        """Return the label of each row: (rows,), 1 for a failure, 0 otherwise; of a number, whether it is that low.

        Raises
        ------
        DataError
            If the label column is absent, has missing values, more than two values, or values that the schema
            cannot tell apart. That all rows are of one class is no error: a client may have no failure.
        """
        if isinstance(self.target, NumberTarget):
            return is_failure(self.risks(frame))
        require(frame, (self.label,), "the label")
        return binary_labels(frame[self.label], self.positive)

    def risks(self, frame: pl.DataFrame) -> Float64Array:
        """Return the true risk of each row, (rows,), where a number is foretold; else nothing, (0,).

        Raises
        ------
        DataError
            If the label column is absent or not of numbers, or one is missing or negative.
        """
        if not isinstance(self.target, NumberTarget):
            return np.empty(0)
        require(frame, (self.label,), "the label")
        return self.target.risks(numbers_of(frame[self.label]))

    def mode_flags(self, frame: pl.DataFrame) -> tuple[BoolArray, tuple[str, ...]]:
        """Return which failure modes each row has, (rows, modes), and their names.

        The names of a text column are those that occur in the frame, sorted.
        """
        if self.mode is not None:
            require(frame, (self.mode,), "the failure mode")
            return mode_flags_of_text(frame[self.mode], self.mode_none)
        require(frame, self.modes, "failure modes")
        return mode_flags_of_columns(frame, self.modes)

    def machines(self, frame: pl.DataFrame) -> Int64Array:
        """Return the number of each row's machine: (rows,), from 0 in order of appearance.

        The same id at two clients means two machines. All are 0 if neither `machine` nor `machine_reset` is
        declared.
        """
        require(frame, [n for n in (self.machine, self.machine_reset, self.client, self.time) if n], "machines")
        return machine_numbers(frame, self.machine, self.machine_reset, self.client, self.time)
