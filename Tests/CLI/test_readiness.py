"""What the server says of itself while its database hangs, is full, can't be read or is damaged, and while lists are slow."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import PASSWORD, Launcher, Server, eventually, fresh_email
from postgres import Postgres

# For broken servers: a good one answers in milliseconds.
HEALTH_SECONDS_MAX = 5
RECOVERY_SECONDS_MAX = 20
ROWS = 200_000


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be stopped."""
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture
def broken_disk(tmp_path: Path) -> dict[str, str]:
    """The environment of a server whose disk breaks while `tmp_path` has a file `full` or `unreadable`."""
    library = tmp_path / "broken_disk.so"
    source = Path(__file__).with_name("broken_disk.c")
    subprocess.run([shutil.which("cc") or "clang", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "BROKEN_DISK": str(tmp_path)}


def check(server: Server) -> str:
    """What readiness says is wrong; empty when nothing is."""
    reply = server.call("GET", "/api/ready")
    return "" if reply.status == 200 else reply.refused(503, code="unavailable")["details"]["check"]


@pytest.mark.engine("postgres")
def test_health_answers_at_once_and_readiness_in_time_while_the_database_hangs(launch: Launcher, own: Postgres) -> None:
    node = launch.nodes(1, own.database())[0]
    token = node.new_user()["token"]
    own.pause()
    try:
        deadline = time.monotonic() + RECOVERY_SECONDS_MAX
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(node.me, token) for _ in range(8)]
            for _ in range(50):
                begin = time.monotonic()
                assert node.call("GET", "/api/health").data["status"] == "ok"
                assert time.monotonic() - begin < HEALTH_SECONDS_MAX
                time.sleep(0.05)
            assert eventually(lambda: check(node), RECOVERY_SECONDS_MAX) in ("reads", "writes")
            for reply in waiting:
                assert reply.result().status in (200, 503), "from memory, while it is trusted"
        assert time.monotonic() < deadline + RECOVERY_SECONDS_MAX
        eventually(lambda: node.me(token).status == 503, RECOVERY_SECONDS_MAX)
    finally:
        own.resume()
    eventually(lambda: check(node) == "", RECOVERY_SECONDS_MAX)
    assert node.me(token).status == 200


@pytest.mark.engine("sqlite")
def test_a_full_disk_is_told_by_readiness_and_every_write(
    launch: Launcher, tmp_path: Path, broken_disk: dict[str, str]
) -> None:
    server = launch(**broken_disk)
    session = server.new_user()
    (tmp_path / "full").touch()
    assert eventually(lambda: check(server)) == "writes"
    account = {"email": session["record"]["email"], "password": PASSWORD}
    server.call("POST", "/api/auth/users/login", account).refused(503, code="unavailable")
    assert server.me(session["token"]).status == 200
    assert server.call("GET", "/api/health").data
    (tmp_path / "full").unlink()
    eventually(lambda: check(server) == "")
    assert server.login(account["email"])["token"]


@pytest.mark.engine("sqlite")
def test_a_disk_that_gives_no_bytes_is_a_503_everywhere(
    launch: Launcher, tmp_path: Path, broken_disk: dict[str, str]
) -> None:
    server = launch(**broken_disk).admin_setup()
    email = fresh_email()
    server.register(email)
    server.restart()
    admin = server.admin_login()["token"]
    (tmp_path / "unreadable").touch()
    statuses = {
        path: server.call("GET", path, token=admin).status
        for path in ("/api/admin/audit", "/api/admin/users/users", "/api/admin/outbox", "/api/auth/sessions")
    }
    statuses["login"] = server.call("POST", "/api/auth/users/login", {"email": email, "password": "wrong"}).status
    assert set(statuses.values()) <= {200, 401, 503}, statuses
    assert 503 in statuses.values(), statuses
    assert server.call("GET", "/api/health").data
    assert check(server) == "reads"
    eventually(lambda: "restore a backup" in server.printed())


@pytest.mark.engine("sqlite")
def test_a_damaged_file_is_a_503_with_advice_in_the_log(launch: Launcher) -> None:
    server = launch().admin_setup()
    for _ in range(3):
        server.new_user()
    with contextlib.closing(sqlite3.connect(server.data_dir / "latchkey.db", isolation_level=None)) as database:
        page_size = database.execute("PRAGMA page_size").fetchone()[0]
        roots = {
            name: root
            for name, root in database.execute(
                "SELECT name, rootpage FROM sqlite_schema WHERE tbl_name IN ('audit_log', 'sessions', 'users') AND rootpage > 0"
            )
        }
    assert server.stop() == 0
    with (server.data_dir / "latchkey.db").open("r+b") as file:
        for name in ("audit_log", "audit_log_by_time", "sessions_by_user"):
            file.seek((roots[name] - 1) * page_size)
            file.write(b"\xde\xad\xbe\xef" * (page_size // 4))
    server.start()
    admin = server.call("POST", "/api/admin/auth/login", {"email": "root@example.org", "password": PASSWORD})
    assert admin.status == 503, admin.body
    assert json.loads(admin.body)["code"] == "unavailable"
    assert server.call("GET", "/api/health").data
    assert check(server) == "reads"
    eventually(lambda: "restore a backup" in server.printed())


def test_sign_in_goes_on_while_slow_lists_run_and_their_clients_hang_up(launch: Launcher) -> None:
    server = launch().admin_setup()
    email = fresh_email()
    server.register(email)
    series = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS})"
    server.query(
        f"{series} INSERT INTO users (id, collection_id, kind, status, email, email_folded, data, created_at, updated_at)"
        " SELECT 'row-' || n, u.collection_id, 'human', 'active', n || '@example.org', n || '@example.org', '{}', n, n"
        f" FROM numbers, users u WHERE u.email_folded = '{email}'"
        if server.database is None
        else "INSERT INTO users (id, collection_id, kind, status, email, email_folded, data, created_at, updated_at)"
        " SELECT 'row-' || n, u.collection_id, 'human', 'active', n || '@example.org', n || '@example.org', '{}', n, n"
        f" FROM generate_series(1, {ROWS}) AS n, users u WHERE u.email_folded = '{email}'"
    )
    target = "/api/admin/users/users?filter=email%20~%20%22nobody%22&cursor="
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.admin}\r\n\r\n".encode()
    for round_number in range(5):
        clients = [server.connect() for _ in range(20)]
        for client in clients:
            client.sendall(head)
        if round_number % 2:
            for client in clients:
                client.close()
        assert server.login(email)["token"]
        for client in clients:
            client.close()
    eventually(lambda: server.call("GET", target, token=server.admin).status == 200, RECOVERY_SECONDS_MAX)
    assert check(server) == ""
