"""`latchkey move`: everything from one database into a new one, and back."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PASSWORD, Launcher, Server, fresh_email
from postgres import SHARED, Database
from processes import BINARY, clean_environment, run_command

pytestmark = pytest.mark.engine("postgres")


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database(SHARED)
    yield made
    made.drop()


def move(source: str, target: str) -> str:
    done = run_command("move", "--from", source, "--to", target, seconds=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_accounts_sessions_settings_and_the_audit_log_move_to_postgresql_and_back(
    tmp_path: Path, database: Database
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    emails = [fresh_email() for _ in range(30)]
    with Server(old) as server:
        server.start().admin_setup()
        for email in emails:
            server.register(email, badge=email[:5])
        server.command("settings", "set", "smtp.pass=hunter2-hunter2", "auth.file.window_seconds=77")
        token, ended = server.login(emails[0])["token"], server.login(emails[0])["token"]
        server.call("POST", "/api/auth/logout", token=ended).accepted()
        assert server.stop() == 0

    there = move(str(old), database.url)
    assert re.search(r"^users +31  [0-9a-f]{64}$", there, re.MULTILINE), there
    with Server(old, database=database) as server:
        server.start()
        assert server.sees(token)
        server.me(ended).refused(401, code="session_ended")
        for email in emails[:3]:
            assert server.login(email)["record"]["badge"] == email[:5]
        assert server.command("settings", "get", "smtp.pass").strip() == "********"
        assert server.command("settings", "get", "auth.file.window_seconds").strip() == "77"
        assert server.stop() == 0

    back = move(database.url, f"sqlite:{new}")
    again = Database(SHARED)
    try:
        # There and back once more: the same digests, table by table.
        once_more = move(str(new), again.url)
        assert once_more == back
        assert move(again.url, str(tmp_path / "third")) == back
    finally:
        again.drop()
    shutil.copy(old / ".sealing-key", new / ".sealing-key")
    with Server(new) as server:
        server.start()
        assert server.sees(token), "the signing secret came along"
        assert server.login(emails[29])
        assert (new / ".secret").read_bytes() == (old / ".secret").read_bytes()


def test_a_database_that_a_server_works_on_is_not_moved(launch: Launcher, tmp_path: Path, database: Database) -> None:
    sqlite = Server(tmp_path / "sqlite")
    with sqlite:
        sqlite.start()
        served = launch.nodes(1)[0].database
        assert served
        for source in (str(sqlite.data_dir), served.url):
            refused = run_command("move", "--from", source, "--to", database.url)
            assert refused.returncode == 1
            assert "Stop every node" in refused.stderr
            assert database.query("SELECT to_regclass('collections') IS NULL") == [(True,)]
        sqlite.kill()
    # Killed, it left its lease behind, which is waited out.
    assert "Moved" in move(str(sqlite.data_dir), database.url)


def test_a_target_that_is_not_empty_is_left_alone(launch: Launcher, tmp_path: Path) -> None:
    source = tmp_path / "source"
    assert run_command("admin", "create", "--email", fresh_email(), "--password", PASSWORD, "--data-dir", str(source)).returncode == 0
    node = launch.nodes(1)[0]
    assert node.database
    email = fresh_email()
    node.register(email)
    refused = run_command("move", "--from", str(source), "--to", node.database.url)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    assert node.login(email)


def test_a_source_with_an_older_schema_is_not_touched(tmp_path: Path, database: Database) -> None:
    source = tmp_path / "source"
    assert run_command("migrate", "--data-dir", str(source)).returncode == 0
    with contextlib.closing(sqlite3.connect(source / "latchkey.db", isolation_level=None)) as old:
        old.execute("DELETE FROM schema_migrations WHERE number > 1")
    refused = run_command("move", "--from", str(source), "--to", database.url)
    assert refused.returncode == 1
    assert "latchkey migrate" in refused.stderr
    with contextlib.closing(sqlite3.connect(source / "latchkey.db")) as old:
        assert old.execute("SELECT number FROM schema_migrations").fetchall() == [(1,)]
    assert database.query("SELECT to_regclass('users') IS NULL") == [(True,)]


@pytest.mark.parametrize(
    ("source", "words"),
    [("nowhere", "There is no database"), ("postgres://app:hunter2@[::1/x", "can't be read"), ("postgres://127.0.0.1:1/x", "can't be used")],
)
def test_a_source_that_is_not_there_is_refused(tmp_path: Path, source: str, words: str) -> None:
    place = source if "://" in source else str(tmp_path / source)
    refused = run_command("move", "--from", place, "--to", str(tmp_path / "target"))
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "hunter2" not in refused.stderr
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "nowhere").exists()


def test_progress_is_shown_on_a_terminal_only(tmp_path: Path, database: Database) -> None:
    source = tmp_path / "source"
    created = run_command("admin", "create", "--email", fresh_email(), "--password", PASSWORD, "--data-dir", str(source))
    assert created.returncode == 0
    terminal, end = pty.openpty()
    done = subprocess.run(
        [BINARY, "move", "--from", str(source), "--to", database.url],
        env=clean_environment({}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, timeout=60,
    )
    os.close(end)
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert "100 %" in shown
    assert "copying users" in shown
    assert "comparing users" in shown
    quiet = run_command("move", "--from", str(source), "--to", str(tmp_path / "other"))
    assert quiet.returncode == 0
    assert quiet.stderr == ""
