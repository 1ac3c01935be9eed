#!/usr/bin/env python3
"""Measures how long a login waits while a server on SQLite sweeps sessions, removes a collection or makes a field unique.

    .venv/bin/python Benchmarks/upkeep.py [--sessions 300000] [--users 100000]

LATCHKEY_BIN names another binary to compare with. The rows are put into the file while no server runs. One client logs in
over and over, the other waits for the work to end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from servers import PASSWORD, Latchkey

REPOSITORY = Path(__file__).resolve().parents[1]
DAY_MS = 86_400_000
QUIET_SECONDS = 10
WORK_SECONDS_MAX = 600


def new_id() -> str:
    """A UUID of version 7 of now."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + secrets.token_bytes(10))
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def copies(
    database: sqlite3.Connection, table: str, where: str, count: int, change: Callable[[dict[str, object], int], None]
) -> None:
    """Puts so many copies of a row into its table, each changed."""
    database.row_factory = sqlite3.Row
    row = dict(database.execute(f"SELECT * FROM {table} WHERE {where} LIMIT 1").fetchone())
    columns = list(row)

    def rows() -> Iterator[list[object]]:
        for number in range(count):
            copy = dict(row)
            change(copy, number)
            yield [copy[column] for column in columns]

    marks = ",".join("?" * len(columns))
    database.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})", rows())


class Logins(threading.Thread):
    """Logs somebody in over and over, and keeps how long each took."""

    def __init__(self, server: Latchkey, email: str) -> None:
        super().__init__(daemon=True)
        self.server, self.email = server, email
        self.milliseconds: list[float] = []
        self.bad = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            begin = time.monotonic()
            body = {"email": self.email, "password": PASSWORD}
            try:
                status = self.server.ask("POST", "/api/auth/users/login", body, seconds=WORK_SECONDS_MAX)[0]
            except OSError:
                status = 0
            self.milliseconds.append((time.monotonic() - begin) * 1e3)
            self.bad += status != 200

    def result(self) -> str:
        self.ended.set()
        self.join()
        times = sorted(self.milliseconds)
        p99 = times[int(len(times) * 0.99)]
        return f"{len(times)} logins, p50 {times[len(times) // 2]:.0f} ms, p99 {p99:.0f} ms, longest {times[-1]:.0f} ms" + (
            f", **{self.bad} refused**" if self.bad else ""
        )


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0


def measured(server: Latchkey, email: str, what: str, work: Callable[[], None]) -> None:
    begin, logins = time.monotonic(), Logins(server, email)
    logins.start()
    work()
    seconds = time.monotonic() - begin
    print(f"| {what} | {seconds:.1f} s | {logins.result()} | {peak_mib(server.pid):.0f} MiB |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300_000)
    parser.add_argument("--users", type=int, default=100_000)
    options = parser.parse_args()
    binary = Path(os.environ.get("LATCHKEY_BIN", REPOSITORY / ".build/release/latchkey")).absolute()
    with tempfile.TemporaryDirectory(prefix="latchkey-upkeep-") as scratch, contextlib.ExitStack() as stack:
        server = Latchkey(binary, Path(scratch), None)
        stack.callback(server.stop)
        server.start()
        server.lift_rate_limit()
        time.sleep(1)
        email = server.seed(1)[0]
        server.token(email)
        admin = server.admin_token()
        collection = {"name": "clients", "fields": [{"name": "badge", "type": "text"}]}
        assert server.ask("POST", "/api/collections", collection, admin)[0] == 200
        body = {"email": "first@example.com", "password": PASSWORD, "badge": "first"}
        server.must("POST", "/api/auth/clients/register", body)
        server.stop()
        file = next(Path(scratch).rglob("latchkey.db"))
        with contextlib.closing(sqlite3.connect(file)) as database, database:
            fill(database, options.sessions, options.users)

        def query(text: str) -> object:
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                return database.execute(text).fetchone()

        def until_none(text: str) -> None:
            end = time.monotonic() + WORK_SECONDS_MAX
            while query(text) is not None:
                if time.monotonic() > end:
                    raise RuntimeError(f"not done in {WORK_SECONDS_MAX} s: {text}")
                time.sleep(0.2)

        def asking(method: str, path: str, body: dict[str, object] | None = None) -> None:
            begin = time.monotonic()
            status, answer = server.ask(method, path, body, admin, seconds=WORK_SECONDS_MAX)
            print(f"({method} {path}: {status} after {time.monotonic() - begin:.1f} s)", file=sys.stderr)
            assert status == 200, answer

        print("| work | took | a client that logs in meanwhile | peak memory so far |\n|---|---|---|---|")
        over = f"SELECT id FROM sessions WHERE expires_at < {int(time.time() * 1000) - 31 * DAY_MS} LIMIT 1"
        server.start()
        measured(server, email, f"sweep of {options.sessions} sessions", lambda: until_none(over))
        measured(server, email, "nothing", lambda: time.sleep(QUIET_SECONDS))
        unique = {"fields": [{"name": "badge", "type": "text", "unique": True}]}

        def make_unique() -> None:
            asking("PATCH", "/api/collections/clients", unique)
            while True:
                state = server.ask("GET", "/api/collections/clients", token=admin)[1]["data"].get("state", "ready")
                if state == "ready":
                    return
                time.sleep(0.2)

        measured(server, email, f"a unique field of {options.users} accounts", make_unique)

        def remove() -> None:
            asking("DELETE", "/api/collections/clients")
            until_none("SELECT id FROM users WHERE email LIKE 'client-%' LIMIT 1")

        measured(server, email, f"removal of {options.users} accounts", remove)
    return 0


def fill(database: sqlite3.Connection, sessions: int, users: int) -> None:
    now = int(time.time() * 1000)

    def session(row: dict[str, object], _: int) -> None:
        row.update(id=new_id(), created_at=now - 60 * DAY_MS, expires_at=now - 40 * DAY_MS)
        if "removal_day" in row:
            row["removal_day"] = now // DAY_MS - 9

    copies(database, "sessions", "kind = 'user'", sessions, session)
    ids = [new_id() for _ in range(users)]

    def user(row: dict[str, object], number: int) -> None:
        name = f"client-{number}@example.com"
        row.update(id=ids[number], email=name, email_folded=name, data=json.dumps({"badge": str(number)}))

    def secret(row: dict[str, object], number: int) -> None:
        row.update(id=new_id(), user_id=ids[number])

    copies(database, "users", "email = 'first@example.com'", users, user)
    copies(database, "secrets", "type = 'password'", users, secret)


if __name__ == "__main__":
    sys.exit(main())
