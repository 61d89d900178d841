"""The SQL subset: what it means (SQLite is the oracle), and that everything else is refused by name."""

from __future__ import annotations

import math
import sqlite3

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core import ConfigError
from werkbund.data.expressions import (
    FUNCTIONS,
    Binary,
    Call,
    CaseWhen,
    Cast,
    ColumnRef,
    IsNull,
    Number,
    Text,
    Unary,
    columns,
    number_columns,
    parse,
    text_columns,
)
from werkbund.data.features import to_polars

nan = math.nan


def compute(text: str, frame: pl.DataFrame) -> list[float | None]:
    return frame.with_columns(to_polars(parse(text)).alias("result"))["result"].to_list()


def in_sqlite(text: str, frame: pl.DataFrame) -> list[float | None]:
    """Compute the expression with SQLite, not finite as missing."""
    with sqlite3.connect(":memory:") as database:
        database.execute("create table t (a real, b real, c real)")
        database.executemany("insert into t values (?, ?, ?)", frame.select("a", "b", "c").rows())
        answers = database.execute(f"select {text} from t").fetchall()  # noqa: S608
    return [None if value is None or not math.isfinite(value) else float(value) for (value,) in answers]


GRID = pl.DataFrame(
    [(a, b, c) for a in (-2.5, 0.0, 1.0, 3.0) for b in (-1.0, 0.0, 2.0) for c in (-4.0, 1.0, 2.0)],
    schema=["a", "b", "c"],
    orient="row",
)


@pytest.mark.parametrize(
    "text",
    [
        "a + b * c - a / c",
        "(a + b) * (c - a) / 4.0",
        "a - b - c",
        "a / c / 2.0",
        "-a * -b",
        "- (a - b)",
        "a > b",
        "a >= b and b < c or a = c",
        "a > b and (b < c or a = c)",
        "not a > b and c != 2.0",
        "not (a > b and c <> 2.0)",
        "case when a > b then c when b = 2.0 then -1.0 else 0.5 end",
        "case when a < 0.0 then b end",
        "case when a > 0.0 then case when b > 0.0 then 1.0 else 2.0 end else 3.0 end",
        "case when a then 1.0 else 2.0 end",
        "a between -1.0 and b",
        "a not between 0.0 and 1.0",
        "a in (1.0, 3.0, 4.0)",
        "a not in (1.0, b)",
        "(a > b) + (b > c) * 2.0",
        "cast(a as integer) + 0.0",
        "cast(-a as integer) + 0.0",
        "a is null",
        "a is not null",
        "abs(a) + sqrt(abs(b))",
        "exp(a) - ln(abs(c))",
        "pow(abs(a) + 1.0, b)",
        "power(c, 2.0)",
        "a / 0.0",
        "1.5e-3 * a + .5",
    ],
)
def test_values_equal_those_of_sqlite(text: str) -> None:
    ours, theirs = compute(text, GRID), in_sqlite(text, GRID)
    assert [value is None for value in ours] == [value is None for value in theirs]
    np.testing.assert_allclose(pl.Series(ours).drop_nulls(), pl.Series(theirs).drop_nulls(), rtol=1e-14)


def _numbers() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["a", "b", "c", "1.0", "2.5", "-3.0"])
    return st.recursive(leaves, _combine, max_leaves=12)


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    condition = st.builds("{0[0]} {1} {0[1]}".format, pairs, st.sampled_from(["<", "<=", "=", "!=", ">", ">="]))
    return st.one_of(
        st.builds("{0[0]} {1} {0[1]}".format, pairs, st.sampled_from("+-*")),
        st.builds("({0[0]} {1} {0[1]})".format, pairs, st.sampled_from("+-*")),
        st.builds("case when {} then {} else {} end".format, condition, inner, inner),
        st.builds("case when not {} and {} then {} end".format, condition, condition, inner),
    )


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(_numbers())
def test_precedence_is_that_of_sqlite(text: str) -> None:
    ours, theirs = compute(text, GRID), in_sqlite(text, GRID)
    for one, other in zip(ours, theirs, strict=True):
        # SQLite lets a missing value spread through comparisons, here they are false: compare where none is.
        if other is not None:
            assert one == pytest.approx(other, rel=1e-12)


def test_division_is_real_where_both_sides_are_whole() -> None:
    assert compute("n / 2", pl.DataFrame({"n": [1, 3]})) == [0.5, 1.5]


