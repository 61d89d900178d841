"""Files of every kind that plants send, good and bad."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from werkbund.core import ConfigError, DataError
from werkbund.data.client_files import ClientFiles
from werkbund.data.dialect import Dialect
from werkbund.data.sources import Files, ParquetSource, TextSource, source_for

GOOD = "id,Torque [Nm],Type\n1,42.8,M\n2,46.3,L\n"
EXPECTED = pl.DataFrame({"id": [1, 2], "Torque [Nm]": [42.8, 46.3], "Type": ["M", "L"]})


def write(folder: Path, data: bytes | str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(folder: Path, data: bytes | str, separator: str | None = None) -> pl.DataFrame:
    return TextSource(write(folder, data), Dialect(separator)).read()[0]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\n\n" + GOOD,
        GOOD.replace("\n2", "\n\n2"),
        GOOD + ",,\n",
        GOOD.replace(",", ", "),
        GOOD.replace("id,", " id ,"),
        GOOD.replace("Torque [Nm]", '"Torque [Nm]"').replace("M\n", '"M"\n'),
    ],
)
def test_marks_line_ends_and_blanks_change_nothing(tmp_path: Path, text: str) -> None:
    assert_frame_equal(read(tmp_path, text), EXPECTED)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + GOOD.encode()
    path = write(tmp_path, data)
    origin = TextSource(path).read()[1]
    assert (origin.source, origin.path) == ("csv", str(path))
    assert origin.sha256 == hashlib.sha256(data).hexdigest()
    assert origin.note == "Real data from table.csv."


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_found(tmp_path: Path, separator: str) -> None:
    assert_frame_equal(read(tmp_path, GOOD.replace(",", separator)), EXPECTED)


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")])
def test_a_wrong_separator_is_named(tmp_path: Path, mark: str, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, GOOD.replace(",", mark), ",")
    assert f"they look separated by {name}: set data.separator to {mark!r}" in str(caught.value)


def test_a_separator_inside_quotes_is_no_separator(tmp_path: Path) -> None:
    assert read(tmp_path, '"a;b"\n1\n2\n').columns == ["a;b"]


@pytest.mark.parametrize("blank", ["", "NaN", "nan", "NA", "N/A", "null", "NULL", " ", " NaN ", "inf", "-inf"])
def test_missing_readings_are_null_in_number_columns(tmp_path: Path, blank: str) -> None:
    frame = read(tmp_path, f"a,b\n1.5,1\n{blank},2\n")
    assert frame["a"].to_list() == [1.5, None]


@pytest.mark.parametrize("blank", ["", '""', "NA", '" "'])
def test_missing_texts_are_null(tmp_path: Path, blank: str) -> None:
    assert read(tmp_path, f"a,b\nx,1\n{blank},2\n")["a"].to_list() == ["x", None]


def test_none_is_a_text(tmp_path: Path) -> None:
    assert read(tmp_path, "mode,b\nNone,1\nheat,2\n")["mode"].to_list() == ["None", "heat"]


def test_a_late_word_among_numbers_is_missing_and_told(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "1,2\n" * 5000 + "error,2\n")
    frame, origin = TextSource(path).read()
    assert frame["a"].dtype == pl.Int64
    assert frame["a"].null_count() == 1
    assert [(remark.column, remark.rows) for remark in origin.reading.remarks] == [("a", 1)]


def test_a_late_code_makes_a_text_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "1,2\n" * 5000 + "E17,2\n")
    frame, origin = TextSource(path).read()
    assert frame["a"].dtype == pl.String
    assert "It stays a text: 5000 of 5001 values are numbers" in origin.reading.remarks[0].message


def test_a_quoted_line_break_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,b\n"x\ny",1\n')["a"].to_list() == ["x\ny"]


def test_a_nameless_column_gets_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, ",a\n0,1\n1,2\n").columns == ["column_1", "a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b" \r\n \r\n", "is empty"),
        (b"a,b", "must have rows below its header"),
        (b"a,b\r\n", "must have rows below its header"),
        (b"a,b\n\n\n", "must have rows below its header"),
        (b"a,b\n,\n", "must have rows below its header"),
        (b"a,a\n1,2\n", "names must differ, got 'a' more than once"),
        (b"a, a\n1,2\n", "names must differ, got 'a' more than once"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 must have 2 fields as the header has, got 3"),
        (b'a,b\n1,"x\n2,y\n', "quote"),
        ("Tag,Drück\n1,äö\n2,".encode() + b"\xfc\n", "line 3 holds the byte 0xfc, which is none of utf-8"),
        (b"a,b\n" + b"\0" * 9 + b"1,2\n", "characters are NUL"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04....", "workbook"),
        (b"\x1f\x8b....", "gzip"),
    ],
)
def test_bad_files_are_refused_with_their_fault(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    assert message in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_decimal_commas_are_found(tmp_path: Path) -> None:
    assert read(tmp_path, "id;torque\n1;42,8\n2;-46,3\n3;\n")["torque"].to_list() == [42.8, -46.3, None]


def test_an_unquoted_decimal_comma_gives_too_many_fields(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2 must have 2 fields as the header has, got 3"):
        read(tmp_path, "id,torque\n1,42,8\n2,46,3\n")


@pytest.mark.parametrize("separator", ["", ",,", '"', "\n", "§"])
def test_a_separator_is_one_plain_character(separator: str) -> None:
    with pytest.raises(ConfigError, match="separator must be one ASCII character"):
        Dialect(separator)


def test_a_quoted_decimal_comma_stands_beside_commas(tmp_path: Path) -> None:
    assert read(tmp_path, 'id,torque\n1,"42,8"\n2,"46,3"\n')["torque"].to_list() == [42.8, 46.3]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_file_and_an_empty_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        source_for(tmp_path / f"none.{suffix}").read()
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(DataError, match="must have at least one file to read"):
        source_for(tmp_path / f"folder.{suffix}").read()


def test_the_suffix_chooses_the_source() -> None:
    for name in ("a.CSV", "a.tsv", "a.csv.gz", "a.xlsx"):
        assert source_for(Path(name)) == TextSource(Path(name))
    assert source_for(Path("a.pq")) == ParquetSource(Path("a.pq"))
    with pytest.raises(DataError, match=r"must end in .csv, .+, got '.pdf'"):
        source_for(Path("a.pdf"))


def test_parquet_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    EXPECTED.with_columns(pl.col("Type").cast(pl.Categorical)).write_parquet(path)
    frame, origin = ParquetSource(path).read()
    assert_frame_equal(frame, EXPECTED)
    assert origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_parquet_nan_is_null_as_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"a": [1.0, float("nan"), float("inf"), None]}).write_parquet(path)
    assert ParquetSource(path).read()[0]["a"].to_list() == [1.0, None, None, None]


def test_bad_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a Parquet file"):
        ParquetSource(write(tmp_path, GOOD, "table.parquet")).read()
    with pytest.raises(DataError, match="must be a Parquet file"):
        ParquetSource(write(tmp_path, "", "table.parquet")).read()
    EXPECTED.clear().write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="must have rows"):
        ParquetSource(tmp_path / "empty.parquet").read()


def test_one_file_a_client_adds_the_client(tmp_path: Path) -> None:
    ulm = write(tmp_path, "a,b,c\n1,x,\n2,y,\n", "ulm.csv")
    jena = tmp_path / "jena.parquet"
    pl.DataFrame({"c": [0.5], "b": ["z"], "a": [2.5]}).write_parquet(jena)
    frame, origin = ClientFiles({"Ulm": ulm, "Jena": jena}).read()
    expected = {"a": [1.0, 2.0, 2.5], "b": ["x", "y", "z"], "c": [None, None, 0.5], "client": ["Ulm", "Ulm", "Jena"]}
    assert_frame_equal(frame, pl.DataFrame(expected))
    assert origin.source == "clients"
    assert origin.path == str(tmp_path)


def test_the_digest_of_client_files_depends_on_names_and_bytes(tmp_path: Path) -> None:
    one, other = write(tmp_path, "a\n1\n", "1.csv"), write(tmp_path, "a\n2\n", "2.csv")
    digests = {
        ClientFiles(files).read()[1].sha256
        for files in ({"x": one}, {"y": one}, {"x": other}, {"x": one, "y": other}, {"x": other, "y": one})
    }
    assert len(digests) == 5


def test_a_column_that_is_text_at_one_client_is_text_at_all(tmp_path: Path) -> None:
    one, other = write(tmp_path, "code\n1\n", "1.csv"), write(tmp_path, "code\nA\n", "2.csv")
    assert ClientFiles({"x": one, "y": other}).read()[0]["code"].to_list() == ["1", "A"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("c,d\n1,2\n", "must have columns in common, but none is in all: x, y"),
        ("a,b,client\n1,2,3\n", "must not have the column 'client'"),
    ],
)
def test_client_files_must_fit_together(tmp_path: Path, second: str, message: str) -> None:
    files = {"x": write(tmp_path, "a,b\n1,2\n", "1.csv"), "y": write(tmp_path, second, "2.csv")}
    with pytest.raises(DataError) as caught:
        ClientFiles(files).read()
    assert message in str(caught.value)


def test_client_files_may_have_another_separator(tmp_path: Path) -> None:
    files = {"x": write(tmp_path, "a;b\n1,5;2\n", "1.csv"), "y": write(tmp_path, "a;b\n2;3\n", "2.csv")}
    assert ClientFiles(files).read()[0]["a"].to_list() == [1.5, 2.0]


def test_a_column_that_a_client_lacks_is_empty_there_and_told(tmp_path: Path) -> None:
    files = {"x": write(tmp_path, "a,b\n1,2\n", "1.csv"), "y": write(tmp_path, "b\n3\n", "2.csv")}
    frame, origin = ClientFiles(files).read()
    assert frame["a"].to_list() == [1, None]
    assert [remark.message for remark in origin.reading.remarks] == [
        "1 of 2 files have no such column (y): empty there."
    ]


@pytest.mark.parametrize("place", ["", "*.csv"])
def test_files_of_a_folder_or_pattern_are_stacked_by_name(tmp_path: Path, place: str) -> None:
    for day in range(40, 0, -1):
        write(tmp_path, f"b,a\n{day},1.5\n" if day % 2 else f"a;b\n2,5;{day}\n", f"day{day:02}.csv")
    frame, origin = source_for(tmp_path / place).read()
    assert frame["b"].to_list() == list(range(1, 41))
    assert frame["a"].to_list() == [1.5, 2.5] * 20
    assert origin.note == "Real data from 40 files, day01.csv to day40.csv."
    assert isinstance(source_for(tmp_path / place), Files)


def test_client_files_need_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one file"):
        ClientFiles({})
    with pytest.raises(DataError, match="no such file"):
        ClientFiles({"x": tmp_path / "none.csv"}).read()


def _real(name: str) -> Path:
    root = Path(os.environ.get("WERKBUND_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = next((path for path in (root / "ai4i2020" / name, root / name) if path.exists()), None)
    if path is None:
        pytest.skip(f"{name} is not in reach (set WERKBUND_DATA)")
    return path


@pytest.mark.parametrize("name", ["ai4i2020.csv", "predictive_maintenance.csv"])
def test_the_real_files_are_read_whole(name: str) -> None:
    frame, _ = source_for(_real(name)).read()
    assert frame.columns[0] == "UDI"
    assert frame["UDI"].to_list() == list(range(1, 10_001))
    assert frame.null_count().sum_horizontal().item() == 0
