"""The lines of TOML by which a finding is mended: in the federation's file, or in a plant's own `client.toml`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Protocol

from werkbund.data.markers import Marker
from werkbund.data.units import Conversion


class Lines(Protocol):
    """Write what mends a finding."""

    def missing(self, column: str, marks: Sequence[Marker]) -> str:
        """Return the lines by which marks stand for no reading of a column."""

    def measured(self, clients: Iterable[str], column: str, unit: str, conversion: Conversion) -> str:
        """Return the lines by which a column of some clients is converted; empty where that is not possible."""


class FederationLines:
    """Write for the federation's file."""

    def missing(self, column: str, marks: Sequence[Marker]) -> str:
        """Return the entry under data.missing."""
        return f"[data.missing]\n{_quoted(column)} = {json.dumps(list(marks))}"

    def measured(self, clients: Iterable[str], column: str, unit: str, conversion: Conversion) -> str:
        """Return an entry under data.units for each client."""
        measure = _measure(unit, conversion, both=True)
        return "\n".join(f"[data.units.{_quoted(name)}]\n{_quoted(column)} = {measure}" for name in clients)


class PlantLines:
    """Write for a plant's own file, in which the column may have an entry already."""

    def missing(self, column: str, marks: Sequence[Marker]) -> str:
        """Return the entry under columns."""
        return f"[columns]\n{_quoted(column)} = {{ missing = {json.dumps(list(marks))} }}"

    def measured(self, clients: Iterable[str], column: str, unit: str, conversion: Conversion) -> str:
        """Return the entry under columns."""
        return f"[columns]\n{_quoted(column)} = {{ unit = {_measure(unit, conversion, both=not unit)} }}"


def _measure(unit: str, conversion: Conversion, both: bool) -> str:
    """Return how readings were measured: the unit, both units, or the factor where no unit is known."""
    to = unit or conversion.to
    if not conversion.other or not to:
        return repr(conversion.scale)
    return json.dumps([conversion.other, to] if both else conversion.other, ensure_ascii=False)


def _quoted(text: str) -> str:
    """Return a name as a TOML string, which is one of JSON but for the character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
