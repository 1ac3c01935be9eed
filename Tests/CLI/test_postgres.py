"""A PostgreSQL that is missing, refuses, dies or stalls."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import psycopg
import pytest
from conftest import PASSWORD, Launcher, Server, eventually, fresh_email
from postgres import SHARED, Database, Postgres
from processes import free_port, run_command

pytestmark = pytest.mark.engine("postgres")

RECOVERY_SECONDS_MAX = 10


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server of the test's own, to be killed."""
    postgres = Postgres()
    yield postgres
    postgres.remove()


def serve(url: str, data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("serve", "--port", "0", "--database-url", url, "--data-dir", str(data_dir), environment=environment)


# The start


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Postgres, int]]:
    """A server that asks for passwords over TCP, and its port."""
    port = free_port()
    postgres = Postgres("-c", "listen_addresses=127.0.0.1", port=port)
    postgres.query("CREATE ROLE app LOGIN PASSWORD 'right-p@ss'")
    postgres.query("CREATE DATABASE owned OWNER app")
    postgres.query("CREATE DATABASE foreign_one")
    yield postgres, port
    postgres.remove()


@pytest.mark.parametrize(
    ("user", "name", "options", "words"),
    [
        ("app:wrong", "owned", "", ["password authentication failed", "Check the user and the password"]),
        ("app", "owned", "", ["no password supplied", "Check the user and the password"]),
        ("app:right-p%40ss", "missing", "", ['database "missing" does not exist', "createdb"]),
        ("app:right-p%40ss", "foreign_one", "", ["permission denied", "GRANT CREATE ON SCHEMA public"]),
        ("app:right-p%40ss", "owned", "?sslmode=require", ["SSL", "sslmode"]),
    ],
    ids=["wrong password", "no password", "no such database", "missing rights", "no TLS there"],
)
def test_a_database_that_cannot_be_used_stops_the_start_and_says_why(
    secured: tuple[Postgres, int], tmp_path: Path, user: str, name: str, options: str, words: list[str]
) -> None:
    refused = serve(f"postgres://{user}@127.0.0.1:{secured[1]}/{name}{options}", tmp_path / "data")
    assert refused.returncode == 1
    for word in words:
        assert word in refused.stderr, refused.stderr
    assert "p@ss" not in refused.stderr
    assert "wrong" not in refused.stderr


def test_an_unreachable_database_stops_the_start_and_says_so(tmp_path: Path) -> None:
    refused = serve(f"postgres://app@127.0.0.1:{free_port()}/latchkey", tmp_path / "data")
    assert refused.returncode == 1
    assert "can't be used" in refused.stderr
    assert "Is PostgreSQL running there" in refused.stderr


@pytest.mark.parametrize("url", ["mysql://x/y", "latchkey.db", "postgres://app:hunter2@[::1/x", "postgres://h?a=b",
     "postgres://app:a@hunter2@h/x", "postgres://app:hunter2/b@h/x", "postgres://app:x/hunter2@h/y"],
)
def test_a_url_that_cannot_be_read_stops_the_start_without_being_quoted(tmp_path: Path, url: str) -> None:
    refused = serve(url, tmp_path / "data")
    assert refused.returncode == 1
    assert "database_url" in refused.stderr
    assert "hunter2" not in refused.stderr


@pytest.mark.parametrize("option", ["LATCHKEY_DATABASE_POOL_SIZE", "LATCHKEY_DATABASE_POOL_WAIT_MS"])
@pytest.mark.parametrize("value", ["0", "many", "-3", "99999999"])
def test_a_pool_that_cannot_be_is_refused(tmp_path: Path, option: str, value: str) -> None:
    refused = serve(SHARED, tmp_path / "data", **{option: value})
    assert refused.returncode == 1
    assert option.removeprefix("LATCHKEY_").lower() in refused.stderr


def test_a_user_without_the_right_to_define_tables_serves_what_an_owner_has_migrated(
    secured: tuple[Postgres, int], launch: Launcher, tmp_path: Path
) -> None:
    postgres, port = secured
    database = postgres.database()
    migrated = run_command("migrate", "--database-url", database.url, "--data-dir", str(tmp_path / "data"))
    assert migrated.returncode == 0, migrated.stderr
    database.query("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app")
    database.url = f"postgres://app:right-p%40ss@127.0.0.1:{port}/{database.name}"
    server = launch.nodes(1, database, LATCHKEY_SEALING_KEY=(tmp_path / "data" / ".sealing-key").read_text().strip())[0]
    assert server.new_user()["token"]


