"""Seed 003, told from beginning to end: the secrets of a user."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from conftest import PASSWORD, Reply, Server, fresh_email
from test_mfa import Person, code

Launch = Callable[..., Server]
SECRETS = "/api/users/me/secrets"
NEW_PASSWORD = "an even better one"

LISTED = {"id", "type", "name", "created_at", "last_used_at", "expires_at", "state"}
# What lists tell of each type beyond that, and how many there are after one was made.
SHAPES = {
    "password": (set(), 1), "apikey": ({"scopes", "primary"}, 1), "mfa": (set(), 1), "backup": (set(), 10),
    "device": (set(), 1),
}  # fmt: skip


def secrets(server: Server, token: str, kind: str) -> list[Any]:
    return [secret for secret in server.call("GET", SECRETS, token=token).data if secret["type"] == kind]


def log_in(server: Server, email: str, password: str = PASSWORD) -> Reply:
    return server.call("POST", "/api/auth/users/login", {"email": email, "password": password})


def with_code(server: Server, email: str, secret: str, steps: int = 0) -> Any:
    ticket = log_in(server, email).data
    assert ticket["mfa_required"] is True
    body = {"mfa_token": ticket["mfa_token"], "code": code(secret, steps)}
    return server.call("POST", "/api/auth/users/login/mfa", body).data


def mailed(server: Server, email: str, template: str) -> str:
    """The token of the newest such mail."""
    path = f"/api/admin/inbox/wait?to={email}&template={template}"
    return server.call("GET", path, token=server.admin).data["token"]


def test_the_story_of_a_user_and_their_secrets(launch: Launch) -> None:
    server = launch().admin_setup()
    email = fresh_email()
    user = server.register(email)["id"]
    verify = {"token": mailed(server, email, "verify")}
    server.call("POST", "/api/auth/users/verify-email", verify).accepted()
    token = log_in(server, email).data["token"]

    # Who wants to authenticate by a password has exactly one secret of type password.
    (password,) = server.call("GET", SECRETS, token=token).data
    assert password.keys() >= {"id", "type", "name", "created_at", "last_used_at", "expires_at", "state"}
    assert (password["type"], password["state"]) == ("password", "active")
    second = {"type": "password", "secret": NEW_PASSWORD}
    server.call("POST", SECRETS, second, token).refused(409, code="secret_exists")

    # An API key is provided by the user, or randomly generated; its value is returned once and never again.
    own = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
    provided = server.call("POST", SECRETS, {"type": "apikey", "secret": own, "name": "mine"}, token).data
    generated = server.call("POST", SECRETS, {"type": "apikey", "name": "theirs"}, token).data
    assert provided["secret"] == own
    for key in (provided, generated):
        assert server.me(key["secret"]).data["id"] == user
        again = server.call("GET", f"{SECRETS}/{key['id']}", token=token)
        assert again.data["name"] == key["name"] and "secret" not in again.data
    listed = server.call("GET", SECRETS, token=token)
    assert own.encode() not in listed.body and generated["secret"].encode() not in listed.body

    # Multi-factor authentication begins with a secret of type mfa, and counts once a code was seen.
    mfa = server.call("POST", SECRETS, {"type": "mfa"}, token).data
    assert mfa["otpauth_url"].startswith("otpauth://totp/") and mfa["qr_svg"].startswith("<svg")
    assert log_in(server, email).data["token"]
    enroll = f"/api/users/{user}/secrets/{mfa['id']}/enroll"
    server.call("PUT", enroll, {"code": "000000"}, token).refused(401)
    enrolled = server.call("PUT", enroll, {"code": code(mfa["secret"])}, token).data
    backup = enrolled["codes"]
    assert len(set(backup)) == 10

    # From then on a password secret needs it; an API key does not.
    signed_in = with_code(server, email, mfa["secret"], 1)
    assert server.me(signed_in["token"]).data["amr"] == ["pwd", "otp", "mfa"]
    assert server.sees(own)

    # Trusted devices: no second factor, but no proof that a person is there.
    device_secret = hashlib.sha256(b"made by the device" + uuid.uuid4().bytes).hexdigest()
    device = {"type": "device", "secret": device_secret, "name": "phone"}
    trusted = server.call("POST", SECRETS, device, signed_in["token"]).data
    assert "secret" not in trusted
    login = {"identity": email, "secret": device_secret}
    by_device = server.call("POST", "/api/auth/users/login/device", login).data["token"]
    assert server.me(by_device).data["amr"] == ["device"]
    server.call("POST", SECRETS, {"type": "apikey"}, by_device).refused(401, code="reauthentication_required")
    # What was proved by knowing it is stored as an Argon2 hash.
    rows = server.query(f"SELECT type, hash FROM secrets WHERE user_id = '{user}' AND type <> 'mfa'")
    assert {kind for kind, _ in rows} == {"password", "apikey", "backup", "device"}
    assert all(stored.startswith("$argon2id$v=19$") for _, stored in rows)
    (seen,) = secrets(server, signed_in["token"], "device")
    assert seen["name"] == "phone" and seen["last_used_at"]

    # Backup codes stand for the password, once each, with no further factor.
    first = log_in(server, email, backup[0]).data["token"]
    assert server.me(first).data["amr"] == ["recovery"]
    log_in(server, email, backup[0]).refused(401, code="invalid_credentials")
    for spare in backup[1:]:
        assert log_in(server, email, spare).data["token"]
    assert {spent["state"] for spent in secrets(server, first, "backup")} == {"used"}

    # All are used: the account is recovered by mail, with a new password and without the second factor.
    assert server.call("GET", f"/api/users/{email}/recover").data == {"sent": True}
    body = {"token": mailed(server, email, "recover"), "password": NEW_PASSWORD}
    server.call("POST", "/api/auth/users/confirm-password-reset", body).accepted()
    log_in(server, email).refused(401)
    recovered = log_in(server, email, NEW_PASSWORD).data["token"]
    left = [secret["type"] for secret in server.call("GET", SECRETS, token=recovered).data]
    assert sorted(left) == ["apikey", "apikey", "password"]
    server.call("POST", "/api/auth/users/login/device", login).refused(401, code="invalid_credentials")
    assert server.sees(own)

    # The password is the last way in; keys go, and open nothing from then on.
    (password,) = secrets(server, recovered, "password")
    server.call("DELETE", f"{SECRETS}/{password['id']}", token=recovered).refused(409, code="last_way_in")
    server.call("DELETE", f"{SECRETS}/{provided['id']}", token=recovered).accepted()
    server.me(own).refused(401, code="invalid_token")
    assert server.sees(generated["secret"])


def add_device(server: Server, token: str) -> str:
    secret = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
    server.call("POST", SECRETS, {"type": "device", "secret": secret, "name": "phone"}, token).accepted()
    return secret


def test_lists_tell_everything_of_each_type_but_its_value(server: Server) -> None:
    person = Person(server)
    token = person.finish(code=code(person.secret)).data["token"]
    values = [person.secret, *person.codes, PASSWORD, add_device(server, token)]
    values.append(server.call("POST", SECRETS, {"type": "apikey", "name": "mine"}, token).data["secret"])
    user = server.me(token).data["id"]
    for path, reader in ((SECRETS, token), (f"/api/users/{user}/secrets", server.admin)):
        reply = server.call("GET", path, token=reader)
        assert not [value for value in values if value.encode() in reply.body]
        assert {secret["type"] for secret in reply.data} == SHAPES.keys()
        for kind, (more, count) in SHAPES.items():
            ones = [secret for secret in reply.data if secret["type"] == kind]
            assert len(ones) == count, kind
            for one in ones:
                assert one.keys() == LISTED | more, kind
                assert one["state"] == "active", kind
            # Alone it is told the same.
            assert server.call("GET", f"{path}/{ones[0]['id']}", token=reader).data.keys() == LISTED | more


def test_a_trusted_device_is_forgotten_with_the_password_that_trusted_it(server: Server) -> None:
    person = Person(server)
    token = person.finish(code=code(person.secret)).data["token"]
    login = {"identity": person.email, "secret": add_device(server, token)}
    by_device = server.call("POST", "/api/auth/users/login/device", login).data["token"]
    change = {"current_password": PASSWORD, "password": NEW_PASSWORD}
    server.call("POST", "/api/auth/users/change-password", change, token).accepted()
    server.call("POST", "/api/auth/users/login/device", login).refused(401, code="invalid_credentials")
    server.me(by_device).refused(401, code="session_ended")
