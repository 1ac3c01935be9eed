"""Requests that are odd below the body: routes, methods, paths in disguise, and bytes that are hardly HTTP."""

from __future__ import annotations

import contextlib
import http.client
import time

import pytest
from conftest import PASSWORD, Server, fresh_email


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.new_user()["token"]


# Routes and methods


UNKNOWN_ROUTES = [
    "/api", "/api/", "/api/none", "/api/auth", "/api/auth/none/none/none", "/API/auth/me", "/api/v2/auth/me",
    "/api/auth/me/x", "/api/auth/me;x=1", "/.secret", "/../.secret", "/api/../../.secret",
]  # fmt: skip


@pytest.mark.parametrize("path", UNKNOWN_ROUTES)
def test_an_unknown_route_is_a_404(server: Server, token: str, path: str) -> None:
    server.call("GET", path, token=token).refused(404)


@pytest.mark.parametrize(
    "path", ["/api/auth/me%00", "/api/auth/me%2f", "/api/auth%2fme", "/api/%ff%fe", "/api/auth/me%", "/api/auth/%zz"]
)
def test_an_escape_that_stands_for_no_plain_character_opens_nothing(server: Server, token: str, path: str) -> None:
    server.call("GET", path, token=token).refused(400, 404)


@pytest.mark.parametrize(
    "collection", ["nobody", "Users%20", "%2a", "x" * 5_000, "%27%20OR%201=1--", "00000000-0000-7000-8000-000000000000"]
)
@pytest.mark.parametrize("action", ["register", "login"])
def test_an_unknown_collection_is_a_404_before_anything_else_is_looked_at(
    server: Server, collection: str, action: str
) -> None:
    account = {"email": fresh_email(), "password": PASSWORD}
    server.call("POST", f"/api/auth/{collection}/{action}", account).refused(404)
    server.call("POST", f"/api/auth/{collection}/{action}", b"{", headers={"Content-Type": "text/plain"}).refused(404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/auth/me", "GET"),
        ("POST", "/api/auth/me", "GET"),
        ("GET", "/api/auth/users/login", "POST"),
        ("PUT", "/api/auth/users/register", "POST"),
        ("GET", "/api/auth/logout", "POST"),
        ("PUT", "/api/admin/settings", "PATCH"),
        ("TRACE", "/api/auth/me", "GET"),
    ],
)
def test_a_wrong_method_is_a_405_that_says_what_is_allowed(
    server: Server, method: str, path: str, allowed: str
) -> None:
    refusal = server.call(method, path, token=server.admin)
    refusal.refused(405)
    assert allowed in refusal.headers["Allow"].replace(" ", "").split(",")


def test_the_other_collection_is_forbidden_and_the_admin_api_too(server: Server, token: str) -> None:
    server.call("GET", "/api/admin/settings").refused(401)
    server.call("GET", "/api/admin/settings", token=token).refused(403)
    server.call("GET", "/api/collections", token=token).refused(403)
    server.call(
        "POST", "/api/auth/users/change-password", {"current_password": "x", "password": "y"}, server.admin
    ).refused(403)


# Paths in disguise never reach another decision

DISGUISES = [
    "/api//{rest}", "//api/{rest}", "///api///{rest}", "/api/./{rest}", "/./api/{rest}", "/api/{rest}/",
    "/api/{rest}//", "/api/{rest}/.", "/api/%2e/{rest}", "/api/%2E/{rest}", "/api/x/../{rest}", "/api/x/%2e%2e/{rest}",
    "/api/x/.%2E/{rest}", "/%61pi/{rest}", "/ap%69/{rest}", "/api/v1/{rest}", "/api/v1//{rest}/", "/api/./v1/{rest}",
    "/api/{rest}?x=/../..", "/api/{rest}?",
]  # fmt: skip


@pytest.mark.parametrize("rest", ["auth/me", "admin/settings", "admin/users/users"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_path_gets_the_answer_of_the_plain_one(
    server: Server, token: str, rest: str, disguise: str
) -> None:
    for credential in (None, token, server.admin):
        expected = server.call("GET", f"/api/{rest}", token=credential)
        answer = server.call("GET", disguise.format(rest=rest), token=credential)
        assert answer.status == expected.status
        if expected.status == 200:
            assert answer.data == expected.data
        else:
            answer.refused(expected.status, code=expected.json["code"])


def test_the_short_alias_of_users_gets_the_answer_of_the_plain_path(server: Server, token: str) -> None:
    for rest in ("me/secrets", "me", "00000000-0000-7000-8000-000000000000", "me/api_key"):
        for credential in (None, token, server.admin):
            plain = server.call("GET", f"/api/users/{rest}", token=credential)
            for path in (f"/users/{rest}", f"/users//{rest}/", f"/api/v1/users/{rest}"):
                answer = server.call("GET", path, token=credential)
                assert (answer.status, answer.headers.get_content_type()) == (
                    plain.status,
                    plain.headers.get_content_type(),
                ), path


# Bytes that are hardly HTTP


def answer_to(server: Server, sent: bytes) -> int | None:
    """The status of the answer to raw bytes, after which the client sends no more; None when the server just closes."""
    with server.connect() as connection:
        connection.sendall(sent)
        connection.settimeout(5)
        with contextlib.closing(http.client.HTTPResponse(connection)) as response:
            try:
                response.begin()
            except TimeoutError:
                pytest.fail("neither answered nor closed")
            except (http.client.HTTPException, ConnectionError):
                return None
            return response.status


LOGIN_HEAD = b"POST /api/auth/users/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HEALTH_HEAD = b"GET /api/health HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "no request line": b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n",
    "a method alone": b"GET\r\n\r\n",
    "a space in the path": b"GET /api/he alth HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /api/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET /api/health HTTP/1.1\r\nHost x\r\n\r\n",
    "NUL in a header": HEALTH_HEAD + b"A\0B: x\r\n\r\n",
    "an endless header": HEALTH_HEAD + b"A: " + b"x" * 200_000 + b"\r\n\r\n",
    "a negative length": LOGIN_HEAD + b"Content-Length: -1\r\n\r\n",
    "a huge length": LOGIN_HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "two lengths": LOGIN_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a length and chunks": LOGIN_HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": LOGIN_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "all bytes": bytes(range(256)) * 16,
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_http_is_refused_or_dropped_and_the_server_lives(server: Server, sent: bytes) -> None:
    status = answer_to(server, sent)
    assert status is None or 400 <= status < 500
    server.call("GET", "/api/health").accepted()


def test_requests_that_are_never_finished_hold_nobody_up(server: Server) -> None:
    begun = [server.connect() for _ in range(100)]
    for connection in begun:
        connection.sendall(LOGIN_HEAD + b"Content-Length: 100\r\n\r\n{")
    server.call("GET", "/api/health").accepted()
    for connection in begun:
        connection.close()
    server.call("GET", "/api/health").accepted()


# A request whose body takes its time


def test_a_body_that_comes_after_its_session_has_ended_changes_nothing(server: Server) -> None:
    login = server.new_user()
    record, body = f"/api/records/users/{login['record']['id']}", b'{"nick":"Eve"}'
    head = f"PATCH {record} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {login['token']}\r\n"
    with server.connect() as connection:
        content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + content).encode() + body[:1])
        time.sleep(0.3)  # so that it is admitted
        server.call("POST", "/api/auth/logout", token=login["token"]).accepted()
        connection.sendall(body[1:])
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
    assert "nick" not in server.login(login["record"]["email"])["record"]
