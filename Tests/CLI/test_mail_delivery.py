"""From the outbox to the mail server, whatever that does: nobody waits for it, nothing is lost, nothing comes twice."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from conftest import Launcher, Server, eventually, fresh_email
from smtp import (
    DELIVERY_SECONDS_MAX, RETRY_SECONDS_MAX, SENDER, VERIFY, Certificate, Mailbox, Mood, assert_sent_once,
    change_settings, outbox, settled,
)  # fmt: skip

RELAY, RIGHT_PASSWORD, WRONG_PASSWORD = "relay", "sesame öpen", "open onion"
REFUSALS_MAX = 8
# What was being tried at the moment of a kill is tried again a minute later, and the lease changes hands before that.
CRASH_SECONDS_MAX = 100

Launch = Callable[..., Server]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server that doesn't run yet."""
    made = Mailbox()
    yield made
    made.stop()


def using(launch: Launch, mailbox: Mailbox, **environment: str) -> Server:
    """A server that hands its mails in at `mailbox`."""
    server = launch(**environment).admin_setup()
    change_settings(server, mailbox.settings())
    return server


def registered(server: Server) -> str:
    """The address of somebody who has just registered, and to whom a mail goes out."""
    email = fresh_email()
    server.register(email)
    return email


def tried(server: Server, email: str, times: int = 1) -> dict[str, Any]:
    """What the outbox says of the one mail to `email`, when it was tried in vain so many times."""

    def row() -> dict[str, Any] | None:
        (found,) = outbox(server, email)
        is_waiting = found["state"] == "pending" and found["last_error"]
        return found if found["attempts"] >= times and is_waiting else None

    return eventually(row, RETRY_SECONDS_MAX)


# How mails are handed in


@pytest.mark.parametrize("tls", [None, "starttls", "implicit"])
@pytest.mark.parametrize("account", [None, (RELAY, RIGHT_PASSWORD)], ids=["nobody", "relay"])
def test_a_mail_is_handed_in_under_the_encryption_and_the_name_that_are_set(
    launch: Launch, tmp_path: Path, tls: Literal["starttls", "implicit"] | None, account: tuple[str, str] | None
) -> None:
    certificate = Certificate.make(tmp_path) if tls else None
    with Mailbox(tls, certificate, account) as mailbox:
        server = using(launch, mailbox)
        mail = assert_sent_once(server, mailbox, registered(server))
        assert mail.is_encrypted == (tls is not None)
        assert mail.user == (RELAY if account else None)
        assert mailbox.sign_ins == ([(RELAY, True, tls is not None)] if account else [])


@pytest.mark.parametrize("tls", [None, "starttls"])
def test_a_password_goes_to_another_machine_only_over_tls_and_only_to_the_one_that_was_meant(
    launch: Launch, tmp_path: Path, tls: Literal["starttls"] | None
) -> None:
    name = socket.gethostname()  # not a loopback address by its spelling, which is what decides
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("this machine's name leads nowhere")
    certificate = Certificate.make(tmp_path) if tls else None
    with Mailbox(tls, certificate, (RELAY, RIGHT_PASSWORD), address) as mailbox:
        server = using(launch, mailbox)
        change_settings(server, {"smtp.host": name})
        body = {"to": fresh_email()}
        path = "/api/admin/settings/smtp/test"
        refusal = server.call("POST", path, body, server.admin).refused(422, code="mail_not_sent")
        assert ("certificate" if tls else "STARTTLS") in refusal["error"], refusal
        assert mailbox.connections > 0
        assert mailbox.sign_ins == []
        assert mailbox.mails() == []


def test_a_wrong_smtp_password_loses_no_mail_and_is_told_to_nobody(launch: Launch, tmp_path: Path) -> None:
    with Mailbox("starttls", Certificate.make(tmp_path), (RELAY, RIGHT_PASSWORD)) as mailbox:
        server = using(launch, mailbox)
        change_settings(server, {"smtp.pass": WRONG_PASSWORD})
        email = registered(server)
        row = tried(server, email)
        assert row["state"] == "pending"
        path = "/api/admin/settings/smtp/test"
        refusal = server.call("POST", path, {"to": email}, server.admin).refused(422, code="mail_not_sent")
        assert "Authentication credentials invalid" in refusal["error"]
        assert {name for name, _, _ in mailbox.sign_ins} == {RELAY}
        assert not any(is_right for _, is_right, _ in mailbox.sign_ins)
        signed_in_with = base64.b64encode(f"\0{RELAY}\0{WRONG_PASSWORD}".encode()).decode()
        for told in (row["last_error"], refusal["error"], server.logged(), server.printed()):
            assert WRONG_PASSWORD not in told
            assert signed_in_with not in told

        change_settings(server, {"smtp.pass": RIGHT_PASSWORD})
        assert assert_sent_once(server, mailbox, email).user == RELAY


