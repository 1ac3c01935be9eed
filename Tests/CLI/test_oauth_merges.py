"""Merging by confirmation (`oauth2.link_strategy=confirm`): the owner of an address says that an account at a provider is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ADMIN, PASSWORD, Server
from identity_provider import person
from oauth_app import SECRETS, Account, App, account, audited, device_session, knows_password, mailed, signing_in
from smtp import change_settings
from test_mfa import Person, code
from tokens import claims

PARALLEL = 16
MISSES_MAX = 5


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server) as made:
        # Wrong passwords count for the address too, and all tests have one.
        change_settings(server, {"auth.lockout.max_attempts": "0", "oauth2.link_strategy": "confirm"})
        yield made


@pytest.fixture
def who(server: Server) -> Account:
    return account(server)


def test_nothing_is_linked_before_the_owner_confirms_by_the_password(app: App, who: Account) -> None:
    merge_token = app.merge_token(who.person)
    assert app.links(who.token) == []
    (row,) = audited(app.server, "identity.merge_required", subject=who.id)
    assert row["actor_id"] is None
    login = app.confirm(merge_token, password=PASSWORD).data
    assert (login["record"]["id"], sorted(claims(login["token"])["amr"])) == (who.id, ["fed", "pwd"])
    assert app.links(who.token) == ["oidc"]
    assert "OpenID Connect" in mailed(app.server, who.email, "notice")["text"]
    (row,) = audited(app.server, "identity.linked", subject=who.id)
    assert (row["actor_id"], row["details"]["provider"]) == (who.id, "oidc")
    app.confirm(merge_token, password=PASSWORD).refused(400, code="invalid_one_time_token")
    assert app.signed_in(who.person)["record"]["id"] == who.id


def test_nothing_is_linked_before_the_owner_confirms_signed_in(app: App, who: Account) -> None:
    login = app.confirm(app.merge_token(who.person), who.token, token_type="opaque").data
    assert (login["record"]["id"], login["token_type"]) == (who.id, "opaque")
    assert app.links(login["token"]) == ["oidc"]
    assert app.server.sees(who.token)


def test_only_an_email_that_is_a_user_s_waits(app: App) -> None:
    user = person()
    login = app.signed_in(user)
    assert app.signed_in(user)["record"]["id"] == login["record"]["id"]


def test_five_wrong_passwords_kill_a_merge(app: App, who: Account) -> None:
    for misses, status in ((MISSES_MAX - 1, 200), (MISSES_MAX, 400)):
        user = account(app.server).person if misses == MISSES_MAX else who.person
        merge_token = app.merge_token(user)
        for _ in range(misses):
            app.confirm(merge_token, password="another battery").refused(401, code="invalid_credentials")
        reply = app.confirm(merge_token, password=PASSWORD)
        assert reply.status == status
        if status == 400:
            reply.refused(400, code="invalid_one_time_token")
            assert app.confirm(app.merge_token(user), password=PASSWORD).data["token"]


def test_sixteen_wrong_passwords_at_once_kill_a_merge_too(app: App, who: Account) -> None:
    merge_token = app.merge_token(who.person)
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = pool.map(lambda n: app.confirm(merge_token, password=f"another battery {n}"), range(PARALLEL))
        assert {reply.status for reply in replies} <= {400, 401}
    app.confirm(merge_token, password=PASSWORD).refused(400, code="invalid_one_time_token")
    assert app.links(who.token) == []


def test_wrong_passwords_of_merges_lock_the_account_like_any_others(app: App, who: Account) -> None:
    with app.settings({"auth.lockout.max_attempts": "4"}):
        for _ in range(2):
            merge_token = app.merge_token(who.person)
            for _ in range(2):
                app.confirm(merge_token, password="another battery").refused(401, 429)
        assert not knows_password(app.server, who.email)
        app.confirm(merge_token, password=PASSWORD).refused(401, 429)
    assert app.links(who.token) == []


def test_nobody_else_confirms_a_merge(app: App, who: Account) -> None:
    merge_token = app.merge_token(who.person)
    other = account(app.server)
    app.confirm(merge_token).refused(422, code="validation_failed")
    app.confirm(merge_token, other.token).refused(403, code="forbidden")
    app.confirm(merge_token, app.server.admin).refused(403, code="forbidden")
    app.confirm(merge_token, "nonsense").refused(401, 422)
    app.confirm(merge_token, device_session(app.server, who)).refused(401, code="reauthentication_required")
    key = app.server.call("POST", SECRETS, {"type": "apikey"}, who.token).data["secret"]
    app.confirm(merge_token, key).refused(403, code="session_required")
    lent = app.server.call("POST", f"/api/admin/impersonate/users/{who.id}", token=app.server.admin).data
    app.confirm(merge_token, lent["token"]).refused(403, code="forbidden")
    assert app.links(who.token) == []
    assert app.confirm(merge_token, who.token).data["token"]


@pytest.mark.parametrize("text", ["", "nonsense", "A" * 43, None, 5, [], "x" * 5000])
def test_what_is_no_merge_token_is_refused(app: App, text: object) -> None:
    app.call("POST", "merge-confirm", {"merge_token": text, "password": PASSWORD}).refused(400, 422)


def test_a_merge_token_is_good_for_merging_only(app: App, who: Account) -> None:
    merge_token, other = app.merge_token(who.person), account(app.server, is_verified=False)
    for path, body in (
        ("verify-email", {}), ("confirm-password-reset", {"password": "an even better one"}), ("otp/auth", {}),
        ("confirm-email-change", {}),
    ):  # fmt: skip
        reply = app.server.call("POST", f"/api/auth/users/{path}", {"token": merge_token, **body})
        assert reply.refused(400, 422)["code"] in ("invalid_one_time_token", "feature_disabled")
    finish = {"mfa_token": merge_token, "code": "000000"}
    app.server.call("POST", "/api/auth/users/login/mfa", finish).refused(400, code="invalid_one_time_token")
    mail = mailed(app.server, other.email, "verify")["token"]
    app.confirm(mail, other.token).refused(400, code="invalid_one_time_token")
    app.into("_admins").confirm(merge_token, password=PASSWORD).refused(400, code="invalid_one_time_token")
    assert app.confirm(merge_token, password=PASSWORD).data["token"]


def test_of_sixteen_confirmations_at_once_one_wins(app: App, who: Account) -> None:
    merge_token = app.merge_token(who.person)
    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda _: app.confirm(merge_token, who.token), range(PARALLEL)))
    assert Counter(reply.status for reply in replies) == {200: 1, 400: PARALLEL - 1}
    assert len(audited(app.server, "identity.linked", subject=who.id)) == 1


def test_a_second_factor_is_asked_for_after_a_confirmation(app: App) -> None:
    owner = Person(app.server)
    merge_token = app.merge_token(person(email=owner.email))
    ticket = app.confirm(merge_token, password=PASSWORD).data
    assert ticket["mfa_required"] is True and "token" not in ticket
    finish = {"mfa_token": ticket["mfa_token"], "code": code(owner.secret)}
    login = app.server.call("POST", "/api/auth/users/login/mfa", finish).data
    assert app.links(login["token"]) == ["oidc"]


def test_before_the_second_factor_is_shown_a_merge_changes_nothing(app: App) -> None:
    owner = Person(app.server)
    id = app.server.me(owner.token).data["id"]
    key = app.server.call("POST", SECRETS, {"type": "apikey", "name": "b"}, owner.token).data["secret"]
    ticket = app.confirm(app.merge_token(person(email=owner.email)), password=PASSWORD).data
    assert ticket["mfa_required"] is True
    assert app.server.sees(owner.token) and app.server.sees(key)
    assert app.server.me(owner.token).data["email_verified"] is False
    finish = {"mfa_token": ticket["mfa_token"], "code": code(owner.secret)}
    login = app.server.call("POST", "/api/auth/users/login/mfa", finish).data
    # What was made while nobody had shown the address to be theirs goes with the link.
    assert login["record"]["email_verified"] is True and login["record"]["id"] == id
    assert not app.server.sees(owner.token) and not app.server.sees(key)


def test_an_admin_who_links_a_provider_keeps_keys_and_sessions(app: App) -> None:
    server, there = app.server, app.into("_admins")
    key = server.call("POST", SECRETS, {"type": "apikey", "name": "ci"}, server.admin).data["secret"]
    login = there.confirm(there.merge_token(person(email=ADMIN)), password=PASSWORD).data
    assert server.sees(key) and server.sees(server.admin) and there.links(login["token"]) == ["oidc"]


def test_a_merge_ends_with_what_it_was_asked_for(app: App, who: Account) -> None:
    """Of an account that is suspended meanwhile, or whose identity went to somebody else."""
    merge_token, path = app.merge_token(who.person), f"/api/admin/users/users/{who.id}"
    app.server.call("PATCH", path, {"status": "suspended"}, app.server.admin).accepted()
    assert app.confirm(merge_token, password=PASSWORD).status in (400, 401)
    app.server.call("PATCH", path, {"status": "active"}, app.server.admin).accepted()
    token = app.server.login(who.email)["token"]
    merge_token, other = app.merge_token(who.person), account(app.server)
    app.connect(who.person, other.token).accepted()
    app.confirm(merge_token, token).refused(409, code="identity_taken")
    assert (app.links(token), app.links(other.token)) == ([], ["oidc"])
    gone = account(app.server)
    merge_token = app.merge_token(gone.person)
    app.server.call("DELETE", f"/api/admin/users/users/{gone.id}", token=app.server.admin).accepted()
    app.confirm(merge_token, password=PASSWORD).refused(400, code="invalid_one_time_token")
