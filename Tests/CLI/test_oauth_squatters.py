"""Accounts laid for others before they come (pre-hijacking): whoever shows an address to be theirs gets the account, and
nothing that was in it before opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import PASSWORD, Reply, Server, fresh_email
from identity_provider import Claims, person
from oauth_app import SECRETS, Account, App, account, audited, device, mailed, mails, signing_in
from smtp import change_settings
from test_mfa import code
from tokens import claims

NEW_PASSWORD = "an even better one"
PARALLEL = 16


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    with signing_in(server, "oidc", "oidc-other") as made:
        change_settings(server, {"auth.otp.enabled": "1", "auth.lockout.max_attempts": "0"})
        yield made


@dataclass(frozen=True)
class Squat:
    """An account with somebody else's address, and all that its squatter has got to open it again."""

    server: Server
    id: str
    email: str
    """The victim's."""
    tokens: dict[str, str]
    """Credentials, by their kinds."""
    device: str
    totp: str
    codes: list[str]
    mfa_token: str
    mailed: dict[str, str]
    """One-time tokens, by their templates: suppose that the squatter could read them."""
    person: Claims
    """The squatter at the other provider."""
    connecting: dict[str, Any]
    """A connection that only waits to be finished."""
    merge_token: str

    def attempts(self, app: App) -> dict[str, Callable[[], Reply]]:
        """Every one of them, tried."""

        def post(path: str, body: Any, token: str | None = None) -> Callable[[], Reply]:
            return lambda: self.server.call("POST", f"/api/auth/{path}", body, token)

        def by_token(token: str) -> dict[str, Callable[[], Reply]]:
            path = f"/api/records/users/{self.id}"
            return {
                "me": lambda: self.server.me(token),
                "refresh": post("refresh", {}, token),
                "change": lambda: self.server.call("PATCH", path, {"nick": "x"}, token),
                "link": lambda: app.authorize(token),
            }

        jwt, new = self.tokens["jwt"], {"password": NEW_PASSWORD}
        return {
            **{f"{what} by {kind}": attempt for kind, token in self.tokens.items()
               for what, attempt in by_token(token).items()},
            "password": post("users/login", {"email": self.email, "password": PASSWORD}),
            "username": post("users/login", {"username": self.email.split("@")[0], "password": PASSWORD}),
            "code as password": post("users/login", {"email": self.email, "password": self.codes[0]}),
            "device": post("users/login/device", {"identity": self.email, "secret": self.device}),
            "second factor": post("users/login/mfa", {"mfa_token": self.mfa_token, "code": code(self.totp, 1)}),
            "recovery code": post("users/login/mfa", {"mfa_token": self.mfa_token, "recovery_code": self.codes[1]}),
            "reset": post("users/confirm-password-reset", {"token": self.mailed["reset"], **new}),
            "recover": post("users/confirm-password-reset", {"token": self.mailed["recover"], **new}),
            "verify": post("users/verify-email", {"token": self.mailed["verify"]}),
            "one-time code": post("users/otp/auth", {"token": self.mailed["otp"]}),
            "email change": post("users/confirm-email-change", {"token": self.mailed["email_change"]}),
            "connect": lambda: app.call("POST", "connect", self.connecting, jwt),
            "merge": lambda: app.confirm(self.merge_token, password=PASSWORD),
            "merge, signed in": lambda: app.confirm(self.merge_token, jwt),
        }  # fmt: skip


@pytest.fixture
def squat(app: App) -> Squat:
    """Made by somebody who knows the victim's address and can't read its mail; but suppose that they could."""
    server, email = app.server, fresh_email()
    id = server.register(email, username=email.split("@")[0])["id"]
    jwt = server.login(email)["token"]
    totp = server.call("POST", "/api/auth/users/totp/setup", token=jwt).data["secret"]
    codes = server.call("POST", "/api/auth/users/totp/confirm", {"code": code(totp, -1)}, jwt).data["codes"]

    def finished(ticket: Any) -> str:
        body = {"mfa_token": ticket["mfa_token"], "recovery_code": codes.pop()}
        return str(server.call("POST", "/api/auth/users/login/mfa", body).data["token"])

    tokens = {"jwt": jwt, "opaque": finished(server.login(email, token_type="opaque"))}
    body = {"type": "apikey", "name": "backdoor"}
    tokens["API key"] = server.call("POST", SECRETS, body, jwt).data["secret"]
    secret = device(server, jwt)
    trusted = {"identity": email, "secret": secret}
    tokens["device session"] = server.call("POST", "/api/auth/users/login/device", trusted).data["token"]
    squatter = person()
    app.by("oidc-other").connect(squatter, jwt).accepted()
    tokens["provider session"] = finished(app.by("oidc-other").sign_in(squatter).data)
    connecting = app.back(person(), jwt)
    with app.settings({"oauth2.link_strategy": "confirm"}):
        merge_token = app.merge_token(person(email=email))
    server.call("PATCH", f"/api/records/users/{id}", {"email": fresh_email()}, jwt).accepted()
    mfa_token = server.login(email)["mfa_token"]
    for path in ("request-password-reset", "otp/request"):
        server.call("POST", f"/api/auth/users/{path}", {"email": email}).accepted()
    server.call("POST", f"/api/users/{id}/recover").accepted()
    pending = server.me(jwt).data["pending_email"]
    outstanding = {
        template: mailed(server, pending if template == "email_change" else email, template)["token"]
        for template in ("verify", "reset", "otp", "recover", "email_change")
    }
    return Squat(
        server, id, email, tokens, secret, totp, codes, mfa_token, outstanding, squatter, connecting, merge_token
    )  # fmt: skip