def test_a_test_mail_tells_what_the_server_says(launch: Launch, mailbox: Mailbox) -> None:
    server = launch().admin_setup()
    path, body = "/api/admin/settings/smtp/test", {"to": "ops@example.org"}
    server.call("POST", path, body, server.admin).refused(422, code="mail_not_configured")
    # It may be tried before mail is switched on.
    change_settings(server, {**mailbox.settings(), "smtp.enabled": "0"})
    server.call("POST", path, body, server.admin).refused(422, code="mail_not_sent")
    mailbox.start()
    mailbox.mood = Mood(recipient_reply="550 5.7.1 We don't relay for you")
    refusal = server.call("POST", path, body, server.admin).refused(422, code="mail_not_sent")
    assert "550 5.7.1 We don't relay for you" in refusal["error"]
    mailbox.mood = Mood()
    assert server.call("POST", path, body, server.admin).data == {"sent": True}
    assert [mail.recipients for mail in mailbox.mails()] == [("ops@example.org",)]
    for wrong in ({}, {"to": "nobody"}, {"to": "a@b.org\r\nBcc: eve@example.org"}):
        server.call("POST", path, wrong, server.admin).refused(422, code="validation_failed")
    server.call("POST", path, body).refused(401)
    server.call("POST", path, body, server.new_user()["token"]).refused(403)


# A server that doesn't take them


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        pytest.param(Mood(recipient_reply="550 5.1.1 No such mailbox"), "550 5.1.1 No such mailbox", id="550 at RCPT"),
        pytest.param(Mood(recipient_reply="450 4.2.0 Greylisted"), "450 4.2.0 Greylisted", id="450 at RCPT"),
        pytest.param(Mood(recipient_reply="421 4.3.2 Going down"), "421 4.3.2 Going down", id="421 at RCPT"),
        pytest.param(Mood(data_reply="451 4.3.0 Try later"), "451 4.3.0 Try later", id="451 at DATA"),
        pytest.param(Mood(data_reply="554 5.7.1 Spam"), "554 5.7.1 Spam", id="554 at DATA"),
        pytest.param(Mood(drops=1_000_000), "", id="dropping"),
    ],
)
def test_a_mail_that_is_not_taken_waits_and_arrives_once(
    launch: Launch, mailbox: Mailbox, mood: Mood, said: str
) -> None:
    mailbox.mood = mood
    server = using(launch, mailbox.start())
    email = registered(server)
    row = tried(server, email)
    assert (row["state"], row["template"], row["settled_at"]) == ("pending", "verify", None)
    assert row["next_attempt_at"] > row["created_at"]
    assert said in row["last_error"]
    assert server.login(email)
    assert mailbox.mails() == []

    mailbox.mood = Mood()
    other = registered(server)
    mailbox.wait(other, within=RETRY_SECONDS_MAX)
    assert_sent_once(server, mailbox, email, RETRY_SECONDS_MAX)
    assert_sent_once(server, mailbox, other)
    assert outbox(server, email)[0]["last_error"] is None


def test_a_mail_arrives_once_after_two_broken_connections(launch: Launch, mailbox: Mailbox) -> None:
    mailbox.mood = Mood(drops=2)
    server = using(launch, mailbox.start())
    email = registered(server)
    assert_sent_once(server, mailbox, email, RETRY_SECONDS_MAX)
    assert outbox(server, email)[0]["attempts"] == 3


def test_a_mail_whose_acceptance_got_lost_comes_again_under_the_same_message_id(
    launch: Launch, mailbox: Mailbox
) -> None:
    mailbox.mood = Mood(silences=1)
    server = using(launch, mailbox.start())
    first, second = mailbox.wait(registered(server), VERIFY, 2, RETRY_SECONDS_MAX)
    assert first.message["Message-ID"] == second.message["Message-ID"]
    assert first.token == second.token


def test_nobody_waits_for_a_slow_mail_server(launch: Launch, mailbox: Mailbox) -> None:
    mailbox.mood = Mood(seconds=3)
    server = using(launch, mailbox.start())
    emails = [registered(server) for _ in range(6)]
    for email in emails:
        assert server.login(email)
        server.call("POST", "/api/auth/users/request-password-reset", {"email": email}).accepted()
    assert mailbox.mails() == [], "a request has waited for a mail"
    settled(server, RETRY_SECONDS_MAX)
    assert sorted(mail.recipients[0] for mail in mailbox.mails()) == sorted(2 * emails)


def test_a_setting_that_changes_while_a_mail_is_under_way_sends_it_no_second_time(
    launch: Launch, mailbox: Mailbox
) -> None:
    mailbox.mood = Mood(seconds=2)
    server = using(launch, mailbox.start())
    email = registered(server)
    eventually(lambda: outbox(server, email)[0]["attempts"])
    change_settings(server, {"smtp.from": "Latchkey <changed@example.org>"})
    assert_sent_once(server, mailbox, email, RETRY_SECONDS_MAX)
    assert outbox(server, email)[0]["attempts"] == 1


