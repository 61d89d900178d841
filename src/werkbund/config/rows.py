"""The sections of a configuration about rows: what their columns mean, and which client has which, in which part."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from werkbund.core import defaults

Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Measure = str | Annotated[float, Field(gt=0)] | Annotated[list[str], Field(min_length=2, max_length=2)]
"""A unit; or two, as readings are and as they shall be; or a factor by which they are multiplied."""


class Section(BaseModel):
    """Be a section: unknown keys and values of another type are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class ColumnSection(Section):
    """Describe one feature column."""

    kind: Literal["number", "category"] | None = None
    """As the column is stored if left out: numbers are numbers, all else categories."""
    unit: str = ""
    """Such as K or rpm."""
    low: float | None = None
    """Lower end of the plausible range."""
    high: float | None = None
    """Upper end of the plausible range."""


class FleetSection(Section):
    """Make the generated fleet larger, or its plants more different."""

    machines: Count = 6
    """Machines at each plant."""
    days: Count = 180
    """Length of the record."""
    step_min: Count = 10
    """Minutes between readings."""
    life: Annotated[float, Field(gt=0)] = 1.0
    """Factor of all lives."""
    rare: Annotated[float, Field(ge=0)] = 0.55
    """How fast a mode wears at a plant that sees it seldom."""
    often: Annotated[float, Field(ge=0)] = 1.75
    """And at each fourth plant, which sees it most."""
    climate_sd: Annotated[float, Field(ge=0)] = 4.0
    """Standard deviation of the plants' mean temperatures, in K."""


class EventsSection(Section):
    """Say where the log of failures and planned stops lies, one row a stop, and what its columns mean."""

    path: str | None = None
    """CSV or Parquet file."""
    separator: str | None = None
    """As in `[data]`; found out if left out."""
    machine: str | None = None
    """Column with the machine's id; as `data.machine` if left out."""
    start: str | None = None
    """Column that says when a machine stopped."""
    back: str | None = None
    """Column that says when it was back; if left out or empty, at its next reading."""
    client: str | None = None
    """Column with the site, where machines of two sites have one id; as `data.client` where the log has that."""
    kind: str | None = None
    """Column that tells planned stops from failures; all are failures if left out."""
    planned: list[str] = Field(default_factory=list)
    """Values of that column for planned stops."""
    mode: str | None = None
    """Column that says what failed."""
    merge: str = "4h"
    """Stops of a machine that begin no further apart are one; not used where times are numbers, unless as a number."""
    until: str | None = None
    """Until when the log was kept, such as 2024-06-30; as long as there are readings if left out."""


Statistic = Literal["mean", "slope", "deviation", "std", "min", "max", "last", "trend", "age", "coverage"]


class WindowsSection(Section):
    """Make rows of readings: one a step and machine, with features of the windows before it and what followed."""

    step: str | None = None
    """Between two rows of a machine, such as 2h, or a number in the unit of `data.time`; set, rows are made."""
    spans: list[str] = Field(default_factory=list)
    """Lengths of the windows, each a whole number of steps: ["6h", "24h"]."""
    statistics: list[Statistic] = ["mean", "slope", "deviation", "age"]
    """Of each signal: mean, slope, deviation, std, min, max, last, trend; of a machine: age, coverage."""
    reference: str | None = None
    """A deviation is from the mean of so long after new or repair; as long as the longest window if left out."""
    regime: str | None = None
    """Column with the regime of load, which has a reference of its own."""
    edges: list[float] = Field(default_factory=list)
    """Where that is a number, its limits between regimes, rising."""
    new: bool = False
    """Whether machines are new where their record begins; else their age is unknown until the first repair."""
    horizon: str | None = None
    """A row is positive where a failure follows within so long: the lead time that planning needs."""
    dead: str = "0"
    """Rows so short before a failure have no label: too late to act."""
    grace: str | None = None
    """Rows so long after a return have no label; if left out 6h, or 0 where times are numbers."""
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Rows with readings in a smaller share of the shortest window's steps have no label."""
    intervened: Literal["left out", "none"] = "left out"
    """Rows before a planned stop: left out, as it may have prevented a failure; or none, counted as no failure."""


