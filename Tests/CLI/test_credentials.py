"""Every kind of credential, altered and used where it doesn't belong, and what ends it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import tokens
from conftest import PASSWORD, Server, basic, fresh_email

KINDS = ["jwt", "opaque", "generated", "supplied"]
SECRETS = "/api/users/me/secrets"


def random_secret() -> str:
    return hashlib.sha512(os.urandom(32)).hexdigest()[:64]


def api_key(server: Server, token: str, **wish: Any) -> Any:
    return server.call("POST", SECRETS, {"type": "apikey", **wish}, token).data


def credential(server: Server, kind: str) -> str:
    """A live credential of a new user."""
    if kind == "opaque":
        return server.new_user(token_type="opaque")["token"]
    token = server.new_user()["token"]
    if kind == "jwt":
        return token
    return api_key(server, token, **({"secret": random_secret()} if kind == "supplied" else {}))["secret"]


@pytest.fixture(scope="module", params=KINDS)
def live(server: Server, request: pytest.FixtureRequest) -> str:
    return credential(server, request.param)


def mutations(text: str) -> dict[str, str]:
    """Texts that are almost `text`."""
    altered = {
        f"altered at {index}": f"{text[:index]}{tokens.neighbour(text[index])}{text[index + 1:]}"
        for index in {0, 1, 3, 6, 7, 10, len(text) // 2, len(text) - 2, len(text) - 1}
        if text[index] in tokens.ALPHABET
    }
    cut = {f"without its last {count}": text[:-count] for count in (1, 2, 4, 16, len(text) - 1)}
    return {
        **altered,
        **cut,
        "without its first": text[1:],
        "without its prefix": text[7:],
        "padded": text + "=",
        "padded twice": text + "==",
        "longer": text + "A",
        "longer by zero bytes": text + "AAAA",
        "twice": text + text,
        "in upper case": text.upper(),
        "in lower case": text.lower(),
        "in the other cases": text.swapcase(),
        "with a dot": text + ".",
        "as an access token": "lk_at_" + text.removeprefix("lk_key_").removeprefix("lk_at_"),
        "as a key": "lk_key_" + text.removeprefix("lk_key_").removeprefix("lk_at_"),
        "quoted": f'"{text}"',
        "with a second one": f"{text} {text}",
        "with a comma": f"{text},{text}",
    }


def test_an_altered_credential_is_none(server: Server, live: str) -> None:
    assert server.sees(live)
    for what, text in mutations(live).items():
        if text != live:
            assert server.me(text).refused(401)["code"] == "invalid_token", what
            answer = server.call("GET", "/api/auth/me", headers=basic(text))
            assert answer.refused(401)["code"] == "invalid_token", what
    assert server.sees(live)


@pytest.mark.parametrize("scheme", ["Token", "Digest", "Basic", "bearer:", ""])
def test_another_scheme_is_none(server: Server, live: str, scheme: str) -> None:
    header = {"Authorization": f"{scheme} {live}".strip()}
    server.call("GET", "/api/auth/me", headers=header).refused(401, code="invalid_token")


def test_basic_takes_it_as_user_name_with_an_empty_password(server: Server, live: str) -> None:
    assert server.call("GET", "/api/auth/me", headers=basic(live)).data["id"] == server.me(live).data["id"]
    server.call("GET", "/api/auth/me", headers=basic(f"{live}:x")).refused(401, code="invalid_token")
    server.call("GET", "/api/auth/me", headers=basic(f":{live}")).refused(401, code="invalid_token")


@pytest.mark.parametrize("kind", KINDS)
def test_a_credential_survives_a_restart(launch: Callable[..., Server], kind: str) -> None:
    server = launch().admin_setup()
    live = credential(server, kind)
    server.restart()
    assert server.sees(live)


def test_a_device_secret_is_no_credential(server: Server) -> None:
    token, secret = server.new_user()["token"], random_secret()
    server.call("POST", SECRETS, {"type": "device", "secret": secret, "name": "phone"}, token).accepted()
    server.me(secret).refused(401, code="invalid_token")


def test_a_key_ends_when_it_was_to_end(server: Server) -> None:
    token = server.new_user()["token"]
    end = datetime.now(UTC) + timedelta(seconds=3)
    key = api_key(server, token, expires_at=end.isoformat())
    assert server.sees(key["secret"])
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.1)
    server.me(key["secret"]).refused(401, code="token_expired")
    assert server.call("GET", f"{SECRETS}/{key['id']}", token=token).data["state"] == "expired"


def test_an_access_token_ends_when_it_was_to_end(server: Server) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    token = server.new_user(token_type="opaque", not_valid_after=end.isoformat())["token"]
    assert server.sees(token)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.1)
    server.me(token).refused(401, code="session_ended")


def test_of_many_requests_with_a_cold_key_all_are_served(launch: Callable[..., Server]) -> None:
    server = launch().admin_setup()
    key = api_key(server, server.new_user()["token"])["secret"]
    server.restart()
    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(lambda _: server.me(key).status, range(256))) == {200}


def test_of_parallel_reassignments_one_key_remains(server: Server) -> None:
    token = server.new_user()["token"]
    with ThreadPoolExecutor(16) as pool:
        replies = pool.map(lambda _: server.call("POST", "/api/users/me/api_key", token=token), range(16))
        keys = [reply.data["api_key"] for reply in replies]
    assert [server.me(key).status for key in keys].count(200) == 1
    (left,) = [secret for secret in server.call("GET", SECRETS, token=token).data if secret["type"] == "apikey"]
    assert left["primary"] is True


EASY = [
    "short", "a" * 32, "abcdefghijklmnopqrstuvwxyz0123456789", "0123456789abcdef" * 2, "password" * 5,
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "lk_key_" + "x8f3kd02jf83kd0s9f8g7h6j5k4l3", "with spaces " + "8f3kd02jf83kd0s9f8g7",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "x" * 257,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["apikey", "device"])
@pytest.mark.parametrize("easy", EASY)
def test_a_secret_that_could_be_guessed_is_refused(server: Server, kind: str, easy: str) -> None:
    body = {"type": kind, "secret": easy, "name": "mine"}
    refused = server.call("POST", SECRETS, body, server.new_user()["token"]).refused(422, code="validation_failed")
    assert refused["details"].keys() == {"secret"}


HOSTILE = [None, 5, -1, True, [], {}, "", "\0", "x" * 5000, [[]], {"a": 1}, 1e300, "\ud800"]


@pytest.mark.parametrize("member", ["type", "secret", "name", "expires_at", "scopes"])
def test_members_of_a_wrong_type_are_no_error_of_the_server(server: Server, member: str) -> None:
    token = server.new_user()["token"]
    for kind in ("apikey", "device", "password", "mfa"):
        for value in HOSTILE:
            reply = server.call("POST", SECRETS, {"type": kind, member: value}, token)
            assert reply.status in (200, 400, 409, 422), (kind, member, value, reply.body[:300])
    for value in HOSTILE:
        for body in ({"identity": value, "secret": random_secret()}, {"identity": "ada", "secret": value}):
            reply = server.call("POST", "/api/auth/users/login/device", body)
            assert reply.status in (400, 401, 422), (body, reply.body[:300])
        login = {"email": fresh_email(), "password": PASSWORD, "token_type": value, "not_valid_after": value}
        assert server.call("POST", "/api/auth/users/login", login).status in (400, 401, 422)


def test_device_login_tells_nobody_who_has_an_account(server: Server) -> None:
    email = fresh_email()
    server.register(email)
    token = server.login(email)["token"]
    server.call("POST", SECRETS, {"type": "device", "secret": random_secret(), "name": "phone"}, token).accepted()
    answers = {
        (reply.status, reply.json["error"], reply.json["code"])
        for identity in (email, fresh_email(), "nobody")
        for secret in (random_secret(), "x")
        for reply in [server.call("POST", "/api/auth/users/login/device", {"identity": identity, "secret": secret})]
    }
    assert answers == {(401, "The name or the secret is wrong.", "invalid_credentials")}
