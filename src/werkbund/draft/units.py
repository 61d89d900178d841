"""Units that a header gives away, and the range in which a column's values are plausible."""

from __future__ import annotations

import math
import re

import numpy as np

from werkbund.core.arrays import Float64Array

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
_KNOWN = {spelling: unit for unit, others in _SPELLINGS.items() for spelling in (unit.lower(), *others)}
_NO_SUFFIX = {"min"}  # behind an underscore it is a minimum
_SHORTEST_SUFFIX = 2  # a single letter behind an underscore names a phase or an axis as often as a unit
_LONGEST = 12

_LOW, _HIGH = 0.01, 0.99
_DIGITS = 3


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


def range_of(values: Float64Array) -> tuple[float, float] | None:
    """Return the plausible range of a column: 1st to 99th percentile, widened by their distance at both ends.

    The ends are rounded outwards to three digits, and the lower one is not below zero where no value is. So single
    wild readings lie outside, while a plant that runs somewhat differently stays inside.

    Parameters
    ----------
    values
        (rows,), finite, at least one.

    Returns
    -------
    low, high
        In the column's unit; None if the percentiles coincide, or there are no more than two different values.

    Examples
    --------
    >>> range_of(np.arange(0.0, 101.0))
    (0.0, 197.0)
    """
    low, high = np.quantile(values, (_LOW, _HIGH)).tolist()
    width = high - low
    if not (math.isfinite(width) and width > 0) or ((values == values.min()) | (values == values.max())).all():
        return None
    wide = (_outwards(low - width, -1), _outwards(high + width, 1))
    return (max(wide[0], 0.0), wide[1]) if values.min() >= 0 else wide


def _outwards(value: float, direction: int) -> float:
    """Round to three digits, away from the middle."""
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS + 1)
    rounded = (math.floor if direction < 0 else math.ceil)(value / step) * step
    return float(f"{rounded:.{_DIGITS}g}")
