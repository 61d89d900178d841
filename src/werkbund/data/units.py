"""Units as engineers write them: how they are spelled, which one a header names, which are mistaken for which."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_SPELLINGS = {
    "K": ("kelvin", "degk"),
    "°C": ("degc", "deg c", "celsius", "°c", "c", "grad c"),
    "°F": ("degf", "deg f", "fahrenheit", "°f", "f"),
    "rpm": ("1/min", "min-1", "u/min", "rev/min", "r/min"),
    "1/s": ("s-1", "rps"),
    "rad/s": ("rad_s",),
    "Hz": ("hertz",),
    "kHz": (),
    "Nm": ("n m", "n*m", "n·m"),
    "kNm": (),
    "N": (),
    "kN": (),
    "W": ("watt", "watts"),
    "kW": (),
    "MW": (),
    "kWh": (),
    "s": ("sec", "secs", "second", "seconds"),
    "ms": ("millis",),
    "min": ("minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("days",),
    "bar": (),
    "mbar": (),
    "kPa": (),
    "MPa": (),
    "Pa": (),
    "psi": (),
    "mm": (),
    "µm": ("um", "micron", "microns"),
    "cm": (),
    "m": (),
    "m/s": ("m_s",),
    "km/h": ("kmh", "km_h", "kph"),
    "mm/s": ("mm_s", "mmps"),
    "m/s²": ("m/s2", "m/s^2", "m_s2"),
    "g": (),
    "kg": (),
    "A": ("amp", "amps", "ampere"),
    "mA": (),
    "V": ("volt", "volts"),
    "mV": (),
    "kV": (),
    "l/min": ("l_min", "lpm"),
    "m³/h": ("m3/h", "m3_h"),
    "dB": (),
    "%": ("pct", "percent", "prozent"),
    "ppm": (),
}
"""A unit -> other spellings of it, in small letters."""

_SYNONYMS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_KNOWN = {unit.lower(): unit for unit in _SPELLINGS} | _SYNONYMS
_NO_SUFFIX = {"min"}  # behind an underscore it is a minimum
_SHORTEST_SUFFIX = 2  # a single letter behind an underscore names a phase or an axis as often as a unit
_LONGEST = 12  # letters of a unit that is not known; what is longer in brackets is a remark


def unit_of(header: str) -> str:
    """Return the unit that a header names in brackets or behind an underscore; empty if it names none.

    Examples
    --------
    >>> [unit_of(name) for name in ("Torque [Nm]", "speed (rpm)", "oil_temp_degC", "flow (mean)", "pressure_min")]
    ['Nm', 'rpm', '°C', '', '']
    """
    bracketed = re.search(r"\[([^\[\]]+)\]\s*$", header)
    if bracketed:
        text = " ".join(bracketed[1].split())
        return _KNOWN.get(text.lower(), text if len(text) <= _LONGEST else "")
    parenthesised = re.search(r"\(([^()]+)\)\s*$", header)
    if parenthesised:
        return _KNOWN.get(parenthesised[1].strip().lower(), "")
    parts = header.lower().split("_")
    for suffix in ("_".join(parts[-2:]) if len(parts) > 2 else "", parts[-1] if len(parts) > 1 else ""):
        if len(suffix) >= _SHORTEST_SUFFIX and suffix not in _NO_SUFFIX and suffix in _KNOWN:
            return _KNOWN[suffix]
    return ""


def standard_unit(spelling: str) -> str:
    """Return the unit that another spelling stands for; the spelling itself where it stands for none.

    Examples
    --------
    >>> [standard_unit(spelling) for spelling in ("degC", "1/min", "Nm", "pieces")]
    ['°C', 'rpm', 'Nm', 'pieces']
    """
    return _SYNONYMS.get(spelling.lower(), spelling)


@dataclass(frozen=True)
class Conversion:
    """Turn a value in another unit into the declared one: `scale * value + offset`.

    Parameters
    ----------
    other
        The other unit; empty where nothing but the factor is known.
    scale, offset
        Of the conversion.
    to
        The unit that results, where none is declared.
    """

    other: str
    scale: float
    offset: float = 0.0
    to: str = ""

    def apply(self, value: float) -> float:
        """Return the value in the declared unit."""
        return self.scale * value + self.offset


MISTAKEN: dict[str, tuple[Conversion, ...]] = {
    "K": (Conversion("°C", 1.0, 273.15), Conversion("°F", 5 / 9, 273.15 - 160 / 9)),
    "°C": (Conversion("K", 1.0, -273.15), Conversion("°F", 5 / 9, -160 / 9)),
    "rpm": (Conversion("1/s", 60.0), Conversion("rad/s", 30 / math.pi)),
    "1/s": (Conversion("rpm", 1 / 60), Conversion("rad/s", 0.5 / math.pi)),
    "Hz": (Conversion("rpm", 1 / 60), Conversion("kHz", 1000.0)),
    "rad/s": (Conversion("rpm", math.pi / 30), Conversion("1/s", 2 * math.pi)),
    "Nm": (Conversion("kNm", 1000.0), Conversion("Ncm", 0.01), Conversion("mNm", 0.001)),
    "kNm": (Conversion("Nm", 0.001),),
    "W": (Conversion("kW", 1000.0), Conversion("hp", 745.7)),
    "kW": (Conversion("W", 0.001), Conversion("MW", 1000.0)),
    "s": (Conversion("min", 60.0), Conversion("ms", 0.001), Conversion("h", 3600.0)),
    "min": (Conversion("s", 1 / 60), Conversion("h", 60.0)),
    "h": (Conversion("min", 1 / 60), Conversion("s", 1 / 3600), Conversion("d", 24.0)),
    "bar": (Conversion("psi", 0.0689476), Conversion("kPa", 0.01), Conversion("Pa", 1e-5), Conversion("MPa", 10.0)),
    "kPa": (Conversion("bar", 100.0), Conversion("psi", 6.89476), Conversion("Pa", 0.001), Conversion("MPa", 1000.0)),
    "Pa": (Conversion("bar", 1e5), Conversion("psi", 6894.76), Conversion("kPa", 1000.0)),
    "mm": (Conversion("in", 25.4), Conversion("m", 1000.0), Conversion("µm", 0.001)),
    "m": (Conversion("mm", 0.001), Conversion("in", 0.0254)),
    "mm/s": (Conversion("in/s", 25.4), Conversion("m/s", 1000.0)),
    "m/s²": (Conversion("g", 9.80665),),
    "g": (Conversion("m/s²", 1 / 9.80665),),
    "m/s": (Conversion("km/h", 1 / 3.6), Conversion("mm/s", 0.001)),
    "km/h": (Conversion("m/s", 3.6),),
    "psi": (Conversion("bar", 14.5037738), Conversion("kPa", 0.145037738), Conversion("MPa", 145.037738)),
    "MPa": (Conversion("bar", 0.1), Conversion("kPa", 0.001), Conversion("psi", 0.00689476)),
    "mbar": (Conversion("bar", 1000.0), Conversion("kPa", 10.0), Conversion("Pa", 0.01)),
    "cm": (Conversion("mm", 0.1), Conversion("m", 100.0), Conversion("in", 2.54)),
    "°F": (Conversion("°C", 1.8, 32.0), Conversion("K", 1.8, 32.0 - 1.8 * 273.15)),
    "N": (Conversion("kN", 1000.0),),
    "kN": (Conversion("N", 0.001),),
    "l/min": (Conversion("m³/h", 1000 / 60),),
    "m³/h": (Conversion("l/min", 0.06),),
    "A": (Conversion("mA", 0.001), Conversion("kA", 1000.0)),
    "V": (Conversion("mV", 0.001), Conversion("kV", 1000.0)),
    "%": (Conversion("fractions of 1", 100.0),),
}
"""A unit -> those that values may be in by mistake, each with its conversion."""

USUAL: tuple[Conversion, ...] = (
    Conversion("K", 1.0, -273.15, "°C"),
    Conversion("°F", 5 / 9, -160 / 9, "°C"),
    Conversion("psi", 0.0689476, 0.0, "bar"),
    Conversion("kPa", 0.145037738, 0.0, "psi"),
    Conversion("km/h", 1 / 3.6, 0.0, "m/s"),
    Conversion("in", 25.4, 0.0, "mm"),
    Conversion("1/s", 60.0, 0.0, "rpm"),
    *(Conversion("", 1 / factor) for factor in (10.0, 100.0, 1000.0)),
)
"""What is mistaken for one another where a column has no unit, in the direction that is the likelier fault."""


def reverse(conversion: Conversion) -> Conversion:
    """Return the conversion back.

    Examples
    --------
    >>> reverse(Conversion("K", 1.0, -273.15, "°C")).apply(20.0)
    293.15
    """
    scale = 1 / conversion.scale
    return Conversion(conversion.to, scale, -conversion.offset * scale, conversion.other)


def is_unit(text: str) -> bool:
    """Return whether a text is a unit that is known, or made of such by a stroke or a power.

    Examples
    --------
    >>> [is_unit(text) for text in ("°C", "1/min", "mm/s", "kg/m³", "W/m²", "Bad", "Ulm")]
    [True, True, True, True, True, False, False]
    """
    known = text.strip().lower()
    if known in _KNOWN:
        return True
    parts = [re.sub(r"(\^|\*\*)?-?[0-9²³]$", "", part) for part in re.split(r"[/·*]", known)]
    return len(known) <= _LONGEST and any(parts) and all(part in _KNOWN or part in ("", "1") for part in parts)