@pytest.mark.parametrize(
    "what",
    [
        "me by API key", "refresh by opaque", "change by device session", "link by provider session", "password",
        "username", "code as password", "device", "second factor", "recovery code", "reset", "recover", "verify",
        "one-time code", "email change", "connect", "merge", "merge, signed in",
    ],
)  # fmt: skip
def test_until_then_each_of_them_works(app: App, squat: Squat, what: str) -> None:
    assert squat.attempts(app)[what]().status == 200


def test_nothing_of_a_squatter_s_works_after_the_owner_of_the_address_came_by_a_provider(
    app: App, squat: Squat
) -> None:
    server = app.server
    for token in squat.tokens.values():
        assert server.sees(token)
    victim = person(email=squat.email)
    login = app.signed_in(victim)  # and is not asked for the squatter's second factor
    record = login["record"]
    assert (record["id"], record["email_verified"]) == (squat.id, True)
    assert (record["mfa_enabled"], record["pending_email"]) == (False, None)

    for what, attempt in squat.attempts(app).items():
        reply = attempt()
        assert reply.status in (400, 401), (what, reply.status, reply.body[:300])
    for token in squat.tokens.values():
        assert server.me(token).refused(401)["code"] in ("session_ended", "invalid_token")
    # The squatter's own account at a provider opens the squatter's own account here.
    assert app.by("oidc-other").signed_in(squat.person)["record"]["id"] != squat.id

    assert server.sees(login["token"])
    assert server.call("GET", SECRETS, token=login["token"]).data == []
    assert app.links(login["token"]) == ["oidc"]
    sessions = server.call("GET", "/api/auth/sessions", token=login["token"]).data
    assert [session["current"] for session in sessions] == [True]
    record = server.me(login["token"]).data
    assert (record["email"], record["email_verified"], record.get("nick")) == (squat.email, True, None)
    assert app.signed_in(victim)["record"]["id"] == squat.id


def test_the_owner_is_told_what_happened_to_the_account_and_it_is_written_down(app: App, squat: Squat) -> None:
    before = len(mails(app.server, squat.email, "notice"))
    app.signed_in(person(email=squat.email))
    (notice, *_), all_of_them = mails(app.server, squat.email, "notice"), mails(app.server, squat.email, "notice")
    assert len(all_of_them) == before + 1
    assert "OpenID Connect" in notice["text"] and "password" in notice["text"]
    (row,) = audited(app.server, "account.claimed", subject=squat.id)
    assert (row["actor_id"], row["outcome"], row["details"]["provider"]) == (squat.id, "success", "oidc")


def test_the_squatter_can_do_nothing_to_the_victim_s_link(app: App, squat: Squat) -> None:
    victim = person(email=squat.email)
    login = app.signed_in(victim)
    for token in squat.tokens.values():
        app.unlink(token).refused(401)
        app.call("GET", "links", token=token).refused(401)
    assert app.links(login["token"]) == ["oidc"]


def redeem(server: Server, who: Account, template: str) -> None:
    """The owner of the address reads the mail that came or is asked for, and does what it is for."""
    way, body = {
        "reset": ("confirm-password-reset", {"password": NEW_PASSWORD}),
        "recover": ("confirm-password-reset", {"password": NEW_PASSWORD}),
        "otp": ("otp/auth", {}), "verify": ("verify-email", {}),
    }[template]  # fmt: skip
    asking = {
        "reset": "auth/users/request-password-reset",
        "recover": f"users/{who.id}/recover",
        "otp": "auth/users/otp/request",
    }
    if template in asking:
        server.call("POST", f"/api/{asking[template]}", {"email": who.email}).accepted()
    redeemed = {"token": mailed(server, who.email, template)["token"], **body}
    server.call("POST", f"/api/auth/users/{way}", redeemed).accepted()


