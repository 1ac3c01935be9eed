"""Seed 000, told from beginning to end: end users, their access tokens, and the users of background jobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from conftest import PASSWORD, Server, eventually, fresh_email
from test_mfa import code

Launch = Callable[..., Server]


def curl(server: Server, path: str, *arguments: str) -> tuple[int, Any]:
    """What real curl gets: the status, and the answer."""
    command = ["curl", "--silent", "--max-time", "20", "--write-out", "\n%{http_code}", *arguments]
    ran = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    answer, _, status = ran.rpartition("\n")
    return int(status), json.loads(answer)


def test_the_primer_from_an_end_user_to_a_nightly_job(launch: Launch) -> None:
    server = launch().admin_setup()

    # End users log in with username and password, and get a User Access Token for 24 hours.
    email = fresh_email()
    user = server.register(email, username="doctor-ada")
    credentials = {"username": "doctor-ada", "password": PASSWORD, "token_type": "opaque"}
    login = server.call("POST", "/api/auth/users/login", credentials).data
    token = login["token"]
    assert token.startswith("lk_at_") and login["token_type"] == "opaque"
    left = datetime.fromisoformat(login["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    # It goes into the Basic Auth header, with a colon behind it.
    status, me = curl(server, "/api/auth/me", "--user", f"{token}:")
    assert (status, me["data"]["id"]) == (200, user["id"])
    status, _ = curl(server, f"/api/records/users/{user['id']}", "--user", f"{token}:")
    assert status == 200
    status, refused = curl(server, "/api/auth/me", "--user", f"{token}:password")
    assert (status, refused["code"]) == (401, "invalid_token")

    # It is revoked sooner by logging out.
    assert curl(server, "/api/auth/logout", "--user", f"{token}:", "--request", "POST")[0] == 200
    status, refused = curl(server, "/api/auth/me", "--user", f"{token}:")
    assert (status, refused["code"], refused["details"]) == (401, "session_ended", {"reason": "logout"})

    # Second factors protect high-privilege users.
    secret = server.call("POST", "/api/auth/_admins/totp/setup", token=server.admin).data["secret"]
    server.call("POST", "/api/auth/_admins/totp/confirm", {"code": code(secret)}, server.admin).accepted()
    ticket = server.admin_login()["mfa_token"]
    finish = {"mfa_token": ticket, "code": code(secret, 1)}
    admin = server.call("POST", "/api/admin/auth/login/mfa", finish).data["token"]

    # A System User represents a background process. It has no password, and nobody logs in as it.
    job = {"kind": "system", "username": "nightly-reminder"}
    system = server.call("POST", "/api/admin/users/users", job, admin).data
    assert (system["kind"], system["email"]) == ("system", None)
    with_password = {"kind": "system", "username": "other-job", "password": PASSWORD}
    server.call("POST", "/api/admin/users/users", with_password, admin).refused(422)
    attempt = {"username": "nightly-reminder", "password": PASSWORD}
    server.call("POST", "/api/auth/users/login", attempt).refused(401, code="invalid_credentials")

    # Its API Key is found by reassigning, which invalidates the old one: users have one at a time.
    reassign = f"/api/users/{system['id']}/api_key"
    old = server.call("POST", reassign, token=admin).data["api_key"]
    assert curl(server, "/api/auth/me", "--user", f"{old}:")[0] == 200
    key = server.call("POST", reassign, token=admin).data["api_key"]
    assert curl(server, "/api/auth/me", "--user", f"{old}:")[0] == 401
    status, me = curl(server, "/api/auth/me", "--user", f"{key}:")
    assert (status, me["data"]["id"], me["data"]["exp"]) == (200, system["id"], None)
    assert curl(server, "/api/auth/me", "--header", f"Authorization: Bearer {key}") == (200, me)
    listed = server.call("GET", f"/api/users/{system['id']}/secrets", token=admin)
    assert [secret["primary"] for secret in listed.data] == [True]
    assert key.encode() not in listed.body

    # Skip the login dance: the key lies in the job's configuration, works after every restart, and doesn't expire.
    server.restart()
    assert server.sees(key)

    # It is let do what it was given, which is nothing but its own record so far.
    assert curl(server, f"/api/records/users/{system['id']}", "--user", f"{key}:")[0] == 200
    for path in (
        "/api/records/users", f"/api/records/users/{user['id']}", "/api/admin/users/users", "/api/admin/settings",
        f"/api/users/{user['id']}/secrets", "/api/collections",
    ):  # fmt: skip
        status, refused = curl(server, path, "--user", f"{key}:")
        assert (status, refused["code"]) == (403, "forbidden"), path

    # The same by the command line, beside the running server.
    printed = server.command("user", "create-system", "--username", "report").strip()
    report = eventually(lambda: server.me(printed).data)
    assert (report["username"], report["kind"]) == ("report", "system")
    renewed = server.command("user", "reassign-key", report["id"]).strip()
    eventually(lambda: server.me(printed).status == 401)
    assert server.sees(renewed)

    # A job that misbehaves is stopped: suspending its user stops its keys.
    account = f"/api/admin/users/users/{system['id']}"
    server.call("PATCH", account, {"status": "suspended"}, admin).accepted()
    server.me(key).refused(401, code="invalid_token")
    server.call("PATCH", account, {"status": "active"}, admin).accepted()
    assert server.sees(key)
