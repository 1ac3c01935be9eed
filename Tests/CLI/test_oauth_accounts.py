"""Sign-in by a provider: whose account it leads to (contract §3 OAuth2), row by row, and the accounts that squatters lay
for others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from conftest import PASSWORD, Server, fresh_email
from identity_provider import person
from oauth_app import (
    CALLBACK, SECRETS, App, account, audited, knows_password, mailed, mails, signing_in, written,
)  # fmt: skip
from smtp import change_settings
from test_mfa import Person, code
from tokens import changed, claims

PARALLEL = 16
FIELDS = [
    {"name": "nick", "type": "text", "required": True, "max": 20}, {"name": "name", "type": "text", "max": 15},
    {"name": "picture", "type": "url"},
]  # fmt: skip


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        change_settings(server, {"auth.otp.enabled": "1"})
        yield made


@pytest.fixture(scope="module")
def members(server: Server) -> str:
    """A collection whose users have fields."""
    body = {"name": "members", "type": "auth", "fields": FIELDS}
    return str(server.call("POST", "/api/collections", body, server.admin).data["name"])


# A known identity


def test_a_known_identity_signs_in_whatever_became_of_its_email(app: App) -> None:
    user = person()
    id = app.signed_in(user)["record"]["id"]
    other = account(app.server)
    for changes in (
        {}, {"email": fresh_email()}, {"email": None}, {"email_verified": False}, {"email": other.email},
        {"email": other.email, "email_verified": False},
    ):  # fmt: skip
        record = app.signed_in(changed(user, changes))["record"]
        assert (record["id"], record["email"], record["email_verified"]) == (id, user["email"], True)
    assert app.links(other.token) == []
    assert {row["subject_id"] for row in audited(app.server, "sign_in.succeeded", actor=id)} == {id}


def test_a_known_identity_stays_when_its_user_changes_the_email(app: App) -> None:
    user = person()
    login = app.signed_in(user)
    new = fresh_email()
    path = f"/api/admin/users/users/{login['record']['id']}"
    app.server.call("PATCH", path, {"email": new}, app.server.admin).accepted()
    assert app.signed_in(user)["record"]["email"] == new


# An email that is a user's


def test_a_linked_provider_that_comes_to_verify_the_address_verifies_it_here(app: App) -> None:
    user = person(email_verified=False)
    first = app.signed_in(user)
    assert first["record"]["email_verified"] is False
    app.server.call("POST", SECRETS, {"type": "password", "secret": PASSWORD}, first["token"]).accepted()
    elsewhere = app.signed_in({**user, "email": fresh_email(), "email_verified": True})
    assert elsewhere["record"]["email_verified"] is False
    verified = app.signed_in({**user, "email_verified": True})["record"]
    assert (verified["id"], verified["email_verified"]) == (first["record"]["id"], True)
    (row,) = audited(app.server, "email.verified", subject=verified["id"])
    assert row["details"] == {"provider": "oidc"}
    # Nobody claims it any more: what its owner has set up stays.
    app.by("oidc-other").signed_in(person(email=user["email"]))
    assert knows_password(app.server, user["email"])


def test_a_verified_email_links_the_user_who_has_it_and_they_are_told(app: App) -> None:
    who = account(app.server)
    assert app.server.me(who.token).data["email_verified"] is True
    login = app.signed_in(changed(who.person, {"email": who.email.upper()}))
    assert (login["record"]["id"], login["record"]["email"]) == (who.id, who.email)
    assert app.links(login["token"]) == ["oidc"]
    # Nothing of theirs is touched.
    assert app.server.sees(who.token)
    assert knows_password(app.server, who.email)
    (row,) = audited(app.server, "identity.linked", subject=who.id)
    assert (row["actor_id"], row["outcome"], row["details"]["provider"]) == (who.id, "success", "oidc")
    notice = mailed(app.server, who.email, "notice")
    assert "OpenID Connect" in notice["text"]
    assert len(mails(app.server, who.email, "notice")) == 1
    assert app.signed_in(who.person)["record"]["id"] == who.id
    assert len(mails(app.server, who.email, "notice")) == 1


@pytest.mark.parametrize("is_verified", [True, False])
@pytest.mark.parametrize("word", [None, False, "true", "false", 1, 0, "", [], [True], {}, {"true": True}])
def test_an_unverified_email_that_is_taken_is_refused_and_nothing_is_written(
    app: App, is_verified: bool, word: Any
) -> None:
    who = account(app.server, is_verified=is_verified)
    before = written(app.server)
    user = changed(who.person, {"email_verified": word})
    refused = app.sign_in(user).refused(409, code="email_taken")
    assert "OpenID Connect" in refused["error"]
    assert written(app.server) == before
    assert app.links(who.token) == []
    assert knows_password(app.server, who.email)
    assert audited(app.server, "identity.linked", subject=who.id) == []


def test_the_word_of_one_answer_does_not_verify_the_address_of_another(app: App) -> None:
    """An ID token that says "verified" without an address, beside a userinfo with somebody's."""
    who = account(app.server)
    with app.idp.lying(claims={"email": None}, userinfo={"email_verified": None}):
        app.sign_in(who.person).refused(409, code="email_taken")
    with app.idp.lying(claims={"email_verified": None, "email": None}, userinfo={"email_verified": False}):
        app.sign_in(who.person).refused(409, code="email_taken")
    with app.idp.lying(claims={"email": None, "email_verified": None}):
        assert app.signed_in(who.person)["record"]["id"] == who.id


