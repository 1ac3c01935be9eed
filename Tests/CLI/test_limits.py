"""Rate limits and lockout (contract §4), with the defaults on and the clock of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from conftest import PASSWORD, Reply, Server, fresh_email

AUTH_REQUESTS_MAX = 10
AUTH_WINDOW_SECONDS = 3
# After this long a running server must have seen what a command changed.
SETTLING_SECONDS = 1.1

Launch = Callable[..., Server]


def attempt(
    server: Server, path: str = "/api/auth/users/login", email: str | None = None, password: str = "wrong"
) -> Reply:
    return server.call("POST", path, {"email": email or fresh_email(), "password": password})


def test_the_eleventh_sign_in_within_three_seconds_is_a_429_that_says_when_to_return(launch: Launch) -> None:
    server = launch(rate_limited=True)
    begin = time.monotonic()
    statuses = [attempt(server).status for _ in range(AUTH_REQUESTS_MAX)]
    refusal = attempt(server)
    assert time.monotonic() - begin < AUTH_WINDOW_SECONDS, "too slow a machine for this test"
    assert statuses == [401] * AUTH_REQUESTS_MAX
    refusal.refused(429)
    wait = int(refusal.headers["Retry-After"])
    # The window slides by shares of the one before: at its very beginning a tenth of it more is to wait.
    assert 1 <= wait <= AUTH_WINDOW_SECONDS + 1
    assert server.call("GET", "/api/health").data, "the limit of sign-in is not the limit of the rest"
    time.sleep(wait)
    attempt(server).refused(401)


def test_the_limit_counts_a_route_under_all_its_names(launch: Launch) -> None:
    server = launch(rate_limited=True)
    names = ["/api/auth/users/login", "/api/v1/auth/users/login", "/api//auth/users/login", "/api/auth/%75sers/login/"]
    statuses = [attempt(server, names[number % len(names)]).status for number in range(AUTH_REQUESTS_MAX + 2)]
    assert statuses == [401] * AUTH_REQUESTS_MAX + [429] * 2


def test_a_forwarded_address_does_not_lift_the_limit(launch: Launch) -> None:
    server = launch(rate_limited=True)
    body = {"email": fresh_email(), "password": "wrong"}

    def forwarded(number: int) -> int:
        address = f"203.0.113.{number}"
        headers = {"X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}"}
        return server.call("POST", "/api/auth/users/login", body, headers=headers).status

    assert 429 in [forwarded(number) for number in range(AUTH_REQUESTS_MAX + 2)]


def test_the_limit_can_be_turned_off_while_the_server_runs(launch: Launch) -> None:
    server = launch(rate_limited=True)
    server.command("settings", "set", "rate_limit.enabled=0")
    time.sleep(SETTLING_SECONDS)
    assert {attempt(server).status for _ in range(2 * AUTH_REQUESTS_MAX)} == {401}


def test_a_locked_account_refuses_the_right_password_like_a_wrong_one(launch: Launch) -> None:
    server = launch()
    server.command("settings", "set", "auth.lockout.max_attempts=3")
    email, other = fresh_email(), fresh_email()
    session = server.register(email) and server.login(email)
    server.register(other)
    time.sleep(SETTLING_SECONDS)

    for _ in range(3):
        attempt(server, email=email).refused(401)
    wrong = attempt(server, email=email).refused(401, 429)
    right = attempt(server, email=email, password=PASSWORD).refused(401, 429)
    assert (right["code"], right["error"]) == (wrong["code"], wrong["error"])
    assert server.sees(session["token"]), "a lock keeps guesses out, not the sessions that exist"
    assert server.login(other)


def test_a_success_clears_the_count_of_wrong_passwords(launch: Launch) -> None:
    server = launch()
    server.command("settings", "set", "auth.lockout.max_attempts=3")
    email = fresh_email()
    server.register(email)
    time.sleep(SETTLING_SECONDS)
    for _ in range(3):
        attempt(server, email=email).refused(401)
        attempt(server, email=email).refused(401)
        assert server.login(email)
