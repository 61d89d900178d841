"""What a check has to say about a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import polars as pl

from werkbund.core.arrays import Float64Array

Level = Literal["error", "warning", "note"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Report one thing that is wrong, doubtful or worth knowing.

    Parameters
    ----------
    level
        "error" if nothing can be learnt before it is mended, "warning" if what is learnt may be wrong, "note" else.
    column
        Which column; empty if it is about rows.
    rule
        Short name of the rule, such as "missing".
    message
        For people: what was found, and what to do.
    rows
        Number of rows concerned.
    clients
        Names of the clients that it is about, where it is about some.
    lines
        What to write in the configuration, as TOML; empty where that is no remedy.
    """

    level: Level
    column: str
    rule: str
    message: str
    rows: int
    clients: tuple[str, ...] = ()
    lines: str = ""

    @property
    def full_message(self) -> str:
        """The message, and below it what to write."""
        return f"{self.message}\n{self.lines}" if self.lines else self.message

    def to_json(self) -> dict[str, object]:
        """Return the finding as a JSON object, for the run's folder."""
        return asdict(self)


def place(clients: Sequence[str], rows: Sequence[int]) -> str:
    """Return at which clients how many rows are, the most first; nothing where clients are not known.

    Examples
    --------
    >>> place(("Ulm", "Linz"), (1, 3))
    ' (3 at Linz, 1 at Ulm)'
    """
    most_first = sorted(zip(rows, clients, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return f" ({listed(f'{count} at {name}' for count, name in most_first)})" if clients else ""


def numbers(column: pl.Series) -> Float64Array | None:
    """Return the values of a number column that are not null: (known rows,); None if it holds anything else."""
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        return None
    return column.drop_nulls().cast(pl.Float64).to_numpy()


def share(rows: int, total: int) -> str:
    """Return "rows of total (percent)".

    Examples
    --------
    >>> share(12, 1000)
    '12 of 1000 rows (1.2 %)'
    """
    return f"{rows} of {total} rows ({100 * rows / total:.2g} %)"


def listed(names: Iterable[object], limit: int = 5) -> str:
    """Return the names with commas between, and how many more there are.

    Examples
    --------
    >>> listed(["A", "B", "C"], limit=2)
    'A, B and 1 more'
    """
    texts = [str(name) for name in names]
    more = len(texts) - limit
    return f"{', '.join(texts[:limit])} and {more} more" if more > 0 else ", ".join(texts)
