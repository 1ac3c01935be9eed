"""Second factors, seen by programs that are not ours: oathtool makes the codes, zbar reads the picture."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PASSWORD, Reply, Server, fresh_email

STEP_SECONDS = 30


def code(secret: str, steps: int = 0) -> str:
    """What an authenticator shows, so many steps from now."""
    moment = f"@{int(time.time()) + steps * STEP_SECONDS}"
    command = ["oathtool", "--totp", "--base32", "--now", moment, secret]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Person:
    """A user who has set up a second factor."""

    def __init__(self, server: Server) -> None:
        self.server, self.email = server, fresh_email()
        server.register(self.email)
        self.token = server.login(self.email)["token"]
        self.set_up = server.call("POST", "/api/auth/users/totp/setup", token=self.token).data
        self.secret = self.set_up["secret"]
        body = {"code": code(self.secret, -1)}
        self.codes = server.call("POST", "/api/auth/users/totp/confirm", body, self.token).data["codes"]

    def ticket(self) -> str:
        login = self.server.login(self.email)
        assert login["mfa_required"] is True and "token" not in login
        return login["mfa_token"]

    def finish(self, **factor: str) -> Reply:
        body = {"mfa_token": self.ticket(), **factor}
        return self.server.call("POST", "/api/auth/users/login/mfa", body)


@pytest.fixture
def person(server: Server) -> Person:
    return Person(server)


def within_one_step() -> None:
    """Returns with some seconds left in the present step, so that "now" is the same for both sides."""
    left = STEP_SECONDS - time.time() % STEP_SECONDS
    if left < 8:
        time.sleep(left + 0.5)


@pytest.mark.parametrize(("steps", "is_good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_codes_of_another_program_are_good_one_step_early_and_late(server: Server, steps: int, is_good: bool) -> None:
    within_one_step()
    email = fresh_email()
    server.register(email)
    token = server.login(email)["token"]
    secret = server.call("POST", "/api/auth/users/totp/setup", token=token).data["secret"]
    reply = server.call("POST", "/api/auth/users/totp/confirm", {"code": code(secret, steps)}, token)
    if is_good:
        assert len(reply.data["codes"]) == 10
    else:
        reply.refused(401, code="invalid_credentials")


def test_the_picture_holds_the_url(person: Person, tmp_path: Path) -> None:
    svg, png = tmp_path / "qr.svg", tmp_path / "qr.png"
    svg.write_text(person.set_up["qr_svg"])
    subprocess.run(["rsvg-convert", "--width", "400", "--output", png, svg], check=True)
    read = subprocess.run(["zbarimg", "--quiet", "--raw", png], capture_output=True, text=True, check=True).stdout
    assert read.strip() == person.set_up["otpauth_url"]
    assert f"secret={person.secret}" in read and person.email in read


def test_a_code_is_good_once_also_after_a_restart(launch: Callable[..., Server]) -> None:
    server = launch().admin_setup()
    person = Person(server)
    within_one_step()
    now = code(person.secret)
    assert server.sees(person.finish(code=now).data["token"])
    person.finish(code=now).refused(401, code="invalid_credentials")
    server.restart()
    person.finish(code=now).refused(401, code="invalid_credentials")
    assert person.finish(recovery_code=person.codes[0]).data["record"]["mfa_enabled"] is True


def test_an_admin_who_lost_everything_is_helped_by_a_command(launch: Callable[..., Server]) -> None:
    server = launch().admin_setup()
    secret = server.call("POST", "/api/auth/_admins/totp/setup", token=server.admin).data["secret"]
    body = {"code": code(secret)}
    server.call("POST", "/api/auth/_admins/totp/confirm", body, server.admin).accepted()
    ticket: Any = server.admin_login()
    assert ticket["mfa_required"] is True
    finished = {"mfa_token": ticket["mfa_token"], "code": code(secret, 1)}
    assert server.call("POST", "/api/admin/auth/login/mfa", finished).data["token"]
    server.command("admin", "disable-mfa", "--email", "root@example.org")
    assert server.admin_login(password=PASSWORD)["token"]
