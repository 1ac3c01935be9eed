"""One page in Chromium, as people use it: by keyboard, and under watch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

SCREENSHOTS = os.environ.get("LATCHKEY_SCREENSHOTS", "")
SECONDS_MAX = 10
# More than any page has controls.
TABS_MAX = 10

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True
}  # fmt: skip


class Window:
    """One page in a browser profile of its own, used by keyboard, and what the browser says about it."""

    def __init__(self, browser: Browser, options: Mapping[str, Any]) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(SECONDS_MAX * 1000)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.statuses: list[int] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", lambda response: self.statuses.append(response.status))
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._devtools = self.context.new_cdp_session(self.page)
        self._devtools.on("Audits.issueAdded", lambda event: self.complaints.append(str(event["issue"])))
        self._devtools.send("Audits.enable")
        self._width, self._height = self.size

    def _note(self, message: ConsoleMessage) -> None:
        # A page that says what is wrong has the status of a refusal, which Chromium notes as an error.
        is_status = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        # "verbose" is advice, such as that a password manager can't tell whose password a form is about.
        if message.type in ("error", "warning", "verbose") and not is_status:
            self.complaints.append(message.text)

    def forget(self) -> None:
        """Makes it as good as new for the next test: the pages leave nothing behind in it, which is tested."""
        self.resize(self._width, self._height)
        self.enlarge_text(1)
        for seen in (self.requests, self.statuses, self.complaints):
            seen.clear()

    def assert_clean(self) -> None:
        """Every page so far kept to its own server, set no cookie, and pleased the browser."""
        assert self.context.cookies() == []
        outside = [url for url in self.requests if not url.startswith("http://127.0.0.1:")]
        assert not outside, f"asked for {outside}"
        assert not self.complaints, self.complaints

    # What people do

    def open(self, address: str) -> Response:
        response = self.page.goto(address)
        assert response
        return response

    def tab_to(self, selector: str) -> None:
        """Moves the focus as people do without a mouse."""
        wanted = self.page.locator(f"{selector}:focus")
        for _ in range(TABS_MAX):
            if wanted.count():
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"the keyboard doesn't get to {selector}")

    def type(self, selector: str, text: str) -> None:
        self.tab_to(selector)
        self.page.keyboard.insert_text(text)

    def press_enter(self) -> Response:
        """Sends the form that has the focus, and returns the answer."""
        with self.page.expect_navigation() as navigation:
            self.page.keyboard.press("Enter")
        return navigation.value

    def resize(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def enlarge_text(self, factor: int) -> None:
        """As the browser's setting does it: pages that size their text in rem or percent follow."""
        sizes = {"standard": 16 * factor, "fixed": 13 * factor}
        self._devtools.send("Page.setFontSizes", {"fontSizes": sizes})

    # What they see

    @property
    def size(self) -> tuple[int, int]:
        size = self.page.viewport_size
        assert size
        return size["width"], size["height"]

    @property
    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    @property
    def alert(self) -> str:
        return self.page.get_by_role("alert").inner_text()

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def sees(self, selector: str) -> bool:
        return self.page.locator(selector).is_visible()

    def shoot(self, name: str) -> None:
        """A picture for people to look at, where LATCHKEY_SCREENSHOTS names a directory."""
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


OpenWindow = Callable[..., Window]
