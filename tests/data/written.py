"""One table as plants write it: in any encoding, dialect and layout, and as a workbook."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import polars as pl

ROWS = 40
UNITS = {"Öltemperatur": "°C", "Drehzahl": "1/min", "Druck": "bar"}


def table(label: Sequence[str | None], seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Return readings with texts, whole numbers, decimals, negative numbers, thousands, and a label of two values."""
    rng = np.random.default_rng(seed)
    failed = np.arange(rows) % 5 == 0
    return pl.DataFrame(
        {
            "Werk": np.where(np.arange(rows) % 2, "Köln", "Ulm").tolist(),
            "Maschine": [f"M{number % 4}" for number in range(rows)],
            "Öltemperatur": np.round(rng.normal(5, 20, rows), 2) + 0.01,
            "Drehzahl": np.round(rng.normal(1500, 600, rows) + 300 * failed, 1),
            "Druck": np.round(rng.normal(6, 1, rows), 3),
            "Teile": rng.integers(0, 5000, rows),
            "Störung": [label[int(each)] for each in failed],
        }
    )


@dataclass(frozen=True)
class Written:
    """Say how a table is written."""

    encoding: str = "utf-8"
    separator: str = ","
    decimal_comma: bool = False
    thousands: bool = False
    minus: str = "-"
    preamble: int = 0
    sep_line: bool = False
    header: bool = True
    units: bool = False
    word: str = ""
    line_end: str = "\n"
    packed: bool = False

    def bytes_of(self, frame: pl.DataFrame) -> bytes:
        """Return the file."""
        lines = [f"sep={self.separator}"] if self.sep_line else []
        lines += [f"# Anlage {number}: Prüfstand" for number in range(self.preamble)]
        lines += [self.separator.join(frame.columns)] if self.header else []
        lines += [self.separator.join(UNITS.get(name, "") for name in frame.columns)] if self.units else []
        lines += [
            self.separator.join(self._cell(value, number, place) for place, value in enumerate(row))
            for number, row in enumerate(frame.iter_rows())
        ]
        data = (self.line_end.join(lines) + self.line_end).encode(self.encoding)
        return gzip.compress(data) if self.packed else data

    def _cell(self, value: object, number: int, place: int) -> str:
        if self.word and (number, place) == (7, 2):
            return self.word
        if value is None:
            return ""
        text = f"{value:,}" if self.thousands and not isinstance(value, str) else str(value)
        if not isinstance(value, str):
            text = text.replace("-", self.minus)
            if self.decimal_comma:
                text = text.translate(str.maketrans(",.", ".,"))
        return f'"{text}"' if self.separator in text else text


def workbook(frame: pl.DataFrame, path: Path, above: Sequence[str] = (), sheet: str = "Daten") -> None:
    """Write a workbook of one sheet, as a spreadsheet does: numbers as such, texts as texts."""
    rows = [[line] for line in above] + [list(frame.columns)] + [list(row) for row in frame.iter_rows()]
    body = "".join(f"<row>{''.join(_xml(value) for value in row)}</row>" for row in rows)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
        'relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/s.xml" ContentType="application/vnd.'
        'openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="{sheet}" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="s.xml"/></Relationships>',
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in parts.items():
            file.writestr(name, text)
    path.write_bytes(content.getvalue())


def _xml(value: object) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"
