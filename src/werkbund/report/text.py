"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable

from werkbund.core.text import fixed
from werkbund.evaluation import Interval

MISSING = "–"


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with thousands separators, a dash if it is unknown; what is not 0 does not look like 0.

    Examples
    --------
    >>> number_text(1234.5, 1), number_text(0.8125), number_text(0.0049, 2), number_text(float("nan"))
    ('1,234.5', '0.812', '0.005', '–')
    """
    return fixed(value, digits) if math.isfinite(value) else MISSING


def signed(value: float, digits: int = 2) -> str:
    """Return a difference with its sign, and a dash if it is unknown.

    Examples
    --------
    >>> signed(0.125, 3), signed(-0.5)
    ('+0.125', '−0.50')
    """
    return fixed(value, digits, "+").replace("-", "−") if math.isfinite(value) else MISSING


def interval_text(figure: Interval, show: Callable[[float], str]) -> str:
    """Return a figure with the ends of its interval where they are known, each as `show` has it.

    Examples
    --------
    >>> interval_text(Interval(0.5, 0.25, 0.75, 3), lambda value: f"{value:.2f}")
    '0.50 (0.25 to 0.75)'
    """
    known = math.isfinite(figure.low + figure.high)
    return f"{show(figure.mean)} ({show(figure.low)} to {show(figure.high)})" if known else show(figure.mean)


def whole(value: float) -> str:
    """Return a count, and a dash if it is unknown."""
    return number_text(value, 0)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "plant"), plural(1200, "row")
    ('1 plant', '1,200 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def article(count: int) -> str:
    """Return the verb that goes with a count: is or are."""
    return "is" if count == 1 else "are"


def bytes_text(count: float) -> str:
    """Return a size in decimal units.

    Examples
    --------
    >>> bytes_text(812), bytes_text(4_230_000)
    ('812 B', '4.2 MB')
    """
    if not math.isfinite(count):
        return MISSING
    if count < 1000:
        return f"{count:.0f} B"
    power = min(int(math.log10(count) // 3), 4)
    return f"{count / 1000**power:.1f} {'kMGT'[power - 1]}B"


def energy_text(joules: float) -> str:
    """Return an energy in decimal units.

    Examples
    --------
    >>> energy_text(12.5), energy_text(3_456_000)
    ('12.5 J', '3.5 MJ')
    """
    if not math.isfinite(joules):
        return MISSING
    power = min(max(int(math.log10(joules) // 3), 0), 3) if joules > 0 else 0
    return f"{joules / 1000**power:.1f} {('', 'k', 'M', 'G')[power]}J"


def duration(seconds: float) -> str:
    """Return a time span in the unit that suits it.

    Examples
    --------
    >>> duration(4.21), duration(75), duration(7500)
    ('4.2 s', '1 min 15 s', '2 h 5 min')
    """
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
