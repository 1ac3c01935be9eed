"""Sign-in by a provider: the state that comes back, what is handed in with it, and who may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Launcher, Reply, Server, eventually
from identity_provider import IdentityProvider, person
from oauth_app import CALLBACK, App, account, device_session, random_text, signing_in
from smtp import change_settings
from tokens import changed, claims

PARALLEL = 16


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        yield made


@pytest.fixture(scope="module")
def people(server: Server) -> str:
    """Another collection."""
    return str(server.call("POST", "/api/collections", {"name": "people", "type": "auth"}, server.admin).data["name"])


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


def test_a_code_goes_to_the_provider_as_it_came(app: App) -> None:
    code = "a&b=c d+e%20é/?#\u2028" + random_text()
    body = {"provider": "oidc", "code": code, "redirectUri": CALLBACK}
    app.exchange(body).refused(400, code="oauth_refused")
    assert app.idp.last("token").form["code"] == code


def test_a_session_begun_by_a_provider_is_renewed_as_one(app: App) -> None:
    token = app.signed_in(person())["token"]
    renewed = app.server.call("POST", "/api/auth/refresh", {}, token).data["token"]
    assert claims(renewed)["amr"] == ["fed"]
    for path, body in (
        ("users/change-password", {"current_password": "none of it", "password": "an even better one"}),
        ("reauthenticate", {"password": "none of it"}),
    ):
        app.server.call("POST", f"/api/auth/{path}", body, renewed).refused(401, code="invalid_credentials")


def test_an_answer_that_names_another_issuer_is_not_shown_to_this_provider(app: App) -> None:
    """Mix-up (RFC 9207)."""
    asked = app.idp.count("token")
    for issuer in ("https://honest.example", app.idp.issuer + "/", app.idp.issuer.upper()):
        app.exchange({**app.back(person()), "iss": issuer}).refused(400, code="invalid_oauth_state")
    assert app.idp.count("token") == asked
    assert app.exchange({**app.back(person()), "iss": app.idp.issuer}).data["token"]


def test_a_client_that_has_to_show_itself_by_basic_does(app: App) -> None:
    with IdentityProvider("basic") as idp:
        hosts = f"127.0.0.1:{app.idp.port}, 127.0.0.1:{idp.port}"
        change_settings(app.server, {**idp.settings("oidc-basic"), "outbound.allowed_hosts": hosts})
        assert App(app.server, idp, "oidc-basic").signed_in(person())
        assert "client_secret" not in idp.last("token").form
        # Where nothing is discovered, a setting tells.
        change_settings(app.server, idp.settings("oidc-basic", is_discovered=False))
        App(app.server, idp, "oidc-basic").sign_in(person()).refused(400, code="oauth_refused")
        change_settings(app.server, {"oauth2.oidc-basic.client_authentication": "basic"})
        assert App(app.server, idp, "oidc-basic").signed_in(person())
        change_settings(app.server, {"oauth2.oidc-basic.enabled": "0"})


@pytest.mark.parametrize(
    "member", ["provider", "code", "redirectUri", "state", "code_verifier", "id_token", "nonce", "record", "token_type"]
)
def test_members_that_make_no_sense_are_refused_and_the_provider_is_not_asked(app: App, member: str) -> None:
    asked = app.idp.count()
    usual = {"provider": "oidc", "code": random_text(), "redirectUri": CALLBACK, "state": random_text()}
    native = {"provider": "oidc", "id_token": "a.b.c", "nonce": random_text()}
    for body in (usual, native):
        values: list[Any] = [5, True, [], {}, "", "\0", "x" * 70_000, ["x"], {"x": {}}, 1e300, "\ud800"]
        for value in values:
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


def test_a_collection_s_id_does_as_its_name(app: App) -> None:
    rows = app.server.call("GET", "/api/collections", token=app.server.admin).data
    (id,) = [row["id"] for row in rows if row["name"] == "users"]
    back = app.into(id).back(person())
    assert app.exchange(back).data["token"]


def test_attempts_are_limited_like_other_sign_ins(launch: Callable[..., Server]) -> None:
    server = launch(rate_limited=True).admin_setup()
    with signing_in(server) as app:
        calls: list[Callable[[], Reply]] = [app.authorize, lambda: app.exchange({}), lambda: app.confirm("x")]
        for call in calls:
            statuses = Counter(call().status for _ in range(25))
            assert statuses[429] > 0, statuses


@pytest.mark.engine("postgres")
def test_a_sign_in_may_begin_at_one_node_and_end_at_another(launch: Launcher) -> None:
    second, first = launch.nodes(2)
    first.admin_setup()  # the later start printed the URL that counts
    with signing_in(first) as app:
        other = App(second, app.idp)
        eventually(lambda: other.call("GET", "providers").data)
        back = app.back(person(), state=random_text(), use_pkce="1")
        with app.idp.lying(takes_codes_again=True), ThreadPoolExecutor(PARALLEL) as pool:
            replies = list(pool.map(lambda node: node.exchange(back), [app, other] * (PARALLEL // 2)))
        assert Counter(reply.status for reply in replies) == {200: 1, 400: PARALLEL - 1}
        user = person()
        backs = [(node, node.back(user)) for node in [app, other] * (PARALLEL // 2)]
        with ThreadPoolExecutor(PARALLEL) as pool:
            logins = [reply.data for reply in pool.map(lambda call: call[0].exchange(call[1]), backs)]
        assert len({login["record"]["id"] for login in logins}) == 1
        assert all(second.sees(login["token"]) for login in logins)
