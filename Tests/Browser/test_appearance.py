"""How the pages look, in every state: readable, and usable by keyboard, on a small screen and with large text."""

from __future__ import annotations

import re
from typing import Any

import measures
import pytest
from cli import Server
from pages import own
from states import SCREENS, STATES, Stage
from window import OpenWindow, Window


@pytest.fixture
def servers(server: Server, bare_server: Server, strict_server: Server) -> tuple[Server, Server, Server]:
    return server, bare_server, strict_server


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_read_and_used(
    servers: tuple[Server, Server, Server], window: OpenWindow, state: str, screen: str
) -> None:
    status, play = STATES[state]
    here = window(**SCREENS[screen])
    play(Stage(*servers, here))
    assert here.statuses[-1] == status
    here.shoot(f"{state}-{screen}")

    seen = here.page.evaluate(measures.PAGE)
    assert seen["lang"] == "en"
    assert len(seen["headings"]) == seen["mains"] == 1
    assert seen["title"] == f"{seen['headings'][0]} · Latchkey" or state == "setup-done", seen["title"]
    assert not seen["unlabelled"]
    # WCAG 1.4.3, 1.4.11, 2.5.8.
    assert not [found for found in seen["text"] if found[1] < 4.5]
    assert not [found for found in seen["edges"] if found[1] < 3]
    assert not [found for found in seen["heights"] if found[1] < 24]
    assert_nothing_sticks_out(seen)

    assert_fits_when_narrow_or_enlarged(here, seen["fontSize"], f"{state}-{screen}")
    assert_keyboard_gets_everywhere(here, seen["controls"])


def assert_nothing_sticks_out(seen: dict[str, Any]) -> None:
    for box in ("width", "card"):
        assert seen[box][0] <= seen[box][1], f"scrolls sideways: {box}"
    assert seen["margin"] >= 8, "the card touches the edge of the screen"


def assert_fits_when_narrow_or_enlarged(here: Window, font_size: float, name: str) -> None:
    """Nothing scrolls sideways at 320 px, nor at 200 % text (WCAG 1.4.10, 1.4.4)."""
    width, _ = here.size
    here.resize(320, 640)
    narrow = here.page.evaluate(measures.PAGE)
    here.shoot(f"{name}-narrow")
    assert narrow["width"] == [320, 320]
    assert_nothing_sticks_out(narrow)
    # Tall enough for all of it: a picture of more than the window would be taken without the enlargement.
    here.resize(width, 3200)
    here.enlarge_text(2)
    enlarged = here.page.evaluate(measures.PAGE)
    here.shoot(f"{name}-enlarged")
    assert enlarged["fontSize"] == 2 * font_size
    assert_nothing_sticks_out(enlarged)


def assert_keyboard_gets_everywhere(here: Window, controls: list[str]) -> None:
    """Tab visits every control, in the order of the page, and each shows that it has the focus."""
    here.page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    for control in controls:
        here.page.keyboard.press("Tab")
        focus = here.page.evaluate(measures.FOCUS)
        assert focus["name"] == control
        assert focus["style"] != "none"
        assert focus["width"] >= 2
        assert focus["contrast"] >= 3


def test_light_and_dark_follow_the_device(server: Server, window: OpenWindow) -> None:
    shades = []
    for scheme in ("light", "dark"):
        here = window(color_scheme=scheme)
        here.open(own(server, "/auth/reset"))
        colors = here.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        shades.append([sum(map(int, re.findall(r"\d+", color)[:3])) for color in colors])
    (light_back, light_text), (dark_back, dark_text) = shades
    assert light_back > light_text
    assert dark_back < dark_text


def test_a_button_keeps_an_edge_with_forced_colors(server: Server, window: OpenWindow) -> None:
    here = window(forced_colors="active")
    here.open(own(server, "/auth/reset"))
    assert here.page.evaluate("getComputedStyle(document.querySelector('button')).borderTopWidth") != "0px"
