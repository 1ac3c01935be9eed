"""What every answer carries, what browsers may do, and what the log must not hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import ADMIN, PASSWORD, Server, basic, eventually, fresh_email

SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/health", 200),
        ("GET", "/api/ready", 200),
        ("GET", "/api/auth/me", 401),
        ("GET", "/api/none", 404),
        ("DELETE", "/api/auth/me", 405),
        ("POST", "/api/auth/users/login", 415),
    ],
)
def test_every_answer_carries_the_security_headers(server: Server, method: str, path: str, status: int) -> None:
    answer = server.call(method, path)
    assert answer.status == status
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Set-Cookie"] is None


def test_two_requests_have_two_request_ids(server: Server) -> None:
    assert (
        server.call("GET", "/api/health").headers["X-Request-Id"]
        != server.call("GET", "/api/health").headers["X-Request-Id"]
    )


@pytest.mark.parametrize("path", ["/api/auth/me", "/api/auth/users/login", "/api/admin/settings"])
def test_any_origin_may_call_with_a_token_and_none_with_cookies(server: Server, path: str) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = server.call("OPTIONS", path, headers=asked)
    assert preflight.status in (200, 204)
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    for answer in (preflight, server.call("GET", path, headers={"Origin": "https://app.example"})):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Credentials"] is None


def test_the_log_has_a_json_line_for_each_request_and_no_secret(launch: Callable[..., Server]) -> None:
    server = launch()
    setup_token = server.setup_token()
    server.admin_setup()
    email, wrong = fresh_email(), "a wrong password of somebody"
    server.register(email)
    signed = server.login(email)["token"]
    for token in (signed, server.admin):
        server.call("GET", f"/api/auth/me?token={token}", token=token).accepted()
        server.call("GET", "/api/auth/me", headers=basic(token)).accepted()
    server.call("POST", "/api/auth/users/login", {"email": ADMIN, "password": wrong}).refused(401)
    marked = server.call("GET", "/api/marked-route").headers["X-Request-Id"]

    log = eventually(lambda: text if marked in (text := server.printed() + server.logged()) else None)
    line = json.loads(next(line for line in log.splitlines() if marked in line))
    assert "/api/marked-route" in json.dumps(line).replace("\\/", "/")
    secrets = {"password": PASSWORD, "wrong password": wrong, "user": signed, "admin": server.admin}
    secrets |= {"signature": signed.split(".")[2], "basic": basic(signed)["Authorization"].split()[1]}
    assert [name for name, secret in secrets.items() if secret in log] == []
    assert setup_token not in server.logged(), "the set-up token is for the terminal, not for the log"
