"""The pages behind mailed links: who is mailed, and for what; what each page is for, and how it is used."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cli import PASSWORD, Reply, Server, fresh_email
from window import Window

NEW_PASSWORD = "a longer one than before"
# As long as a name may be.
LONG_NAME = "members_of_the_reading_circle_in_the_old_town_hall_of_example_1"
WRONG_TOKEN = "A" * 43
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'

DEAD = "This link doesn't work any more"
INCOMPLETE = "This link is incomplete"
REFUSED = "That didn't work"
ASKED = "Look into your mail"


@dataclass
class Person:
    server: Server
    collection: str = "users"
    email: str = field(default_factory=fresh_email)
    username: str | None = None
    id: str = ""
    token: str = ""

    def __post_init__(self) -> None:
        names = {"username": self.username} if self.username else {}
        self.server.register(self.email, collection=self.collection, **names)
        session = self.server.login(self.email, collection=self.collection)
        self.id, self.token = session["record"]["id"], session["token"]

    def can_log_in(self, password: str, email: str | None = None) -> bool:
        body = {"email": email or self.email, "password": password}
        reply = self.server.call("POST", f"/api/auth/{self.collection}/login", body)
        assert reply.status in (200, 401), reply
        return reply.status == 200

    def post(self, path: str, body: Any = None) -> Reply:
        return self.server.call("POST", f"/api/auth/{self.collection}/{path}", body, token=self.token).accepted()

    @property
    def record(self) -> Any:
        """As an admin sees it, whatever became of the person's sessions."""
        path = f"/api/records/{self.collection}/{self.id}"
        return self.server.call("GET", path, token=self.server.admin).data


@dataclass
class Mail:
    id: str
    link: str
    to: str

    @property
    def path(self) -> str:
        return self.link.partition(urlsplit(self.link).netloc)[2]


def mail_to(server: Server, address: str, template: str, after: Mail | None = None) -> Mail:
    query = {"to": address, "template": template, **({"after": after.id} if after else {})}
    mail = server.call("GET", f"/api/admin/inbox/wait?{urlencode(query)}", token=server.admin).data
    return Mail(mail["id"], mail["link"], mail["to"])


class Flow:
    """One of the pages: how its mail is asked for, what is done there by keyboard, and what that leads to."""

    path: str
    template: str
    title: str
    done: str
    # The label of the field by which the page mails another link, where it does.
    asks_for = ""
    takes_password = False

    def mail(self, person: Person, after: Mail | None = None) -> Mail:
        self.ask(person)
        return mail_to(person.server, self.address(person), self.template, after)

    def address(self, person: Person) -> str:
        return person.email

    def ask(self, person: Person) -> None:
        raise NotImplementedError

    def account_in(self, window: Window) -> str:
        """What the form says whose account it is about."""
        if self.takes_password:
            return window.page.get_by_label("Account").input_value()
        return window.page.locator("main strong").inner_text()

    def work(self, window: Window) -> None:
        """Does what the page is for, by keyboard."""
        if self.takes_password:
            window.type("#password", NEW_PASSWORD)
        else:
            window.tab_to("button")
        answer = window.press_enter()
        assert answer.status == 200
        assert window.heading == self.done

    def is_untouched(self, person: Person) -> bool:
        raise NotImplementedError

    def assert_worked(self, window: Window, person: Person) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.template


class Verify(Flow):
    path, template = "/auth/verify", "verify"
    title, done = "Confirm your email address", "Your address is confirmed"

    def ask(self, person: Person) -> None:
        assert person.post("request-verify").data["sent"]

    def is_untouched(self, person: Person) -> bool:
        return person.record["email_verified"] is False

    def assert_worked(self, window: Window, person: Person) -> None:
        assert person.record["email_verified"] is True


class Reset(Flow):
    path, template = "/auth/reset", "reset"
    title, done = "Set a new password", "Your password is set"
    asks_for = "Your email address"
    takes_password = True

    def ask(self, person: Person) -> None:
        person.post("request-password-reset", {"email": person.email})

    def is_untouched(self, person: Person) -> bool:
        return person.can_log_in(PASSWORD) and person.server.sees(person.token)

    def assert_worked(self, window: Window, person: Person) -> None:
        assert person.can_log_in(NEW_PASSWORD)
        assert not person.can_log_in(PASSWORD)
        assert not person.server.sees(person.token), "the sessions of before live on"


