"""Links between accounts and providers: made, listed and removed by their owners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from conftest import PASSWORD, Reply, Server
from identity_provider import person
from oauth_app import (
    SECRETS, Account, App, account, audited, device_session, knows_password, mailed, mails, random_text, signing_in,
)  # fmt: skip
from tokens import changed

PARALLEL = 16


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        yield made


@pytest.fixture
def who(server: Server) -> Account:
    return account(server)


# Connecting


def test_a_user_connects_an_account_at_a_provider_and_is_told(app: App, who: Account) -> None:
    user = person(email_verified=False)
    assert app.connect(user, who.token).data == {"linked": "oidc"}
    (link,) = app.call("GET", "links", token=who.token).data
    assert link.keys() == {"provider", "display_name", "email", "created_at", "last_used_at"}
    assert (link["provider"], link["display_name"], link["email"]) == ("oidc", "OpenID Connect", user["email"])
    assert abs(datetime.fromisoformat(link["created_at"]) - datetime.now(UTC)) < timedelta(seconds=20)
    assert "OpenID Connect" in mailed(app.server, who.email, "notice")["text"]
    (row,) = audited(app.server, "identity.linked", subject=who.id)
    assert (row["actor_id"], row["details"]["provider"]) == (who.id, "oidc")
    record = app.signed_in(user)["record"]
    assert (record["id"], record["email"]) == (who.id, who.email)
    (again,) = app.call("GET", "links", token=who.token).data
    assert again["last_used_at"] > link["last_used_at"] and again["created_at"] == link["created_at"]


def test_connecting_the_same_account_again_changes_nothing(app: App, who: Account) -> None:
    for _ in range(2):
        assert app.connect(who.person, who.token).data == {"linked": "oidc"}
    assert app.links(who.token) == ["oidc"]
    assert len(mails(app.server, who.email, "notice")) == 1


def test_an_account_at_a_provider_is_one_user_s_and_a_user_has_one_there(app: App, who: Account) -> None:
    theirs, mine = person(), person()
    token = app.signed_in(theirs)["token"]
    app.connect(theirs, who.token).refused(409, code="identity_taken")
    app.connect(mine, who.token).accepted()
    app.connect(person(), who.token).refused(409, code="provider_already_linked")
    app.connect(theirs, who.token).refused(409, code="identity_taken")
    assert (app.links(token), app.links(who.token)) == (["oidc"], ["oidc"])
    assert app.signed_in(theirs)["token"] and app.signed_in(mine)["record"]["id"] == who.id


def test_a_connection_is_finished_by_who_began_it(app: App, who: Account) -> None:
    """Neither does somebody else's, led to this browser, link their account (RFC 9700 §4.7)."""
    other, asked = account(app.server), app.idp.count("token")
    app.call("POST", "connect", app.back(person(), other.token), who.token).refused(400, code="invalid_oauth_state")
    app.call("POST", "connect", app.back(person()), who.token).refused(400, code="invalid_oauth_state")
    app.exchange(app.back(person(), who.token)).refused(400, code="invalid_oauth_state")
    back = app.back(person(), who.token)
    app.call("POST", "connect", changed(back, {"state": None}), who.token).refused(422, code="validation_failed")
    app.by("oidc-other").call("POST", "connect", {**back, "provider": "oidc-other"}, who.token).refused(400)
    assert app.idp.count("token") == asked
    assert (app.links(who.token), app.links(other.token)) == ([], [])


def test_connecting_takes_pkce_too(app: App, who: Account) -> None:
    back = app.back(person(), who.token, state=random_text(), use_pkce="1")
    assert app.call("POST", "connect", back, who.token).data == {"linked": "oidc"}
    assert "code_verifier" in app.idp.last("token").form


def test_a_session_that_is_not_fresh_connects_nothing(app: App, who: Account) -> None:
    stale, asked = device_session(app.server, who), app.idp.count("token")
    app.call("POST", "connect", app.back(person(), stale), stale).refused(401, code="reauthentication_required")
    assert app.idp.count("token") == asked
    app.server.call("POST", "/api/auth/reauthenticate", {"password": PASSWORD}, stale).accepted()
    assert app.call("POST", "connect", app.back(person(), stale), stale).data == {"linked": "oidc"}


def test_an_admin_in_the_user_s_place_connects_and_unlinks_nothing(app: App, who: Account) -> None:
    app.signed_in(who.person)
    path = f"/api/admin/impersonate/users/{who.id}"
    lent = app.server.call("POST", path, token=app.server.admin).data["token"]
    other = app.by("oidc-other")
    for back in (other.back(person(), who.token), other.back(person(), lent)):
        other.call("POST", "connect", back, lent).refused(403, code="forbidden")
    app.unlink(lent).refused(403, code="forbidden")
    assert app.links(who.token) == ["oidc"]


def test_a_guest_connects_nothing(app: App) -> None:
    with app.settings({"auth.anonymous.enabled": "1"}):
        guest = app.server.call("POST", "/api/auth/users/anonymous").data["token"]
        back, asked = app.back(person(), guest), app.idp.count("token")
        app.call("POST", "connect", back, guest).refused(403, code="forbidden")
        assert app.links(guest) == [] and app.idp.count("token") == asked


def test_of_sixteen_connections_at_once_one_is_made(app: App) -> None:
    """Of sixteen users who all have signed in to the same account there."""
    user, everybody = person(), [account(app.server) for _ in range(PARALLEL)]
    backs = [(app.back(user, who.token), who.token) for who in everybody]
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda back: app.call("POST", "connect", *back), backs))
    assert Counter(reply.status for reply in replies) == {200: 1, 409: PARALLEL - 1}
    for reply in replies:
        assert reply.status == 200 or reply.refused(409, code="identity_taken")
    assert sum(len(app.links(who.token)) for who in everybody) == 1


