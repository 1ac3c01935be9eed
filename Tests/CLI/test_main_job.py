"""The whole job: the set-up URL, the admin, an account, sign-in, sessions, and every way they end."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from conftest import ADMIN, PASSWORD, Server, basic, eventually, fresh_email

Launch = Callable[..., Server]

RFC_3339_MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID_V7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def key_id(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def assert_ended(server: Server, token: str, reason: str) -> None:
    """The session behind `token` is over, and the answer says why."""
    assert server.me(token).refused(401, code="session_ended")["details"] == {"reason": reason}


# The set-up


def test_the_setup_url_makes_the_first_admin_and_no_second(launch: Launch) -> None:
    server = launch()
    account = {"email": ADMIN, "password": PASSWORD}
    assert server.call("GET", "/api/admin/setup/status").data["has_admin"] is False

    server.call("POST", "/api/admin/setup", {**account, "setup_token": "not-the-token"}).refused(400)
    assert server.call("GET", "/api/admin/setup/status").data["has_admin"] is False

    server.admin_setup()
    assert server.call("GET", "/api/admin/setup/status").data["has_admin"] is True
    second = {"email": "other@example.org", "password": PASSWORD, "setup_token": server.setup_token()}
    server.call("POST", "/api/admin/setup", second).refused(400)

    me = server.call("GET", "/api/admin/auth/me", token=server.admin).data
    assert (me["email"], me["aud"], me["collection"]) == (ADMIN, "admin", "_admins")


def test_every_start_prints_a_setup_url_until_there_is_an_admin(launch: Launch) -> None:
    server = launch()
    server.setup_token()
    server.restart()
    server.admin_setup()
    server.restart()
    time.sleep(0.5)
    assert "/setup?token=" not in server.printed()


# Sign-in and sessions


def test_the_whole_job_from_registration_to_an_ended_session(server: Server) -> None:
    email = fresh_email()
    account = server.register(email)
    assert UUID_V7.fullmatch(account["id"])
    assert account["email"] == email
    assert "password" not in account

    first = server.login(email)
    assert first["token_type"] == "jwt"
    assert RFC_3339_MILLISECONDS.fullmatch(first["expires_at"])
    assert (first["record"]["id"], first["record"]["email"]) == (account["id"], email)

    me = server.me(first["token"]).data
    assert (me["id"], me["email"], me["collection"], me["aud"]) == (account["id"], email, "users", "user")
    assert me["amr"] == jwt.decode(first["token"], options={"verify_signature": False})["amr"]
    assert server.call("GET", "/api/auth/me", headers=basic(first["token"])).data == me

    refreshed = server.call("POST", "/api/auth/refresh", token=first["token"]).data
    assert refreshed["token"] != first["token"]
    assert RFC_3339_MILLISECONDS.fullmatch(refreshed["expires_at"])
    assert server.me(refreshed["token"]).data["id"] == account["id"]

    second = server.login(email)
    sessions = server.call("GET", "/api/auth/sessions", token=second["token"]).data
    assert [session["current"] for session in sessions].count(True) == 1
    assert len(sessions) == 2
    other = next(session for session in sessions if not session["current"])
    assert other.keys() >= {"id", "created_at", "last_seen_at", "expires_at", "ip", "user_agent", "amr"}
    assert other["ip"] == "127.0.0.1"

    assert server.call("DELETE", f"/api/auth/sessions/{other['id']}", token=second["token"]).data
    assert_ended(server, first["token"], "revoked")
    assert_ended(server, refreshed["token"], "revoked")
    assert len(server.call("GET", "/api/auth/sessions", token=second["token"]).data) == 1

    assert server.call("POST", "/api/auth/logout", token=second["token"]).data["ok"] is True
    assert_ended(server, second["token"], "logout")
    server.call("POST", "/api/auth/refresh", token=second["token"]).refused(401, code="session_ended")


def test_the_email_of_a_login_is_compared_without_case(server: Server) -> None:
    email = fresh_email()
    server.register(email)
    assert server.login(email.upper())["record"]["email"] == email
    server.call("POST", "/api/auth/users/register", {"email": email.title(), "password": PASSWORD}).refused(409)


def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(server: Server) -> None:
    email = fresh_email()
    server.register(email)

    def answer(email: str) -> tuple[str, str]:
        reply = server.call("POST", "/api/auth/users/login", {"email": email, "password": "not the password"}).refused(
            401
        )
        return reply["code"], reply["error"]

    assert answer(email) == answer(fresh_email())


def test_nobody_ends_the_session_of_somebody_else(server: Server) -> None:
    ada, eve = server.new_user(), server.new_user()
    session = server.call("GET", "/api/auth/sessions", token=ada["token"]).data[0]["id"]
    server.call("DELETE", f"/api/auth/sessions/{session}", token=eve["token"]).refused(404)
    assert server.sees(ada["token"])


def test_all_other_sessions_end_together(server: Server) -> None:
    first = server.new_user()
    second = server.login(first["record"]["email"])
    server.call("DELETE", "/api/auth/sessions?scope=others", token=second["token"]).accepted()
    assert_ended(server, first["token"], "revoked")
    assert server.sees(second["token"])
    server.call("DELETE", "/api/auth/sessions?scope=all", token=second["token"]).accepted()
    assert_ended(server, second["token"], "revoked")


def test_a_changed_password_ends_the_other_sessions(server: Server) -> None:
    first = server.new_user()
    email = first["record"]["email"]
    second = server.login(email)
    change = {"current_password": PASSWORD, "password": "an even better one"}

    server.call(
        "POST", "/api/auth/users/change-password", {**change, "current_password": "wrong"}, second["token"]
    ).refused(401)
    assert server.sees(first["token"])

    changed = server.call("POST", "/api/auth/users/change-password", change, second["token"]).data
    assert server.sees(changed["token"])
    assert_ended(server, first["token"], "password_changed")
    server.call("POST", "/api/auth/users/login", {"email": email, "password": PASSWORD}).refused(401)
    assert server.login(email, "an even better one")


@pytest.mark.parametrize(
    ("method", "body", "reason"), [("PATCH", {"status": "suspended"}, "suspended"), ("DELETE", None, "deleted")]
)
def test_a_suspended_or_deleted_account_is_out_at_once(server: Server, method: str, body: Any, reason: str) -> None:
    login = server.new_user()
    account = f"/api/admin/users/users/{login['record']['id']}"
    assert server.call(method, account, body, server.admin).status in (200, 204)
    assert_ended(server, login["token"], reason)
    credentials = {"email": login["record"]["email"], "password": PASSWORD}
    server.call("POST", "/api/auth/users/login", credentials).refused(401)


# The process and its secret


def test_tokens_and_ended_sessions_survive_a_restart(launch: Launch) -> None:
    server = launch()
    alive, ended = server.new_user(), server.new_user()
    server.call("POST", "/api/auth/logout", token=ended["token"]).accepted()
    server.restart()
    assert server.sees(alive["token"])
    assert_ended(server, ended["token"], "logout")
    assert server.login(alive["record"]["email"])


def test_replacing_the_secret_and_restarting_logs_everyone_out(launch: Launch) -> None:
    server = launch()
    signed = server.new_user()
    assert server.stop() == 0
    (server.data_dir / ".secret").unlink()
    server.start()
    server.me(signed["token"]).refused(401)
    assert server.sees(server.login(signed["record"]["email"])["token"])


def test_rotating_the_secret_logs_nobody_out_and_new_tokens_carry_a_new_kid(launch: Launch) -> None:
    server = launch()
    old = server.new_user()
    email = old["record"]["email"]
    server.command("secret", "rotate")
    new = eventually(lambda: login if key_id((login := server.login(email))["token"]) != key_id(old["token"]) else None)
    for _ in range(2):
        published = {key["kid"] for key in server.call("GET", "/.well-known/jwks.json").json["keys"]}
        assert published >= {key_id(old["token"]), key_id(new["token"])}
        assert server.sees(old["token"])
        assert server.sees(new["token"])
        server.restart()


def test_rotating_the_secret_can_log_everyone_out(launch: Launch) -> None:
    server = launch()
    signed = server.new_user()
    server.command("secret", "rotate", "--logout-everyone")
    eventually(lambda: not server.sees(signed["token"]))
    assert server.sees(server.login(signed["record"]["email"])["token"])


def test_sigterm_lets_a_begun_request_finish_and_exits_0(launch: Launch) -> None:
    server = launch()
    body = json.dumps({"email": "last@example.org", "password": PASSWORD}).encode()
    head = f"POST /api/auth/users/register HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with server.connect() as begun, server.connect():  # the second one stays idle, and must not hold the exit up
        begun.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:10])
        time.sleep(0.5)
        server.terminate()
        finish = threading.Timer(0.5, begun.sendall, [body[10:]])
        finish.start()
        assert begun.recv(4096).startswith(b"HTTP/1.1 200 ")
        finish.join()
        assert server.wait() == 0
    server.start()
    assert server.login("last@example.org")
