"""Mailed links that don't work, and forms that nobody should send."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from cli import Server
from pages import (
    DEAD,
    EMAIL_CHANGE,
    HOSTILE,
    INCOMPLETE,
    LONG_NAME,
    NEW_PASSWORD,
    RECOVER,
    REFUSED,
    WRONG_TOKEN,
    Flow,
    Mail,
    Person,
    assert_offers_another,
    each_asking_flow,
    each_flow,
    expire,
    own,
    send_form,
)
from window import OpenWindow

Spoil = Callable[[Flow, Person, Mail], str]


@dataclass(frozen=True)
class BadLink:
    name: str
    # Returns the link as it is opened.
    make: Spoil
    heading: str = DEAD

    @property
    def alert(self) -> str:
        """How the sentence under the heading begins."""
        return "It was used already, or it is too old" if self.heading == DEAD else "Open it as it stands in the mail."


def used(flow: Flow, person: Person, mail: Mail) -> str:
    token = mail.link.partition("token=")[2].partition("&")[0]
    done = send_form(person.server, flow.path, token=token, collection=person.collection, password=NEW_PASSWORD)
    assert done.status == 200
    return mail.link


def superseded(flow: Flow, person: Person, mail: Mail) -> str:
    flow.mail(person, after=mail)
    return mail.link


def expired(flow: Flow, person: Person, mail: Mail) -> str:
    expire(person, flow)
    return mail.link


def edited(pattern: str, replacement: str) -> Spoil:
    return lambda flow, person, mail: re.sub(pattern, replacement, mail.link)


BAD_LINKS = [
    BadLink("used", used),
    BadLink("superseded", superseded),
    BadLink("expired", expired),
    BadLink("made-up", edited("token=[^&]+", f"token={WRONG_TOKEN}")),
    BadLink("of-another-collection", edited("collection=.*", f"collection={LONG_NAME}")),
    BadLink("cut-off", edited("(token=[^&]{20}).*", r"\1"), INCOMPLETE),
    BadLink("with-the-full-stop-behind-it", edited("(token=[^&]+)", r"\1."), INCOMPLETE),
    BadLink("not-a-token", edited("token=[^&]+", "token=%20%F0%9F%94%91"), INCOMPLETE),
    BadLink("endless", edited("token=[^&]+", "token=" + "x" * 4000), INCOMPLETE),
]


@pytest.mark.parametrize("bad", BAD_LINKS, ids=lambda bad: bad.name)
@each_flow
def test_a_link_that_does_not_work_says_so_and_what_to_do_next(
    server: Server, window: OpenWindow, flow: Flow, bad: BadLink
) -> None:
    person = Person(server)
    here = window()
    assert here.open(bad.make(flow, person, flow.mail(person))).status == 400
    assert here.heading == bad.heading
    assert here.alert.startswith(bad.alert)
    assert person.email not in here.page.content(), "whoever finds an old link learns whose it was"
    assert_offers_another(flow, here)


@each_flow
def test_a_link_without_its_token_says_what_to_do_next(server: Server, window: OpenWindow, flow: Flow) -> None:
    # Where a link can be asked for, the page is for that too.
    status, heading = (200, flow.title) if flow.asks_for else (400, INCOMPLETE)
    here = window()
    for query in ("", "?token=", "?collection=users", "?token=&collection="):
        assert here.open(own(server, flow.path + query)).status == status
        assert here.heading == heading
        assert_offers_another(flow, here)


@each_flow
def test_a_link_with_an_unknown_collection_is_not_found(server: Server, window: OpenWindow, flow: Flow) -> None:
    link = flow.mail(Person(server)).link
    here = window()
    for name in ("nobody", "users_", "../users", "%3Cb%3E", "x" * 2000):
        assert here.open(re.sub("collection=.*", f"collection={name}", link)).status == 404
        assert here.heading == REFUSED
        assert here.alert == "This link is incomplete. Open it as it stands in the mail."


@each_flow
def test_a_link_whose_query_cannot_be_read_is_refused_by_a_page(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    for query in ("token=%zz", "token=100%", "token=%ff", "token=a%00b"):
        assert here.open(own(server, f"{flow.path}?{query}")).status == 400
        assert here.heading == REFUSED
        assert here.alert == "This could not be read. Open the address as you were given it."


@each_flow
def test_no_form_content_makes_a_page_fail(server: Server, flow: Flow) -> None:
    """Whatever is sent, the answer is a page that refuses it."""
    form = "application/x-www-form-urlencoded"
    bodies: list[tuple[str, Any]] = [
        (form, b""),
        (form, b"token"),
        (form, b"token=%zz"),
        (form, b"\xff\xfe=\xfd"),
        (form, b"token=" + WRONG_TOKEN.encode()),
        (form, b"token=a&token=b&password=x"),
        (form, f"token={WRONG_TOKEN}&password=".encode() + b"x" * 100_000),
        (form, b"token=" + b"x" * 100_000),
        (form, b"token=a%00b&password=c%00d&email=e%00f"),
        (form, f"token={WRONG_TOKEN}&collection=nobody&password={NEW_PASSWORD}".encode()),
        (form, b"collection=users&email=nobody"),
        (form, b"collection=users&email=" + b"x" * 3000 + b"@example.org"),
        (form, b"x" * 1_100_000),
        ("application/json", b"{"),
        ("application/json", {"token": 5, "email": [], "password": {}}),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("text/plain", b"token=a"),
    ]
    for content_type, body in bodies:
        reply = server.call("POST", flow.path, body, headers={"Content-Type": content_type})
        shown = (content_type, body[:60] if isinstance(body, bytes) else body, reply.status, reply.body[-300:])
        assert reply.status in (200, 400, 404, 413, 415, 422), shown
        assert reply.headers.get_content_type() == "text/html", shown
        # Recovery takes any name.
        assert reply.status != 200 or (flow is RECOVER and b"email=nobody" in body), shown


@each_flow
def test_what_a_stranger_put_into_a_link_is_never_markup(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    for query in (f"token={quote(HOSTILE)}", f"collection={quote(HOSTILE)}&token={WRONG_TOKEN}"):
        assert here.open(own(server, f"{flow.path}?{query}")).status in (400, 404)
        assert here.page.locator("img, script").count() == 0
    reply = send_form(server, flow.path, token=HOSTILE, password=HOSTILE, email=HOSTILE)
    assert reply.status == 400
    assert b"<img" not in reply.body
    assert b"<script" not in reply.body


@each_asking_flow
def test_a_name_that_comes_back_is_never_markup(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    here.open(own(server, flow.path))
    # Too long for any name.
    name = HOSTILE * 10
    here.type("#email", name)
    assert here.press_enter().status == 422
    assert here.page.get_by_label(flow.asks_for).input_value() == name
    assert here.page.locator("img, script").count() == 0


def test_an_address_that_somebody_took_meanwhile_is_refused(server: Server, window: OpenWindow) -> None:
    person = Person(server)
    mail = EMAIL_CHANGE.mail(person)
    server.register(mail.to)
    here = window()
    here.open(mail.link)
    here.tab_to("button")
    assert here.press_enter().status == 409
    assert here.heading == REFUSED
    assert here.alert.startswith("Somebody else uses this address by now.")
    assert EMAIL_CHANGE.is_untouched(person)


def test_the_page_of_a_disabled_feature_says_so(bare_server: Server, window: OpenWindow) -> None:
    here = window()
    for query in ("", f"?token={WRONG_TOKEN}"):
        assert here.open(own(bare_server, f"/auth/otp{query}")).status == 422
        assert here.heading == REFUSED
        assert here.alert == "This is switched off. Ask whoever runs this service."
