"""Rows out of a real PostgreSQL server, read by a session that cannot write."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.postgres import DATABASE, PASSWORD, PostgresServer, running_postgres
from werkbund.core import ConfigError, DataError
from werkbund.data.postgres import PostgresSource, content_digest

EVERY_TYPE = """
create table kinds (
    small int2, whole int4, large int8, single float4, double float8, exact numeric(12, 3), truth bool,
    day date, clock time, moment timestamp, zoned timestamptz, word text, short varchar(9), fixed char(3),
    id uuid, document jsonb, several int4[], address inet, raw bytea, span interval
);
insert into kinds values
    (1, 2, 3000000000, 0.5, 0.1, 42.125, true, '2026-01-02', '03:04:05', '2026-01-02 03:04:05.000006',
     '2026-01-02 03:04:05+02', 'Prüfstand', 'x', 'ab', '6e7bc2ee-56f2-4a7d-9b0b-5a2a4d9e2f10', '{"a": 1}', '{1,2}',
     '10.0.0.5', 'a', '1 day 2 hours'),
    (null, null, null, null, 'NaN', 'NaN', null, null, null, null, null, null, null, null, null, null, null, null,
     null, null);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres() as started:
        started.run(*(statement for statement in EVERY_TYPE.split(";\n") if statement.strip()))
        started.run(
            "create table readings as select i as id, i / 10.0 as torque, 'M' || i % 3 as kind "
            "from generate_series(1, 25000) as i",
            "create table written (id int4)",
            "create function write_it() returns int4 language sql as 'insert into written values (1) returning id'",
            "create sequence numbers",
            "create role reader login password 'reader'",
        )
        yield started


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGOPTIONS", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)


def read(server: PostgresServer, query: str) -> pl.DataFrame:
    return PostgresSource(query, server.url).read()[0]


def test_each_type_becomes_a_plain_one(server: PostgresServer) -> None:
    frame = read(server, "select * from kinds")
    first = frame.row(0, named=True)
    assert frame.dtypes[:7] == [*[pl.Int64] * 3, *[pl.Float64] * 3, pl.Boolean]
    assert frame.dtypes[7:11] == [pl.Date, pl.Time, pl.Datetime("us"), pl.Datetime("us", "UTC")]
    assert set(frame.dtypes[11:]) == {pl.String}
    assert (first["large"], first["double"], first["exact"], first["truth"]) == (3_000_000_000, 0.1, 42.125, True)
    assert first["moment"] == datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
    assert first["zoned"] == datetime.datetime(2026, 1, 2, 1, 4, 5, tzinfo=datetime.UTC)
    assert (first["word"], first["document"], first["several"]) == ("Prüfstand", '{"a": 1}', "{1,2}")
    assert (first["address"], first["raw"], first["span"]) == ("10.0.0.5", "\\x61", "1 day 02:00:00")


def test_what_is_missing_is_null_whatever_the_type(server: PostgresServer) -> None:
    assert set(read(server, "select * from kinds").row(1)) == {None}


@pytest.mark.parametrize("chunk_rows", [7, 24_999, 25_000, 30_000])
def test_pieces_make_the_same_table_with_the_same_digest(server: PostgresServer, chunk_rows: int) -> None:
    query = "select * from readings order by id"
    frame, origin = PostgresSource(query, server.url, chunk_rows=chunk_rows).read()
    assert_frame_equal(
        frame,
        pl.DataFrame({"id": range(1, 25_001)}).with_columns(
            torque=pl.col("id") / 10, kind=pl.format("M{}", pl.col("id") % 3)
        ),
    )
    assert origin.sha256 == content_digest(frame, 11) == PostgresSource(query, server.url).read()[1].sha256


@pytest.mark.parametrize(
    "query",
    [
        "select id, torque, kind from readings order by id desc",
        "select id, torque as power, kind from readings order by id",
        "select id, torque, case when id = 9 then null else kind end as kind from readings order by id",
        "select id, torque + (id = 77)::int4 * 0.001 as torque, kind from readings order by id",
        "select id::float8 as id, torque, kind from readings order by id",
    ],
)
def test_any_other_content_has_another_digest(server: PostgresServer, query: str) -> None:
    same = PostgresSource("select * from readings order by id", server.url).read()[1].sha256
    assert PostgresSource(query, server.url).read()[1].sha256 != same


