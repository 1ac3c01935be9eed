"""Mailed links that work, and what their pages do."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from cli import Server, fresh_email
from pages import (
    DEAD,
    LONG_NAME,
    NEW_PASSWORD,
    OTP,
    VERIFY,
    Flow,
    Person,
    assert_offers_another,
    each_flow,
    each_password_flow,
    with_and_without_script,
)
from window import PHONE, OpenWindow


@with_and_without_script
@each_flow
def test_a_mailed_link_is_followed_and_does_its_job_by_keyboard_alone(
    server: Server, window: OpenWindow, flow: Flow, script: bool
) -> None:
    person = Person(server)
    here = window(java_script_enabled=script)
    assert here.open(flow.mail(person).link).status == 200
    assert here.heading == flow.title
    assert flow.is_untouched(person)
    flow.work(here)
    flow.assert_worked(here, person)


@each_flow
def test_looking_at_a_link_however_often_does_not_use_it_up(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server)
    mail = flow.mail(person)
    for method in ("GET", "HEAD", "GET", "HEAD"):
        reply = server.call(method, mail.path)
        assert reply.status == 200
        assert (reply.body == b"") == (method == "HEAD")
        assert int(reply.headers["Content-Length"]) > 0
    here = window()
    here.open(mail.link)
    here.page.reload()
    here.open(mail.link)
    assert flow.is_untouched(person)
    flow.work(here)
    flow.assert_worked(here, person)


@each_flow
def test_a_link_works_on_a_phone(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server)
    here = window(**PHONE, color_scheme="dark")
    here.open(flow.mail(person).link)
    if flow.takes_password:
        here.page.get_by_label("New password").fill(NEW_PASSWORD)
    here.page.get_by_role("button").tap()
    here.page.get_by_role("heading", name=flow.done).wait_for()
    flow.assert_worked(here, person)


@each_flow
def test_a_link_of_a_collection_with_a_long_name_works(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server, LONG_NAME)
    here = window()
    here.open(flow.mail(person).link)
    flow.work(here)
    flow.assert_worked(here, person)


@each_flow
def test_the_form_says_whose_account_it_is_about(server: Server, window: OpenWindow, flow: Flow) -> None:
    # The second has what means something to HTML and to templates.
    for email in (fresh_email(), f"o'hara&amp{{{{token}}}}-{fresh_email()}"):
        person = Person(server, email=email)
        here = window()
        here.open(flow.mail(person).link)
        assert flow.account_in(here) == flow.address(person)


def test_words_of_others_beside_the_token_do_no_harm(server: Server, window: OpenWindow) -> None:
    flow, person = VERIFY, Person(server)
    here = window()
    assert here.open(flow.mail(person).link + "&utm_source=mail&utm_source=again#top").status == 200
    flow.work(here)
    flow.assert_worked(here, person)


@each_flow
def test_sending_the_same_form_again_says_that_the_link_is_used(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server)
    here = window()
    here.open(flow.mail(person).link)
    flow.work(here)
    here.page.reload()
    assert here.statuses[-1] == 400
    assert here.heading == DEAD
    assert_offers_another(flow, here)


# New passwords


@each_password_flow
@pytest.mark.parametrize(
    ("weak", "problem"),
    [
        ("short", "The password must be at least 8 characters."),
        ("password123", "The password is one of the most common passwords; choose another."),
        ("x" * 257, "The password must be at most 256 characters."),
    ],
    ids=["short", "common", "long"],
)
def test_a_weak_password_is_told_on_the_same_page_and_the_link_stays_good(
    server: Server, window: OpenWindow, flow: Flow, weak: str, problem: str
) -> None:
    person = Person(server)
    here = window(java_script_enabled=False)
    here.open(flow.mail(person).link)
    here.type("#password", weak)
    assert here.press_enter().status == 422
    assert here.heading == flow.title
    assert here.alert == problem
    assert flow.account_in(here) == person.email
    password = here.page.get_by_label("New password")
    assert password.get_attribute("aria-invalid") == "true"
    assert password.input_value() == ""
    assert weak not in here.page.content()
    assert here.sees("#password:focus"), "one would have to look for the field"
    assert flow.is_untouched(person)
    flow.work(here)
    flow.assert_worked(here, person)


@each_password_flow
def test_the_email_is_no_password(server: Server, window: OpenWindow, flow: Flow) -> None:
    person = Person(server)
    here = window()
    here.open(flow.mail(person).link)
    here.type("#password", person.email)
    assert here.press_enter().status == 422
    assert here.alert == "The password must not be your email."


@each_password_flow
def test_an_empty_password_is_not_sent(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    here.open(flow.mail(Person(server)).link)
    seen = len(here.requests)
    here.tab_to("button")
    here.page.keyboard.press("Enter")
    here.tab_to("#password")
    assert len(here.requests) == seen
    assert here.heading == flow.title


@each_password_flow
def test_what_is_asked_of_a_password_is_said_before_and_read_out_with_the_field(
    server: Server, window: OpenWindow, flow: Flow
) -> None:
    here = window()
    here.open(flow.mail(Person(server)).link)
    field = here.page.get_by_label("New password")
    assert here.sees("#password:focus")
    assert field.get_attribute("aria-describedby") == "hint"
    assert here.page.locator("#hint").inner_text() == "At least 8 characters."
    here.type("#password", "short")
    here.press_enter()
    assert field.get_attribute("aria-describedby") == "hint problem"
    assert here.page.locator("#problem").inner_text() == here.alert


@each_password_flow
def test_a_password_manager_learns_whose_password_it_is(server: Server, window: OpenWindow, flow: Flow) -> None:
    here = window()
    here.open(flow.mail(Person(server)).link)
    fields = here.page.locator("form input:visible")
    told = [(field.get_attribute("id"), field.get_attribute("autocomplete")) for field in fields.all()]
    assert told == [("account", "username"), ("password", "new-password")]
    # It is there to be read: the token alone decides whose password is set.
    assert not fields.first.is_editable()
    here.type("#password", NEW_PASSWORD)
    sent = here.press_enter().request.post_data or ""
    assert parse_qs(sent).keys() == {"token", "collection", "password"}


# The session of a one-time link


def test_the_page_of_a_one_time_link_lets_the_token_be_copied_by_keyboard(server: Server, window: OpenWindow) -> None:
    person = Person(server)
    here = window()
    here.open(OTP.mail(person).link)
    OTP.work(here)
    here.tab_to("#result")
    here.page.keyboard.press("Control+A")
    selected = here.page.evaluate(
        "(box => box.value.slice(box.selectionStart, box.selectionEnd))(document.activeElement)"
    )
    assert server.me(selected).data["id"] == person.id
    here.page.keyboard.type("x")
    assert here.page.get_by_label("Session token").input_value() == selected, "the token can be typed over"
