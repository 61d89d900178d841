"""Files of every kind that plants send, good and bad."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from werkbund.core import ConfigError, DataError
from werkbund.data.sources import ClientFiles, CsvSource, ParquetSource, source_for

GOOD = "id,Torque [Nm],Type\n1,42.8,M\n2,46.3,L\n"
EXPECTED = pl.DataFrame({"id": [1, 2], "Torque [Nm]": [42.8, 46.3], "Type": ["M", "L"]})


def write(folder: Path, data: bytes | str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(folder: Path, data: bytes | str, separator: str = ",", decimal_comma: bool = False) -> pl.DataFrame:
    return CsvSource(write(folder, data), separator, decimal_comma).read()[0]


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
    origin = CsvSource(path).read()[1]
    assert (origin.source, origin.path) == ("csv", str(path))
    assert origin.sha256 == hashlib.sha256(data).hexdigest()
    assert origin.note == "Real data from table.csv."


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_read(tmp_path: Path, separator: str) -> None:
    assert_frame_equal(read(tmp_path, GOOD.replace(",", separator), separator), EXPECTED)


@pytest.mark.parametrize(("mark", "name"), [(";", "a semicolon"), ("\t", "a tab"), ("|", "a vertical bar")])
def test_a_wrong_separator_is_named(tmp_path: Path, mark: str, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, GOOD.replace(",", mark))
    assert f"it looks separated by {name}: set the separator to {mark!r}" in str(caught.value)


def test_a_comma_is_named_where_another_separator_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="looks separated by a comma"):
        read(tmp_path, GOOD, ";")


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


def test_a_late_text_makes_a_text_column(tmp_path: Path) -> None:
    text = "a,b\n" + "1,2\n" * 5000 + "error,2\n"
    assert read(tmp_path, text)["a"].dtype == pl.String


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
        (b"Tag,Dr\xfcck\n1,2\n", "must be UTF-8, line 1 holds the byte 0xfc"),
        (b"a,b\n1,2\n1,\xb0C\n", "line 3 holds the byte 0xb0"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"PAR1....", "Parquet"),
        (b"PK\x03\x04....", "Excel"),
        (b"\x1f\x8b....", "gzip"),
    ],
)
def test_bad_files_are_refused_with_their_fault(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    assert message in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_decimal_commas_are_suspected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'torque' must write decimals with a point, got '42,8'"):
        read(tmp_path, "id;torque\n1;42,8\n2;-46,3\n3;\n", ";")


def test_decimal_commas_are_read_where_asked(tmp_path: Path) -> None:
    frame = read(tmp_path, "id;torque\n1;42,8\n2;-46,3\n", ";", decimal_comma=True)
    assert frame["torque"].to_list() == [42.8, -46.3]


def test_an_unquoted_decimal_comma_gives_too_many_fields(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write decimals with a point"):
        read(tmp_path, "id,torque\n1,42,8\n2,46,3\n")


@pytest.mark.parametrize("separator", ["", ",,", '"', "\n", "§"])
def test_a_separator_is_one_plain_character(separator: str) -> None:
    with pytest.raises(ConfigError, match="separator must be one ASCII character"):
        CsvSource(Path("x.csv"), separator)


def test_a_comma_cannot_be_both() -> None:
    with pytest.raises(ConfigError, match="separator must not be ','"):
        CsvSource(Path("x.csv"), ",", decimal_comma=True)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_file_and_a_folder_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        source_for(tmp_path / f"none.{suffix}").read()
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        source_for(tmp_path / f"folder.{suffix}").read()


def test_the_suffix_chooses_the_source() -> None:
    assert source_for(Path("a.CSV")) == CsvSource(Path("a.CSV"))
    assert source_for(Path("a.tsv")) == CsvSource(Path("a.tsv"), "\t")
    assert source_for(Path("a.pq")) == ParquetSource(Path("a.pq"))
    with pytest.raises(DataError, match=r"must end in .csv, .txt, .tsv, .parquet or .pq, got '.xlsx'"):
        source_for(Path("a.xlsx"))


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
        ("a,d\n1,2\n", "the file of client 'y' must have the columns of 'x': missing ['b'], extra ['d']"),
        ("a\n1\n", "missing ['b'], extra []"),
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
    assert ClientFiles(files, separator=";", decimal_comma=True).read()[0]["a"].to_list() == [1.5, 2.0]


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
