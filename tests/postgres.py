"""A PostgreSQL server of a test's own: Debian's programs, a folder of its own, loopback only, a password."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD, DATABASE = "plant", "a secret: 100%/@!", "postgres"
_STARTS_WITHIN_S = 60


@dataclass(frozen=True)
class PostgresServer:
    """Say how to reach a running server."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables that libpq reads."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": DATABASE,
        }

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"postgresql://{USER}:a%20secret%3A%20100%25%2F%40%21@127.0.0.1:{self.port}/{DATABASE}"

    def run(self, *statements: str) -> list[Any]:
        """Run statements as the owner of the server, each on its own; return the rows of the last."""
        import psycopg

        rows: list[Any] = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def copy(self, table: str, csv: bytes) -> None:
        """Fill a table from the text of a CSV file with a header."""
        import psycopg

        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            statement = f"COPY {table} FROM STDIN (FORMAT csv, HEADER)"
            with cursor.copy(statement.encode()) as copy:
                copy.write(csv)


def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`; None where there is none."""
    named = os.environ.get("PG_BIN")
    places = [Path(named)] if named else []
    on_path = shutil.which("postgres")
    places += [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server, stop it in the end; without the programs the test is skipped, or fails where CI is set."""
    place = programs()
    if place is None:
        reason = "needs PostgreSQL's server (Debian: postgresql); PG_BIN may name the folder with initdb"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="werkbund-postgres-"))
    try:
        account = _account(folder)
        _create(place, folder, account)
        port = _free_port()
        with (folder / "log").open("wb") as log:
            options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
            command = [str(place / "postgres"), "-D", str(folder / "data"), *options]
            server: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **account)
        try:
            _await(server, port, folder / "log")
            yield PostgresServer(port)
        finally:
            server.terminate()
            try:
                server.wait(5)  # a smart shutdown waits for sessions; there should be none
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGINT)  # a fast one ends them
                server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(folder: Path) -> dict[str, Any]:
    """Return whom the server runs as: the programs refuse root, so then their package's own account."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "postgres", "postgres")
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _create(place: Path, folder: Path, account: dict[str, Any]) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    options = [
        "-U",
        USER,
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]
    command = [str(place / "initdb"), "-D", str(folder / "data"), *options]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, **account)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            psycopg.connect(PostgresServer(port).url).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
