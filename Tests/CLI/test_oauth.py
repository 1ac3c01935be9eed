"""Sign-in by a provider: going there and coming back. What comes of it is in test_oauth_accounts.py."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Server, basic
from identity_provider import IdentityProvider, person
from oauth_app import CALLBACK, App, account, device_session, query_of, random_text, signing_in
from smtp import change_settings
from tokens import changed, claims, encode

PARALLEL = 16
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


@pytest.fixture(scope="module")
def people(server: Server) -> str:
    """Another collection."""
    return str(server.call("POST", "/api/collections", {"name": "people", "type": "auth"}, server.admin).data["name"])


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
        assert [provider["name"] for provider in listed[:len(BUILT_IN)]] == BUILT_IN
        assert all(provider["display_name"].strip() for provider in listed)
        for name in BUILT_IN:
            going = app.by(name).authorize(state=random_text()).data
            assert going["authorize_url"].startswith("https://"), name
            query = query_of(going["authorize_url"])
            assert (query["client_id"], query["redirect_uri"], query["state"]) == ("mine", CALLBACK, going["state"])
            assert (going["pkce"], "code_challenge" in query) == (("server", True) if name == "twitter" else ("none", False))


def test_a_client_secret_is_masked_when_settings_are_read(app: App) -> None:
    for reply in (
        app.server.call("GET", "/api/admin/settings", token=app.server.admin),
        app.server.call("PATCH", "/api/admin/settings", {"oauth2.oidc.scopes": ""}, app.server.admin),
    ):
        shown = reply.data["oauth2.oidc.client_secret"]
        assert shown and set(shown) == {"*"} or "•" in shown, shown
        assert app.idp.client_secret not in reply.body.decode()


@pytest.mark.parametrize("name", ["github", "oidc-none", "nonsense", "", "oidc-", "../oidc", "oidc.enabled", "__proto__", "x" * 300])
def test_a_provider_that_is_off_or_unknown_is_refused_everywhere(app: App, name: str) -> None:
    asked, token = app.idp.count(), account(app.server).token
    body = {"provider": name, "code": random_text(), "redirectUri": CALLBACK, "state": random_text()}
    for reply in (
        app.by(name).authorize(), app.by(name).authorize(token), app.exchange(body),
        app.exchange({"provider": name, "id_token": "a.b.c", "nonce": random_text()}),
        app.call("POST", "connect", body, token),
    ):  # fmt: skip
        envelope = reply.refused(422)
        assert envelope["code"] == ("validation_failed" if name in ("", "x" * 300) else "provider_disabled") or (
            envelope["code"] in ("validation_failed", "provider_disabled") and name in ("", "x" * 300)
        )
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


def test_a_state_that_is_left_out_is_made(app: App) -> None:
    made = [app.authorize().data["state"] for _ in range(3)]
    assert len(set(made)) == 3 and min(map(len, made)) >= 22


@pytest.mark.parametrize(
    ("uri", "is_good"),
    [
        ("https://app.example.org", True), ("https://app.example.org/cb?from=latchkey&x=%20", True),
        ("https://[2001:db8::1]:8443/cb", True), ("http://127.0.0.1:8080/cb", True), ("http://localhost/cb", True),
        ("http://[::1]/cb", True), ("org.example.app:/cb", True), ("org.example.app://cb", True),
        ("http://app.example.org/cb", False), ("http://127.0.0.1.example.org/cb", False),
        ("http://localhost.example.org/cb", False), ("/callback", False), ("app.example.org/cb", False),
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
    app.exchange(changed(app.back(person(), **query), {**wish, "code_verifier": wrong})).refused(400, code="oauth_refused")


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


# The state


def test_a_state_is_handed_out_once(app: App) -> None:
    state = random_text()
    app.authorize(state=state).accepted()
    for _ in range(2):
        refused = app.authorize(state=state).refused(422, code="validation_failed")
        assert refused["details"].keys() == {"state"}


def test_a_state_that_was_used_is_not_handed_out_again(app: App) -> None:
    state = random_text()
    assert app.exchange(app.back(person(), state=state)).data["token"]
    assert app.authorize(state=state).refused(422)["details"].keys() == {"state"}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "another"}, {"state": ""}, {"state": "\0"}, {"redirectUri": CALLBACK + "2"},
        {"provider": "oidc-other"},
    ],
)  # fmt: skip
def test_a_state_is_good_for_what_it_was_handed_out_for(app: App, changes: dict[str, str]) -> None:
    back, asked = app.back(person()), app.idp.count()
    reply = app.exchange({**back, **changes})
    assert reply.refused(400, 422)["code"] in ("invalid_oauth_state", "validation_failed")
    assert reply.status == 400 or changes["state"] in ("", "\0")
    assert app.idp.count() == asked


def test_a_state_of_another_collection_is_none(app: App, people: str) -> None:
    back, asked = app.back(person()), app.idp.count()
    app.into(people).exchange(back).refused(400, code="invalid_oauth_state")
    assert app.idp.count() == asked
    assert app.exchange(back).data["token"]
    state = random_text()
    app.authorize(state=state).accepted()
    app.into(people).authorize(state=state).accepted()


def test_a_state_is_spent_whatever_comes_of_it(app: App) -> None:
    back = app.back(person())
    app.exchange({**back, "code": random_text()}).refused(400, code="oauth_refused")
    app.exchange(back).refused(400, code="invalid_oauth_state")


def test_a_state_ends_after_ten_minutes(app: App) -> None:
    back = app.back(person())
    moment = int((datetime.now(UTC) + timedelta(minutes=10)).timestamp() * 1000)
    query = "SELECT expires_at FROM one_time_tokens WHERE purpose = 'oauth_state' ORDER BY created_at DESC LIMIT 1"
    ((end,),) = app.server.query(query)
    assert abs(end - moment) < 20_000
    app.server.query("UPDATE one_time_tokens SET expires_at = 1 WHERE purpose = 'oauth_state' RETURNING digest")
    app.exchange(back).refused(400, code="invalid_oauth_state")


def test_a_state_survives_a_restart(app: App) -> None:
    back = app.back(person(), state=random_text(), use_pkce="1")
    app.server.restart()
    assert app.exchange(back).data["token"]


def test_without_a_state_the_application_compares_its_own(app: App) -> None:
    assert app.exchange(changed(app.back(person()), {"state": None})).data["token"]
    back = app.back(person(), state=random_text(), use_pkce="1")
    app.exchange(changed(back, {"state": None})).refused(400, code="oauth_refused")


def test_of_sixteen_exchanges_of_one_state_one_wins(app: App) -> None:
    user = person()
    back, asked = app.back(user), app.idp.count("token")
    with app.idp.lying(takes_codes_again=True), ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(app.exchange, [back] * PARALLEL))
    assert Counter(reply.status for reply in replies) == {200: 1, 400: PARALLEL - 1}
    for reply in replies:
        assert reply.status == 200 or reply.refused(400, code="invalid_oauth_state")
    assert app.idp.count("token") == asked + 1


# Coming back


def test_it_is_a_login_like_any_other(app: App) -> None:
    user = person()
    login = app.signed_in(user)
    assert login["token_type"] == "jwt"
    assert (claims(login["token"])["amr"], claims(login["token"])["collection"]) == (["fed"], "users")
    me = app.server.me(login["token"]).data
    assert (me["id"], me["email"], me["amr"]) == (login["record"]["id"], user["email"], ["fed"])
    (session,) = app.server.call("GET", "/api/auth/sessions", token=login["token"]).data
    assert (session["amr"], session["current"]) == (["fed"], True)

    end = datetime.now(UTC) + timedelta(hours=2)
    opaque = app.signed_in(user, token_type="opaque", not_valid_after=end.isoformat())
    assert opaque["token"].startswith("lk_at_") and opaque["record"]["id"] == login["record"]["id"]
    assert abs(datetime.fromisoformat(opaque["expires_at"]) - end) < timedelta(seconds=2)
    app.server.call("POST", "/api/auth/logout", token=opaque["token"]).accepted()
    assert not app.server.sees(opaque["token"])
    assert app.server.sees(login["token"])


def test_a_client_that_has_to_show_itself_by_basic_does(app: App) -> None:
    with IdentityProvider("basic") as idp:
        hosts = f"127.0.0.1:{app.idp.port}, 127.0.0.1:{idp.port}"
        change_settings(app.server, {**idp.settings("oidc-basic"), "outbound.allowed_hosts": hosts})
        assert App(app.server, idp, "oidc-basic").signed_in(person())
        assert "client_secret" not in idp.last("token").form
        change_settings(app.server, {"oauth2.oidc-basic.enabled": "0"})


@pytest.mark.parametrize("member", ["provider", "code", "redirectUri", "state", "code_verifier", "id_token", "nonce", "record", "token_type"])
def test_members_that_make_no_sense_are_refused_and_the_provider_is_not_asked(app: App, member: str) -> None:
    asked = app.idp.count()
    usual = {"provider": "oidc", "code": random_text(), "redirectUri": CALLBACK, "state": random_text()}
    native = {"provider": "oidc", "id_token": "a.b.c", "nonce": random_text()}
    for body in (usual, native):
        for value in (5, True, [], {}, "", "\0", "x" * 70_000, ["x"], {"x": {}}, 1e300, "\ud800"):
            reply = app.exchange({**body, member: value})
            assert reply.status in (400, 422), (body, member, value, reply.body[:300])
    assert app.idp.count() == asked


@pytest.mark.parametrize("missing", ["provider", "code", "redirectUri"])
def test_what_is_missing_is_named(app: App, missing: str) -> None:
    body = {"provider": "oidc", "code": random_text(), "redirectUri": CALLBACK}
    del body[missing]
    assert app.exchange(body).refused(422, code="validation_failed")["details"].keys() == {missing}


# Who may, and what is looked at first


def test_the_collection_comes_first_then_the_credential_then_the_body(app: App, people: str) -> None:
    token, nobody = account(app.server).token, app.into("nobody")
    nobody.call("GET", "providers").refused(404, code="not_found")
    nobody.authorize(provider=None).refused(404, code="not_found")
    nobody.authorize(token).refused(404, code="not_found")
    nobody.exchange({}).refused(404, code="not_found")
    nobody.exchange(b"nonsense").refused(404, code="not_found")
    nobody.confirm("").refused(404, code="not_found")
    for method, route in (
        ("GET", "connect"), ("POST", "connect"), ("GET", "links"), ("DELETE", "oidc/unlink"), ("DELETE", "nonsense/unlink"),
    ):  # fmt: skip
        nobody.call(method, route, token=token).refused(404, code="not_found")
        app.call(method, route).refused(401, code="unauthenticated")
        app.call(method, route, token="nonsense").refused(401, code="invalid_token")
        app.into(people).call(method, route, token=token).refused(403, code="forbidden")
    app.call("POST", "connect", b"nonsense", token).refused(400, code="malformed")
    app.exchange(b"{").refused(400, code="malformed")
    app.exchange([]).refused(400, 422)
    assert app.call("GET", "exchange").status == 405
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "/api/auth/users/oauth2/exchange"
    app.server.call("POST", path, b"provider=oidc&code=x", headers=form).refused(415)


def test_who_is_signed_in_elsewhere_is_not_asked(app: App) -> None:
    """A credential on an open route is not looked at."""
    assert app.server.call("GET", "/api/auth/users/oauth2/providers", headers=basic("nonsense")).status in (200, 401)


def test_links_are_made_by_people_not_by_keys(app: App) -> None:
    who = account(app.server)
    body = {"type": "apikey", "name": "robot"}
    key = app.server.call("POST", "/api/users/me/secrets", body, who.token).data["secret"]
    back = app.back(who.person, who.token)
    app.authorize(key).refused(403, code="session_required")
    app.call("POST", "connect", back, key).refused(403, code="session_required")
    app.unlink(key).refused(403, code="session_required")
    app.call("POST", "connect", back, device_session(app.server, who)).refused(401, code="reauthentication_required")
    assert app.call("POST", "connect", back, who.token).data == {"linked": "oidc"}


def test_an_id_that_is_used_for_a_collection_does_as_its_name(app: App) -> None:
    (users,) = [row for row in app.server.call("GET", "/api/collections", token=app.server.admin).data if row["name"] == "users"]
    assert app.into(users["id"]).exchange(app.back(person())).data["token"]
    assert uuid.UUID(users["id"])