def test_mails_wait_for_a_server_that_is_away_and_each_arrives_once(launch: Launch, mailbox: Mailbox) -> None:
    server = using(launch, mailbox)
    emails = [registered(server) for _ in range(20)]
    eventually(lambda: any(row["last_error"] for row in outbox(server)), DELIVERY_SECONDS_MAX)
    assert {row["state"] for row in outbox(server)} <= {"pending", "sending"}
    assert server.login(emails[0])
    mailbox.start()
    for email in emails:
        assert_sent_once(server, mailbox, email, RETRY_SECONDS_MAX)
    page = server.call("GET", "/api/admin/outbox?state=sent&perPage=5", token=server.admin)
    assert (page.json["totalItems"], len(page.data)) == (len(emails), 5)
    server.call("GET", "/api/admin/outbox?state=lost", token=server.admin).refused(422)


def test_a_mail_is_given_up_after_eight_refusals(launch: Launch, mailbox: Mailbox) -> None:
    mailbox.mood = Mood(recipient_reply="550 5.1.1 No such mailbox")
    server = using(launch, mailbox.start())
    email = registered(server)
    for times in range(1, REFUSALS_MAX):
        assert tried(server, email, times)["state"] == "pending"
        # A changed setting lets what waits be tried at once.
        change_settings(server, {"smtp.from": f"Latchkey <try-{times}@example.org>"})
    (row,) = eventually(lambda: outbox(server, email, "failed"))
    assert (row["attempts"], row["next_attempt_at"]) == (REFUSALS_MAX, None)
    assert "No such mailbox" in row["last_error"]
    assert row["settled_at"]
    mailbox.mood = Mood()
    change_settings(server, {"smtp.from": SENDER})
    assert_sent_once(server, mailbox, registered(server))
    assert mailbox.mails(email) == [], "what is given up stays so"


def test_the_mails_of_a_removed_account_are_removed_with_it(launch: Launch, mailbox: Mailbox) -> None:
    server = using(launch, mailbox)
    removed, kept = fresh_email(), fresh_email()
    account = server.register(removed)
    server.register(kept)
    assert [row["user_id"] for row in outbox(server, removed)] == [account["id"]]
    server.call("DELETE", f"/api/admin/users/users/{account['id']}", token=server.admin).accepted()
    assert outbox(server, removed) == []
    mailbox.start()
    assert_sent_once(server, mailbox, kept, RETRY_SECONDS_MAX)
    assert mailbox.mails(removed) == []


# A Latchkey that is killed, and several of them


@pytest.mark.parametrize("is_tried", [False, True], ids=["before the first try", "after a failed try"])
def test_kill_9_between_commit_and_delivery_loses_no_mail(launch: Launch, mailbox: Mailbox, is_tried: bool) -> None:
    server = using(launch, mailbox)
    email = registered(server)
    if is_tried:
        tried(server, email)
    server.kill()
    server.start()
    mailbox.start()
    assert_sent_once(server, mailbox, email, CRASH_SECONDS_MAX)


def test_a_mail_that_is_under_way_when_the_server_is_asked_to_stop_arrives_once(
    launch: Launch, mailbox: Mailbox
) -> None:
    mailbox.mood = Mood(seconds=3)
    server = using(launch, mailbox.start())
    email = registered(server)
    eventually(lambda: mailbox.connections and outbox(server, email)[0]["attempts"])
    assert server.stop() == 0
    server.start()
    assert_sent_once(server, mailbox, email, CRASH_SECONDS_MAX)


@pytest.fixture
def nodes(launch: Launcher, mailbox: Mailbox) -> list[Server]:
    first, second = launch.nodes(2)
    second.admin_setup()  # the later start printed the URL that counts
    first.admin = second.admin
    change_settings(second, mailbox.settings())
    # The other one has heard of it when it has no development inbox any more.
    eventually(lambda: first.call("GET", "/api/admin/inbox", token=first.admin).status == 422)
    return [first, second]


@pytest.mark.engine("postgres")
def test_a_mail_that_is_posted_on_either_node_arrives_once(nodes: list[Server], mailbox: Mailbox) -> None:
    mailbox.start()
    emails = [registered(nodes[number % 2]) for number in range(12)]
    for email in emails:
        assert_sent_once(nodes[0], mailbox, email, RETRY_SECONDS_MAX)


@pytest.mark.engine("postgres")
def test_when_the_node_that_delivers_is_killed_the_other_one_does(nodes: list[Server], mailbox: Mailbox) -> None:
    delivering = [node for node in nodes if "does the background work" in node.logged()]
    assert len(delivering) == 1
    other = next(node for node in nodes if node is not delivering[0])
    waiting = registered(delivering[0])
    tried(other, waiting)
    delivering[0].kill()
    mailbox.start()
    for email in (waiting, registered(other)):
        assert_sent_once(other, mailbox, email, CRASH_SECONDS_MAX)
    assert "does the background work" in other.logged()
