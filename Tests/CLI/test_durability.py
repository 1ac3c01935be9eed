"""What was acknowledged survives kill -9; what was not is either whole or absent."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from conftest import PASSWORD, Server

REGISTRATIONS = 200
CLIENTS = 16


class Crowd:
    """Many clients that register one account after the other, until they are done or the server is gone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        self.emails = [f"crowd-{number}@example.org" for number in range(REGISTRATIONS)]

    def register_all_but_kill_after(self, acknowledgements: int) -> None:
        """Kills the server, without warning, at the moment the n-th account was acknowledged."""
        remaining, enough = iter(self.emails), threading.Event()

        def client() -> None:
            while (email := next(remaining, None)) and self.register(email):
                if len(self.acknowledged) >= acknowledgements:
                    enough.set()

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in clients:
            thread.start()
        assert enough.wait(60)
        self.server.kill()
        for thread in clients:
            thread.join()

    def register(self, email: str) -> bool:
        """Whether the server acknowledged the account; a connection that broke means it did not."""
        try:
            reply = self.server.call("POST", "/api/auth/users/register", {"email": email, "password": PASSWORD})
        except (OSError, HTTPException):
            return False
        assert reply.data["email"] == email
        self.acknowledged.append(email)
        return True


def login_status(server: Server, email: str) -> int:
    return server.call("POST", "/api/auth/users/login", {"email": email, "password": PASSWORD}).status


def assert_sound(data_dir: Path) -> None:
    """SQLite finds no fault in any database file of the directory."""
    databases = [path for path in data_dir.iterdir() if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"]
    assert databases
    for path in databases:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("acknowledgements", [1, 60, 140])
def test_kill_9_during_registrations_loses_no_acknowledged_account(
    launch: Callable[..., Server], acknowledgements: int
) -> None:
    server = launch().admin_setup()
    crowd = Crowd(server)
    crowd.register_all_but_kill_after(acknowledgements)
    assert acknowledgements <= len(crowd.acknowledged) < REGISTRATIONS
    if server.database is None:
        assert_sound(server.data_dir)
    server.start()

    accounts = server.call("GET", "/api/admin/users/users?perPage=500", token=server.admin).data
    stored = {account["email"] for account in accounts}
    assert stored >= set(crowd.acknowledged)

    with ThreadPoolExecutor(4) as pool:
        statuses = pool.map(login_status, itertools.repeat(server), crowd.emails)
        can_log_in = {email for email, status in zip(crowd.emails, statuses, strict=True) if status == 200}
    assert can_log_in == stored, "an account was stored without its password, or answers without being stored"

    absent = [email for email in crowd.emails if email not in stored]
    assert server.register(absent[0])["email"] == absent[0]


def test_a_logout_and_a_changed_password_survive_kill_9(launch: Callable[..., Server]) -> None:
    server = launch()
    gone, changed = server.new_user(), server.new_user()
    email = changed["record"]["email"]
    change = {"current_password": PASSWORD, "password": "an even better one"}
    new = server.call("POST", "/api/auth/users/change-password", change, changed["token"]).data
    server.call("POST", "/api/auth/logout", token=gone["token"]).accepted()
    server.kill()
    server.start()
    server.me(gone["token"]).refused(401, code="session_ended")
    assert login_status(server, email) == 401
    assert server.login(email, "an even better one")
    assert server.sees(new["token"])