class ColumnMapping(Section):
    """Say which column of a plant is one of the federation's; a bare text is the column's name."""

    column: str | None = None
    """None: the same name; empty: the plant has none, and no row there has a value."""
    unit: Measure | None = None
    """What the plant measures in; or two units, as it is and as it shall be, where the federation declares none; or a
    factor; None: the federation's unit."""
    missing: list[float | str] = Field(default_factory=list)
    """Marks that stand for no reading, in the plant's unit: -999, or all beyond a bound: "> 1e6"."""

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_a_name(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value


class DialectSection(Section):
    """Say how files of rows are written; what is left out is found out from each file."""

    separator: str | None = None
    """One character between the fields of a text file; a blank for any number of blanks."""
    decimal_comma: bool | None = None
    """True if decimals are written 42,8."""
    encoding: str | None = None
    """Of a text file, such as utf-8 or cp1252."""
    skip: Annotated[int, Field(ge=0)] | None = None
    """Lines above the header."""
    header: bool | None = None
    """False if the file has no line of names: columns are then column_1, column_2 and so on."""
    units_row: bool | None = None
    """True if the line beneath the header holds units."""
    sheet: str | None = None
    """Of a workbook; the largest if left out."""


class DataSection(DialectSection):
    """Say where the rows are and what their columns mean; with no label, a known table is recognised."""

    source: Literal["ai4i2020", "generator", "fleet"] = "ai4i2020"
    """Without a path: ai4i2020, generated where its file is not found; generator, for generated rows in any case; or
    fleet, for readings and a log of generated machines that wear."""
    path: str | None = None
    """File with the rows of all clients, also a training file of C-MAPSS; or a folder or pattern such as logs/*.csv."""
    clients: dict[str, str] = Field(default_factory=dict)
    """Or one file, folder or pattern a client: name = path."""
    map: dict[str, dict[str, ColumnMapping]] = Field(default_factory=dict)
    """A table a client under `data.clients`: our column = its name in that file, with unit and missing if need be."""
    rows: Count = defaults.GENERATED_ROWS
    """Rows to generate."""
    plants: Count | None = None
    """Plants to generate; as many as `clients.count` if left out."""
    label: str | None = None
    """Column to foretell; a table known by its header needs none."""
    positive: str | int | float | bool | list[str | int | float | bool] | None = None
    """The label's value that means failure, or a list of such."""
    empty_label: str | int | float | None = None
    """What a row without a value of the label means, such as 0 or no; if left out, each must have one."""
    target: Literal["failure", "number"] = "failure"
    """What is foretold: failure, whether the label says it; or number, the label itself, such as remaining life."""
    horizon: Annotated[float, Field(gt=0)] | None = None
    """With target = number: a row counts as a failure if its number is at most this; alarms and costs go by it."""
    cap: Annotated[float, Field(gt=0)] | None = None
    """With target = number: numbers above it are taken for it, in training and in judging."""
    machine: str | None = None
    """Column with the machine's id; whole machines are held out for testing."""
    machine_reset: str | None = None
    """Or a column that falls back where a new machine or tool begins."""
    time: str | None = None
    """Column that orders the rows."""
    client: str | None = None
    """Column with the site; each of its values becomes a client."""
    never: list[str] = Field(default_factory=list)
    """Columns that must not be features: identifiers, and what leaks the label."""
    modes: list[str] = Field(default_factory=list)
    """0/1 columns that name the failure mode: never features, but recall is shown for each."""
    mode: str | None = None
    """Or one text column that names the mode."""
    mode_none: str | None = None
    """What that column holds where nothing failed."""
    columns: dict[str, ColumnSection] = Field(default_factory=dict)
    """Feature columns: kind (number, category), unit, low, high; all others if left out."""
    missing: dict[str, list[float | str]] = Field(default_factory=dict)
    """Pairs of number column = marks that stand for no reading: [-999], or all beyond a bound: ["> 1e6", "< -40"]."""
    units: dict[str, dict[str, Measure]] = Field(default_factory=dict)
    """A table a client: column = the unit that it measures in, ["psi", "bar"] as it is and shall be, or a factor."""
    without: list[str] = Field(default_factory=list)
    """Clients whose rows are left out, by their name in the column with the site or under `data.clients`."""
    zone: str = ""
    """Zone of local times in readings and log, such as Europe/Berlin; UTC if left out."""
    tag: str | None = None
    """Column with the signal's name, where a row is one reading of one signal."""
    value: str | None = None
    """And the column with the reading."""
    fleet: FleetSection = FleetSection()
    events: EventsSection = EventsSection()
    windows: WindowsSection = WindowsSection()

    @property
    def positives(self) -> str | int | float | bool | tuple[str | int | float | bool, ...] | None:
        """What means failure, several values as a tuple."""
        return tuple(self.positive) if isinstance(self.positive, list) else self.positive

    @property
    def units_of_columns(self) -> dict[str, str]:
        """The unit of each feature column, empty where it has none."""
        return {name: column.unit for name, column in self.columns.items()}


class DerivedSection(Section):
    """Compute a feature from raw columns."""

    expression: str
    """SQL over raw columns, odd names in double quotes."""
    unit: str = ""
    """Of the result."""


class FeaturesSection(Section):
    """Add derived features."""

    preset: bool = True
    """Use the derived features that come with a table known by its header."""
    derived: dict[str, str | DerivedSection] = Field(default_factory=dict)
    """Pairs of name = SQL expression over raw columns, or a table with expression and unit."""


class ClientsSection(Section):
    """Divide the table into clients, and each client's rows into train, validation, test and a later period."""

    partition: str | None = None
    """One of by-column, tool-blocks, iid, dirichlet, quantity, regime, hot-mode; chosen by the columns if left out."""
    count: Count | None = None
    """Number of clients; if left out as many as the client column has values, and 10 where there is none."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the partition."""
    split: Literal["machines", "time"] = "machines"
    """What is held out: machines, whole ones; or time, the last rows of each client by `data.time`."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of each client's rows held out to judge the model."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share held out to choose threshold and round."""
    later: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of each client's rows, the last by `data.time`, that only the finished model is tried on; 0 for none."""
    gap: Annotated[float, Field(ge=0)] = 0.0
    """Rows so long before a border of time are left out, as labels look ahead; in hours, or the unit of `data.time`."""
    factors: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(default_factory=dict)
    """What each client counts, by its name, with weighting = factor; 1 where it is not named."""
    outer: Literal["none", "tune", "report"] = "none"
    """Machines kept from all tuning, by a hash of their ids: tune, as if they were not there; report, the test rows."""
    server: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the validation rows that the server holds too, for methods that judge clients by rows of its own."""
    noisy: Annotated[int, Field(ge=0)] = 0
    """Number of clients, drawn by the seed, that note some labels of their training and validation rows wrongly."""
    noise: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of labels that these turn over."""
