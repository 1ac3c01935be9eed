"""Sign-in by a provider: which there are, and going there. What comes of it is in test_oauth_accounts.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Server
from identity_provider import person
from oauth_app import CALLBACK, App, account, query_of, random_text, signing_in
from tokens import changed, encode

VERIFIER = encode(hashlib.sha256(b"verifier").digest())
CHALLENGE = encode(hashlib.sha256(VERIFIER.encode()).digest())
BUILT_IN = [
    "google", "github", "gitlab", "facebook", "microsoft", "discord", "twitch", "spotify", "linkedin", "slack",
    "bitbucket", "notion", "patreon", "apple", "twitter",
]  # fmt: skip


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        yield made


# Which providers there are


def test_listed_are_those_that_are_on_and_complete(app: App) -> None:
    both = [
        {"name": "oidc", "display_name": "OpenID Connect"}, {"name": "oidc-other", "display_name": "Acme"},
    ]  # fmt: skip
    with app.settings({"oauth2.oidc-other.display_name": "Acme"}):
        assert app.call("GET", "providers").data == both
        with app.settings({"oauth2.oidc.client_id": ""}):
            assert app.call("GET", "providers").data == both[1:]
        with app.settings({"oauth2.oidc.issuer": ""}):
            assert app.call("GET", "providers").data == both[1:]
        with app.settings({"oauth2.oidc-other.enabled": "0", "oauth2.github.enabled": "1"}):
            assert app.call("GET", "providers").data == both[:1]


def test_every_built_in_provider_needs_no_more_than_a_client(app: App) -> None:
    client = {"enabled": "1", "client_id": "mine", "client_secret": "a secret of mine"}
    with app.settings({f"oauth2.{name}.{key}": text for name in BUILT_IN for key, text in client.items()}):
        listed = app.call("GET", "providers").data
        assert [provider["name"] for provider in listed[: len(BUILT_IN)]] == BUILT_IN
        assert all(provider["display_name"].strip() for provider in listed)
        for name in BUILT_IN:
            going = app.by(name).authorize(state=random_text()).data
            assert going["authorize_url"].startswith("https://"), name
            query = query_of(going["authorize_url"])
            assert (query["client_id"], query["redirect_uri"], query["state"]) == ("mine", CALLBACK, going["state"])
            assert (going["pkce"], "code_challenge" in query) == (
                ("server", True) if name == "twitter" else ("none", False)
            )


def test_a_client_secret_is_masked_when_settings_are_read(app: App) -> None:
    for reply in (
        app.server.call("GET", "/api/admin/settings", token=app.server.admin),
        app.server.call("PATCH", "/api/admin/settings", {"oauth2.oidc.scopes": ""}, app.server.admin),
    ):
        shown = reply.data["oauth2.oidc.client_secret"]
        assert shown == "********"
        assert app.idp.client_secret not in reply.body.decode()


@pytest.mark.parametrize(
    "name", ["github", "oidc-none", "nonsense", "", "oidc-", "../oidc", "oidc.enabled", "__proto__", "x" * 300]
)
def test_a_provider_that_is_off_or_unknown_is_refused_everywhere(app: App, name: str) -> None:
    asked, token = app.idp.count(), account(app.server).token
    body = {"provider": name, "code": random_text(), "redirectUri": CALLBACK, "state": random_text()}
    codes = {"provider_disabled"} if 0 < len(name) < 300 else {"provider_disabled", "validation_failed"}
    for reply in (
        app.by(name).authorize(), app.by(name).authorize(token), app.exchange(body),
        app.exchange({"provider": name, "id_token": "a.b.c", "nonce": random_text()}),
        app.call("POST", "connect", body, token),
    ):  # fmt: skip
        assert reply.refused(422)["code"] in codes
    assert app.idp.count() == asked


def test_a_sign_in_that_is_under_way_when_its_provider_is_switched_off_is_refused(app: App) -> None:
    back = app.back(person())
    with app.settings({"oauth2.oidc.enabled": "0"}):
        app.exchange(back).refused(422, code="provider_disabled")
    assert app.exchange(back).data["token"]


# Going there


def test_the_url_holds_all_that_the_provider_wants_to_know(app: App) -> None:
    state = random_text()
    going = app.authorize(state=state, use_pkce="1").data
    query = query_of(going["authorize_url"])
    assert going["authorize_url"].startswith(f"{app.idp.issuer}/authorize?")
    assert (going["state"], going["pkce"]) == (state, "server")
    assert len(query.pop("nonce")) >= 20
    assert len(query.pop("code_challenge")) == 43
    assert query == {
        "response_type": "code", "client_id": app.idp.client_id, "redirect_uri": CALLBACK, "state": state,
        "scope": "openid email profile", "code_challenge_method": "S256",
    }  # fmt: skip
    with app.settings({"oauth2.oidc.scopes": "openid groups"}):
        assert query_of(app.authorize().data["authorize_url"])["scope"] == "openid groups"


def test_a_url_of_the_provider_keeps_its_own_query(app: App) -> None:
    with app.settings({"oauth2.oidc.authorization_url": f"{app.idp.issuer}/authorize?prompt=login&hd=a%26b"}):
        query = query_of(app.authorize().data["authorize_url"])
    assert (query["prompt"], query["hd"], query["client_id"]) == ("login", "a&b", app.idp.client_id)


def test_a_state_that_is_left_out_is_made(app: App) -> None:
    made = [app.authorize().data["state"] for _ in range(3)]
    assert len(set(made)) == 3 and min(map(len, made)) >= 22


@pytest.mark.parametrize(
    ("uri", "is_good"),
    [
        ("https://app.example.org", True), ("https://app.example.org/cb?from=latchkey&x=%20", True),
        ("https://[2001:db8::1]:8443/cb", True), ("http://127.0.0.1:8080/cb", True), ("http://localhost/cb", True),
        ("http://[::1]/cb", True), ("org.example.app:/cb", True), ("org.example.app://cb", True),
        ("http://app.example.org/cb", True), ("http:///cb", False),
        ("http:app", False), ("/callback", False), ("app.example.org/cb", False),
        ("//app.example.org/cb", False), ("https://app.example.org/cb#part", False), ("https:///cb", False),
        ("https:app", False), ("https://user:pass@app.example.org/cb", False), ("https://app.example.org@evil.example/", False),
        ("javascript:alert(1)", False), ("JavaScript://app.example.org/%0aalert(1)", False),
        ("data:text/html,hi", False), ("file:///etc/passwd", False), ("vbscript:x", False), ("blob:https://a.example/x", False),
        ("https://app.example.org/c b", False), ("https://app.example.org/c\r\nX: y", False),
        ("https://app.example.org\\@evil.example/", False), ("", False), ("https://" + "a" * 3000, False),
    ],
)  # fmt: skip
def test_where_the_browser_may_be_sent_back_to(app: App, uri: str, is_good: bool) -> None:
    reply, asked = app.authorize(redirectUri=uri), app.idp.count("token")
    body = {"provider": "oidc", "code": random_text(), "redirectUri": uri}
    if is_good:
        assert query_of(reply.data["authorize_url"])["redirect_uri"] == uri
        app.exchange(body).refused(400, code="oauth_refused")
    else:
        for refused in (reply, app.exchange(body)):
            assert refused.refused(422, code="validation_failed")["details"].keys() == {"redirectUri"}
        assert app.idp.count("token") == asked


@pytest.mark.parametrize(
    ("uri", "is_allowed"),
    [
        ("https://a.example/cb", True), ("https://b.example/app/", True), ("https://b.example/app/x/y?z", True),
        ("org.example.app:/cb", True), ("https://c.example/cb", True),
        ("https://a.example/cb/", False), ("https://a.example/CB", False), ("https://a.example/cb?x=1", False),
        ("https://a.example:444/cb", False), ("http://a.example/cb", False), ("https://A.example/cb", False),
        ("https://a.example/cb2", False), ("https://b.example/application", False), ("https://b.example/app", False),
        ("https://b.example/app/../admin", False), ("https://b.example/app/%2e%2E/admin", False),
        ("https://b.example.evil.example/app/x", False), ("https://sub.b.example/app/x", False),
        ("https://evil.example/?https://b.example/app/", False), ("org.example.app:/cb2", False), (CALLBACK, False),
    ],
)  # fmt: skip
def test_with_a_list_only_what_is_on_it(app: App, uri: str, is_allowed: bool) -> None:
    lists = {
        "oauth2.allowed_redirect_uris": "https://a.example/cb, https://b.example/app/*,org.example.app:/cb",
        "oauth2.oidc.allowed_redirect_uris": "https://c.example/cb",
        "oauth2.oidc-other.allowed_redirect_uris": CALLBACK,
    }
    with app.settings(lists):
        reply = app.authorize(redirectUri=uri)
        back = app.exchange({"provider": "oidc", "code": random_text(), "redirectUri": uri})
        if is_allowed:
            reply.accepted()
            back.refused(400, code="oauth_refused")
        else:
            for refused in (reply, back):
                assert refused.refused(422, code="validation_failed")["details"].keys() == {"redirectUri"}


def test_a_redirect_uri_that_was_taken_off_the_list_ends_the_sign_ins_that_are_under_way(app: App) -> None:
    back = app.back(person())
    with app.settings({"oauth2.allowed_redirect_uris": "https://a.example/cb"}):
        app.exchange(back).refused(422, code="validation_failed")


# PKCE


def test_without_pkce_no_verifier_is_sent(app: App) -> None:
    assert app.authorize().data["pkce"] == "none"
    app.signed_in(person())
    assert app.idp.last("token").form.keys() == {"grant_type", "code", "redirect_uri", "client_id", "client_secret"}


def test_with_pkce_by_the_server_the_verifier_stays_here(app: App) -> None:
    back = app.back(person(), state=random_text(), use_pkce="1")
    assert app.exchange({**back, "code_verifier": VERIFIER}).refused(422)["details"].keys() == {"code_verifier"}
    back = app.back(person(), state=random_text(), use_pkce="1")
    assert app.exchange(back).data["token"]
    assert 43 <= len(app.idp.last("token").form["code_verifier"]) <= 128


@pytest.mark.parametrize("method", [None, "S256"])
@pytest.mark.parametrize("keeps_state", [True, False])
def test_with_pkce_by_the_application_the_verifier_comes_from_there(
    app: App, method: str | None, keeps_state: bool
) -> None:
    query = {"code_challenge": CHALLENGE, "code_challenge_method": method}
    assert app.authorize(**query).data["pkce"] == "client"
    wish = {"code_verifier": VERIFIER} if keeps_state else {"code_verifier": VERIFIER, "state": None}
    assert app.exchange(changed(app.back(person(), **query), wish)).data["token"]
    assert app.idp.last("token").form["code_verifier"] == VERIFIER
    wrong = VERIFIER[:-1] + "0"
    app.exchange(changed(app.back(person(), **query), {**wish, "code_verifier": wrong})).refused(
        400, code="oauth_refused"
    )


def test_a_verifier_that_was_promised_is_not_forgotten(app: App) -> None:
    back, asked = app.back(person(), code_challenge=CHALLENGE), app.idp.count("token")
    assert app.exchange(back).refused(422, code="validation_failed")["details"].keys() == {"code_verifier"}
    assert app.idp.count("token") == asked
    # Neither can somebody who has stolen the code go without it.
    back = app.back(person(), code_challenge=CHALLENGE)
    app.exchange(changed(back, {"state": None})).refused(400, code="oauth_refused")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"use_pkce": "1"}, "state"),
        ({"use_pkce": "perhaps"}, "use_pkce"),
        ({"code_challenge": CHALLENGE[:-1]}, "code_challenge"),
        ({"code_challenge": CHALLENGE + "A"}, "code_challenge"),
        ({"code_challenge": CHALLENGE[:-1] + "="}, "code_challenge"),
        ({"code_challenge": CHALLENGE[:-1] + "+"}, "code_challenge"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}, "code_challenge_method"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": ""}, "code_challenge_method"),
        ({"code_challenge": CHALLENGE, "code_challenge_method": "s256"}, "code_challenge_method"),
        ({"redirectUri": None}, "redirectUri"),
        ({"provider": None}, "provider"),
        ({"state": "x" * 2000}, "state"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_by_the_name_of_its_field(
    app: App, query: dict[str, Any], field: str
) -> None:
    assert field in app.authorize(**query).refused(422, code="validation_failed")["details"]
