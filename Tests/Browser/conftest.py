"""The browser suite: the built-in pages, as people meet them in Chromium (contract §3).

Servers, options and words are those of Tests/CLI. Every window is watched: a test fails in its teardown when a page has
asked another server for something, set a cookie, or made the browser complain.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

# The other suite's conftest.py, under a name of its own: this file is `conftest` already.
_spec = importlib.util.spec_from_file_location("cli", Path(__file__).parents[1] / "CLI" / "conftest.py")
assert _spec and _spec.loader
cli = sys.modules["cli"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cli)
pytest.register_assert_rewrite("window", "pages", "states")

# Hooks and fixtures count by being here.
from cli import (  # noqa: E402
    Server,
    eventually,
    fresh_email,
    launch,  # noqa: F401
    launch_for_module,  # noqa: F401
    pytest_addoption,  # noqa: F401
    pytest_collection_modifyitems,  # noqa: F401
    pytest_configure,  # noqa: F401
    pytest_report_header,  # noqa: F401
)
from pages import LONG_NAME, send_form  # noqa: E402
from window import DESKTOP, OpenWindow, Window  # noqa: E402

# Debian's. Playwright's own browsers are not needed.
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))


def pytest_sessionstart(session: pytest.Session) -> None:
    cli.pytest_sessionstart(session)
    if not session.config.option.collectonly and not os.access(CHROMIUM, os.X_OK):
        pytest.exit(f"no Chromium at {CHROMIUM}: install it, or name it in CHROMIUM", returncode=2)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # Containers have little shared memory, and Chromium's sandbox doesn't work for root.
    arguments = ["--disable-dev-shm-usage"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> dict[str, Window]:
    """Windows that tests have opened, by their options: opening one takes longer than most tests."""
    return {}


@pytest.fixture
def window(browser: Browser, windows: dict[str, Window]) -> Iterator[OpenWindow]:
    """The window with such options: `window()`, `window(java_script_enabled=False)`, `window(**PHONE)`."""
    opened: list[Window] = []

    def the_one(**options: Any) -> Window:
        options = {**DESKTOP, **options}
        one = windows.get(repr(options)) or windows.setdefault(repr(options), Window(browser, options))
        if one not in opened:
            one.forget()
            opened.append(one)
        return one

    yield the_one
    for one in opened:
        one.assert_clean()


@pytest.fixture(scope="module")
def server(launch_for_module: Callable[..., Server]) -> Server:  # noqa: F811
    """A server with an admin, one-time codes, and a second collection."""
    server = launch_for_module().admin_setup()
    server.call("PATCH", "/api/admin/settings", {"auth.otp.enabled": "1"}, token=server.admin).accepted()
    collection = {"name": LONG_NAME, "type": "auth", "fields": []}
    server.call("POST", "/api/collections", collection, token=server.admin).accepted()
    return server


@pytest.fixture(scope="module")
def bare_server(launch_for_module: Callable[..., Server]) -> Server:  # noqa: F811
    """A server without an admin, without one-time codes, and without a way for mails."""
    server = launch_for_module()
    server.command("settings", "set", "smtp.enabled=1")
    eventually(lambda: send_form(server, "/auth/reset", email=fresh_email()).status == 422)
    return server


@pytest.fixture(scope="module")
def strict_server(launch_for_module: Callable[..., Server]) -> Server:  # noqa: F811
    """A server that takes one form in ten minutes, and has had that."""
    server = launch_for_module(rate_limited=True)
    server.command("settings", "set", "rate_limit.rules=auth=1/600")
    eventually(lambda: send_form(server, "/auth/recover", email=fresh_email()).status == 429)
    return server
