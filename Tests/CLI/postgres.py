"""PostgreSQL for the tests: databases on the server that `scripts/with-postgres` started, and servers of a test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

SHARED = os.environ.get("LATCHKEY_TEST_POSTGRES", "")
START_SECONDS_MAX = 30


def run(url: str, text: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement that is committed by itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text, values or None)
        return cursor.fetchall() if cursor.description else []


class Database:
    """A new, empty database."""

    def __init__(self, server_url: str) -> None:
        self.name = f"test_{uuid.uuid4().hex}"
        self._server_url = server_url
        self.url = server_url.replace("/postgres?", f"/{self.name}?")
        self._maintain(f"CREATE DATABASE {self.name} TEMPLATE template0")

    def drop(self) -> None:
        self._maintain(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, in a transaction of its own."""
        return run(self.url, text, *values)

    def contents(self) -> Iterator[str]:
        """Every row of every table, as text."""
        tables = self.query("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            yield from (row for (row,) in self.query(f"SELECT t::text FROM {table} AS t"))

    def _maintain(self, statement: str) -> None:
        run(self._server_url, statement)


class Postgres:
    """A PostgreSQL server that a test may kill. Unlike the shared one it waits for the disk, as in production."""

    def __init__(self, *options: str, port: int = 5432) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        assert programs, "no PostgreSQL here: `make setup` installs it"
        self._programs = programs[-1]
        self._options = ("-c", f"port={port}", *options)
        self._port = port
        self._directory = Path(tempfile.mkdtemp(prefix="latchkey-postgres-", dir="/tmp"))
        self._owner: list[str] = []
        # PostgreSQL refuses to run as root.
        if os.geteuid() == 0:
            shutil.chown(self._directory, "postgres", "postgres")
            self._owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--pgdata", self._data, "--username", "latchkey", "--auth-local", "trust", "--auth-host",
                  "scram-sha-256", "--encoding", "UTF8", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://latchkey@/postgres?host={self._directory}&port={self._port}"

    def database(self) -> Database:
        return Database(self.url)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        return run(self.url, text, *values)

    @property
    def directory(self) -> Path:
        """Its own, the server's: a file there must belong to it."""
        return self._directory

    @property
    def _data(self) -> str:
        return str(self._directory / "data")

    def start(self) -> None:
        # After kill -9 its children end a moment later, and the new one refuses to start before that.
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            with (self._directory / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._owner, self._programs / "postgres", "-D", self._data, "-k", str(self._directory), "-c",
                     "listen_addresses=", *self._options],
                    cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    psycopg.connect(self.url).close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.02)
            time.sleep(0.1)
        raise AssertionError(f"PostgreSQL did not start:\n{(self._directory / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9, of the server and every process of it."""
        assert self._process
        self._signal(signal.SIGKILL)
        self._process.wait(START_SECONDS_MAX)

    def pause(self) -> None:
        """Stops every process of the server where it stands: connections stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """To the server first, so that it starts no new process meanwhile; each process of it has a group of its own."""
        assert self._process
        os.kill(self._process.pid, number)
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if f"\nPPid:\t{self._process.pid}\n" in status.read_text():
                    os.kill(int(status.parent.name), number)

    def remove(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._owner, self._programs / program, *arguments], cwd="/", capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
