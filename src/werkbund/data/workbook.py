"""The rows of a workbook's sheet as columns of numbers and texts."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl

from werkbund.core.errors import DataError
from werkbund.data.delimited import taken
from werkbund.data.dialect import Dialect, Reading, Remark
from werkbund.data.layout import SAMPLE, outline_of_rows


def grid_of(data: bytes, sheet: str | None, path: Path) -> tuple[str, pl.DataFrame, tuple[Remark, ...]]:
    """Return the name and cells of a workbook's sheet: the one that is named, else the one with most cells."""
    try:
        sheets = pl.read_excel(
            BytesIO(data),
            sheet_id=0,
            has_header=False,
            infer_schema_length=None,
            drop_empty_rows=False,
            drop_empty_cols=False,
            raise_if_empty=False,
        )
    except ModuleNotFoundError as error:
        raise DataError(f"{path} is a workbook, which needs a library: pip install fastexcel") from error
    except Exception as error:  # the reader has no common error of its own
        raise DataError(f"{path} must be a workbook that is whole and has no password: {error}") from error
    if sheet is not None and sheet not in sheets:
        raise DataError(f"{path} must have the sheet {sheet!r} (data.sheet); it has {', '.join(map(repr, sheets))}")
    name = sheet or max(sheets, key=lambda each: sheets[each].height * sheets[each].width)
    if sheets[name].height == 0:
        raise DataError(f"{path} must have a header and rows, but its sheet {name!r} is empty")
    others = [each for each in sheets if each != name and sheets[each].height]
    if sheet is not None or not others:
        return name, sheets[name], ()
    remark = f"Of its sheets the largest is read, {name!r}; others are {', '.join(map(repr, others))} (data.sheet)."
    return name, sheets[name], (Remark("", remark),)


def parse_grid(grid: pl.DataFrame, asked: Dialect, usual: Dialect, path: Path) -> tuple[pl.DataFrame, Reading]:
    """Return the rows of a sheet whose cells are all texts; see `parse`."""
    texts = grid.select(pl.all().cast(pl.String).fill_null(""))
    skip = asked.skip or 0
    head = [(place, list(row)) for place, row in enumerate(texts.head(SAMPLE).iter_rows()) if place >= skip]
    rows = [
        (place, [str(cell).strip() for cell in row]) for place, row in head if any(str(cell).strip() for cell in row)
    ]
    rows = [(place, _ended(fields)) for place, fields in rows]
    width = max((len(fields) for _, fields in rows), default=0)
    outline = outline_of_rows([(place, _padded(fields, width)) for place, fields in rows], asked, usual, path)
    frame = texts[outline.first :, : len(outline.names)]
    frame.columns = list(outline.names)
    return taken(frame, outline, path)


def _ended(fields: Sequence[str]) -> list[str]:
    """Return fields without the empty ones at their end."""
    last = max(place for place, field in enumerate(fields) if field)
    return list(fields[: last + 1])


def _padded(fields: list[str], width: int) -> list[str]:
    """Return the fields of a line with several as many as the widest has."""
    return fields if len(fields) == 1 else [*fields, *[""] * (width - len(fields))]
