"""Mail as an operator sets it up: the development inbox, where links lead, what needs mail, the templates."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from conftest import PASSWORD, Reply, Server, fresh_email
from smtp import APP_URL, CODE, RESET, VERIFY, Mail, Mailbox, change_settings, changed_settings, outbox, settled

Launch = Callable[..., Server]

REQUEST_RESET = "/api/auth/users/request-password-reset"


@pytest.fixture(scope="module")
def mailbox(server: Server) -> Iterator[Mailbox]:
    with Mailbox() as made:
        change_settings(server, {**made.settings(), "auth.otp.enabled": "1"})
        yield made


def inbox(server: Server, query: str = "") -> Reply:
    return server.call("GET", f"/api/admin/inbox{query}", token=server.admin)


def next_mail(server: Server, query: str) -> Reply:
    return server.call("GET", f"/api/admin/inbox/wait?{query}", token=server.admin)


def reset_mail(server: Server, mailbox: Mailbox, email: str, changes: dict[str, str | None]) -> Mail:
    """The mail about a new password, under these settings."""
    with changed_settings(server, changes):
        server.call("POST", REQUEST_RESET, {"email": email}).accepted()
        settled(server)
    return mailbox.mails(email)[-1]


# The development inbox


def test_without_smtp_a_server_on_loopback_keeps_its_mails_for_an_admin_to_read(launch: Launch) -> None:
    server = launch().admin_setup()
    change_settings(server, {"auth.otp.enabled": "1"})
    email, other = fresh_email(), fresh_email()
    server.register(email)
    server.register(other)
    server.call("POST", "/api/auth/users/otp/request", {"email": email}).accepted()

    code, verify = inbox(server, f"?to={email.upper()}").data
    assert (verify["to"], verify["template"], verify["subject"]) == (email, "verify", VERIFY)
    assert (code["to"], code["template"], code["subject"]) == (email, "otp", f"{code['code']} {CODE}")
    assert verify["link"] == f"http://127.0.0.1:{server.port}/auth/verify?token={verify['token']}&collection=users"
    assert verify["code"] is None
    assert verify["link"] in verify["text"]
    assert html.escape(verify["link"]) in verify["html"]
    assert server.call("GET", verify["link"].removeprefix(f"http://127.0.0.1:{server.port}")).status == 200
    server.call("POST", "/api/auth/users/verify-email", {"token": verify["token"]}).accepted()
    login = server.call("POST", "/api/auth/users/otp/auth", {"email": email, "code": code["code"]}).data
    assert server.sees(login["token"])

    assert [mail["template"] for mail in inbox(server, f"?template=verify&to={other}").data] == ["verify"]
    assert len(inbox(server).data) == 3
    assert {row["state"] for row in outbox(server)} == {"inbox"}


def test_the_inbox_waits_for_a_mail_that_comes_later(launch: Launch) -> None:
    server = launch().admin_setup()
    email = fresh_email()
    server.register(email)
    first = next_mail(server, f"to={email}").data
    later = threading.Timer(1, lambda: server.call("POST", REQUEST_RESET, {"email": email}))
    later.start()
    second = next_mail(server, f"to={email}&after={first['id']}&timeout=30").data
    later.join()
    assert (first["template"], second["template"]) == ("verify", "reset")
    assert next_mail(server, f"to={email}&template=verify").data == first
    assert next_mail(server, f"to={email}").data == second, "the newest"


def test_the_inbox_waits_no_longer_than_it_is_asked_to(launch: Launch) -> None:
    server = launch().admin_setup()
    for seconds in (0, 1):
        next_mail(server, f"to={fresh_email()}&timeout={seconds}").refused(404, code="not_found")


@pytest.mark.parametrize(
    "question", ["timeout=-1", "timeout=61", "timeout=soon", "template=letter", "to=nobody", "after=x"]
)
def test_a_bad_question_to_the_inbox_is_a_422(server: Server, question: str) -> None:
    refusal = next_mail(server, question).refused(422, code="validation_failed")
    assert refusal["details"].keys() == {question.split("=")[0]}


def test_mails_are_for_admins_alone(server: Server) -> None:
    user = server.new_user()["token"]
    for path in ("/api/admin/inbox", "/api/admin/inbox/wait?timeout=0", "/api/admin/outbox"):
        server.call("GET", path).refused(401)
        server.call("GET", path, token=user).refused(403)


def test_the_inbox_ends_when_smtp_is_switched_on(launch: Launch) -> None:
    server = launch().admin_setup()
    with Mailbox() as mailbox:
        server.register(fresh_email())
        assert len(inbox(server).data) == 1
        change_settings(server, mailbox.settings())
        inbox(server).refused(422, code="feature_disabled")
        next_mail(server, "timeout=0").refused(422, code="feature_disabled")
        assert outbox(server) == []
        change_settings(server, {"smtp.enabled": "0"})
        assert inbox(server).data == []
        assert mailbox.mails() == []


# Where links lead


FORGED_HEADERS = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-URL": "/evil",
    "Forwarded": "for=192.0.2.1;host=evil.example;proto=ftp",
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
}


def link_asked_by(server: Server, read: Callable[[str], str], target: str, headers: dict[str, str]) -> str:
    """The link in the mail that a request with these headers, sent as it is, leads to."""
    email = fresh_email()
    server.call("POST", "/api/auth/users/register", {"email": email, "password": PASSWORD}, headers=headers).accepted()
    body = b'{"email": "%s"}' % email.encode()
    fields = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {text}" for name, text in {**fields, **headers}.items()), "", ""]
    with server.connect() as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    return read(email)


@pytest.mark.parametrize("proxies", ["", "127.0.0.1"], ids=["no proxy", "behind a proxy"])
def test_a_link_begins_with_the_setting_whatever_a_request_says(server: Server, mailbox: Mailbox, proxies: str) -> None:
    def read(email: str) -> str:
        return mailbox.newest(email, RESET).link

    with changed_settings(server, {"security.trusted_proxies": proxies}):
        for name, text in FORGED_HEADERS.items():
            assert link_asked_by(server, read, REQUEST_RESET, {name: text}).startswith(f"{APP_URL}/auth/reset?token=")
        link = link_asked_by(server, read, REQUEST_RESET, FORGED_HEADERS)
        assert link.startswith(f"{APP_URL}/auth/reset?token=")


def test_an_absolute_target_changes_no_link(server: Server, mailbox: Mailbox) -> None:
    target = f"http://evil.example{REQUEST_RESET}"
    link = link_asked_by(server, lambda email: mailbox.newest(email, RESET).link, target, FORGED_HEADERS)
    assert link.startswith(f"{APP_URL}/auth/reset?token=")


def test_without_the_setting_links_of_the_inbox_lead_to_the_servers_own_address(launch: Launch) -> None:
    server = launch().admin_setup()

    def read(email: str) -> str:
        return next_mail(server, f"to={email}&template=reset").data["link"]

    link = link_asked_by(server, read, REQUEST_RESET, FORGED_HEADERS)
    assert link.startswith(f"http://127.0.0.1:{server.port}/auth/reset?token=")
    change_settings(server, {"app.url": "https://id.example.org/sub/"})
    (again,) = inbox(server, "?template=reset").data
    assert again["link"] == link.replace(f"http://127.0.0.1:{server.port}", "https://id.example.org/sub")


# Without mail


def without_app_url(server: Server) -> None:
    change_settings(server, {"smtp.enabled": "1", "smtp.host": "127.0.0.1", "smtp.from": "no-reply@example.org"})


def without_a_host(server: Server) -> None:
    change_settings(server, {"smtp.enabled": "1", "app.url": APP_URL})


def reachable_from_outside(server: Server) -> None:
    assert server.stop() == 0
    server.start("--host", "0.0.0.0", "--port", str(server.port))
    inbox(server).refused(422, code="feature_disabled")


@pytest.mark.parametrize("misconfigure", [without_app_url, without_a_host, reachable_from_outside])
def test_every_flow_that_needs_mail_is_refused_while_none_can_go_out(
    launch: Launch, misconfigure: Callable[[Server], None]
) -> None:
    server = launch().admin_setup()
    misconfigure(server)
    email = fresh_email()
    server.register(email)
    login = server.login(email)
    known = {"email": email}

    server.call("POST", "/api/auth/users/otp/request", known).refused(422, code="feature_disabled")
    change_settings(server, {"auth.otp.enabled": "1"})
    routes: list[tuple[str, str, Any, str | None]] = [
        ("POST", "/api/auth/users/request-verify", None, login["token"]),
        ("POST", REQUEST_RESET, known, None),
        ("POST", "/api/auth/users/otp/request", known, None),
        ("GET", f"/api/users/{email}/recover", None, None),
        ("POST", f"/api/users/{email}/recover", None, None),
    ]
    for method, path, body, token in routes:
        server.call(method, path, body, token).refused(422, code="mail_not_configured")
        server.call(method, path.replace("users", "nobody", 1), body, token).refused(404, code="not_found")
    # The credential is looked at before, the body after.
    server.call("POST", "/api/auth/users/request-verify").refused(401)
    server.call("POST", REQUEST_RESET, b"{").refused(422, code="mail_not_configured")
    form = f"email={quote(email)}".encode()
    page = server.call("POST", "/auth/reset", form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert page.status == 422
    assert page.headers.get_content_type() == "text/html"

    # What is about something else goes on, only nobody is told.
    new = fresh_email()
    path = f"/api/records/users/{login['record']['id']}"
    assert server.call("PATCH", path, {"email": new}, login["token"]).data["email"] == new
    change = {"current_password": PASSWORD, "password": "an even better one"}
    assert server.call("POST", "/api/auth/users/change-password", change, login["token"]).data["token"]
    assert outbox(server) == []


# What operators and strangers write into mails


INJECTIONS = ["ada@example.org\r\nBcc: eve@example.org", "ada@example.org\nBcc: eve@example.org", "ada\r@example.org",
              "ada@example.org\u2028Bcc: eve@example.org", "ada@example.org\x85x", "ada@example.org>, <eve@example.org",
              "ada@example.org, eve@example.org", "ada@example.org\x00"]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS, ids=repr)
def test_an_address_with_more_in_it_gets_no_mail_by_any_route(server: Server, mailbox: Mailbox, text: str) -> None:
    user = server.new_user()
    settled(server)
    before = outbox(server)
    for path in ("request-password-reset", "otp/request", "register"):
        body = {"email": text, "password": PASSWORD}
        server.call("POST", f"/api/auth/users/{path}", body).refused(422, code="validation_failed")
    record = f"/api/records/users/{user['record']['id']}"
    server.call("PATCH", record, {"email": text}, user["token"]).refused(422, code="validation_failed")
    status = server.call("POST", f"/api/users/{quote(text, safe='')}/recover").status
    assert status == (400 if "\0" in text else 200)
    assert outbox(server) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smtp.from", "Ada\r\nBcc: eve@example.org <ada@example.org>"),
        ("smtp.from", "ada@example.org\nBcc: eve@example.org"),
        ("smtp.from", "Ada"),
        ("smtp.host", "mail.example.org\r\nx"),
        ("smtp.host", "smtp://mail.example.org"),
        ("app.url", "https://example.org\r\n\r\nx"),
        ("app.url", "javascript:alert(1)"),
        ("email.reset.subject", "{{#open}} never closed"),
        ("email.reset.body", "{{email"),
        ("email.reset.subject", "x" * 501),
        ("email.reset.body", "x" * 65_537),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_a_setting_that_no_mail_can_be_made_of_is_refused(
    server: Server, mailbox: Mailbox, key: str, value: str
) -> None:
    settings = server.call("GET", "/api/admin/settings", token=server.admin).data
    refusal = server.call("PATCH", "/api/admin/settings", {key: value}, server.admin).refused(422)
    assert refusal["details"].keys() == {key}
    assert server.call("GET", "/api/admin/settings", token=server.admin).data == settings


def test_a_subject_is_one_line_whatever_its_template_says(server: Server, mailbox: Mailbox) -> None:
    email = fresh_email()
    server.register(email)
    subject = "For {{email}}\r\nBcc: eve@example.org\r\n\r\n<b>\n"
    mail = reset_mail(server, mailbox, email, {"email.reset.subject": subject})
    assert mail.subject == f"For {email} Bcc: eve@example.org <b>"
    assert mail.message["Bcc"] is None
    assert mail.recipients == (email,)
    assert mail.link.startswith(APP_URL), "the body stays as it was"


def test_values_are_escaped_in_html_and_unknown_ones_are_empty(server: Server, mailbox: Mailbox) -> None:
    email = f"o'neil&co-{fresh_email()}"
    server.register(email)
    body = "<p>Dear <b>{{email}}</b>, [{{unknown}}] [{{code}}] of {{collection}} at {{appUrl}}:</p>\n<p>{{link}}</p>"
    mail = reset_mail(server, mailbox, email, {"email.reset.body": body})
    escaped = email.replace("&", "&amp;").replace("'", "&#39;")
    assert f"<b>{escaped}</b>, [] [] of users at {APP_URL}:" in mail.html
    assert mail.text.startswith(f"Dear {email}, [] [] of users at {APP_URL}:\n\n{APP_URL}/auth/reset?token=")

    plain = reset_mail(server, mailbox, email, {"email.reset.body": "Dear {{email}} [{{unknown}}]\n\n{{link}}"})
    assert plain.text.startswith(f"Dear {email} []\n\n{APP_URL}/auth/reset?token=")
    assert f"Dear {escaped} []" in plain.html


def test_a_body_of_html_gives_a_text_that_people_can_read(server: Server, mailbox: Mailbox) -> None:
    email = fresh_email()
    server.register(email)
    body = """<!doctype html><html><head><title>Hidden</title><style>p { color: red }</style></head><body>
        <h1>Grüße</h1><p>For <em>{{email}}</em>:<br>see   below &amp; click</p>
        <ul><li>one</li><li>two</li></ul><a class="button" href="{{link}}">Set it</a></body></html>"""
    mail = reset_mail(server, mailbox, email, {"email.reset.body": body})
    assert "<em>" in mail.html
    assert f'href="{html.escape(f"{APP_URL}/auth/reset?token=")}' in mail.html
    assert mail.text.split("\n")[:3] == ["Grüße", f"For {email}:", "see below & click"]
    assert f"Set it ({APP_URL}/auth/reset?token=" in mail.text
    assert not [hidden for hidden in ("Hidden", "color", "<", "&amp;") if hidden in mail.text]


def test_blank_texts_mean_the_built_in_ones(server: Server, mailbox: Mailbox) -> None:
    email = fresh_email()
    server.register(email)
    mail = reset_mail(server, mailbox, email, {"email.reset.subject": " \n", "email.reset.body": "\r\n \t"})
    assert mail.subject == RESET
    assert mail.link.startswith(f"{APP_URL}/auth/reset?token=")