def test_tls_is_used_and_the_certificate_checked_when_the_url_says_so(tmp_path: Path) -> None:
    port = free_port()
    postgres = Postgres("-c", "listen_addresses=127.0.0.1", port=port)
    try:
        key, certificate = postgres.directory / "key.pem", postgres.directory / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        for path in (key, certificate):
            subprocess.run(["chown", f"--reference={postgres.directory}", path], check=True)
        key.chmod(0o600)
        for statement in (
            "CREATE ROLE app LOGIN PASSWORD 'secret'",
            "CREATE DATABASE owned OWNER app",
            f"ALTER SYSTEM SET ssl_cert_file = '{certificate}'",
            f"ALTER SYSTEM SET ssl_key_file = '{key}'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ):
            postgres.query(statement)
        eventually(lambda: postgres.query("SHOW ssl") == [("on",)], 10)
        base = f"postgres://app:secret@localhost:{port}/owned?hostaddr=127.0.0.1"
        migrate = ("migrate", "--data-dir", str(tmp_path / "data"), "--database-url")
        unverified = run_command(*migrate, f"{base}&sslmode=verify-full&sslrootcert=/dev/null")
        assert unverified.returncode == 1
        assert "certificate" in unverified.stderr
        verified = run_command(*migrate, f"{base}&sslmode=verify-full&sslrootcert={certificate}")
        assert verified.returncode == 0, verified.stderr
        other_name = base.replace("@localhost", "@elsewhere.example")
        refused = run_command(*migrate, f"{other_name}&sslmode=verify-full&sslrootcert={certificate}")
        assert refused.returncode == 1
    finally:
        postgres.remove()


# While it runs


class Registrations:
    """Clients that register one account after the other, on all nodes in turn, until they are told to stop."""

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes
        self.acknowledged: list[str] = []
        self.statuses: set[int] = set()
        self.problems: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._register, args=(number,)) for number in range(8)]

    def __enter__(self) -> Registrations:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _register(self, number: int) -> None:
        node = self.nodes[number % len(self.nodes)]
        while not self._stop.is_set():
            email = fresh_email()
            try:
                reply = node.call("POST", "/api/auth/users/register", {"email": email, "password": PASSWORD})
            except (OSError, HTTPException) as error:
                self.problems.append(repr(error))
                continue
            self.statuses.add(reply.status)
            if reply.status == 200:
                self.acknowledged.append(email)
            else:
                if reply.status != 503 or int(reply.headers["Retry-After"]) < 1:
                    self.problems.append(f"{reply.status} {reply.body!r}")
                time.sleep(0.02)

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.acknowledged) >= count, 60)


def test_kill_9_of_the_database_under_load_loses_nothing_and_both_nodes_recover(launch: Launcher, own: Postgres) -> None:
    database = own.database()
    nodes = launch.nodes(2, database)
    token = nodes[0].new_user()["token"]
    with Registrations(nodes) as crowd:
        crowd.wait_for(40)
        own.kill()
        for node in nodes:
            eventually(lambda node=node: node.call("GET", "/api/ready").status == 503)
            # Not even a session that is known by heart is taken for alive.
            eventually(lambda node=node: node.me(token).status == 503)
            node.me(token).refused(503)
            assert node.call("GET", "/api/health").status == 200
        own.start()
        for node in nodes:
            eventually(lambda node=node: node.call("GET", "/api/ready").status == 200, RECOVERY_SECONDS_MAX)
        crowd.wait_for(len(crowd.acknowledged) + 40)
    assert crowd.problems == []
    assert crowd.statuses == {200, 503}
    stored = {email for (email,) in database.query("SELECT email FROM users")}
    assert stored >= set(crowd.acknowledged)
    # Each is whole: with a password, and an audit row.
    assert database.query("SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT FROM secrets s WHERE s.user_id = u.id)") == [(0,)]
    assert database.query("SELECT count(*) FROM audit_log WHERE action = 'user.registered'") == [(len(stored),)]
    for node in nodes:
        assert node.sees(token)
    # Caches are in use and kept true again.
    nodes[1].call("POST", "/api/auth/logout", token=token).accepted()
    eventually(lambda: nodes[0].me(token).status == 401)
    for node in nodes:
        assert "can't be reached" in node.logged()
        assert "The database is back." in node.logged()


def test_a_database_that_comes_back_serves_again_by_itself(launch: Launcher, own: Postgres) -> None:
    node = launch.nodes(1, own.database())[0]
    login = node.new_user()
    body = {"email": login["record"]["email"], "password": PASSWORD}
    for _ in range(3):
        own.kill()
        own.start()
        eventually(lambda: node.call("POST", "/api/auth/users/login", body).status == 200, RECOVERY_SECONDS_MAX)
        assert node.sees(login["token"])