MISSING = pl.DataFrame({"a": [nan, 1.0, None, 3.0], "b": [1.0, nan, None, 2.0]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", [None, None, None, 5.0]),
        ("0 * a", [None, 0.0, None, 0.0]),
        ("a < b", [0, 0, 0, 0]),
        ("a > b", [0, 0, 0, 1]),
        ("a = a", [0, 1, 0, 1]),
        ("a != a", [1, 0, 1, 0]),
        ("not a = a", [1, 0, 1, 0]),
        ("a is null", [1, 0, 1, 0]),
        ("a is not null", [0, 1, 0, 1]),
        ("least(a, b)", [None, None, None, 2.0]),
        ("greatest(a, b, 9)", [None, None, None, 9.0]),
        ("case when a > 0 then 1 else 0 end", [0, 1, 0, 1]),
        ("case when a then 1 else 0 end", [0, 1, 0, 1]),
        ("cast(a as boolean)", [0, 1, 0, 1]),
        ("case when a is null then b else a end", [1.0, 1.0, None, 3.0]),
        ("case when a > 2 then null else 7 end", [7, 7, 7, None]),
    ],
)
def test_nan_and_null_are_missing_alike(text: str, expected: list[float | None]) -> None:
    assert compute(text, MISSING) == expected


@pytest.mark.parametrize("text", ["1 / x", "-1 / x", "x / x", "ln(x)", "sqrt(x - 1)", "exp(x + 1000)", "pow(x, -1)"])
def test_a_result_that_is_not_finite_is_missing(text: str) -> None:
    assert compute(text, pl.DataFrame({"x": [0.0]})) == [None]


def test_intermediate_infinities_follow_ieee() -> None:
    frame = pl.DataFrame({"x": [0.0]})
    assert compute("1 / (1 / x)", frame) == [0.0]
    assert compute("1 / x > 5", frame) == [1.0]
    assert compute("1 / x = 2 / x", frame) == [1.0]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.Float32])
def test_numbers_of_any_width_are_computed_in_double(dtype: type[pl.DataType]) -> None:
    frame = pl.DataFrame({"x": pl.Series([100, 101], dtype=dtype)})
    assert compute("x * x * 1000 + 0.125", frame) == [10_000_000.125, 10_201_000.125]


def test_booleans_count_as_zero_and_one() -> None:
    frame = pl.DataFrame({"hot": [True, False, None]})
    assert compute("hot + 1", frame) == [2.0, 1.0, None]
    assert compute("case when hot then 5 else 6 end", frame) == [5.0, 6.0, 6.0]


def test_texts_compare_with_columns_in_either_order() -> None:
    frame = pl.DataFrame({"Type": ["L", "M", None, "H"]})
    assert compute("Type = 'L'", frame) == [1, 0, 0, 0]
    assert compute("'L' = Type", frame) == [1, 0, 0, 0]
    assert compute("Type != 'L'", frame) == [0, 1, 1, 1]
    assert compute("Type in ('L', 'H')", frame) == [1, 0, 0, 1]
    assert compute("case when Type = 'it''s' then 1 else 2 end", frame) == [2, 2, 2, 2]


def test_a_category_column_compares_as_text() -> None:
    frame = pl.DataFrame({"Type": pl.Series(["L", None], dtype=pl.Categorical)})
    assert compute("Type = 'L'", frame) == [1, 0]


