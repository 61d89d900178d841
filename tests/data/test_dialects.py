"""However a plant writes a table, it is read as it was, or refused with a cause and a remedy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.data.written import UNITS, Written, table, workbook
from werkbund.data import Dialect, TextSource, source_for

LABELS = [("0", "1"), (None, "x"), ("nein", "ja"), ("OK", "Lager")]
WORDS = ["", "", "Bad", "I/O Timeout", "k.A.", "NaN", "#NV", "Sensorfehler"]


@st.composite
def _written(draw: st.DrawFn) -> Written:
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    header = draw(st.booleans()) or draw(st.booleans())
    return Written(
        encoding,
        draw(st.sampled_from(",;\t|")),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from("-\u2212")) if encoding.startswith("utf") else "-",
        draw(st.integers(0, 3)),
        draw(st.booleans()),
        header,
        header and draw(st.booleans()),
        draw(st.sampled_from(WORDS)),
        draw(st.sampled_from(["\n", "\r\n"])),
        draw(st.booleans()),
    )


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(written=_written(), label=st.sampled_from(LABELS), seed=st.integers(0, 99))
def test_a_table_is_read_as_it_was_written(written: Written, label: tuple[str | None, str], seed: int) -> None:
    frame = table(label, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("t.csv.gz" if written.packed else "t.csv")
        path.write_bytes(written.bytes_of(frame))
        read, origin = source_for(path).read()
    expected = frame if label[0] != "0" else frame.with_columns(pl.col("Störung").cast(pl.Int64))
    if written.word:
        lacking = pl.int_range(pl.len()) == 7
        expected = expected.with_columns(pl.when(~lacking).then(pl.col("Öltemperatur")).alias("Öltemperatur"))
        told = [remark.rows for remark in origin.reading.remarks if remark.column in ("Öltemperatur", "column_3")]
        assert told == [1]
    if not written.header:
        expected.columns = [f"column_{place}" for place in range(1, frame.width + 1)]
    assert_frame_equal(read, expected, check_dtypes=True)
    assert origin.reading.units == (UNITS if written.units else {})
    found = origin.reading.dialect
    assert (found.separator, found.header, found.decimal_comma) == (
        written.separator,
        written.header,
        written.decimal_comma,
    )


def test_a_dialect_is_said_in_one_line(tmp_path: Path) -> None:
    written = Written("cp1252", ";", True, preamble=2, units=True)
    (tmp_path / "t.csv").write_bytes(written.bytes_of(table(("0", "1"))))
    sentence = source_for(tmp_path / "t.csv").read()[1].reading.sentence()
    assert sentence == ("semicolon, decimal comma, cp1252, 2 lines above the header, units row: °C, 1/min, bar")


def test_numbers_between_blanks_need_no_header(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1 1  0.0023 -4e-4 100.0  \n1 2 -0.0027 3e-4 100.0  \n2 1 0.5 1.0 100.0  \n")
    frame, origin = source_for(tmp_path / "t.txt").read()
    assert frame.rows() == [(1, 1, 0.0023, -4e-4, 100.0), (1, 2, -0.0027, 3e-4, 100.0), (2, 1, 0.5, 1.0, 100.0)]
    assert origin.reading.sentence() == "blanks, decimal point, utf-8, no header"


def test_headers_and_texts_have_one_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("O\u0308l,Werk\n1.5,Ko\u0308ln\n2.5,Köln\n")
    frame = source_for(tmp_path / "t.csv").read()[0]
    assert frame.to_dict(as_series=False) == {"Öl": [1.5, 2.5], "Werk": ["Köln", "Köln"]}


def test_single_nul_bytes_are_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,2\n" * 30 + b"3,\x004\n")
    frame, origin = source_for(tmp_path / "t.csv").read()
    assert frame["b"].to_list() == [2] * 30 + [4]
    assert [remark.message for remark in origin.reading.remarks] == ["1 NUL characters are left out."]


@pytest.mark.parametrize(("comma", "value"), [(True, 1.45), (False, 1450)])
def test_what_is_said_goes_before_what_is_found(tmp_path: Path, comma: bool, value: float) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1,450;2\n")
    assert TextSource(tmp_path / "t.csv", Dialect(decimal_comma=comma)).read()[0]["a"].to_list() == [value]


@pytest.mark.parametrize("above", [(), ("Export SPS", "Anlage: Köln")])
def test_a_workbook_is_read_as_it_was_written(tmp_path: Path, above: tuple[str, ...]) -> None:
    pytest.importorskip("fastexcel")
    frame = table((None, "x"))
    workbook(frame, tmp_path / "t.xlsx", above)
    read, origin = source_for(tmp_path / "t.xlsx").read()
    assert_frame_equal(read, frame)
    assert origin.reading.dialect.skip == len(above)
