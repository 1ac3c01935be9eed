#!/usr/bin/env python3
"""Measures the lists of the release binary on SQLite with few rows and with many: what a page costs must not grow.

    .venv/bin/python Benchmarks/lists.py [--rows 1000 1000000] [--requests 200] [--binary .build/release/latchkey]

Fills `users` and `audit_log` with so many rows each, directly in the file, and asks for each list one request after the
other on one connection. Prints one Markdown table: the median in milliseconds for each size, and the ratio of the last to
the first.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from servers import PASSWORD, Latchkey

REPOSITORY = Path(__file__).resolve().parents[1]
ADMIN = "bench-admin@example.com"
# One actor and one subject have a tenth of the rows each, as a busy program has.
BUSY = 10

USERS = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
    INSERT INTO users (id, collection_id, kind, status, email, email_folded, data, created_at, updated_at)
    SELECT printf('%08x-0000-7000-8000-%012x', n, n), (SELECT id FROM collections WHERE name = 'users'), 'human',
        CASE WHEN n % 2 THEN 'active' ELSE 'pending' END, 'row-' || n || '@example.org', 'row-' || n || '@example.org',
        '{"plan":"free"}', n * 1000, n * 1000
    FROM numbers
"""
AUDIT = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows)
    INSERT INTO audit_log (id, at, action, actor_id, subject_id, ip, outcome, details)
    SELECT printf('%08x-0001-7000-8000-%012x', n, n), n * 1000,
        CASE WHEN n % 3 THEN 'sign_in.succeeded' ELSE 'session.ended' END,
        printf('00000000-0000-7000-8000-%012x', n % :busy), printf('00000000-0000-7000-8000-%012x', n % :busy),
        '192.0.2.1', 'success', '{}'
    FROM numbers
"""


def paths(rows: int, cursors: dict[str, str]) -> dict[str, str]:
    """What is asked for, by what the table calls it."""
    busy = "00000000-0000-7000-8000-000000000001"
    middle = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(rows / 2))
    users, audit = "/api/admin/users/users", "/api/admin/audit"
    return {
        "users, page 1": f"{users}?page=1",
        "users, a page in the middle": f"{users}?page={max(1, rows // 60)}",
        "users, the last page": f"{users}?page={-(-rows // 30)}",
        "users by cursor, from the beginning": f"{users}?cursor=",
        "users by cursor": f"{users}?cursor={cursors[users]}",
        'users, `status = "active"`, page 1': users + "?filter=" + quote('status = "active"'),
        'users, `email = "…"`': users + "?filter=" + quote('email = "row-7@example.org"'),
        'users, `email ~ "example"`, by cursor': users + "?cursor=&filter=" + quote('email ~ "example"'),
        'users, `email ~ "nobody"`, by cursor (reads all)': users + "?cursor=&filter=" + quote('email ~ "nobody"'),
        "audit log, page 1": f"{audit}?page=1",
        "audit log, the last page": f"{audit}?page={-(-rows // 30)}",
        "audit log by cursor": f"{audit}?cursor={cursors[audit]}",
        "audit log of an actor, page 1": f"{audit}?actor={busy}",
        "audit log of a subject, page 1": f"{audit}?subject={busy}",
        "audit log of an action, page 1": f"{audit}?action=session.ended",
        "audit log from a time, page 1": f"{audit}?from={middle}",
        "audit log to a time, page 1": f"{audit}?to={middle}",
    }


class Asking:
    """One connection of an admin."""

    def __init__(self, server: Latchkey, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> dict:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body.decode(errors='replace')}")
        return json.loads(body)

    def median_ms(self, path: str, requests: int) -> float:
        for _ in range(3):
            self.get(path)
        times = []
        for _ in range(requests):
            begin = time.perf_counter()
            self.get(path)
            times.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(times)


def measure(binary: Path, directory: Path, rows: int, requests: int) -> dict[str, float]:
    server = Latchkey(binary, directory, lambda: None)
    server.start()
    server.lift_rate_limit()
    server.create_admin(ADMIN)
    server.stop()
    with contextlib.closing(sqlite3.connect(Path(server.data_dir) / "latchkey.db")) as database, database:
        # Rows without a MAC before the first linked one are taken for those of an old version, and linked in the background:
        # that would be measured too.
        database.execute(USERS, {"rows": rows})
        database.execute(AUDIT, {"rows": rows, "busy": BUSY})
        database.execute("UPDATE audit_log SET position = sequence WHERE position IS NULL")
    server.start()
    try:
        login = server.must("POST", "/api/admin/auth/login", {"email": ADMIN, "password": PASSWORD})
        asking = Asking(server, login["data"]["token"])
        lists = ("/api/admin/users/users", "/api/admin/audit")
        cursors = {path: asking.get(path)["next_cursor"] for path in lists}
        return {
            name: asking.median_ms(path, max(5, requests // 20) if "reads all" in name else requests)
            for name, path in paths(rows, cursors).items()
        }
    finally:
        server.stop()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000])
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/latchkey")
    given = arguments.parse_args()
    results = []
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as directory:
            results.append(measure(given.binary.resolve(), Path(directory), rows, given.requests))
    print("| list, median of one request after the other | " + " | ".join(f"{rows:,} rows" for rows in given.rows) + " | ratio |")
    print("|---|" + "---|" * (len(results) + 1))
    for name in results[0]:
        times = [result[name] for result in results]
        print(f"| {name} | " + " | ".join(f"{ms:.2f} ms" for ms in times) + f" | {times[-1] / times[0]:.2f} |")


if __name__ == "__main__":
    main()
