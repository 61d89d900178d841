"""What a plant says about itself before the first round: what does not fit is found before anything is learnt."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from werkbund._version import __version__
from werkbund.core.errors import ClientError, DataError
from werkbund.core.text import one_line
from werkbund.data import Schema, Table
from werkbund.data.schema_json import schema_from_json, schema_to_json

_LIBRARIES = ("torch", "numpy")
_MOST_MODES = 1000


@dataclass(frozen=True)
class Facts:
    """Hold what one plant says.

    Parameters
    ----------
    name
        Of the plant.
    versions
        Of Werkbund, Python and the libraries that decide results.
    schema
        What its columns mean, under the federation's names and units.
    modes
        The failure modes that occur in its rows.
    rows
        How many rows it has; None if it does not say.
    clock
        Its time when it answered, in UTC, ISO 8601.
    policy
        What of its policy concerns the server: limits, hours, refused signals.
    """

    name: str
    versions: Mapping[str, str]
    schema: Schema
    modes: tuple[str, ...]
    rows: int | None
    clock: str
    policy: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, table: Table, tell_rows: bool, policy: Mapping[str, Any], now: datetime) -> Facts:
        """Return the facts about a plant's table; of few rows, or few rows of a mode, it says less.

        Names of modes that are values of a text column are told where at least `minimum_rows` and `minimum_failures`
        rows have them; names of columns are part of the schema, and are always told.
        """
        versions = {"werkbund": __version__, "python": platform.python_version()}
        versions |= {library: importlib.metadata.version(library) for library in _LIBRARIES}
        flags, modes = table.schema.mode_flags(table.frame)
        if table.schema.mode is not None:  # these names are values of rows
            least = max(int(policy.get("minimum_rows", 0)), int(policy.get("minimum_failures", 0)))
            frequent = flags.sum(axis=0) >= least
            modes = tuple(name for name, enough in zip(modes, frequent, strict=True) if enough)
        rows = table.num_rows if tell_rows and table.num_rows >= int(policy.get("minimum_rows", 0)) else None
        clock = now.astimezone(UTC).isoformat(timespec="milliseconds")
        return cls(name, versions, table.schema, modes, rows, clock, policy)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as values that JSON can hold, as they travel to the server."""
        return {
            "name": self.name,
            "versions": dict(self.versions),
            "schema": schema_to_json(self.schema),
            "modes": list(self.modes),
            "rows": self.rows,
            "clock": self.clock,
            "policy": dict(self.policy),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Facts:
        """Read and check what a plant wrote.

        Raises
        ------
        ClientError
            If it is incomplete.
        """
        try:
            rows, modes, refused = values["rows"], values["modes"], values["policy"].get("refused", [])
            if len(modes) > _MOST_MODES or not all(isinstance(mode, str) for mode in (*modes, *refused)):
                raise ValueError(f"modes and refused signals must be texts, at most {_MOST_MODES}")
            return cls(
                str(values["name"]),
                {str(name): one_line(str(version), 100) for name, version in values["versions"].items()},
                schema_from_json(values["schema"]),
                tuple(modes),
                None if rows is None else int(rows),
                datetime.fromisoformat(values["clock"]).astimezone(UTC).isoformat(timespec="milliseconds"),
                dict(values["policy"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, DataError) as error:
            raise ClientError(f"its facts about itself are incomplete: {one_line(str(error), 500)}") from error