@pytest.mark.parametrize("ways", [["reset"], ["recover"], ["otp", "reset"], ["verify", "reset"], ["verify", "recover"]])
def test_nor_does_the_squatter_s_provider_open_it_after_the_owner_has_set_a_password_by_mail(
    app: App, ways: list[str]
) -> None:
    who, squatter = account(app.server, is_verified=False), person()
    app.by("oidc-other").connect(squatter, who.token).accepted()
    session = app.by("oidc-other").signed_in(squatter)["token"]
    for template in ways:
        redeem(app.server, who, template)
    assert not app.server.sees(session)
    assert app.by("oidc-other").signed_in(squatter)["record"]["id"] != who.id
    token = app.server.login(who.email, NEW_PASSWORD)["token"]
    assert app.links(token) == []


@pytest.mark.parametrize("template", ["reset", "recover"])
def test_nor_does_that_by_which_the_squatter_has_made_it(app: App, template: str) -> None:
    """A provider that lets anybody claim any address, without calling it verified."""
    squatter = person(email_verified=False)
    login = app.signed_in(squatter)
    redeem(app.server, Account(login["record"]["id"], squatter["email"], login["token"], squatter), template)
    assert not app.server.sees(login["token"])
    app.sign_in(squatter).refused(409, code="email_taken")


@pytest.mark.parametrize("template", ["reset", "recover"])
def test_links_of_an_account_whose_email_was_verified_stay_when_its_password_is_set_by_mail(
    app: App, template: str
) -> None:
    user = person()
    login = app.signed_in(user)
    redeem(app.server, Account(login["record"]["id"], user["email"], login["token"], user), template)
    assert app.signed_in(user)["record"]["id"] == login["record"]["id"]
    assert app.server.login(user["email"], NEW_PASSWORD)["record"]["id"] == login["record"]["id"]


def test_the_squatter_s_state_does_not_link_the_victim_to_them(app: App, squat: Squat) -> None:
    """A victim who is led to finish what the squatter began."""
    login = app.signed_in(person(email=squat.email))
    app.call("POST", "connect", squat.connecting, login["token"]).refused(400, code="invalid_oauth_state")
    assert app.links(login["token"]) == ["oidc"]


# At the same time


def test_of_sixteen_claims_at_once_one_empties_the_account_and_all_are_signed_in(app: App) -> None:
    who = account(app.server, is_verified=False)
    backs = [app.back(who.person) for _ in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        logins = [reply.data for reply in pool.map(app.exchange, backs)]
    assert {login["record"]["id"] for login in logins} == {who.id}
    assert all(app.server.sees(login["token"]) for login in logins)
    assert not app.server.sees(who.token)
    assert len(audited(app.server, "account.claimed", subject=who.id)) == 1


@pytest.mark.parametrize("attempt", range(3))
def test_whoever_gets_in_just_before_is_out_again(app: App, attempt: int) -> None:
    """By the password, by new keys, by links, while the owner of the address comes."""
    server, who = app.server, account(app.server, is_verified=False)
    login = {"email": who.email, "password": PASSWORD}
    squatter = person()
    connecting = app.by("oidc-other").back(squatter, who.token)
    back = app.back(who.person)
    calls: list[Callable[[], Reply]] = [lambda: app.exchange(back)]
    for _ in range(4):
        calls += [
            lambda: server.call("POST", "/api/auth/users/login", login),
            lambda: server.call("POST", SECRETS, {"type": "apikey"}, who.token),
        ]
    calls.insert(4, lambda: app.by("oidc-other").call("POST", "connect", connecting, who.token))
    calls.insert(5, calls.pop(0))
    with ThreadPoolExecutor(len(calls)) as pool:
        replies = list(pool.map(lambda call: call(), calls))
    owner = next(reply.data for reply in replies if reply.status == 200 and claims_of(reply) == ["fed"])
    got = [reply.data.get("token") or reply.data.get("secret") for reply in replies if reply.status == 200]
    assert [token for token in got if token and server.sees(token)] == [owner["token"]]
    assert app.links(owner["token"]) == ["oidc"]
    assert server.call("GET", SECRETS, token=owner["token"]).data == []
    server.call("POST", "/api/auth/users/login", login).refused(401)


def claims_of(reply: Reply) -> Any:
    token = reply.data.get("token", "")
    return claims(token)["amr"] if token.count(".") == 2 else None