class Recover(Reset):
    path, template = "/auth/recover", "recover"
    title, done = "Recover your account", "Your account is yours again"
    asks_for = "Your email address or username"

    def ask(self, person: Person) -> None:
        person.server.call("POST", f"/api/users/{person.id}/recover?collection={person.collection}").accepted()


class OneTimeCode(Flow):
    path, template = "/auth/otp", "otp"
    title, done = "Sign in", "You are signed in"
    asks_for = "Your email address"

    def ask(self, person: Person) -> None:
        person.post("otp/request", {"email": person.email})

    def is_untouched(self, person: Person) -> bool:
        return person.record["email_verified"] is False

    def assert_worked(self, window: Window, person: Person) -> None:
        token = window.page.get_by_label("Session token").input_value()
        me = person.server.me(token).data
        assert (me["id"], me["collection"], me["email_verified"]) == (person.id, person.collection, True)


class EmailChange(Flow):
    path, template = "/auth/email-change", "email_change"
    title, done = "Confirm your new email address", "Your address is changed"

    def address(self, person: Person) -> str:
        return f"new-{person.email}"

    def ask(self, person: Person) -> None:
        path = f"/api/records/{person.collection}/{person.id}"
        person.server.call("PATCH", path, {"email": self.address(person)}, token=person.token).accepted()

    def is_untouched(self, person: Person) -> bool:
        return bool(person.record["email"] == person.email)

    def assert_worked(self, window: Window, person: Person) -> None:
        new = self.address(person)
        assert new in window.text
        assert (person.record["email"], person.record["email_verified"]) == (new, True)
        assert person.can_log_in(PASSWORD, email=new)
        assert not person.can_log_in(PASSWORD)


FLOWS = VERIFY, RESET, OTP, RECOVER, EMAIL_CHANGE = Verify(), Reset(), OneTimeCode(), Recover(), EmailChange()
ASKING_FLOWS = [flow for flow in FLOWS if flow.asks_for]
PASSWORD_FLOWS = [flow for flow in FLOWS if flow.takes_password]

each_flow = pytest.mark.parametrize("flow", FLOWS, ids=repr)
each_asking_flow = pytest.mark.parametrize("flow", ASKING_FLOWS, ids=repr)
each_password_flow = pytest.mark.parametrize("flow", PASSWORD_FLOWS, ids=repr)
with_and_without_script = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


def own(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def send_form(server: Server, path: str, **fields: str) -> Reply:
    """What the page's form sends, without a browser."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.call("POST", path, urlencode(fields).encode(), headers=form)


def expire(person: Person, flow: Flow) -> None:
    """Lets the time of the person's token be over."""
    statement = f"UPDATE one_time_tokens SET expires_at = created_at WHERE slot = '{flow.template}:{person.id}'"
    if person.server.database:
        person.server.database.query(statement)
        return
    with sqlite3.connect(person.server.data_dir / "latchkey.db", timeout=10) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


def assert_offers_another(flow: Flow, window: Window) -> None:
    """The page says what to do next."""
    if flow.asks_for:
        assert window.page.get_by_label(flow.asks_for, exact=True).is_visible()
        assert window.page.get_by_role("button", name="Mail me a link").is_visible()
    else:
        assert "Sign in where you use your account" in window.text
        assert window.page.locator("form").count() == 0


def ask_for_another(
    flow: Flow, window: Window, person: Person, name: str | None = None, after: Mail | None = None
) -> Mail:
    """Has another link mailed by the page's form, by keyboard, to whom `name` names or else the person's email."""
    window.type("#email", name or person.email)
    answer = window.press_enter()
    assert answer.status == 200
    assert window.heading == ASKED
    assert window.sees("[role=status]")
    return mail_to(person.server, person.email, flow.template, after)