def test_another_subject_with_the_same_address_is_not_let_in(app: App) -> None:
    """Addresses are given to new people."""
    user = person()
    token = app.signed_in(user)["token"]
    before = written(app.server)
    app.sign_in(person(email=user["email"])).refused(409, code="provider_already_linked")
    assert written(app.server) == before
    # Another provider that has verified it may.
    app.by("oidc-other").signed_in(person(email=user["email"]))
    assert app.links(token) == ["oidc", "oidc-other"]


def test_system_users_are_nobody_s_account(app: App) -> None:
    body = {"kind": "system", "email": fresh_email()}
    id = app.server.call("POST", "/api/admin/users/users", body, app.server.admin).data["id"]
    before = written(app.server)
    app.sign_in(person(email=body["email"])).refused(409, code="email_taken")
    assert written(app.server) == before and audited(app.server, "identity.linked", subject=id) == []


LOOK_ALIKES = {
    "k": "\u212a", "i": "\u0131", "s": "\u017f", "I": "\u0130", "K": "\uff4b", "a": "\u0430", "@": "\uff20", "kis": "ki\u200bs",
    "example.org": "example.org.", "example": "ex\u00adample", "org": "org\n", "kiss": " kiss",
}  # fmt: skip


@pytest.mark.parametrize("part", LOOK_ALIKES)
def test_an_address_that_looks_alike_is_another(app: App, part: str) -> None:
    """Letters that become ASCII ones in upper or lower case, or that nobody sees."""
    email = f"Kiss-{fresh_email()}"
    id = app.server.register(email)["id"]
    reply = app.sign_in(person(email=email.lower().replace(part.lower(), LOOK_ALIKES[part], 1)))
    assert reply.status in (200, 400, 409), reply.body
    assert reply.status != 200 or reply.data["record"]["id"] != id


def test_guests_are_nobody_s_account(app: App) -> None:
    with app.settings({"auth.anonymous.enabled": "1"}):
        guest = app.server.call("POST", "/api/auth/users/anonymous").data
    before = written(app.server)
    app.sign_in(person(email=guest["record"]["email"])).refused(400, 409)
    assert written(app.server) == before
    assert app.server.me(guest["token"]).data["email_verified"] is False


def guest_of(app: App) -> Any:
    with app.settings({"auth.anonymous.enabled": "1"}):
        return app.server.call("POST", f"/api/auth/{app.collection}/anonymous").data


def back_as_guest(app: App, user: Any, token: str) -> dict[str, str]:
    """What the application hands in after a guest has gone to the provider and signed in there as `user`."""
    going = app.call("GET", f"authorize?{urlencode({'provider': 'oidc', 'redirectUri': CALLBACK})}", token=token)
    came = app.idp.visit(going.data["authorize_url"], user)
    app.server.secrets.note("state", came.state)
    return {"provider": "oidc", "code": came.code, "redirectUri": CALLBACK, "state": came.state}


