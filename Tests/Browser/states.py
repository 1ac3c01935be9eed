"""Every state that the pages can be seen in, and the way there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cli import Server
from pages import (
    ASKING_FLOWS,
    EMAIL_CHANGE,
    FLOWS,
    OTP,
    PASSWORD_FLOWS,
    RECOVER,
    RESET,
    VERIFY,
    WRONG_TOKEN,
    Flow,
    Mail,
    Person,
    own,
)
from window import DESKTOP, PHONE, Window

SCREENS: dict[str, dict[str, Any]] = {
    "light-desktop": {**DESKTOP, "color_scheme": "light"},
    "dark-phone": {**PHONE, "color_scheme": "dark"},
}


@dataclass
class Stage:
    """Where states are played: the servers there are, and a window."""

    server: Server
    bare_server: Server
    strict_server: Server
    window: Window

    def linked(self, flow: Flow, person: Person | None = None) -> Mail:
        mail = flow.mail(person or Person(self.server))
        self.window.open(mail.link)
        return mail

    def dead(self, flow: Flow, token: str = WRONG_TOKEN, collection: str = "users") -> None:
        self.window.open(own(self.server, f"{flow.path}?token={token}&collection={collection}"))

    def done(self, flow: Flow) -> None:
        self.linked(flow)
        flow.work(self.window)

    def weak(self, flow: Flow) -> None:
        self.linked(flow)
        self.window.type("#password", "short")
        self.window.press_enter()

    def opened(self, flow: Flow, server: Server | None = None) -> None:
        self.window.open(own(server or self.server, flow.path))

    def asked(self, flow: Flow, server: Server | None = None, name: str = "nobody@example.org") -> None:
        self.opened(flow, server)
        self.window.type("#email", name)
        self.window.press_enter()

    def taken(self) -> None:
        mail = self.linked(EMAIL_CHANGE)
        self.server.register(mail.to)
        self.window.tab_to("button")
        self.window.press_enter()

    def long(self, flow: Flow) -> None:
        """The longest address that there can be: a new one has four characters more."""
        local = (uuid.uuid4().hex * 2)[: 60 if flow is EMAIL_CHANGE else 64]
        self.linked(flow, Person(self.server, email=f"{local}@{'.'.join(['x' * 60] * 3)}"))

    def long_done(self) -> None:
        self.long(EMAIL_CHANGE)
        EMAIL_CHANGE.work(self.window)

    def set_up(self, token: str | None = None) -> None:
        self.window.open(own(self.bare_server, f"/setup?token={token or self.bare_server.setup_token()}"))

    def set_up_refused(self, password: str, token: str | None = None) -> None:
        self.set_up(token)
        self.window.type("#email", "first@example.org")
        self.window.type("#password", password)
        self.window.press_enter()


State = Callable[[Stage], Any]


def flow_states(flow: Flow) -> dict[str, tuple[int, State]]:
    states: dict[str, tuple[int, State]] = {
        "form": (200, lambda stage: stage.linked(flow)),
        "done": (200, lambda stage: stage.done(flow)),
        "dead": (400, lambda stage: stage.dead(flow)),
    }
    if flow in PASSWORD_FLOWS:
        states["weak"] = (422, lambda stage: stage.weak(flow))
    if flow in ASKING_FLOWS:
        states["ask"] = (200, lambda stage: stage.opened(flow))
    return {f"{flow}-{name}": state for name, state in states.items()}


# Name → status, and how to get there.
STATES: dict[str, tuple[int, State]] = {
    **{name: state for flow in FLOWS for name, state in flow_states(flow).items()},
    "email_change-long": (200, lambda stage: stage.long(EMAIL_CHANGE)),
    "email_change-long-done": (200, Stage.long_done),
    "reset-long": (200, lambda stage: stage.long(RESET)),
    "email_change-taken": (409, Stage.taken),
    "verify-incomplete": (400, lambda stage: stage.dead(VERIFY, "cut-off")),
    "verify-unknown-collection": (404, lambda stage: stage.dead(VERIFY, collection="nobody")),
    "verify-unreadable": (400, lambda stage: stage.dead(VERIFY, "%zz")),
    "reset-incomplete": (400, lambda stage: stage.dead(RESET, "cut-off")),
    "reset-asked": (200, lambda stage: stage.asked(RESET)),
    "reset-refused": (422, lambda stage: stage.asked(RESET, name="x" * 65 + "@example.org")),
    "reset-unmailed": (422, lambda stage: stage.asked(RESET, stage.bare_server)),
    "otp-disabled": (422, lambda stage: stage.opened(OTP, stage.bare_server)),
    "recover-too-often": (429, lambda stage: stage.asked(RECOVER, stage.strict_server)),
    "setup-form": (200, Stage.set_up),
    "setup-without-token": (200, lambda stage: stage.window.open(own(stage.bare_server, "/setup"))),
    "setup-wrong-token": (400, lambda stage: stage.set_up_refused("a long password", WRONG_TOKEN)),
    "setup-weak": (422, lambda stage: stage.set_up_refused("short")),
    "setup-done": (200, lambda stage: stage.window.open(own(stage.server, "/setup"))),
}
