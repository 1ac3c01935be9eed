"""Growth on disk and background work from outside: one server a directory, old audit rows, work that a crash cuts off."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from conftest import Server, eventually, fresh_email
from processes import BINARY, clean_environment, free_port, run_command

Launch = Callable[..., Server]
TAKEN_OVER = "This node does the background work now."


@pytest.mark.engine("sqlite")
def test_a_second_server_on_the_same_directory_is_refused(launch: Launch) -> None:
    server = launch().admin_setup()
    second = subprocess.run(
        [BINARY, "serve", "--port", str(free_port()), "--data-dir", str(server.data_dir)],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode != 0
    assert "Another server is running on the data directory" in second.stderr
    holder = (server.data_dir / ".serving").read_text().strip()
    assert f"(process {holder})" in second.stderr
    # Commands work beside a server.
    assert "audit.kept_days" in server.command("settings", "get")
    server.kill()
    server.start()
    assert server.call("GET", "/api/health").status == 200


@pytest.mark.engine("sqlite")
def test_after_a_kill_the_next_process_does_the_background_work(launch: Launch) -> None:
    server = launch(LATCHKEY_LOG_LEVEL="notice").admin_setup()
    eventually(lambda: TAKEN_OVER in server.logged())
    holder = server.query("SELECT holder FROM leases")
    server.kill()
    assert server.query("SELECT holder FROM leases") == holder
    server.start()
    eventually(lambda: TAKEN_OVER in server.logged(), within=60)
    assert server.query("SELECT holder FROM leases") != holder


def test_a_removal_that_a_crash_cuts_off_is_finished_by_the_next_start(launch: Launch) -> None:
    server = launch().admin_setup()
    server.call("POST", "/api/collections", {"name": "clients"}, server.admin).accepted()
    for _ in range(8):
        server.register(fresh_email(), collection="clients")
    server.call("DELETE", "/api/collections/clients", token=server.admin).accepted()
    server.kill()
    server.start()
    assert server.call("GET", "/api/collections/clients", token=server.admin).status == 404
    eventually(lambda: server.query("SELECT count(*) FROM jobs") == [(0,)], within=60)
    assert server.query("SELECT count(*) FROM users") == [(1,)]
    assert server.query("SELECT count(*) FROM collections") == [(2,)]


@pytest.mark.engine("sqlite")
def test_old_audit_rows_are_exported_and_verified_with_their_files(launch: Launch) -> None:
    server = launch().admin_setup()
    server.new_user()
    eventually(lambda: " more wait" not in server.command("audit", "verify"))
    # Rows of today are never old; so the setting is tried on its bounds, and the verification on an empty list of segments.
    server.command("settings", "set", "audit.kept_days=1")
    refused = run_command("settings", "set", "audit.kept_days=3651", "--data-dir", str(server.data_dir))
    assert refused.returncode != 0 and "from 0 to 3650" in refused.stderr
    text = server.command("audit", "verify", "--segments", str(server.data_dir / "audit"))
    assert "rows are as they were written" in text and "closed segments" not in text


def test_a_change_of_thousands_of_names_leaves_a_small_row(launch: Launch) -> None:
    server = launch().admin_setup()
    user = server.new_user()
    fields = {f"a_rather_long_name_of_a_field_{number}": "x" for number in range(500)}
    path = f"/api/records/users/{user['record']['id']}"
    for _ in range(3):
        server.call("PATCH", path, fields, user["token"]).accepted()
    rows = server.query("SELECT details FROM audit_log WHERE action = 'user.updated'")
    assert len(rows) == 1
    assert len(rows[0][0].encode()) <= 1024 and json.loads(rows[0][0])["fields_left_out"] > 400