def test_a_guest_becomes_an_account_by_a_provider(app: App) -> None:
    guest, user = guest_of(app), person()
    login = app.exchange(back_as_guest(app, user, guest["token"]), guest["token"]).data
    assert (login["record"]["id"], login["record"]["email"]) == (guest["record"]["id"], user["email"])
    assert login["record"]["anonymous"] is False and claims(login["token"])["amr"] == ["fed"]
    assert app.server.sees(login["token"]) and not app.server.sees(guest["token"])
    (row,) = audited(app.server, "guest.promoted", subject=guest["record"]["id"])
    assert row["details"] == {"collection": "users", "provider": "oidc"}
    assert app.signed_in(user)["record"]["id"] == guest["record"]["id"]


def test_a_guest_s_record_is_kept_and_completed_or_nothing_happens(app: App, members: str) -> None:
    there = app.into(members)
    guest = guest_of(there)
    path = f"/api/records/{members}/{guest['record']['id']}"
    app.server.call("PATCH", path, {"name": "Guest"}, guest["token"]).accepted()

    def come(**record: Any) -> Any:
        back = back_as_guest(there, person(name="Ada", picture=None), guest["token"])
        return there.exchange({**back, **({"record": record} if record else {})}, guest["token"])

    assert come().refused(422, code="validation_failed")["details"].keys() == {"nick"}
    assert come(nick="x", email=fresh_email()).refused(422, code="validation_failed")["details"].keys() == {"email"}
    still = app.server.me(guest["token"]).data
    assert (still["anonymous"], still["name"]) == (True, "Guest")
    record = come(nick="ada").data["record"]
    assert (record["id"], record["nick"], record["name"]) == (guest["record"]["id"], "ada", "Guest")


def test_what_is_no_guest_s_session_makes_nobody_an_account(app: App, members: str) -> None:
    guest = guest_of(app)
    id = guest["record"]["id"]
    path = f"/api/admin/users/users/{id}"
    lent = app.server.call("POST", f"/api/admin/impersonate/users/{id}", token=app.server.admin).data["token"]
    for token in (lent, guest_of(app.into(members))["token"], app.server.admin, "nonsense"):
        back = back_as_guest(app, person(), token)
        assert app.exchange(back, token).data["record"]["id"] != id
    back = back_as_guest(app, person(), guest["token"])
    app.server.call("PATCH", path, {"status": "suspended"}, app.server.admin).accepted()
    app.exchange(back, guest["token"]).refused(400, code="invalid_oauth_state")
    app.server.call("PATCH", path, {"status": "active"}, app.server.admin).accepted()
    record = app.server.query(f"SELECT anonymous, email FROM users WHERE id = '{id}'")[0]
    assert bool(record[0]) and record[1].endswith("@anonymous.invalid")