def test_the_environment_says_where_the_database_is(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    frame, origin = PostgresSource("select * from readings where id < 3;\n").read()
    assert frame["id"].to_list() == [1, 2]
    assert (origin.source, origin.path) == ("postgresql", f"127.0.0.1/{DATABASE}")
    assert PASSWORD not in str(origin)


def test_the_session_is_read_only(server: PostgresServer) -> None:
    settings = ("transaction_read_only", "default_transaction_read_only", "timezone")
    shown = ", ".join(f"current_setting('{name}') as {name}" for name in settings)
    assert read(server, f"select {shown}").row(0) == ("on", "on", "UTC")


@pytest.mark.parametrize(
    "query",
    [
        "select write_it() as id",
        "select nextval('numbers')",
        "select id from written for update",
        "select set_config('transaction_read_only', 'off', false), write_it()",
    ],
)
def test_the_database_refuses_a_select_that_writes(server: PostgresServer, query: str) -> None:
    with pytest.raises(DataError, match=r"read-write|must only read.*read-only|read-only transaction"):
        read(server, query)
    assert server.run("select count(*) from written") == [(0,)]


@pytest.mark.parametrize(
    "query",
    [
        "insert into written values (1)",
        "with new as (insert into written values (1) returning id) select * from new",
        "drop table written",
        "select 1 as id; drop table written",
        "select 1 as id; commit; begin read write; insert into written values (1)",
        "copy written to '/tmp/never'",
        "selekt 1",
    ],
)
def test_what_is_no_single_select_is_refused(server: PostgresServer, query: str) -> None:
    with pytest.raises(DataError, match=r"must be a single SELECT .* check data\.query"):
        read(server, query)
    assert server.run("select count(*) from written") == [(0,)]


def test_the_same_account_may_write_in_a_session_of_its_own(server: PostgresServer) -> None:
    assert server.run("select write_it()") == [(1,)]
    server.run("truncate written")


def test_a_query_without_rows_is_refused(server: PostgresServer) -> None:
    with pytest.raises(DataError, match=r"must return rows, but returned none"):
        read(server, "select * from readings where id < 0")


def test_columns_of_one_name_are_refused(server: PostgresServer) -> None:
    with pytest.raises(DataError, match=r"'id' more than once; use AS"):
        read(server, "select a.id, b.id from readings a join readings b using (id)")


def test_a_percent_sign_and_a_comment_are_left_alone(server: PostgresServer) -> None:
    assert read(server, "select id from readings where kind like 'M1%' and id < 3 -- all of M1").height == 1


def test_a_query_that_takes_too_long_is_stopped(server: PostgresServer) -> None:
    with pytest.raises(DataError, match=r"was stopped \(.*statement timeout"):
        PostgresSource("select pg_sleep(30)", server.url, timeout_s=0.05).read()


def test_an_account_without_the_right_is_told_so(server: PostgresServer) -> None:
    url = f"postgresql://reader:reader@127.0.0.1:{server.port}/{DATABASE}"
    with pytest.raises(DataError, match=r"not allowed to this account .*grant it SELECT"):
        PostgresSource("select * from readings", url).read()


def test_a_wrong_password_is_not_shown(server: PostgresServer) -> None:
    with pytest.raises(DataError, match=r"cannot be reached.*password authentication failed.*PGHOST") as caught:
        PostgresSource("select 1", f"postgresql://plant:geheim@127.0.0.1:{server.port}/{DATABASE}").read()
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["postgresql://plant:gehe%im@127.0.0.1/x", "host=127.0.0.1 geheim", "postgresql://["])
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(DataError, match="URL cannot be read") as caught:
        PostgresSource("select 1", url).read()
    assert "geh" not in str(caught.value)
    assert "geh" not in repr(PostgresSource("select 1", url))


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"cannot be reached.*127\.0\.0\.1"):
        PostgresSource("select 1", "host=127.0.0.1 port=1 user=plant").read()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DataError, match=r"werkbund\[postgresql\]"):
        PostgresSource("select 1").read()


@pytest.mark.parametrize(("query", "options"), [(" ;", {}), ("select 1", {"timeout_s": 0}), ("x", {"chunk_rows": 0})])
def test_impossible_arguments_are_refused(query: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        PostgresSource(query, None, **options)