# Unlinking


def test_a_link_is_removed_and_signs_in_no_more(app: App, who: Account) -> None:
    by_provider = app.signed_in(who.person)["token"]
    other = account(app.server)
    app.connect(person(), other.token).accepted()
    assert app.unlink(who.token).data == {"unlinked": "oidc"}
    assert (app.links(who.token), app.links(other.token)) == ([], ["oidc"])
    # What was begun by it is over; the session that did it is not.
    assert not app.server.sees(by_provider) and app.server.sees(who.token)
    (row,) = audited(app.server, "identity.unlinked", subject=who.id)
    assert (row["actor_id"], row["details"]["provider"]) == (who.id, "oidc")
    app.sign_in(changed(who.person, {"email_verified": False})).refused(409, code="email_taken")


def test_a_link_stays_and_can_be_removed_while_its_provider_is_off(app: App, who: Account) -> None:
    app.signed_in(who.person)
    with app.settings({"oauth2.oidc.enabled": "0"}):
        assert app.links(who.token) == ["oidc"]
        app.by("oidc-other").unlink(who.token).refused(404, code="not_found")
        assert app.unlink(who.token).data == {"unlinked": "oidc"}
    assert app.links(who.token) == []


def test_an_admin_sees_and_removes_links_the_last_way_in_too(app: App) -> None:
    user = person()
    login = app.signed_in(user)
    path = f"/api/admin/users/users/{login['record']['id']}/links"
    (link,) = app.server.call("GET", path, token=app.server.admin).data
    assert (link["provider"], link["email"]) == ("oidc", user["email"])
    for method, route in (("GET", path), ("DELETE", f"{path}/oidc")):
        app.server.call(method, route, token=login["token"]).refused(403, code="forbidden")
        app.server.call(method, route).refused(401, code="unauthenticated")
        elsewhere = route.replace(login["record"]["id"], app.server.me(app.server.admin).data["id"])
        app.server.call(method, elsewhere, token=app.server.admin).refused(404, code="not_found")
    app.server.call("DELETE", f"{path}/oidc-other", token=app.server.admin).refused(404, code="not_found")
    assert app.server.sees(login["token"])
    assert app.server.call("DELETE", f"{path}/oidc", token=app.server.admin).data == {"unlinked": "oidc"}
    assert app.server.call("GET", path, token=app.server.admin).data == []
    assert not app.server.sees(login["token"])
    (row,) = audited(app.server, "identity.unlinked", subject=login["record"]["id"])
    assert row["actor_id"] == app.server.me(app.server.admin).data["id"]


@pytest.mark.parametrize("name", ["oidc", "oidc-other", "github", "nonsense", "%2e%2e", "oidc%2Funlink"])
def test_what_is_not_linked_is_not_found(app: App, who: Account, name: str) -> None:
    app.by(name).unlink(who.token).refused(404, code="not_found")


def test_the_last_way_in_is_kept(app: App) -> None:
    user = person()
    login = app.signed_in(user)
    app.unlink(login["token"]).refused(409, code="last_way_in")
    assert (
        app.links(login["token"]) == ["oidc"]
        and audited(app.server, "identity.unlinked", subject=login["record"]["id"]) == []
    )
    # Another provider is another way in.
    app.by("oidc-other").connect(person(), login["token"]).accepted()
    assert app.unlink(login["token"]).data == {"unlinked": "oidc"}
    app.by("oidc-other").unlink(login["token"]).refused(409, code="last_way_in")
    # So is a password.
    app.server.call("POST", SECRETS, {"type": "password", "secret": PASSWORD}, login["token"]).accepted()
    assert app.by("oidc-other").unlink(login["token"]).data == {"unlinked": "oidc-other"}
    assert knows_password(app.server, user["email"])


def test_with_a_link_the_password_can_go_and_then_the_link_can_not(app: App, who: Account) -> None:
    def remove_password() -> Reply:
        (password,) = [
            row for row in app.server.call("GET", SECRETS, token=who.token).data if row["type"] == "password"
        ]
        return app.server.call("DELETE", f"{SECRETS}/{password['id']}", token=who.token)

    remove_password().refused(409, code="last_way_in")
    app.connect(who.person, who.token).accepted()
    remove_password().accepted()
    assert not knows_password(app.server, who.email)
    token = app.signed_in(who.person)["token"]
    app.unlink(token).refused(409, code="last_way_in")


@pytest.mark.parametrize("attempt", range(4))
def test_of_two_ways_in_that_are_removed_at_once_one_stays(app: App, attempt: int) -> None:
    user = person()
    token, other = app.signed_in(user)["token"], app.by("oidc-other")
    other.connect(person(), token).accepted()
    removals: list[Callable[[], Reply]] = [lambda: app.unlink(token), lambda: other.unlink(token)]
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda remove: remove(), removals))
    assert Counter(reply.status for reply in replies) == {200: 1, 409: 1}
    assert len(app.links(token)) == 1


@pytest.mark.parametrize("attempt", range(4))
def test_of_a_link_and_a_password_that_are_removed_at_once_one_stays(app: App, who: Account, attempt: int) -> None:
    app.connect(who.person, who.token).accepted()
    (password,) = app.server.call("GET", SECRETS, token=who.token).data
    removals: list[Callable[[], Reply]] = [
        lambda: app.unlink(who.token),
        lambda: app.server.call("DELETE", f"{SECRETS}/{password['id']}", token=who.token),
    ]
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda remove: remove(), removals))
    assert Counter(reply.status for reply in replies) == {200: 1, 409: 1}
    assert len(app.links(who.token)) + knows_password(app.server, who.email) == 1
