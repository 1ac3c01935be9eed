"""Tokens, as independent libraries read them that know nothing but the published keys; and how long they live."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import tokens
from conftest import Server
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, KeySet, OctKey

WEEK_SECONDS = 604_800
HOUR_SECONDS = 3_600


@pytest.fixture(scope="module")
def jwks(server: Server) -> dict[str, Any]:
    return server.call("GET", "/.well-known/jwks.json").json


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """A live user token; no test here ends its session."""
    return server.new_user()["token"]


@pytest.fixture
def settings(server: Server) -> Iterator[Callable[..., Any]]:
    """Changes settings for one test: `settings({"auth.user.window_seconds": "120"})` returns the answer's data."""
    before = server.call("GET", "/api/admin/settings", token=server.admin).data
    changed: dict[str, str] = {}

    def change(values: dict[str, str]) -> Any:
        changed.update({key: before.get(key, "") for key in values})
        return server.call("PATCH", "/api/admin/settings", values, server.admin).json

    yield change
    server.call("PATCH", "/api/admin/settings", changed, server.admin).accepted()


def lifetime(token: str) -> int:
    claims = tokens.claims(token)
    return claims["exp"] - claims["iat"]


# Verified by others


def test_pyjwt_verifies_a_token_by_the_published_keys_alone(jwks: dict[str, Any], token: str) -> None:
    key = jwt.PyJWKSet.from_dict(jwks)[tokens.header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="user")
    assert claims == tokens.claims(token)


def test_joserfc_verifies_a_token_by_the_published_keys_alone(jwks: dict[str, Any], token: str) -> None:
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["ES256"])
    joserfc_jwt.JWTClaimsRegistry(aud={"essential": True, "value": "user"}, exp={"essential": True}).validate(
        decoded.claims
    )
    assert decoded.header["alg"] == "ES256"


def test_the_published_keys_are_public_and_named_by_their_thumbprint(jwks: dict[str, Any], token: str) -> None:
    assert jwks["keys"]
    for published in jwks["keys"]:
        assert published.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert (published["kty"], published["crv"], published["alg"], published["use"]) == (
            "EC",
            "P-256",
            "ES256",
            "sig",
        )
        assert published["kid"] == ECKey.import_key(published).thumbprint()
    assert tokens.header(token)["kid"] in {published["kid"] for published in jwks["keys"]}


def test_a_token_says_what_the_contract_lists(server: Server) -> None:
    login = server.new_user()
    claims = tokens.claims(login["token"])
    assert claims.keys() == {"iss", "aud", "iat", "exp", "jti", "sid", "id", "email", "collection", "amr"}
    assert (claims["id"], claims["email"]) == (login["record"]["id"], login["record"]["email"])
    assert (claims["aud"], claims["collection"]) == ("user", "users")
    assert all(claims[name] for name in ("iss", "jti", "amr"))
    assert abs(claims["iat"] - time.time()) < 30
    assert lifetime(login["token"]) == WEEK_SECONDS
    sessions = server.call("GET", "/api/auth/sessions", token=login["token"]).data
    assert claims["sid"] == sessions[0]["id"]

    admin = tokens.claims(server.admin)
    assert (admin["aud"], admin["collection"], admin["iss"]) == ("admin", "_admins", claims["iss"])


def test_a_refreshed_token_keeps_every_claim_but_its_times_and_id(server: Server) -> None:
    first = server.new_user()["token"]
    second = server.call("POST", "/api/auth/refresh", token=first).data["token"]
    before, after = tokens.claims(first), tokens.claims(second)
    assert before["jti"] != after["jti"]
    assert lifetime(second) == WEEK_SECONDS
    minted = dict.fromkeys(("jti", "iat", "exp"))
    assert tokens.changed(before, minted) == tokens.changed(after, minted)


def test_hs256_signs_with_the_bytes_of_the_secret_file(launch: Callable[..., Server]) -> None:
    server = launch(LATCHKEY_JWT_ALGORITHM="HS256")
    secret = (server.data_dir / ".secret").read_text().strip().encode()
    token = server.new_user()["token"]
    assert jwt.decode(token, secret, algorithms=["HS256"], audience="user")["aud"] == "user"
    assert joserfc_jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"]).claims["aud"] == "user"
    assert server.call("GET", "/.well-known/jwks.json").json["keys"] == []


def test_hs256_signs_with_the_secret_of_the_environment(launch: Callable[..., Server]) -> None:
    text = "q7Zk2nVb5Rw9Xc4Lm8Tp3Hs6Jd1Fg0Ya"
    server = launch(LATCHKEY_JWT_ALGORITHM="HS256", LATCHKEY_JWT_SECRET=text)
    token = server.new_user()["token"]
    assert jwt.decode(token, text, algorithms=["HS256"], audience="user")
    assert server.sees(token)


# Lifetimes


def test_a_file_token_names_its_resource_and_is_no_credential_here(
    server: Server, jwks: dict[str, Any], token: str
) -> None:
    file_token = server.call("POST", "/api/auth/file-token", {"resource": "report.pdf"}, token).data["token"]
    key = jwt.PyJWKSet.from_dict(jwks)[tokens.header(file_token)["kid"]]
    claims = jwt.decode(file_token, key, algorithms=["ES256"], audience="file")
    assert claims["resource"] == "report.pdf"
    assert lifetime(file_token) == HOUR_SECONDS
    server.me(file_token).refused(401)
    server.call("POST", "/api/auth/refresh", token=file_token).refused(401)


def test_a_new_window_applies_to_new_tokens_only(server: Server, settings: Callable[..., Any]) -> None:
    login = server.new_user()
    settings(
        {"auth.user.window_seconds": "120", "auth.refresh.window_seconds": "240", "auth.file.window_seconds": "60"}
    )
    assert lifetime(server.login(login["record"]["email"])["token"]) == 120
    assert lifetime(server.call("POST", "/api/auth/refresh", token=login["token"]).data["token"]) == 240
    assert lifetime(server.call("POST", "/api/auth/file-token", {"resource": "x"}, login["token"]).data["token"]) == 60
    assert server.me(login["token"]).data["exp"] == tokens.claims(login["token"])["exp"]


@pytest.mark.parametrize("window", ["59", "31536001", "-1", "1h", "1e4"])
def test_a_window_out_of_bounds_warns_and_the_default_is_used(
    server: Server, settings: Callable[..., Any], window: str
) -> None:
    answer = settings({"auth.user.window_seconds": window, "auth.access_token.window_seconds": window})
    assert "warnings" in json.dumps(answer)
    login = server.new_user()
    assert lifetime(login["token"]) == WEEK_SECONDS
