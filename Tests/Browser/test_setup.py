"""The page that makes the first admin."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from cli import Server
from pages import HOSTILE, NEW_PASSWORD, WRONG_TOKEN, own, send_form, with_and_without_script
from window import OpenWindow, Window

TITLE = "Create the first admin"
DONE = "This server is set up"
ADMIN = "first@example.org"


def open_set_up(window: Window, server: Server, token: str | None = None) -> None:
    assert window.open(own(server, f"/setup?token={token or server.setup_token()}")).status == 200


@with_and_without_script
def test_the_first_admin_is_made_by_keyboard_alone(
    launch: Callable[..., Server], window: OpenWindow, script: bool
) -> None:
    server = launch()
    here = window(java_script_enabled=script)
    open_set_up(here, server)
    assert here.heading == TITLE
    assert here.sees("#email:focus")
    here.type("#email", ADMIN)
    here.type("#password", "short")
    assert here.press_enter().status == 422
    assert here.alert == "The password must be at least 8 characters."
    assert here.page.get_by_label("Email").input_value() == ADMIN
    here.type("#password", NEW_PASSWORD)
    assert here.press_enter().status == 200
    assert here.heading == DONE
    assert server.admin_login(ADMIN, NEW_PASSWORD)["token"]
    # The address that was printed says so from now on, and the form can't be sent twice.
    here.open(own(server, f"/setup?token={server.setup_token()}"))
    assert here.heading == DONE
    assert here.page.locator("form").count() == 0
    assert send_form(server, "/setup", email=ADMIN, password=NEW_PASSWORD, setup_token=WRONG_TOKEN).status == 400


@pytest.mark.parametrize(
    ("email", "password", "wrong", "right"),
    [(ADMIN, "short", "#password", "#email"), ("nobody", NEW_PASSWORD, "#email", "#password")],
    ids=["password", "email"],
)
def test_what_was_wrong_is_marked_and_has_the_focus(
    bare_server: Server, window: OpenWindow, email: str, password: str, wrong: str, right: str
) -> None:
    here = window()
    open_set_up(here, bare_server)
    here.type("#email", email)
    here.type("#password", password)
    assert here.press_enter().status == 422
    assert here.sees(f"{wrong}:focus[aria-invalid=true][aria-describedby=problem]")
    assert here.sees(f"{right}:not([aria-invalid])")
    assert here.page.locator("#problem").inner_text() == here.alert
    assert here.page.get_by_label("Email").input_value() == email


def test_the_token_of_another_start_is_refused_and_nothing_typed_is_lost(
    bare_server: Server, window: OpenWindow
) -> None:
    here = window()
    open_set_up(here, bare_server, WRONG_TOKEN)
    here.type("#email", ADMIN)
    here.type("#password", NEW_PASSWORD)
    assert here.press_enter().status == 400
    assert here.heading == TITLE
    assert here.page.get_by_label("Email").input_value() == ADMIN
    assert here.page.get_by_role("alert").is_visible()


@pytest.mark.parametrize("query", ["", "?token="])
def test_the_set_up_page_without_a_token_says_where_it_is(bare_server: Server, window: OpenWindow, query: str) -> None:
    here = window()
    assert here.open(own(bare_server, f"/setup{query}")).status == 200
    assert here.page.locator("form").count() == 0
    assert here.alert == "Open the address that the server printed when it started, with its token."


@pytest.mark.parametrize("body", [b"", b"email=%zz", b"x" * 1_100_000], ids=["empty", "unreadable", "large"])
def test_the_set_up_page_refuses_by_a_page(bare_server: Server, body: bytes) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = bare_server.call("POST", "/setup", body, headers=form)
    assert reply.status in (400, 413)
    assert reply.headers.get_content_type() == "text/html"
    assert b"This could not be read." in reply.body


def test_what_a_stranger_put_into_the_address_is_never_markup(bare_server: Server, window: OpenWindow) -> None:
    here = window()
    open_set_up(here, bare_server, quote(HOSTILE))
    assert here.page.locator("[name=setup_token]").input_value() == HOSTILE
    here.type("#email", HOSTILE)
    here.type("#password", NEW_PASSWORD)
    assert here.press_enter().status == 400
    assert here.page.get_by_label("Email").input_value() == HOSTILE
    assert here.page.locator("img, script").count() == 0
