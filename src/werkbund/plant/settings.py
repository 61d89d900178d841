"""What a plant decides about itself: the file `client.toml` in its kit. The server never sees or changes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import Field, ValidationInfo, field_validator, model_validator

from werkbund.config.models import SHIPPED_MODELS
from werkbund.config.reading import checked, read_toml
from werkbund.config.rows import ColumnMapping, DialectSection, EventsSection, Section
from werkbund.core.files import write_atomically
from werkbund.core.text import did_you_mean
from werkbund.plant.leaving import SIGNALS, USUAL

FILE_NAME = "client.toml"

SIGNAL_NAMES: tuple[str, ...] = tuple(signal.name for signal in SIGNALS)
"""Names of what may leave a plant beside its update."""

Minutes = tuple[int, int]
_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):(\d{1,5})")
_PROXY = re.compile(r"http://([^\s:/@]+(:[^\s:/@]*)?@)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):\d{1,5}/?")


class ClientSection(Section):
    """Name the plant, as the operator knows it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ServerSection(Section):
    """Say how the server is reached, and what proves who is who."""

    address: str
    """Host and port, such as `federation.example.com:8000` or `[2001:db8::5]:8000`."""
    further_addresses: list[str] = Field(default_factory=list)
    """Other addresses of the same server, tried in turn where the first does not answer."""
    proxy: str | None = None
    """HTTP proxy on the way out, such as `http://user:password@proxy.example.com:3128`. None: that of the variable
    HTTPS_PROXY, unless NO_PROXY names the server; empty: none."""
    root_certificates: str = "ca.crt"
    private_key: str = "client.key"
    poll_s: Annotated[float, Field(gt=0)] = 0.5
    """Seconds between two questions whether there is work."""
    insecure: bool = False
    """Connect without TLS; for trials on one machine."""

    @property
    def addresses(self) -> list[str]:
        """All addresses of the server, in the order in which they are tried."""
        return [self.address, *self.further_addresses]

    @field_validator("address")
    @classmethod
    def _has_host_and_port(cls, address: str) -> str:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[2]) < 2**16:
            raise ValueError("must be host:port, such as federation.example.com:8000")
        return address

    @field_validator("further_addresses")
    @classmethod
    def _have_hosts_and_ports(cls, addresses: list[str]) -> list[str]:
        return [cls._has_host_and_port(address) for address in addresses]

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, proxy: str | None) -> str | None:
        if proxy and not _PROXY.fullmatch(proxy):  # what it is may hold a password, which no message shows
            raise ValueError("must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with %40 for an @ in either")
        return proxy


class PlantEventsSection(EventsSection):
    """Say where the plant's log of failures and planned stops lies: a file, or a query to the same database."""

    query: str | None = None
    """A SELECT, one row a stop."""

    @model_validator(mode="after")
    def _there_is_one_log(self) -> PlantEventsSection:
        if self.path is not None and self.query is not None:
            raise ValueError("may hold path or query, the file or the database that the log is in, not both")
        return self


class PlantDataSection(DialectSection):
    """Say where the plant's rows lie: a file, or a query to a PostgreSQL database."""

    path: str | None = None
    """A text, a workbook or a Parquet file, a folder of such, or a pattern such as `logs/*.csv`."""
    query: str | None = None
    """A SELECT; the connection is that of PGHOST, PGUSER, PGPASSWORD, PGDATABASE and so on."""
    url_env: str | None = None
    """Or that of the URL in the variable of this name."""
    zone: str = ""
    """Zone of local times in readings and log, where rows are made of them."""
    tag: str | None = None
    """The plant's column with the signal's name, where a row is one reading of one signal."""
    value: str | None = None
    events: PlantEventsSection = PlantEventsSection()
    """The log, by the plant's own columns."""

    @model_validator(mode="after")
    def _there_is_one_source(self) -> PlantDataSection:
        if (self.path is None) == (self.query is None):
            raise ValueError("must hold either path or query, the file or the database that the plant's rows are in")
        if self.path is not None and self.url_env is not None:
            raise ValueError("may hold url_env beside query alone: a file has no URL")
        told = [name for name in DialectSection.model_fields if getattr(self, name) is not None]
        if self.query is not None and told:
            raise ValueError(f"may hold {' and '.join(told)} beside path alone: a query has no form")
        return self


class PolicySection(Section):
    """Say what the plant allows."""

    signals: list[str] = Field(default_factory=lambda: list(USUAL))
    minimum_rows: Annotated[int, Field(ge=1)] = 20
    """A statistic over fewer rows is withheld."""
    minimum_failures: Annotated[int, Field(ge=0)] = 0
    """Counts by class or failure mode over fewer failures are withheld; 0: never."""
    minimum_bin_rows: Annotated[int, Field(ge=1)] | None = None
    """Scores of held-out rows are counted in bins of as many rows; None: as many as `minimum_rows`. 1: each bin as it
    is, which tells the score of single rows."""
    minimum_cell_rows: Annotated[int, Field(ge=0)] = 0
    """Where `trees` may leave: a cell of a feature's values, or a leaf, with fewer rows is withheld. Above 1, trees are
    no longer those of the pooled rows; 0: all leave."""
    rounds_a_day: Annotated[int, Field(ge=0)] = 0
    """Rounds that it trains in; 0: as many as there are. Where set, other questions are bounded by it too."""
    answers_a_day: Annotated[int, Field(ge=1)] = 5_000
    """Questions about its rows that it answers in a day, of whatever kind."""
    answers_a_version: Annotated[int, Field(ge=1)] = 20_000
    """Questions that it answers about the same rows, until others come."""
    epsilon: Annotated[float, Field(gt=0)] | None = None
    """Most that all trainings of all runs together may tell, by the plant's own count; a run that promises nothing of
    rows or machines is then not answered. None: counted, and not bounded."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Chance beside epsilon."""
    unit: Literal["row", "machine"] = "row"
    """What epsilon is about: where it is machine, a run that protects rows alone is not answered."""
    tasks: list[str] | None = None
    """Kinds of tasks that it does; None: all."""
    draws: Literal["own", "federation"] = "own"
    """By whose random stream rows are drawn: the plant's own; or the federation's, for trials that must give the bits
    of a simulation, in which the server decides which rows enter an update."""
    hours: str = ""
    """When the plant takes part, such as `22:00-06:00` in its local time; empty: always."""
    pause: bool = False
    bundles: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=list)
    """SHA-256 of further app bundles that the plant approves."""

    @field_validator("signals")
    @classmethod
    def _are_known(cls, signals: list[str], info: ValidationInfo) -> list[str]:
        known = (info.context or {}).get("signals", SIGNAL_NAMES)
        unknown = [name for name in signals if name not in known]
        if unknown:
            raise ValueError(f"must be among {', '.join(known)}{did_you_mean(unknown[0], known)}")
        return signals

    @field_validator("hours")
    @classmethod
    def _are_two_times(cls, hours: str) -> str:
        minutes_of(hours)
        return hours