def test_of_sixteen_links_of_one_user_at_once_one_is_made(app: App) -> None:
    who = account(app.server)
    backs = [app.back(who.person) for _ in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        ids = [reply.data["record"]["id"] for reply in pool.map(app.exchange, backs)]
    assert set(ids) == {who.id}
    assert len(audited(app.server, "identity.linked", subject=who.id)) == 1


# A new user


@pytest.mark.parametrize("word", [True, False, None, "true", 1])
def test_somebody_new_gets_an_account_without_a_password(app: App, word: Any) -> None:
    user = person(email_verified=word)
    login = app.signed_in(user)
    record = login["record"]
    assert (record["email"], record["email_verified"], record["kind"]) == (user["email"], word is True, "human")
    assert app.server.call("GET", SECRETS, token=login["token"]).data == []
    for password in ("", PASSWORD, "null", "oidc"):
        body = {"email": user["email"], "password": password}
        assert app.server.call("POST", "/api/auth/users/login", body).status in (401, 422)
    assert app.links(login["token"]) == ["oidc"]
    for action in ("user.registered", "identity.linked"):
        (row,) = audited(app.server, action, subject=record["id"])
        assert (row["actor_id"], row["details"]["provider"]) == (record["id"], "oidc")
    # Only an address that nobody has vouched for is asked to be confirmed.
    assert len(mails(app.server, user["email"], "verify")) == (0 if word is True else 1)


def test_an_unverified_account_by_a_provider_gives_way_to_the_owner_of_the_address(app: App) -> None:
    squatter = person(email_verified=False)
    taken = app.signed_in(squatter)
    owner = person(email=squatter["email"])
    login = app.signed_in(owner)
    assert login["record"]["id"] == taken["record"]["id"]
    assert not app.server.sees(taken["token"])
    assert app.links(login["token"]) == ["oidc"]
    app.sign_in(squatter).refused(409, code="email_taken")


def test_of_sixteen_first_sign_ins_at_once_one_account_is_made(app: App) -> None:
    user = person()
    backs = [app.back(user) for _ in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(app.exchange, backs))
    assert Counter(reply.status for reply in replies) == {200: PARALLEL}
    assert len({reply.data["record"]["id"] for reply in replies}) == 1
    assert app.server.query(f"SELECT count(*) FROM users WHERE email = '{user['email']}'") == [(1,)]
    assert app.server.query(f"SELECT count(*) FROM identities WHERE subject = '{user['sub']}'") == [(1,)]


def test_of_registrations_and_first_sign_ins_at_once_one_account_is_made(app: App) -> None:
    user = person()
    backs = [app.back(user) for _ in range(PARALLEL // 2)]
    body = {"email": user["email"], "password": PASSWORD}
    calls: list[Callable[[], Any]] = []
    for back in backs:
        calls += [
            partial(app.exchange, back),
            lambda: app.server.call("POST", "/api/auth/users/register", body),
        ]
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda call: call(), calls))
    assert {reply.status for reply in replies[::2]} == {200}
    assert {reply.status for reply in replies[1::2]} <= {200, 409}
    assert app.server.query(f"SELECT count(*) FROM users WHERE email = '{user['email']}'") == [(1,)]
    # The provider vouches for the address: whoever registered with it meanwhile is out.
    assert not knows_password(app.server, user["email"])


@pytest.mark.parametrize(
    "email", [None, "", "nobody", 5, ["a@example.org"], "a@b@c.example", "a b@example.org", "x" * 300 + "@example.org"]
)
def test_without_a_usable_email_there_is_no_new_account(app: App, email: Any) -> None:
    before = written(app.server)
    refused = app.sign_in(person(email=email)).refused(400, code="oauth_profile_incomplete")
    assert "OpenID Connect" in refused["error"]
    assert written(app.server) == before


def test_fields_of_a_new_account_are_validated_and_those_of_a_known_one_left_alone(app: App, members: str) -> None:
    into, user = app.into(members), person(name="Ada Lovelace", picture="https://example.org/ada.png")
    refusals: list[tuple[dict[str, Any], str]] = [
        ({}, "nick"), ({"nick": "x" * 21}, "nick"), ({"nick": 5}, "nick"), ({"nick": "ada", "email": fresh_email()}, "email"),
        ({"nick": "ada", "password": PASSWORD}, "password"), ({"nick": "ada", "email_verified": True}, "email_verified"),
        ({"nick": "ada", "status": "suspended"}, "status"), ({"nick": "ada", "id": "x"}, "id"),
        ({"nick": "ada", "groups": []}, "groups"),
    ]  # fmt: skip
    for record, field in refusals:
        refused = into.sign_in(user, record=record).refused(422, code="validation_failed")
        assert field in refused["details"], (record, refused)
    made = into.signed_in(user, record={"nick": "ada"})["record"]
    assert (made["nick"], made["name"], made["picture"]) == ("ada", "Ada Lovelace", user["picture"])
    again = into.signed_in(changed(user, {"name": "Countess"}), record={"nick": "countess"})["record"]
    assert (again["nick"], again["name"]) == ("ada", "Ada Lovelace")
    # What doesn't fit is left out: nobody can help what a provider calls them.
    other = into.signed_in(person(name="x" * 16, picture="not a url"), record={"nick": "bob"})["record"]
    assert (other.get("name"), other.get("picture")) == (None, None)


def test_collections_are_apart(app: App, members: str) -> None:
    user = person()
    mine = app.signed_in(user)["record"]["id"]
    theirs = app.into(members).signed_in(user, record={"nick": "ada"})["record"]["id"]
    assert mine != theirs
    assert app.signed_in(user)["record"]["id"] == mine


def test_providers_are_apart(app: App) -> None:
    user = person()
    mine = app.signed_in(user)["record"]["id"]
    assert app.by("oidc-other").signed_in(changed(user, {"email": fresh_email()}))["record"]["id"] != mine


def test_where_nobody_may_register_only_who_has_an_account_gets_in(app: App) -> None:
    body = {"name": "closed", "type": "auth", "options": {"registration": False}}
    app.server.call("POST", "/api/collections", body, app.server.admin).accepted()
    user = person()
    app.into("closed").sign_in(user).refused(403, code="forbidden")
    body = {"email": user["email"], "password": PASSWORD, "email_verified": True}
    made = app.server.call("POST", "/api/admin/users/closed", body, app.server.admin).data["id"]
    assert app.into("closed").signed_in(user)["record"]["id"] == made


def test_no_provider_makes_an_admin(app: App) -> None:
    before = app.server.call("GET", "/api/admin/admins", token=app.server.admin).data
    app.into("_admins").sign_in(person()).refused(403, code="forbidden")
    # Neither does it link one without being asked, whatever the strategy is.
    admins = app.into("_admins")
    root = person(email=before[0]["email"])
    merge_token = admins.merge_token(root)
    assert admins.links(app.server.admin) == []
    assert app.server.call("GET", "/api/admin/admins", token=app.server.admin).data == before
    token = admins.confirm(merge_token, app.server.admin).data["token"]
    assert claims(token)["aud"] == claims(admins.signed_in(root)["token"])["aud"] == "admin"
    app.sign_in(person(sub=root["sub"])).accepted()  # a user of theirs, not the admin
    assert claims(app.signed_in(root)["token"])["aud"] == "user"


# Who may not sign in


@pytest.mark.parametrize("is_linked", [True, False])
@pytest.mark.parametrize("status", ["suspended", "pending"])
def test_a_suspended_user_does_not_get_in_by_a_provider_either(app: App, status: str, is_linked: bool) -> None:
    who = account(app.server)
    if is_linked:
        app.signed_in(who.person)
    path = f"/api/admin/users/users/{who.id}"
    app.server.call("PATCH", path, {"status": status}, app.server.admin).accepted()
    before = written(app.server)[:2]
    app.sign_in(who.person).refused(401, code="invalid_credentials")
    assert written(app.server)[:2] == before
    (row,) = audited(app.server, "sign_in.failed", subject=who.id)
    assert row["outcome"] == "failure"
    app.server.call("PATCH", path, {"status": "active"}, app.server.admin).accepted()
    assert app.signed_in(who.person)["record"]["id"] == who.id


def test_the_link_of_a_deleted_user_is_gone(app: App) -> None:
    user = person()
    first = app.signed_in(user)["record"]["id"]
    app.server.call("DELETE", f"/api/admin/users/users/{first}", token=app.server.admin).accepted()
    second = app.signed_in(user)["record"]["id"]
    assert second != first
    assert app.server.query(f"SELECT user_id FROM identities WHERE subject = '{user['sub']}'") == [(second,)]


def test_a_second_factor_is_asked_for_after_a_provider_too(app: App) -> None:
    who = Person(app.server)
    path = f"/api/admin/users/users/{app.server.me(who.token).data['id']}"
    app.server.call("PATCH", path, {"email_verified": True}, app.server.admin).accepted()
    for steps in (0, 1):
        # The link is made with the second factor, not before.
        assert app.links(who.token) == ["oidc"][:steps]
        ticket = app.sign_in(person(sub=f"of {who.email}", email=who.email)).data
        assert ticket.keys() >= {"mfa_required", "mfa_token"} and "token" not in ticket
        app.server.secrets.note("mfa_token", ticket["mfa_token"])
        body = {"mfa_token": ticket["mfa_token"], "code": code(who.secret, steps)}
        login = app.server.call("POST", "/api/auth/users/login/mfa", body).data
        assert set(claims(login["token"])["amr"]) == {"fed", "otp", "mfa"}
        assert app.links(login["token"]) == ["oidc"]
