"""The audit log from outside: read by admins, verified by the command, on a copy that somebody tampered with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Server, eventually, fresh_email
from processes import run_command

Launch = Callable[..., Server]
DONE, FAILED = 0, 1


def busy(launch: Launch) -> Server:
    """A server on which things have happened, all of them linked."""
    server = launch().admin_setup()
    for _ in range(3):
        server.new_user()
    eventually(lambda: " more wait" not in server.command("audit", "verify"))
    return server


@pytest.mark.engine("sqlite")
def test_a_copy_that_was_tampered_with_is_told_from_a_sound_one(launch: Launch, tmp_path: Path) -> None:
    server = busy(launch)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_text(server.command("audit", "checkpoint"))
    assert json.loads(checkpoint.read_text()).keys() == {"position", "link", "at", "key", "signature"}
    assert server.stop() == 0

    def verify(statement: str, *more: str) -> tuple[int, str]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(server.data_dir, copy)
        with sqlite3.connect(copy / "latchkey.db") as database:
            database.executescript(statement)
        database.close()
        done = run_command("audit", "verify", "--data-dir", str(copy), *more)
        return done.returncode, done.stdout

    kept = ("--checkpoint", str(checkpoint))
    status, text = verify("", *kept)
    assert status == DONE and "are as they were written" in text
    for statement, told in {
        "UPDATE audit_log SET ip = '192.0.2.1' WHERE position = 3": "Row 3, ",
        "DELETE FROM audit_log WHERE position = 2": "Row 2 is missing",
        "DELETE FROM audit_log WHERE position = 1": "Row 1 is missing",
        "INSERT INTO audit_log (id, at, action, ip, outcome, details)"
        " VALUES ('01890000-0000-7000-8000-000000000000', 1, 'user.created', 'local', 'success', '{}')": "not written by",
        "UPDATE audit_log SET position = -3 WHERE position = 3; UPDATE audit_log SET position = 3 WHERE position = 4;"
        " UPDATE audit_log SET position = 4 WHERE position = -3": "Row 3, ",
    }.items():
        status, text = verify(statement)
        assert (status, told in text) == (FAILED, True), text
    cut = "DELETE FROM audit_log WHERE position > 4"
    assert verify(cut)[0] == DONE
    status, text = verify(cut, *kept)
    assert status == FAILED and "were removed" in text


def test_a_log_that_was_left_alone_is_sound(launch: Launch, tmp_path: Path) -> None:
    server = busy(launch)
    (tmp_path / "checkpoint").write_text(server.command("audit", "checkpoint"))
    server.restart()
    server.new_user()
    text = server.command("audit", "verify", "--checkpoint", str(tmp_path / "checkpoint"))
    assert "rows are as they were written" in text


def test_what_is_no_checkpoint_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("nonsense")
    done = run_command(
        "audit", "verify", "--data-dir", str(server.data_dir), "--checkpoint", str(tmp_path / "checkpoint")
    )
    assert done.returncode == FAILED and "checkpoint can't be read" in done.stderr
    missing = run_command("audit", "verify", "--data-dir", str(server.data_dir), "--checkpoint", "/nowhere")
    assert missing.returncode != DONE


def test_the_request_log_and_the_audit_log_name_the_admin_behind_an_impersonation(server: Server) -> None:
    email = fresh_email()
    user = server.register(email)["id"]
    admin = server.call("GET", "/api/admin/auth/me", token=server.admin).data["id"]
    lent = server.call("POST", f"/api/admin/impersonate/users/{user}", token=server.admin).data["token"]
    changed = server.call("PATCH", f"/api/records/users/{user}", {"nick": "Ada"}, lent).accepted()
    path = f"/api/admin/logs?auth_impersonated_by={admin}&method=PATCH"
    (line,) = server.call("GET", path, token=server.admin).data
    assert (line["user"], line["status"], line["request_id"]) == (user, 200, changed.headers["X-Request-Id"])
    (printed,) = [json.loads(text) for text in eventually(lambda: [
        text for text in server.printed().splitlines() if f'"auth_impersonated_by":"{admin}"' in text
    ])]  # fmt: skip
    assert printed == line
    rows = server.call("GET", f"/api/admin/audit?actor={admin}&subject={user}", token=server.admin).data
    assert [(row["action"], row["auth_impersonated_by"]) for row in rows] == [
        ("user.updated", admin), ("impersonation.begun", None),
    ]  # fmt: skip


def test_the_request_log_is_searched_by_what_a_line_holds(server: Server) -> None:
    refused = server.me("nonsense").headers["X-Request-Id"]
    (line,) = server.call("GET", f"/api/admin/logs?request_id={refused}", token=server.admin).data
    assert (line["status"], line["code"], line["route"]) == (401, "invalid_token", "/api/auth/me")
    found = server.call("GET", "/api/admin/logs?status=401&perPage=1", token=server.admin).json
    assert found["totalItems"] >= 1 and len(found["data"]) == 1
    assert server.call("GET", "/api/admin/logs?status=999", token=server.admin).data == []