class BoundsSection(Section):
    """Bound what a run may ask of the plant; a run beyond a bound is refused by name."""

    rounds: Annotated[int, Field(ge=1)] = 10_000
    epochs: Annotated[int, Field(ge=1)] = 100
    """Passes over its rows in a round."""
    steps: Annotated[int, Field(ge=1)] = 10_000
    """Or steps in a round."""
    learning_rate: Annotated[float, Field(gt=0)] = 100.0
    positive_weight: Annotated[float, Field(ge=1)] = 1_000.0
    """Weight of failures in the loss, against that of other rows."""
    parameters: Annotated[int, Field(ge=1)] = 2_000_000
    """Numbers of a network."""
    trees: Annotated[int, Field(ge=1)] = 10_000
    depth: Annotated[int, Field(ge=1)] = 30
    """Splits between root and leaf of a tree."""
    models: list[str] = Field(default_factory=lambda: list(SHIPPED_MODELS))
    """Values of model.kind; code of one's own is agreed to in federation.toml alone."""


class AcceptanceSection(Section):
    """Say when a delivered model replaces the one that the plant has."""

    metric: Literal["average_precision", "roc_auc", "brier", "log_loss"] = "average_precision"
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """By how much it may be worse on the plant's own rows."""


class PlantFile(Section):
    """Hold the content of a plant's file."""

    client: ClientSection
    server: ServerSection
    data: PlantDataSection
    columns: dict[str, ColumnMapping] = Field(default_factory=dict)
    """The federation's column -> the plant's; one that is not mentioned has the same name."""
    policy: PolicySection = PolicySection()
    bounds: BoundsSection = BoundsSection()
    acceptance: AcceptanceSection = AcceptanceSection()


class PlantSettings(PlantFile):
    """Hold a plant's file and the folder that it lies in; its paths are absolute."""

    kit: Path

    @property
    def state(self) -> Path:
        """The folder of what must outlive the plant's processes."""
        return self.kit / "state"


def load_settings(kit: Path, signals: Sequence[str] = SIGNAL_NAMES) -> PlantSettings:
    """Read a plant's file.

    Parameters
    ----------
    kit
        The folder that holds `client.toml`, or the file itself. Paths in it are taken from its folder.
    signals
        Names of the signals that the plant may allow.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key, type or value breaks a rule; one line for each.
    """
    path = kit / FILE_NAME if kit.is_dir() else kit
    file = checked(PlantFile, read_toml(path, "werkbund provision"), {"signals": signals})
    folder = path.resolve().parent
    values = {name: getattr(file, name) for name in PlantFile.model_fields}
    values["server"] = _absolute(file.server, folder, "root_certificates", "private_key")
    values["data"] = _absolute(file.data, folder, "path")
    if file.data.events.path is not None:
        values["data"] = values["data"].model_copy(update={"events": _absolute(file.data.events, folder, "path")})
    return PlantSettings.model_validate({"kit": folder, **values}, context={"signals": signals})


def set_pause(kit: Path, pause: bool) -> None:
    """Write into a plant's file whether it takes part, and leave the rest of it, and who may read it, as it is.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    load_settings(kit)
    path = kit / FILE_NAME if kit.is_dir() else kit
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document.setdefault("policy", tomlkit.table())["pause"] = pause
    write_atomically(path, tomlkit.dumps(document).encode(), path.stat().st_mode & 0o777)


def minutes_of(hours: str) -> Minutes | None:
    """Return when hours begin and end, in minutes after midnight; None for the empty text, which means always.

    Raises
    ------
    ValueError
        If the text is not two different times of day.

    Examples
    --------
    >>> minutes_of("22:00-06:30")
    (1320, 390)
    """
    if not hours:
        return None
    match = _HOURS.fullmatch(hours)
    if match is not None:
        first_hour, first, last_hour, last = map(int, match.groups())
        begin, end = 60 * first_hour + first, 60 * last_hour + last
        if first < 60 and last < 60 and begin < 24 * 60 and end <= 24 * 60 and begin != end:
            return begin, end
    raise ValueError("must be two different times such as 22:00-06:00, or empty for always")


def _absolute(section: Section, folder: Path, *keys: str) -> Section:
    values: Mapping[str, Any] = section.model_dump(exclude_unset=True)
    given = {key: getattr(section, key) for key in keys}
    paths = {key: str((folder / path).resolve()) for key, path in given.items() if path is not None}
    return type(section).model_validate({**values, **paths})
