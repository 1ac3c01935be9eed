"""Every flow that needs mail, over a real SMTP server: what a person reads in the mail is all that the tests know."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from typing import Any

import pytest
from conftest import PASSWORD, Reply, Server, fresh_email
from smtp import (
    APP_URL, CODE, EMAIL_CHANGE, RECOVER, RESET, VERIFY, Mail, Mailbox, change_settings, changed_settings, settled,
)  # fmt: skip

NEW_PASSWORD = "an even better one"
PARALLEL = 16
WRONG_CODES_MAX = 5


@pytest.fixture(scope="module")
def mailbox(server: Server) -> Iterator[Mailbox]:
    with Mailbox() as made:
        change_settings(server, {**made.settings(), "auth.otp.enabled": "1"})
        yield made


@pytest.fixture
def email(server: Server, mailbox: Mailbox) -> str:
    """The address of a new account, whose first mail has come."""
    made = fresh_email()
    server.register(made)
    mailbox.wait(made, VERIFY)
    return made


def post(server: Server, path: str, body: Any = None, token: str | None = None) -> Reply:
    return server.call("POST", f"/api/auth/users/{path}", body, token)


def asked(server: Server, mailbox: Mailbox, path: str, email: str, about: str) -> Mail:
    """The mail that comes when it is asked for."""
    before = len(mailbox.mails(email, about))
    assert post(server, path, {"email": email}).data == {"sent": True}
    return mailbox.newest(email, about, before + 1)


def asked_change(server: Server, mailbox: Mailbox, email: str, new: str) -> Mail:
    """The mail to the new address, after the owner of `email` asked to move there."""
    login = server.login(email)
    path = f"/api/records/users/{login['record']['id']}"
    changed = server.call("PATCH", path, {"email": new}, login["token"]).data
    assert (changed["email"], changed["pending_email"]) == (email, new)
    return mailbox.newest(new, EMAIL_CHANGE)


# What comes


def test_every_mail_has_the_headers_and_the_two_parts_that_a_mail_program_wants(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    mail = mailbox.newest(email, VERIFY)
    message = mail.message
    assert (mail.sender, mail.recipients) == ("no-reply@example.org", (email,))
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"):
        assert len(message.get_all(name, [])) == 1, name
    assert message["From"].addresses == (Address("Zoë from Latchkey", "no-reply", "example.org"),)
    assert message["To"].addresses == (Address(addr_spec=email),)
    assert abs(datetime.now(UTC) - message["Date"].datetime) < timedelta(hours=1)
    assert re.fullmatch(r"<[^@<>\s]+@example\.org>", message["Message-ID"])
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert not message.defects

    assert email in mail.text
    assert "<" not in mail.text
    assert f'href="{html.escape(mail.link)}"' in mail.html
    assert email in mail.html


def test_names_and_subjects_in_any_script_arrive_as_they_were_written(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    subject = "Neues Kennwort für {{email}}: 新しいパスワード 🔑 " + "ä" * 90
    changes = {"email.reset.subject": subject, "smtp.from": '"Łukasz, 東京" <post@example.org>'}
    with changed_settings(server, changes):
        mail = asked(server, mailbox, "request-password-reset", email, "Kennwort")
    assert mail.subject == subject.replace("{{email}}", email)
    assert mail.message["From"].addresses == (Address("Łukasz, 東京", "post", "example.org"),)


def test_a_registration_mails_a_link_that_verifies_the_email_once(server: Server, mailbox: Mailbox, email: str) -> None:
    token = server.login(email)["token"]
    assert server.me(token).data["email_verified"] is False
    mail = mailbox.newest(email, VERIFY)
    assert mail.link == f"{APP_URL}/auth/verify?token={mail.token}&collection=users"
    assert post(server, "verify-email", {"token": mail.token}).data == {"verified": True}
    assert server.me(token).data["email_verified"] is True
    post(server, "verify-email", {"token": mail.token}).refused(400, code="invalid_one_time_token")


def test_another_link_can_be_asked_for_until_the_email_is_verified(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    token = server.login(email)["token"]
    assert post(server, "request-verify", token=token).data == {"sent": True}
    first, second = mailbox.wait(email, VERIFY, count=2)
    post(server, "verify-email", {"token": first.token}).refused(400, code="invalid_one_time_token")
    post(server, "verify-email", {"token": second.token}).accepted()
    assert post(server, "request-verify", token=token).data == {"sent": False, "already_verified": True}
    settled(server)
    assert len(mailbox.mails(email)) == 2


def test_a_mailed_link_sets_a_new_password_ends_every_session_and_its_owner_is_told(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    sessions = [server.login(email)["token"] for _ in range(2)]
    mail = asked(server, mailbox, "request-password-reset", email, RESET)
    assert mail.link == f"{APP_URL}/auth/reset?token={mail.token}&collection=users"

    # A password that the policy refuses does not cost the link.
    weak = {"token": mail.token, "password": "short"}
    post(server, "confirm-password-reset", weak).refused(422, code="validation_failed")
    assert server.sees(sessions[0])
    change = {"token": mail.token, "password": NEW_PASSWORD}
    assert post(server, "confirm-password-reset", change).data == {"reset": True}

    for token in sessions:
        assert server.me(token).refused(401, code="session_ended")["details"] == {"reason": "password_changed"}
    post(server, "login", {"email": email, "password": PASSWORD}).refused(401, code="invalid_credentials")
    assert server.login(email, NEW_PASSWORD)["record"]["email_verified"] is True
    post(server, "confirm-password-reset", change).refused(400, code="invalid_one_time_token")
    notice = mailbox.newest(email, "Your password was changed")
    assert "127.0.0.1" in notice.text
    assert "http" not in notice.text


@pytest.mark.parametrize("by", ["token", "code", "code with spaces"])
def test_a_mailed_link_or_code_signs_in_once_and_verifies_the_email(
    server: Server, mailbox: Mailbox, email: str, by: str
) -> None:
    mail = asked(server, mailbox, "otp/request", email, CODE)
    assert mail.subject == f"{mail.code} is your sign-in code"
    assert mail.code in mail.html
    assert mail.link == f"{APP_URL}/auth/otp?token={mail.token}&collection=users"
    written = f" {mail.code[:3]} {mail.code[3:]} " if by == "code with spaces" else mail.code
    proof = {"token": mail.token} if by == "token" else {"email": email.upper(), "code": written}
    login = post(server, "otp/auth", proof).data
    me = server.me(login["token"]).data
    assert (me["email"], me["amr"], me["email_verified"]) == (email, ["otp"], True)
    for used in ({"token": mail.token}, {"email": email, "code": mail.code}):
        post(server, "otp/auth", used).refused(400, code="invalid_one_time_token")


def test_a_new_code_takes_the_place_of_the_one_before(server: Server, mailbox: Mailbox, email: str) -> None:
    first = asked(server, mailbox, "otp/request", email, CODE)
    second = asked(server, mailbox, "otp/request", email, CODE)
    post(server, "otp/auth", {"token": first.token}).refused(400, code="invalid_one_time_token")
    assert post(server, "otp/auth", {"token": second.token}).data["token"]


def test_a_change_of_email_waits_for_the_new_address_and_the_old_one_is_told_of_it_twice(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    reset = asked(server, mailbox, "request-password-reset", email, RESET)
    new = fresh_email()
    mail = asked_change(server, mailbox, email, new)
    asking = mailbox.newest(email, "A change of your email address was asked for")
    assert new in asking.text
    assert "http" not in asking.text
    assert server.login(email)
    post(server, "login", {"email": new, "password": PASSWORD}).refused(401)

    assert mail.link == f"{APP_URL}/auth/email-change?token={mail.token}&collection=users"
    assert post(server, "confirm-email-change", {"token": mail.token}).data == {"changed": True, "email": new}
    record = server.login(new)["record"]
    assert (record["email"], record["email_verified"], record.get("pending_email")) == (new, True, None)
    post(server, "login", {"email": email, "password": PASSWORD}).refused(401)
    assert new in mailbox.newest(email, "Your email address was changed").text
    # What was mailed to the old address is good for nothing any more.
    change = {"token": reset.token, "password": NEW_PASSWORD}
    post(server, "confirm-password-reset", change).refused(400, code="invalid_one_time_token")
    post(server, "confirm-email-change", {"token": mail.token}).refused(400, code="invalid_one_time_token")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("by", ["id", "username", "email"])
def test_an_account_is_recovered_by_its_id_username_or_email(
    server: Server, mailbox: Mailbox, method: str, by: str
) -> None:
    email = fresh_email()
    account = server.register(email, username=email.split("@")[0])
    session = server.login(email)["token"]
    assert server.call(method, f"/api/users/{account[by]}/recover").data == {"sent": True}
    mail = mailbox.newest(email, RECOVER)
    assert mail.link == f"{APP_URL}/auth/recover?token={mail.token}&collection=users"
    change = {"token": mail.token, "password": NEW_PASSWORD}
    assert post(server, "confirm-password-reset", change).data == {"reset": True}
    assert server.me(session).refused(401)["details"] == {"reason": "password_changed"}
    assert server.login(email, NEW_PASSWORD)
    post(server, "confirm-password-reset", change).refused(400, code="invalid_one_time_token")
    mailbox.newest(email, "Your account was recovered")


def test_an_unknown_address_gets_the_answer_of_a_known_one_and_no_mail(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    unknown = fresh_email()

    def answers(address: str) -> list[tuple[int, Any]]:
        replies = [
            post(server, "request-password-reset", {"email": address}),
            post(server, "otp/request", {"email": address}),
            server.call("GET", f"/api/users/{address}/recover"),
            server.call("POST", f"/api/users/{address}/recover"),
        ]
        return [(reply.status, reply.json) for reply in replies]

    assert answers(unknown) == answers(email) == [(200, {"data": {"sent": True}})] * 4
    refusals = [
        post(server, "otp/auth", {"email": address, "code": "000000"}).refused(400) for address in (email, unknown)
    ]
    assert refusals[0]["code"] == refusals[1]["code"] == "invalid_one_time_token"
    assert refusals[0]["error"] == refusals[1]["error"]
    settled(server)
    assert len(mailbox.mails(email)) == 5
    assert mailbox.mails(unknown) == []


# What is redeemed at the same time, or guessed


def verify_token(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    return [("verify-email", {"token": mailbox.newest(email, VERIFY).token})]


def reset_token(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    mail = asked(server, mailbox, "request-password-reset", email, RESET)
    return [("confirm-password-reset", {"token": mail.token, "password": NEW_PASSWORD})]


def recover_token(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    server.call("POST", f"/api/users/{email}/recover").accepted()
    mail = mailbox.newest(email, RECOVER)
    return [("confirm-password-reset", {"token": mail.token, "password": NEW_PASSWORD})]


def email_change_token(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    return [("confirm-email-change", {"token": asked_change(server, mailbox, email, fresh_email()).token})]


def otp_token_and_code(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    mail = asked(server, mailbox, "otp/request", email, CODE)
    return [("otp/auth", {"token": mail.token}), ("otp/auth", {"email": email, "code": mail.code})]


def otp_token(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    return otp_token_and_code(server, mailbox, email)[:1]


def otp_code(server: Server, mailbox: Mailbox, email: str) -> list[tuple[str, Any]]:
    return otp_token_and_code(server, mailbox, email)[1:]


@pytest.mark.parametrize(
    "redemptions",
    [verify_token, reset_token, recover_token, email_change_token, otp_token, otp_code, otp_token_and_code],
)
def test_of_sixteen_redemptions_at_once_one_wins(
    server: Server, mailbox: Mailbox, email: str, redemptions: Callable[..., list[tuple[str, Any]]]
) -> None:
    calls = (redemptions(server, mailbox, email) * PARALLEL)[:PARALLEL]
    # A code that is spent counts as a wrong one, and ten of those would lock the account: that is another matter.
    lockout_off = changed_settings(server, {"auth.lockout.max_attempts": "0"})
    with lockout_off, ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(lambda call: post(server, *call), calls))
    assert Counter(reply.status for reply in replies) == {200: 1, 400: PARALLEL - 1}
    for reply in replies:
        if reply.status == 400:
            reply.refused(400, code="invalid_one_time_token")


def test_five_wrong_codes_kill_the_right_one_and_the_link_until_a_new_one_is_asked_for(
    server: Server, mailbox: Mailbox, email: str
) -> None:
    mail = asked(server, mailbox, "otp/request", email, CODE)
    right = {"email": email, "code": mail.code}
    wrong = {"email": email, "code": f"{(int(mail.code) + 1) % 1_000_000:06d}"}
    for _ in range(WRONG_CODES_MAX + 1):
        post(server, "otp/auth", wrong).refused(400, code="invalid_one_time_token")
    post(server, "otp/auth", right).refused(400, code="invalid_one_time_token")
    post(server, "otp/auth", {"token": mail.token}).refused(400, code="invalid_one_time_token")
    again = asked(server, mailbox, "otp/request", email, CODE)
    assert post(server, "otp/auth", {"email": email, "code": again.code}).data["token"]


def test_four_wrong_codes_leave_the_right_one_alone(server: Server, mailbox: Mailbox, email: str) -> None:
    mail = asked(server, mailbox, "otp/request", email, CODE)
    for number in range(1, WRONG_CODES_MAX):
        wrong = {"email": email, "code": f"{(int(mail.code) + number) % 1_000_000:06d}"}
        post(server, "otp/auth", wrong).refused(400, code="invalid_one_time_token")
    assert post(server, "otp/auth", {"email": email, "code": mail.code}).data["token"]


# What is kept of a mail


def stored(server: Server) -> bytes:
    """All that the server keeps: the files of its data directory, or the rows of its database, and what it printed."""
    kept = [path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()]
    if server.database:
        tables = server.database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            kept += [row[0].encode() for row in server.database.query(f'SELECT t::text FROM "{table}" t')]
    return b"\n".join([*kept, server.printed().encode(), server.logged().encode()])


def test_no_token_or_code_of_a_mail_is_stored_or_logged_while_it_waits_or_afterwards(
    server: Server, mailbox: Mailbox
) -> None:
    emails = [fresh_email() for _ in range(3)]
    mailbox.stop()
    try:
        for email in emails:
            server.register(email)
            for path in ("request-password-reset", "otp/request"):
                post(server, path, {"email": email}).accepted()
            server.call("POST", f"/api/users/{email}/recover").accepted()
        while_waiting = stored(server)
    finally:
        mailbox.start()
    mails = [mail for email in emails for mail in mailbox.wait(email, count=4, within=60)]
    for mail in mails:
        assert server.call("GET", mail.link.removeprefix(APP_URL)).status == 200
    settled(server)
    for kept in (while_waiting, stored(server)):
        assert emails[0].encode() in kept, "it looks in the wrong place"
        for mail in mails:
            assert mail.token.encode() not in kept
            assert mail.token.encode().hex().encode() not in kept
        # Six digits may stand there by chance; those of all mails don't.
        codes = [mail.code.encode() for mail in mails if CODE in mail.subject]
        assert len(codes) == len(emails)
        assert not all(code in kept for code in codes)
