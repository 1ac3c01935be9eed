"""Sign-in by an ID token that a mobile application has got from the provider itself."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import PASSWORD, Reply, Server
from identity_provider import Claims, person
from oauth_app import App, account, random_text, signing_in
from signing_keys import Key
from test_mfa import Person
from tokens import changed, claims, decode, encode

PARALLEL = 16
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        yield made


def hand_in(app: App, token: str, nonce: str | None, **more: Any) -> Reply:
    return app.exchange(changed({"provider": app.provider, "id_token": token, "nonce": nonce}, more))


def sign_in(app: App, user: Claims, **changes: Any) -> Reply:
    nonce = random_text()
    return hand_in(app, app.idp.id_token(user, **{"nonce": nonce, **changes}), nonce)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_id_token_signs_in_like_a_code_and_nothing_else_is_asked(app: App) -> None:
    user, asked = person(), app.idp.count("token") + app.idp.count("userinfo")
    login = sign_in(app, user).data
    assert (login["record"]["email"], login["record"]["email_verified"]) == (user["email"], True)
    assert claims(login["token"])["amr"] == ["fed"]
    assert app.idp.count("token") + app.idp.count("userinfo") == asked
    assert sign_in(app, user).data["record"]["id"] == login["record"]["id"]
    assert app.signed_in(user)["record"]["id"] == login["record"]["id"]
    nonce = random_text()
    assert (
        hand_in(app, app.idp.id_token(user, nonce=nonce), nonce, token_type="opaque").data["token"].startswith("lk_at_")
    )


def test_the_nonce_may_be_hashed_by_the_application(app: App) -> None:
    nonce = random_text()
    assert hand_in(app, app.idp.id_token(person(), nonce=sha256(nonce)), nonce).data["token"]


@pytest.mark.parametrize(
    ("claim", "sent"),
    [
        ("a nonce", "another nonce"), (None, "a nonce"), (sha256("another nonce"), "a nonce"), ("a nonce", sha256("a nonce")),
        (sha256("a nonce").upper(), "a nonce"), (5, "5"), (["a nonce"], "a nonce"), ("", "a nonce"), (sha256(sha256("a nonce")), "a nonce"),
    ],
)  # fmt: skip
def test_another_nonce_is_refused(app: App, claim: Any, sent: str) -> None:
    hand_in(app, app.idp.id_token(person(), nonce=claim), sent).refused(400, code="invalid_id_token")


@pytest.mark.parametrize("nonce", [None, ""])
def test_a_nonce_is_required(app: App, nonce: str | None) -> None:
    refused = hand_in(app, app.idp.id_token(person(), nonce=nonce), nonce).refused(422, code="validation_failed")
    assert refused["details"].keys() == {"nonce"}


@pytest.mark.parametrize(
    "more",
    [{"code": "x" * 20}, {"redirectUri": "https://app.example.org/"}, {"state": "x" * 20}, {"code_verifier": "x" * 43}],
)
def test_a_code_and_an_id_token_do_not_go_together(app: App, more: dict[str, str]) -> None:
    nonce = random_text()
    token = app.idp.id_token(person(), nonce=nonce)
    assert hand_in(app, token, nonce, **more).refused(422, code="validation_failed")["details"].keys() == more.keys()
    assert hand_in(app, token, nonce).data["token"]


def test_only_the_audiences_that_are_listed_are_served(app: App) -> None:
    with app.settings({"oauth2.oidc.native_client_ids": "org.example.ios, org.example.android"}):
        good: list[Any] = ["org.example.ios", "org.example.android", app.idp.client_id, ["org.example.ios"]]
        for audience in good:
            assert sign_in(app, person(), aud=audience).data["token"]
        bad: list[Any] = [
            "org.example",
            "org.example.ios,",
            "org.example.ios, org.example.android",
            "",
            None,
            [],
            ["x"],
        ]
        for audience in bad:
            sign_in(app, person(), aud=audience).refused(400, code="invalid_id_token")
    sign_in(app, person(), aud="org.example.ios").refused(400, code="invalid_id_token")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_an_id_token_is_good_once(app: App, algorithm: Any) -> None:
    key = Key(algorithm)
    with app.idp.set_up(keys=[*app.idp.keys, key]):
        nonce, user = random_text(), person()
        token = app.idp.id_token(user, nonce=nonce)
        assert hand_in(app, token, nonce).data["token"]
        again = [token]
        if algorithm == "ES256":
            # The same contents under another signature, which whoever has seen one can make of it.
            start, _, signature = token.rpartition(".")
            raw = decode(signature)
            other = (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
            again.append(f"{start}.{encode(raw[:32] + other)}")
        for text in again:
            refused = hand_in(app, text, nonce).refused(400, code="invalid_id_token")
            assert "again" in refused["error"].lower() or "before" in refused["error"].lower()
        app.server.restart()
        hand_in(app, token, nonce).refused(400, code="invalid_id_token")


def test_an_id_token_is_good_in_one_collection(app: App) -> None:
    others = {"name": "others", "type": "auth", "fields": []}
    app.server.call("POST", "/api/collections", others, app.server.admin).accepted()
    nonce = random_text()
    token = app.idp.id_token(person(), nonce=nonce)
    assert hand_in(app, token, nonce).data["token"]
    hand_in(app.into("others"), token, nonce).refused(400, code="invalid_id_token")


def test_an_id_token_is_still_good_when_only_the_record_was_refused(app: App) -> None:
    fields = [{"name": "nick", "type": "text", "required": True}]
    app.server.call(
        "POST", "/api/collections", {"name": "nicks", "type": "auth", "fields": fields}, app.server.admin
    ).accepted()
    there, nonce = app.into("nicks"), random_text()
    token = app.idp.id_token(person(), nonce=nonce)
    hand_in(there, token, nonce).refused(422, code="validation_failed")
    assert hand_in(there, token, nonce, record={"nick": "ada"}).data["record"]["nick"] == "ada"
    hand_in(there, token, nonce).refused(400, code="invalid_id_token")


@pytest.mark.parametrize(("seconds", "is_good"), [(86_400, True), (86_400 + 120, False)])
def test_an_id_token_that_is_good_for_longer_than_it_is_remembered_is_refused(
    app: App, seconds: int, is_good: bool
) -> None:
    reply = sign_in(app, person(), exp=int(time.time()) + seconds)
    assert reply.accepted() if is_good else reply.refused(400, code="invalid_id_token")


def test_of_sixteen_uses_at_once_one_wins(app: App) -> None:
    nonce = random_text()
    token = app.idp.id_token(person(), nonce=nonce)
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda _: hand_in(app, token, nonce), range(PARALLEL)))
    assert Counter(reply.status for reply in replies) == {200: 1, 400: PARALLEL - 1}


def test_of_sixteen_first_sign_ins_at_once_one_account_is_made(app: App) -> None:
    user = person()
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda _: sign_in(app, user), range(PARALLEL)))
    assert len({reply.data["record"]["id"] for reply in replies}) == 1


def test_the_rules_about_emails_are_the_same(app: App) -> None:
    who, stranger = account(app.server), account(app.server, is_verified=False)
    sign_in(app, changed(who.person, {"email_verified": False})).refused(409, code="email_taken")
    assert sign_in(app, who.person).data["record"]["id"] == who.id
    assert sign_in(app, stranger.person).data["record"]["id"] == stranger.id
    assert not app.server.sees(stranger.token)
    sign_in(app, person(email=None)).refused(400, code="oauth_profile_incomplete")
    with app.settings({"oauth2.link_strategy": "confirm"}):
        other = account(app.server)
        waits = sign_in(app, other.person).data
        app.server.secrets.note("merge_token", waits["merge_token"])
        assert app.confirm(waits["merge_token"], password=PASSWORD).data["record"]["id"] == other.id
    enrolled = Person(app.server)
    path = f"/api/admin/users/users/{app.server.me(enrolled.token).data['id']}"
    app.server.call("PATCH", path, {"email_verified": True}, app.server.admin).accepted()
    assert sign_in(app, person(email=enrolled.email)).data["mfa_required"] is True


def test_providers_without_id_tokens_take_none(app: App) -> None:
    settings = app.idp.settings("github", is_discovered=False)
    del settings["oauth2.github.jwks_url"]
    with app.settings(settings):
        nonce = random_text()
        token = app.idp.id_token(person(), nonce=nonce)
        refused = hand_in(app.by("github"), token, nonce).refused(422, code="validation_failed")
    assert refused["details"].keys() == {"id_token"}
    hand_in(app.by("github"), token, nonce).refused(422, code="provider_disabled")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "a.b.c.d", "...", "eyJhbGciOiJub25lIn0.e30.", "é.é.é", "x" * 20_000]
)
def test_what_is_no_token_is_refused_without_asking_anybody(app: App, token: str) -> None:
    asked = app.idp.count("token") + app.idp.count("userinfo")
    hand_in(app, token, random_text()).refused(400, 422)
    assert app.idp.count("token") + app.idp.count("userinfo") == asked
