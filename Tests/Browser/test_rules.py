"""What every page keeps to: its headers, no script, nothing from elsewhere, nothing left behind."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import urlsplit

import pytest
from cli import Server
from pages import NEW_PASSWORD, Flow, Person, each_flow, own
from playwright.sync_api import Response
from window import OpenWindow


def assert_keeps_to_the_rules(answer: Response, status: int) -> None:
    assert answer.status == status
    headers = answer.all_headers()
    style = re.search("<style>(.*?)</style>", answer.text(), re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers


@each_flow
def test_pages_ask_nobody_else_and_leave_nothing_behind(server: Server, window: OpenWindow, flow: Flow) -> None:
    mail = flow.mail(Person(server))
    here = window()
    assert_keeps_to_the_rules(here.open(mail.link), 200)
    if flow.takes_password:
        here.type("#password", NEW_PASSWORD)
    here.tab_to("button")
    assert_keeps_to_the_rules(here.press_enter(), 200)
    assert_keeps_to_the_rules(here.open(mail.link), 400)
    assert_keeps_to_the_rules(here.open(own(server, f"{flow.path}?collection=nobody")), 404)
    assert_keeps_to_the_rules(here.open(own(server, f"{flow.path}?token=%zz")), 400)
    # One request a page: no style, icon, font, picture or script beside it.
    assert [urlsplit(url).path for url in here.requests] == [flow.path] * 5
    kept = here.page.evaluate(
        """async () => [localStorage.length, sessionStorage.length, (await indexedDB.databases()).length,
            (await caches.keys()).length, (await navigator.serviceWorker.getRegistrations()).length]"""
    )
    assert kept == [0] * 5
    assert here.page.locator("script, link, img, iframe, [style], [onclick], a[href^=http]").count() == 0
    # The style is applied, so the policy lets it.
    assert here.page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") != "none"
    here.assert_clean()


def test_the_set_up_page_keeps_to_the_same(bare_server: Server, server: Server, window: OpenWindow) -> None:
    here = window()
    assert_keeps_to_the_rules(here.open(own(bare_server, f"/setup?token={bare_server.setup_token()}")), 200)
    here.type("#email", "first@example.org")
    here.type("#password", "short")
    assert_keeps_to_the_rules(here.press_enter(), 422)
    assert_keeps_to_the_rules(here.open(own(server, "/setup")), 200)
    assert [urlsplit(url).path for url in here.requests] == ["/setup"] * 3
    assert here.page.locator("script, link, img, iframe, [style], [onclick], a[href^=http]").count() == 0


@each_flow
def test_head_tells_what_get_would(server: Server, flow: Flow) -> None:
    path = flow.mail(Person(server)).path
    told = [
        {name.lower(): text for name, text in server.call(method, path).headers.items()} for method in ("GET", "HEAD")
    ]
    for headers in told:
        del headers["x-request-id"], headers["date"]
    assert told[0] == told[1]


def test_the_watch_over_the_windows_notices_what_a_policy_forbids(server: Server, window: OpenWindow) -> None:
    here = window()
    here.open(own(server, "/auth/reset"))
    with here.page.expect_console_message():
        here.page.evaluate("document.body.setAttribute('style', 'color: red')")
    with pytest.raises(AssertionError, match="Content Security Policy"):
        here.assert_clean()
    here.complaints.clear()


def test_the_watch_over_the_windows_notices_a_password_that_belongs_to_nobody(
    server: Server, window: OpenWindow
) -> None:
    here = window()
    here.open(own(server, "/auth/reset"))
    with here.page.expect_console_message():
        field = '<input id="password" type="password" autocomplete="new-password">'
        here.page.set_content(f'<!doctype html><form><label for="password">Password</label>{field}</form>')
    with pytest.raises(AssertionError, match="username fields"):
        here.assert_clean()
    here.complaints.clear()
