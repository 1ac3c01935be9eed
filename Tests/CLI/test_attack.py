"""The short form of `make attack`: everything at once against a small server, counted and not timed."""

from __future__ import annotations

import os
from collections.abc import Callable

from attackers import ATTACKS, GoodClient, Running
from conftest import PASSWORD, Server, eventually, fresh_email

ATTACK_SECONDS = 8
# Of the size of `make attack`.
PART = 0.05
RECOVERY_SECONDS_MAX = 20
# What the server keeps open for itself, such as connections with its database.
DESCRIPTORS_SLACK = 20


def descriptors(server: Server) -> int:
    assert server._process
    return len(os.listdir(f"/proc/{server._process.pid}/fd"))


def test_a_good_client_is_answered_while_all_attack_at_once_and_the_server_recovers(
    launch: Callable[..., Server],
) -> None:
    server = launch()
    emails = [fresh_email() for _ in range(5)]
    for email in emails:
        server.register(email)
    token = server.login(emails[0])["token"]
    before = descriptors(server)

    attacks = [Running(name, server.port, PART, emails, PASSWORD) for name in ATTACKS]
    good = GoodClient(server.port, token).run(ATTACK_SECONDS)
    done = {attack.name: attack.stop() for attack in attacks}
    good.close()

    assert all(count.total() for count in done.values()), done
    assert good.answered and not good.bad, f"{good.bad} of {good.bad + good.answered} were not answered: {done}"
    assert done["500 connections that log in"]["200"], "sign-in goes on"

    eventually(lambda: descriptors(server) <= before + DESCRIPTORS_SLACK, within=RECOVERY_SECONDS_MAX)
    after = GoodClient(server.port, token).run(1)
    after.close()
    assert after.answered and not after.bad
    server.call("POST", "/api/auth/users/login", b"x" * 900_000).refused(400)
    assert server.login(emails[1])
    assert server.stop() == 0
