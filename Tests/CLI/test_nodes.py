"""Several real nodes on one PostgreSQL database."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import ADMIN, PASSWORD, Launcher, Server, eventually, fresh_email
from postgres import SHARED, Database
from test_mfa import code
from processes import run_command

pytestmark = pytest.mark.engine("postgres")

# A lease is taken over 15 s after its last renewal, seen by one that looks every 5 s.
TAKEOVER_SECONDS_MAX = 40


@pytest.fixture(scope="module")
def nodes(launch_for_module: Launcher) -> list[Server]:
    first, second = launch_for_module.nodes(2)
    second.admin_setup()  # the later start printed the URL that counts
    first.admin = second.admin
    return [first, second]


def statuses(nodes: list[Server], token: str) -> list[int]:
    return [node.me(token).status for node in nodes]


def test_a_session_of_one_node_ends_on_the_other_and_is_refused_within_a_second(nodes: list[Server]) -> None:
    token = nodes[0].new_user()["token"]
    assert statuses(nodes, token) == [200, 200]
    nodes[1].call("POST", "/api/auth/logout", token=token).accepted()
    eventually(lambda: nodes[0].me(token).status == 401)
    nodes[0].me(token).refused(401, code="session_ended")


def test_a_suspension_and_a_deletion_hold_on_every_node(nodes: list[Server]) -> None:
    for method, body in (("PATCH", {"status": "suspended"}), ("DELETE", None)):
        login = nodes[0].new_user()
        assert statuses(nodes, login["token"]) == [200, 200]
        account = f"/api/admin/users/users/{login['record']['id']}"
        nodes[1].call(method, account, body, nodes[1].admin).accepted()
        eventually(lambda token=login["token"]: statuses(nodes, token) == [401, 401])


def test_keys_and_opaque_tokens_hold_and_end_on_every_node(nodes: list[Server]) -> None:
    token = nodes[0].new_user(token_type="opaque")["token"]
    assert statuses(nodes, token) == [200, 200]
    refreshed = nodes[0].call("POST", "/api/auth/refresh", token=token).data["token"]
    assert nodes[1].sees(refreshed), "a token made a moment ago on another node"
    key = nodes[1].call("POST", "/api/users/me/secrets", {"type": "apikey"}, refreshed).data
    assert statuses(nodes, key["secret"]) == [200, 200]
    reassigned = nodes[0].call("POST", "/api/users/me/api_key", token=token).data["api_key"]
    eventually(lambda: statuses(nodes, key["secret"]) == [401, 401])
    assert statuses(nodes, reassigned) == [200, 200]
    nodes[1].call("POST", "/api/auth/logout", token=token).accepted()
    eventually(lambda: statuses(nodes, token) == statuses(nodes, refreshed) == [401, 401])


def test_a_command_on_one_machine_is_followed_by_every_node(nodes: list[Server]) -> None:
    nodes[0].command("settings", "set", "auth.file.window_seconds=77")
    for node in nodes:
        path = "/api/admin/settings"
        eventually(lambda node=node: node.call("GET", path, token=node.admin).data["auth.file.window_seconds"] == "77")
    email = fresh_email()
    nodes[1].command("admin", "create", "--email", email, "--password", PASSWORD)
    for node in nodes:
        assert node.admin_login(email)


def test_a_rotated_secret_signs_on_every_node(nodes: list[Server]) -> None:
    def kids(node: Server) -> list[str]:
        return [key["kid"] for key in node.call("GET", "/.well-known/jwks.json").json["keys"]]

    token, before = nodes[0].new_user()["token"], kids(nodes[0])
    assert kids(nodes[1]) == before
    nodes[1].command("secret", "rotate")
    for node in nodes:
        eventually(lambda node=node: kids(node)[0] != before[0])
    assert kids(nodes[0]) == kids(nodes[1])
    assert statuses(nodes, token) == [200, 200]
    assert statuses(nodes, nodes[0].new_user()["token"]) == [200, 200]


def test_a_code_that_was_used_on_one_node_is_spent_on_the_other(nodes: list[Server]) -> None:
    login = nodes[0].new_user()
    email, token = login["record"]["email"], login["token"]
    secret = nodes[0].call("POST", "/api/auth/users/totp/setup", token=token).data["secret"]
    body = {"code": code(secret, -1)}
    nodes[0].call("POST", "/api/auth/users/totp/confirm", body, token).accepted()
    used = code(secret)
    statuses = []
    for node in (*nodes, nodes[0]):
        ticket = node.login(email)["mfa_token"]
        statuses.append(node.call("POST", "/api/auth/users/login/mfa", {"mfa_token": ticket, "code": used}).status)
    assert statuses == [200, 401, 401]


def test_registrations_on_two_nodes_at_once_are_all_served(nodes: list[Server]) -> None:
    def register(number: int) -> int:
        body = {"email": fresh_email(), "password": PASSWORD}
        return nodes[number % 2].call("POST", "/api/auth/users/register", body).status

    with ThreadPoolExecutor(32) as clients:
        assert Counter(clients.map(register, range(200))) == {200: 200}


def test_of_sixteen_redemptions_spread_over_two_nodes_one_wins(launch: Launcher) -> None:
    nodes = launch.nodes(2)
    token = nodes[1].setup_token()

    def redeem(number: int) -> int:
        body = {"email": f"{number}-{ADMIN}", "password": PASSWORD, "setup_token": token}
        return nodes[number % 2].call("POST", "/api/admin/setup", body).status

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(redeem, range(16))) == {200: 1, 400: 15}
    database = nodes[0].database
    assert database
    assert database.query("SELECT count(*) FROM users") == [(1,)]
    assert database.query("SELECT count(*) FROM audit_log WHERE action = 'admin.set_up'") == [(1,)]


def test_a_limit_used_up_on_one_node_holds_on_the_other(launch: Launcher) -> None:
    nodes = launch.nodes(2, rate_limited=True)
    nodes[0].command("settings", "set", "rate_limit.rules=auth=12/300", "auth.lockout.max_attempts=0")

    def attempt(node: Server) -> int:
        return node.call("POST", "/api/auth/users/login", {"email": "x@example.org", "password": "wrong one"}).status

    # Both know the new rule when a settings change has reached them; before that the old one, of 3 s, may be in force.
    time.sleep(1)
    assert [attempt(nodes[0]) for _ in range(13)] == [401] * 12 + [429]
    time.sleep(1)
    assert attempt(nodes[1]) == 429


def test_lockout_counts_over_all_nodes(nodes: list[Server]) -> None:
    email = fresh_email()
    nodes[0].register(email)
    wrong = {"email": email, "password": "wrong one"}
    for attempt in range(10):
        nodes[attempt % 2].call("POST", "/api/auth/users/login", wrong).refused(401)
    for node in nodes:
        node.call("POST", "/api/auth/users/login", {**wrong, "password": PASSWORD}).refused(429, code="locked_out")


# The lease of the background work


def holder(database: Database) -> str | None:
    rows = database.query("SELECT holder FROM leases WHERE name = 'background'")
    return rows[0][0] if rows else None


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
def test_when_the_node_with_the_lease_ends_the_other_takes_over(launch: Launcher, is_killed: bool) -> None:
    nodes = launch.nodes(2)
    database = nodes[0].database
    assert database
    first = eventually(lambda: holder(database))
    own = [node for node in nodes if first in node.logged()]
    assert len(own) == 1, "the log tells who has it"
    other = next(node for node in nodes if node is not own[0])
    assert "background work" not in other.logged()
    if is_killed:
        own[0].kill()
    else:
        assert own[0].stop() == 0
    second = eventually(lambda: (new := holder(database)) != first and new, TAKEOVER_SECONDS_MAX)
    eventually(lambda: second in other.logged())


# Keys


def test_a_node_with_another_signing_secret_does_not_start(launch: Launcher, tmp_path: Path) -> None:
    secret = "q7Zk2nVb5Rw9Xc4Lm8Tp3Hs6Jd1Fg0Ya"
    node = launch.nodes(1, LATCHKEY_JWT_SECRET=secret)[0]
    assert node.database
    token = node.new_user()["token"]
    for foreign in ({"LATCHKEY_JWT_SECRET": secret[::-1]}, {}):
        environment = {
            "LATCHKEY_SEALING_KEY": node.environment["LATCHKEY_SEALING_KEY"],
            "LATCHKEY_DATABASE_URL": node.database.url,
            "LATCHKEY_PORT": "0",
            **foreign,
        }
        refused = run_command("serve", "--data-dir", str(tmp_path / "other"), environment=environment)
        assert refused.returncode == 1
        assert "signing secret" in refused.stderr
        assert secret not in refused.stderr
    assert node.sees(token)


def test_a_node_with_another_sealing_key_does_not_start(launch: Launcher, tmp_path: Path) -> None:
    node = launch.nodes(1)[0]
    assert node.database
    for other in (base64.b64encode(os.urandom(32)).decode(), None):
        environment = {"LATCHKEY_DATABASE_URL": node.database.url, "LATCHKEY_PORT": "0"}
        if other:
            environment["LATCHKEY_SEALING_KEY"] = other
        refused = run_command("serve", "--data-dir", str(tmp_path / "other"), environment=environment)
        assert refused.returncode == 1
        assert "sealing key" in refused.stderr


def test_a_secret_of_the_environment_is_changed_by_declaring_it(launch: Launcher) -> None:
    old, new = "q7Zk2nVb5Rw9Xc4Lm8Tp3Hs6Jd1Fg0Ya", "Yb1Gh2Ke3Lm4Nq5Pr6Sv7Tx8Uz9Wa0Cd"
    node = launch.nodes(1, LATCHKEY_JWT_SECRET=old)[0]
    token = node.new_user()["token"]
    node.environment["LATCHKEY_JWT_SECRET"] = new
    refused = run_command("secret", "rotate", "--data-dir", str(node.data_dir), environment=node.environment)
    assert refused.returncode == 1
    assert "LATCHKEY_JWT_SECRET" in refused.stderr
    node.command("secret", "rotate", "--logout-everyone")
    # The running node has the old one still: it steps aside instead of signing what nobody takes.
    eventually(lambda: node.call("GET", "/api/ready").status == 503)
    node.me(token).refused(503)
    node.restart()
    node.me(token).refused(401)
    assert node.new_user()


def test_many_nodes_that_start_at_once_on_an_empty_database_agree(launch: Launcher) -> None:
    database = Database(SHARED)
    try:
        with ThreadPoolExecutor(4) as pool:
            key = base64.b64encode(os.urandom(32)).decode()
            started: list[Any] = list(
                pool.map(lambda _: launch.nodes(1, database, LATCHKEY_SEALING_KEY=key, rate_limited=True)[0], range(4))
            )
        assert len({node.call("GET", "/.well-known/jwks.json").body for node in started}) == 1
        assert database.query("SELECT name FROM collections ORDER BY name") == [("_admins",), ("users",)]
        token = started[0].new_user()["token"]
        assert statuses(started, token) == [200] * 4
    finally:
        database.drop()