def test_connections_that_an_administrator_ends_are_made_anew_without_a_refusal(launch: Launcher) -> None:
    database = Database(SHARED)
    node = launch.nodes(1, database)[0]
    email = node.new_user()["record"]["email"]
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(5):
        assert database.query(end)[0][0] >= 1
        assert node.login(email)
    node.kill()
    database.drop()


def test_a_database_that_stalls_makes_others_wait_no_longer_than_the_pool_allows(launch: Launcher) -> None:
    database = Database(SHARED)
    node = launch.nodes(1, database, LATCHKEY_DATABASE_POOL_SIZE="2", LATCHKEY_DATABASE_POOL_WAIT_MS="300")[0]
    email = node.new_user()["record"]["email"]
    with psycopg.connect(database.url) as blocker, ThreadPoolExecutor(12) as pool:
        blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        body = {"email": email, "password": PASSWORD}
        waiting = [pool.submit(node.call, "POST", "/api/auth/users/login", body) for _ in range(12)]
        eventually(lambda: sum(call.done() for call in waiting) >= 10, 8)
        assert time.monotonic() - start < 8
        assert {call.result().status for call in waiting if call.done()} == {503}
        blocker.rollback()
        assert {call.result().status for call in waiting} <= {200, 503}
    assert node.login(email)
    node.kill()
    database.drop()


def test_a_database_that_is_paused_is_not_trusted_from_memory(launch: Launcher, own: Postgres) -> None:
    """The connections stay open and nobody answers, as when a network swallows everything."""
    node = launch.nodes(1, own.database())[0]
    token = node.new_user()["token"]
    assert node.sees(token)
    own.pause()
    try:
        # Not later than that the node has stopped to believe its memory, and a while after that it stops to wait.
        time.sleep(1)
        node.me(token).refused(503)
        eventually(lambda: "can't be reached" in node.logged(), RECOVERY_SECONDS_MAX)
        node.me(token).refused(503)
        assert node.call("GET", "/api/health").status == 200
    finally:
        own.resume()
    eventually(lambda: node.me(token).status == 200, RECOVERY_SECONDS_MAX)


def test_a_lock_that_is_held_is_not_waited_for_again_and_again(launch: Launcher) -> None:
    database = Database(SHARED)
    node = launch.nodes(1, database)[0]
    email = node.new_user()["record"]["email"]
    with psycopg.connect(database.url) as blocker:
        blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        reply = node.call("POST", "/api/auth/users/login", {"email": email, "password": PASSWORD})
        reply.refused(503, code="unavailable")
        # The upkeep may wait meanwhile: only the login's own look-up counts.
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND query LIKE '%email_folded%'"
        )
        assert blocker.execute(waits).fetchone() == (0,)
    assert node.login(email)
    node.kill()
    database.drop()


def test_a_pool_of_one_connection_serves_everybody(launch: Launcher) -> None:
    database = Database(SHARED)
    nodes = launch.nodes(2, database, LATCHKEY_DATABASE_POOL_SIZE="1")
    with Registrations(nodes) as crowd:
        crowd.wait_for(60)
    assert crowd.problems == []
    assert crowd.statuses == {200}
    used = database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert used[0][0] <= 4, "one for each node, and one each that listens"
    for node in nodes:
        node.kill()
    database.drop()


def test_a_server_with_room_for_few_connections_serves_everybody_by_those(
    secured: tuple[Postgres, int], launch: Launcher
) -> None:
    postgres, port = secured
    database = postgres.database()
    postgres.query("DROP ROLE IF EXISTS few")
    postgres.query("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 3")
    postgres.query(f"ALTER DATABASE {database.name} OWNER TO few")
    database.url = f"postgres://few:few@127.0.0.1:{port}/{database.name}"
    node = launch.nodes(1, database)[0]
    with Registrations([node]) as crowd:
        crowd.wait_for(60)
    assert crowd.problems == []
    assert crowd.statuses == {200}
    node.kill()


def test_the_configuration_file_names_the_database_too(launch: Launcher, tmp_path: Path) -> None:
    server = launch()
    assert server.database
    assert "database_url" in json.loads((server.data_dir / "latchkey.json").read_text())
    email = fresh_email()
    server.register(email)
    assert server.database.query("SELECT count(*) FROM users WHERE email = %s", email) == [(1,)]