@pytest.mark.parametrize(
    "name", ["Torque [Nm]", "a.b", "select", "*", "^a.*$", 'a"b', "ä µ", "a;b", "x -- y", "'q'", "A", "1st", "a\nb"]
)
def test_any_column_name_works_in_double_quotes(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    frame = pl.DataFrame({name: [2.0, None], "a": [9.0, 9.0]})
    assert columns(parse(quoted)) == {name}
    assert compute(f"{quoted} * 2", frame) == [4.0, None]


def test_case_of_names_is_kept() -> None:
    assert columns(parse("Torque + torque")) == {"Torque", "torque"}


def test_a_constant_needs_no_column() -> None:
    assert compute("1 + 1", MISSING) == [2.0] * 4
    assert compute("1 / 0", MISSING) == [None] * 4


def test_an_empty_frame_gives_an_empty_column() -> None:
    result = MISSING.clear().select(to_polars(parse("least(a, b) * 2 + 1")).alias("x"))
    assert result.schema == {"x": pl.Float64}
    assert result.height == 0


def test_deep_nesting_costs_no_more_than_its_length() -> None:
    text = "a"
    for _ in range(15):
        text = f"least(case when {text} > b then a else 1 end, b)"
    assert len(compute(text, MISSING)) == 4


def test_the_tree_is_typed() -> None:
    assert parse("(a > 1) * 2") == Binary("*", Cast(Binary(">", ColumnRef("a"), Number(1.0)), "double"), Number(2.0))
    assert parse("not a") == Unary("not", Cast(ColumnRef("a"), "boolean"))
    assert parse("a is null") == IsNull(ColumnRef("a"))
    assert parse("least(a, 2, b)") == Call("least", (ColumnRef("a"), Number(2.0), ColumnRef("b")))
    assert parse("'L' <> Type") == Binary("!=", ColumnRef("Type"), Text("L"))
    case = parse("case when a > 1 then 2 end")
    assert isinstance(case, CaseWhen)
    assert isinstance(case.otherwise, Number)
    assert math.isnan(case.otherwise.value)


def test_casts_have_their_usual_names() -> None:
    assert parse("cast(a as double)") == parse("a::double") == Cast(ColumnRef("a"), "double")
    assert parse("cast(a as int)") == parse("cast(a as integer)") == Cast(ColumnRef("a"), "integer")
    assert parse("cast(a > 1 as double)") == Cast(Binary(">", ColumnRef("a"), Number(1.0)), "double")


def test_columns_are_told_by_how_they_are_read() -> None:
    tree = parse("case when Type = 'L' then a * 2 else least(b, 1) end")
    assert columns(tree) == {"Type", "a", "b"}
    assert text_columns(tree) == {"Type"}
    assert number_columns(tree) == {"a", "b"}
    assert number_columns(parse("a")) == {"a"}


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("(select 1)", "SELECT 1"),
        ("a + (select max(b) from t)", "SELECT MAX(b)"),
        ("select a", "SELECT a"),
        ("with q as (select 1) select * from q", "WITH q"),
        ("exists(select 1)", "EXISTS"),
        ("a in (select b from t)", "a IN"),
        ("a = any(select 1)", "ANY"),
        ("a; drop table t", "drop table t"),
        ("drop table t", "DROP TABLE t"),
        ("set a = 1", "SET a"),
        ("sum(a)", "SUM(a)"),
        ("sum(a) over ()", "OVER"),
        ("read_csv('/etc/passwd')", "READ_CSV"),
        ("foo(a)", "FOO(a)"),
        ("log(a)", "LOG(a)"),
        ("coalesce(a, b)", "COALESCE"),
        ("if(a > 1, 2, 3)", "CASE"),
        ("a % 2", "a % 2"),
        ("a ^ 2", "a ^ 2"),
        ("a || b", "||"),
        ("a like 'x'", "LIKE"),
        ("a is true", "IS"),
        ("a[1]", "a["),
        ("{{ a }}", "a"),
        (":a", "a"),
        ("@a", "@a"),
        ("?", "?"),
        ("*", "*"),
        ("a as b", "AS b"),
        ("(a, b)", "(a, b)"),
        ("t.a", "t.a"),
        ("a.b.c", "a.b.c"),
        ("count(*)", "COUNT"),
        ("date '2020-01-01'", "2020"),
        ("interval '1 day'", "INTERVAL"),
        ("cast(a as date)", "DATE"),
        ("cast(a as varchar)", "VARCHAR"),
        ("try_cast(a as double)", "TRY_CAST"),
        ("0x1F", "0"),
        ("1_000", "_000"),
        ("case a when 1 then 2 end", "CASE WHEN"),
        ("a = null", "IS NULL"),
        ("null != a", "IS NULL"),
        ("'x'", "'x'"),
        ("a + 'x'", "'x'"),
        ("'x' = 'y'", "'x'"),
        ("a * 2 = 'y'", "a * 2"),
        ("Type = ''", "''"),
        ("a > 'x'", "'x'"),
        ("not 'x'", "'x'"),
        ("case when a > 1 then 'x' else 2 end", "'x'"),
        ("a in ()", "a IN"),
        ("least(a)", "two"),
        ("1e999", "1e999"),
        ("distinct a", "position"),
        ("a +", "position"),
        ("(a", "position"),
        ("a ** 2", "position"),
        ("a 'b", "cannot be read"),
        ('"a', "cannot be read"),
        ("`a`", "position"),
        ("", "''"),
        ("   ", "one SQL expression"),
        ("-- a", "one SQL expression"),
    ],
)
def test_everything_else_is_refused_with_its_piece(text: str, piece: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert piece.lower() in str(caught.value).lower()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("text", ["foo(a)", "(a", "select 1"])
def test_a_refusal_lists_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="CASE WHEN") as caught:
        parse(text)
    assert all(name in str(caught.value) for name in FUNCTIONS)


@pytest.mark.parametrize("text", ["(" * 3000 + "a" + ")" * 3000, "-" * 1 + "abs(" * 900 + "a" + ")" * 900])
def test_too_deep_a_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="deep"):
        parse(text)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most"):
        parse("a + " * 3000 + "a")
