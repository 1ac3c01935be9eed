"""Every kind of credential, altered and used where it doesn't belong, and what ends it."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
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
        "with a space inside": f"{text[:20]} {text[20:]}",
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
        for body in (
            {"current_password": value, "password": "an even better one"},
            {"current_password": PASSWORD, "password": value},
        ):
            reply = server.call("PUT", f"{SECRETS}/password", body, token)
            assert reply.status in (400, 401, 422), (body, reply.body[:300])
        reply = server.call("PUT", f"{SECRETS}/{uuid.uuid4()}/enroll", {"code": value}, token)
        assert reply.status in (400, 404, 422), (value, reply.body[:300])
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


# What a key is let do, and when it stops


def test_an_admins_key_is_an_admin_unless_it_is_narrowed(server: Server) -> None:
    token = server.admin_login()["token"]
    whole, narrowed = api_key(server, token), api_key(server, token, scopes=["users:read"])
    assert (whole["scopes"], narrowed["scopes"]) == (None, ["users:read"])
    for path in ("/api/admin/settings", "/api/admin/users/users"):
        server.call("GET", path, token=whole["secret"]).accepted()
        server.call("GET", path, token=narrowed["secret"]).refused(403, code="forbidden")
    assert server.sees(narrowed["secret"])


def test_an_admins_key_changes_no_settings_and_impersonates_nobody(server: Server) -> None:
    key = api_key(server, server.admin_login()["token"])["secret"]
    before = server.call("GET", "/api/admin/settings", token=key).data
    for method, path, body in (
        ("PATCH", "/api/admin/settings", {"smtp.host": "mail.example.net"}),
        ("DELETE", "/api/collections/users", None),
        ("POST", f"/api/admin/impersonate/users/{server.new_user()['record']['id']}", None),
    ):
        server.call(method, path, body, key).refused(403, code="session_required")
    assert server.call("GET", "/api/admin/settings", token=key).data == before


def test_keys_that_a_leaked_key_made_end_with_its_reassignment_by_an_admin(server: Server) -> None:
    admin = server.admin_login()["token"]
    body = {"kind": "system", "username": f"job-{uuid.uuid4().hex[:12]}"}
    system = server.call("POST", "/api/admin/users/users", body, admin).data["id"]
    reassign = f"/api/users/{system}/api_key"
    leaked = server.call("POST", reassign, token=admin).data["api_key"]
    made = api_key(server, leaked)["secret"]
    assert server.sees(made)
    new = server.call("POST", reassign, token=admin).data["api_key"]
    for key in (leaked, made):
        server.me(key).refused(401, code="invalid_token")
    assert server.sees(new)


def test_a_list_tells_when_a_key_was_last_used(server: Server) -> None:
    token = server.new_user()["token"]
    key = api_key(server, token)
    path = f"{SECRETS}/{key['id']}"
    assert server.call("GET", path, token=token).data["last_used_at"] is None
    assert server.sees(key["secret"])
    used = datetime.fromisoformat(server.call("GET", path, token=token).data["last_used_at"])
    assert abs(datetime.now(UTC) - used) < timedelta(seconds=20)


def test_a_removed_key_is_dead_with_the_next_request(server: Server) -> None:
    token = server.new_user()["token"]
    for wish in ({}, {"secret": random_secret()}):
        key = api_key(server, token, **wish)
        assert server.sees(key["secret"])
        server.call("DELETE", f"{SECRETS}/{key['id']}", token=token).accepted()
        server.me(key["secret"]).refused(401, code="invalid_token")


def test_a_reassigned_key_is_dead_with_the_next_request_and_others_are_not(server: Server) -> None:
    token = server.new_user()["token"]
    primary, other = api_key(server, token, secret=random_secret()), api_key(server, token)
    assert (primary["primary"], other["primary"]) == (True, False)
    assert server.sees(primary["secret"])
    new = server.call("POST", "/api/users/me/api_key", token=token).data["api_key"]
    server.me(primary["secret"]).refused(401, code="invalid_token")
    assert server.sees(new) and server.sees(other["secret"])


def from_now(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


@pytest.mark.parametrize(
    ("token_type", "span"),
    [
        pytest.param("opaque", {"seconds": -1}, id="past"),
        pytest.param("opaque", {"days": 365, "minutes": 1}, id="more than 365 days"),
        pytest.param("jwt", {"hours": 1}, id="of a jwt"),
    ],
)
def test_the_end_of_an_access_token_is_within_a_year(server: Server, token_type: str, span: dict[str, float]) -> None:
    email = fresh_email()
    server.register(email)
    body = {"email": email, "password": PASSWORD, "token_type": token_type, "not_valid_after": from_now(**span)}
    refused = server.call("POST", "/api/auth/users/login", body).refused(422, code="validation_failed")
    assert refused["details"].keys() == {"not_valid_after"}
    end = from_now(days=364)
    login = server.login(email, token_type="opaque", not_valid_after=end)
    assert abs(datetime.fromisoformat(login["expires_at"]) - datetime.fromisoformat(end)) < timedelta(seconds=2)


# Whose secrets they are


def device_session(server: Server) -> str:
    login = server.new_user()
    secret = random_secret()
    server.call("POST", SECRETS, {"type": "device", "secret": secret, "name": "phone"}, login["token"]).accepted()
    body = {"identity": login["record"]["email"], "secret": secret}
    return server.call("POST", "/api/auth/users/login/device", body).data["token"]


def test_a_trusted_device_is_no_proof_of_a_person(server: Server) -> None:
    token = device_session(server)
    for path, body in (
        (SECRETS, {"type": "apikey"}),
        (SECRETS, {"type": "device", "secret": random_secret(), "name": "second"}),
        (SECRETS, {"type": "mfa"}),
        ("/api/users/me/api_key", None),
        ("/api/auth/users/totp/setup", None),
    ):
        server.call("POST", path, body, token).refused(401, code="reauthentication_required")
    assert {secret["type"] for secret in server.call("GET", SECRETS, token=token).data} == {"password", "device"}


def requests_about(user: str, secret: str) -> list[tuple[str, str, Any]]:
    path = f"/api/users/{user}/secrets"
    return [
        ("GET", path, None),
        ("GET", f"{path}/{secret}", None),
        ("POST", path, {"type": "apikey"}),
        ("PUT", f"{path}/password", {"password": "an even better one"}),
        ("PUT", f"{path}/{secret}/enroll", {"code": "000000"}),
        ("DELETE", f"{path}/{secret}", None),
        ("POST", f"/api/users/{user}/api_key", None),
    ]


def test_the_secrets_of_others_are_out_of_reach(server: Server) -> None:
    owner, eve = server.new_user(), server.new_user()["token"]
    key = api_key(server, owner["token"])
    stranger = str(uuid.uuid4())
    for caller in (eve, api_key(server, eve)["secret"]):
        for user in (owner["record"]["id"], stranger):
            for method, path, body in requests_about(user, key["id"]):
                server.call(method, path, body, caller).refused(403, code="forbidden")
        # Not by one's own path either.
        for method in ("GET", "DELETE"):
            server.call(method, f"{SECRETS}/{key['id']}", token=caller).refused(404, code="not_found")
    for user in (stranger, "nobody"):
        for method, path, body in requests_about(user, key["id"]):
            server.call(method, path, body, server.admin).refused(404, code="not_found")
    device = {"type": "device", "secret": random_secret(), "name": "phone"}
    path = f"/api/users/{owner['record']['id']}/secrets"
    server.call("POST", path, device, server.admin).refused(403, code="forbidden")
    assert server.sees(key["secret"])


def test_a_password_is_not_removed(server: Server) -> None:
    login = server.new_user()
    (password,) = server.call("GET", SECRETS, token=login["token"]).data
    path = f"/api/users/{login['record']['id']}/secrets/{password['id']}"
    for caller in (login["token"], server.admin):
        server.call("DELETE", path, token=caller).refused(409, code="last_way_in")
    assert server.login(login["record"]["email"])
