"""Asking a page for another link."""

from __future__ import annotations

import math
import uuid
from urllib.parse import urlencode

import pytest
from cli import Server, fresh_email
from pages import (
    ASKING_FLOWS,
    FLOWS,
    LONG_NAME,
    RECOVER,
    Flow,
    Person,
    ask_for_another,
    each_asking_flow,
    each_password_flow,
    expire,
    own,
    send_form,
)
from window import PHONE, OpenWindow

# Everywhere else than here, a name is an email.
each_flow_that_asks_for_an_email = pytest.mark.parametrize(
    "flow", [flow for flow in ASKING_FLOWS if flow is not RECOVER], ids=repr
)


def fresh_username() -> str:
    return f"reader_{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize(
    ("collection", "script"),
    [("users", True), ("users", False), (LONG_NAME, True)],
    ids=["script", "no-script", "long-name"],
)
@each_asking_flow
def test_a_dead_link_leads_to_another_one_that_works(
    server: Server, window: OpenWindow, flow: Flow, collection: str, script: bool
) -> None:
    person = Person(server, collection)
    first = flow.mail(person)
    expire(person, flow)
    here = window(java_script_enabled=script)
    assert here.open(first.link).status == 400
    another = ask_for_another(flow, here, person, after=first)
    assert here.open(another.link).status == 200
    flow.work(here)
    flow.assert_worked(here, person)


@each_asking_flow
def test_a_page_opened_by_its_address_alone_mails_a_link_that_works(
    server: Server, window: OpenWindow, flow: Flow
) -> None:
    person = Person(server)
    here = window()
    here.open(own(server, flow.path))
    assert here.sees("#email:focus"), "one would have to look for the field"
    here.open(ask_for_another(flow, here, person).link)
    flow.work(here)
    flow.assert_worked(here, person)


@each_asking_flow
def test_the_field_for_a_name_suits_a_phone_and_a_password_manager(
    server: Server, window: OpenWindow, flow: Flow
) -> None:
    here = window(**PHONE)
    here.open(own(server, flow.path))
    wanted = {
        "type": "text", "inputmode": "email", "autocapitalize": "none", "spellcheck": "false",
        "autocomplete": "username",
    }  # fmt: skip
    field = here.page.get_by_label(flow.asks_for, exact=True)
    assert {name: field.get_attribute(name) for name in wanted} == wanted


def test_an_account_is_recovered_by_its_username(server: Server, window: OpenWindow) -> None:
    person = Person(server, username=fresh_username())
    here = window()
    here.open(own(server, RECOVER.path))
    here.open(ask_for_another(RECOVER, here, person, name=person.username).link)
    assert RECOVER.account_in(here) == person.email
    RECOVER.work(here)
    RECOVER.assert_worked(here, person)


@each_asking_flow
def test_asking_by_a_name_that_nobody_has_looks_the_same(server: Server, window: OpenWindow, flow: Flow) -> None:
    person, here = Person(server, username=fresh_username()), window()
    names = [person.email, fresh_email()]
    if flow is RECOVER:
        names += [str(person.username), fresh_username(), "no name at all"]
    pages = set()
    for name in names:
        here.open(own(server, flow.path))
        here.type("#email", name)
        assert here.press_enter().status == 200
        pages.add(here.page.content())
    assert len(pages) == 1


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if not flow.asks_for], ids=repr)
def test_a_page_that_mails_no_links_never_offers_to(server: Server, flow: Flow) -> None:
    for fields in ({"token": "x" * 2000}, {"token": ""}, {"email": fresh_email()}, {}):
        reply = send_form(server, flow.path, collection="users", **fields)
        assert reply.status == 400
        assert b"Mail me a link" not in reply.body


@each_asking_flow
def test_a_refused_name_stays_in_its_field(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    here.open(own(server, flow.path))
    # Browsers let it pass, and the server doesn't.
    name = "x" * 250 + "@example.org"
    here.type("#email", name)
    assert here.press_enter().status == 422
    assert here.heading == flow.title
    assert "at most 254" in here.alert
    field = here.page.get_by_label(flow.asks_for)
    assert field.input_value() == name
    assert field.get_attribute("aria-invalid") == "true"
    assert field.get_attribute("aria-describedby") == here.page.get_by_role("alert").get_attribute("id")
    assert here.sees("#email:focus"), "one would have to look for the field"


@each_flow_that_asks_for_an_email
def test_a_refused_address_is_mended_and_sent_again(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server, LONG_NAME)
    here = window()
    here.open(own(server, f"{flow.path}?collection={LONG_NAME}"))
    here.type("#email", person.email.replace("@", " at "))
    assert here.press_enter().status == 422
    assert here.alert == "The email must be a valid email address."
    here.tab_to("#email")
    here.page.keyboard.press("Control+A")
    here.open(ask_for_another(flow, here, person).link)
    assert flow.account_in(here) == person.email


@each_asking_flow
def test_an_address_with_a_domain_of_another_script_is_mailed_to(
    server: Server, window: OpenWindow, flow: Flow
) -> None:
    person = Person(server, email=fresh_email().replace("example", "exämple"))
    here = window()
    here.open(own(server, flow.path))
    here.type("#email", person.email)
    assert here.press_enter().status == 200
    query = urlencode({"to": person.email, "template": flow.template, "timeout": 0})
    server.call("GET", f"/api/admin/inbox/wait?{query}", token=server.admin).accepted()


def test_an_address_that_is_too_long_is_called_so(server: Server) -> None:
    reply = send_form(server, "/auth/reset", email="x" * 400 + "@example.org", collection="users")
    assert reply.status == 422
    assert b"at most" in reply.body
    assert b"is required" not in reply.body


@each_password_flow
def test_a_server_that_cannot_mail_says_so(bare_server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    here.open(own(bare_server, flow.path))
    here.type("#email", fresh_email())
    assert here.press_enter().status == 422
    assert here.alert == "This server can't send mail now. Ask whoever runs it."


def test_too_many_tries_are_refused_by_a_page(strict_server: Server, window: OpenWindow) -> None:
    here = window()
    here.open(own(strict_server, "/auth/recover"))
    here.type("#email", fresh_email())
    answer = here.press_enter()
    assert answer.status == 429
    minutes = math.ceil(int(answer.headers["retry-after"]) / 60)
    assert here.alert == f"Too many tries. Wait {minutes} minutes, then try again."
