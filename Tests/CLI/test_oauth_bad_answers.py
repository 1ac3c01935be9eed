"""A provider whose endpoints misbehave: the right refusal, in time, which holds nothing of what was answered."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import PASSWORD, Server, fresh_email
from http_answers import Answer, other_than_json, says, says_nothing, streams
from identity_provider import person
from oauth_app import CALLBACK, App, account, another, random_text, signing_in, written

# Stands in every wrong answer, and is looked for in refusals, logs and the database.
MARK = "what-only-the-provider-has-said-4711"
# The limit is ten seconds; the rest is for a busy machine.
SECONDS_MAX = 16

REFUSED = 400, "oauth_refused"
FAILED = 502, "provider_failed"


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[App]:
    server.secrets.note("answer", MARK)
    with signing_in(server) as made:
        yield made


def refused(app: App, status: int, code: str) -> None:
    """Signs in, which fails in this way: nothing is written, nothing is told."""
    user = person()
    back = app.back(user)
    before, began = written(app.server), time.monotonic()
    reply = app.exchange(back)
    assert time.monotonic() - began < SECONDS_MAX
    envelope = reply.refused(status, code=code)
    assert "OpenID Connect" in envelope["error"]
    for text in (MARK, user["sub"], user["email"], app.idp.client_secret, str(app.idp.port)):
        assert text not in reply.body.decode()
    assert written(app.server) == before
    # One that the provider has failed is not begun where it was.
    app.exchange(back).refused(400, code="invalid_oauth_state")


@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
@pytest.mark.parametrize("what", other_than_json(MARK))
def test_what_is_no_answer_is_a_failure_of_the_provider(app: App, endpoint: str, what: str) -> None:
    asked = app.idp.count(endpoint)
    with app.idp.lying(answers={endpoint: other_than_json(MARK)[what]}):
        refused(app, *FAILED)
    assert app.idp.count(endpoint) == asked + 1, "it was asked again"
    assert app.idp.count("/evil") == 0


def test_a_provider_that_is_slow_is_waited_for_ten_seconds(app: App) -> None:
    ways = [
        (endpoint, answer) for endpoint in ("token", "userinfo") for answer in (says_nothing, streams(b" ", pause=0.5))
    ]
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(len(ways)) as pool:
        others = [opened.enter_context(another(app)) for _ in ways]
        opened.enter_context(app.settings({"outbound.allowed_hosts": "127.0.0.1"}))
        for other, (endpoint, answer) in zip(others, ways, strict=True):
            opened.enter_context(other.idp.lying(answers={endpoint: answer}))
        began = time.monotonic()
        for reply in pool.map(lambda other: other.sign_in(person()), others):
            reply.refused(*FAILED[:1], code=FAILED[1])
        assert 5 < time.monotonic() - began < SECONDS_MAX


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says({"error": "invalid_grant", "error_description": MARK}, 400), REFUSED),
        (says({"error": "invalid_client", "error_uri": f"https://x.example/{MARK}"}, 401), REFUSED),
        (says({"error": MARK}, 403), REFUSED), (says(MARK.encode(), 400, "text/html"), REFUSED),
        # GitHub, Slack
        (says({"error": "bad_verification_code", "error_description": MARK}), REFUSED),
        (says({"ok": False, "error": MARK}), REFUSED), (says({"error": {"message": MARK, "code": 100}}, 400), REFUSED),
        (says({"error": "x", "access_token": "x" * 20}), REFUSED), (says({"error": ["a\r\nb"]}), REFUSED),
    ],
)  # fmt: skip
def test_a_code_that_the_provider_refuses_is_no_failure_of_it(
    app: App, answer: Answer, expected: tuple[int, str]
) -> None:
    asked = app.idp.count("userinfo")
    with app.idp.lying(answers={"token": answer}):
        refused(app, *expected)
    assert app.idp.count("userinfo") == asked


@pytest.mark.parametrize("status", [402, 404, 405, 410, 418, 429])
def test_any_other_refusal_of_the_token_endpoint_is_told_too(app: App, status: int) -> None:
    with app.idp.lying(answers={"token": says({"error": MARK}, status)}):
        reply = app.sign_in(person())
    assert (reply.status, reply.refused(400, 502)["code"]) in (REFUSED, FAILED)


@pytest.mark.parametrize(
    "token", [None, 5, "", [], {}, True, "two words", "a\r\nX-Evil: yes", "a\0b", "é", "x" * 200_000, "\u2028", " x"]
)
def test_what_can_be_no_access_token_is_not_sent_anywhere(app: App, token: Any) -> None:
    asked = app.idp.count("userinfo")
    with app.idp.lying(token={"access_token": token}):
        reply = app.sign_in(person())
    assert reply.status in (400, 502), reply.body[:300]
    assert app.idp.count("userinfo") == asked or isinstance(token, str) and len(token) == 200_000


@pytest.mark.parametrize(
    "changes",
    [
        {"token_type": None}, {"token_type": "bearer"}, {"expires_in": "3600"}, {"expires_in": None}, {"expires_in": -1},
        {"scope": ["a"]}, {"refresh_token": 5}, {"more": {"a": [None] * 1000}}, {"expires_in": 10**30},
    ],
)  # fmt: skip
def test_what_nobody_needs_of_an_answer_may_be_anything(app: App, changes: dict[str, Any]) -> None:
    with app.idp.lying(token=changes):
        app.signed_in(person())


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/javascript; charset=UTF-8", "application/x-unknown", "nonsense"]
)
def test_json_of_another_type_is_json(app: App, content_type: str) -> None:
    user = person()
    with app.idp.lying(answers={"userinfo": says(user, content_type=content_type)}):
        app.signed_in(user)


@pytest.mark.parametrize(
    "userinfo", [[], "x", 5, None, True, [{"sub": "x"}], {"error": MARK}, {"error": "invalid_token", "sub": "x"}]
)
def test_a_userinfo_that_is_no_object_signs_nobody_in(app: App, userinfo: Any) -> None:
    before = written(app.server)
    with app.idp.lying(answers={"userinfo": says(userinfo)}):
        reply = app.sign_in(person())
    assert reply.status in (400, 502) and MARK not in reply.body.decode()
    assert written(app.server) == before


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_a_userinfo_that_refuses_signs_nobody_in(app: App, status: int) -> None:
    before = written(app.server)
    with app.idp.lying(answers={"userinfo": says({"error": MARK}, status)}):
        reply = app.sign_in(person())
    assert reply.status in (400, 502) and MARK not in reply.body.decode()
    assert written(app.server) == before


@pytest.mark.parametrize(
    "claims",
    [
        {"name": 5}, {"name": {"first": "Ada"}}, {"name": "x" * 100_000}, {"name": "a\0b\u202e"}, {"picture": "javascript:alert(1)"},
        {"picture": []}, {"locale": None}, {"groups": ["admin"], "role": "admin", "permissions": ["users:write"], "id": "x"},
        {"status": "suspended", "kind": "system", "email_verified": True, "password": "x"},
    ],
)  # fmt: skip
def test_a_profile_with_anything_in_it_is_a_profile(app: App, claims: dict[str, Any]) -> None:
    user = person()
    with app.idp.lying(userinfo=claims):
        record = app.signed_in(user)["record"]
    assert (record["email"], record["kind"], record["status"]) == (user["email"], "human", "active")


# While it is away


def test_a_provider_that_is_away_is_asked_again_when_it_is_back(app: App) -> None:
    user = person()
    app.idp.stop()
    try:
        body = {"provider": "oidc", "code": random_text(), "redirectUri": CALLBACK}
        app.exchange(body).refused(502, code="provider_failed")
    finally:
        app.idp.start()
    app.signed_in(user)


def test_others_are_served_while_a_provider_says_nothing(app: App) -> None:
    backs = [app.back(person()) for _ in range(80)]
    email = fresh_email()
    app.server.register(email)
    with app.idp.lying(answers={"token": says_nothing}), ThreadPoolExecutor(len(backs)) as pool:
        began = time.monotonic()
        waiting = [pool.submit(app.exchange, back) for back in backs[:40]]
        time.sleep(0.5)
        with another(app) as other:
            other.signed_in(person())
        # More than that don't wait for one host.
        waiting += [pool.submit(app.exchange, back) for back in backs[40:]]
        for _ in range(3):
            assert app.server.login(email, PASSWORD)
            assert app.server.call("GET", "/api/ready").status == 200
        assert time.monotonic() - began < 8, "they waited with the others"
        replies = [future.result() for future in waiting]
    assert time.monotonic() - began < SECONDS_MAX
    codes = Counter(reply.refused(502, 503)["code"] for reply in replies)
    assert codes == {"provider_failed": 64, "overloaded": 16}
    app.signed_in(person())


def test_a_refusal_leaves_nothing_of_the_answer_anywhere(app: App) -> None:
    who = account(app.server)
    for answer in (
        says({"error": "invalid_grant", "error_description": MARK}, 400),
        says(MARK.encode(), 500),
        streams(MARK.encode() * 1000),
    ):
        with app.idp.lying(answers={"token": answer}):
            app.sign_in(who.person).refused(400, 502)
    for kind, value in app.idp.issued:
        app.server.secrets.note(kind, value)
    app.server.check_leaks()
    assert (
        "token endpoint" in app.server.logged() + app.server.printed()
        or "refuses" in app.server.logged() + app.server.printed()
    )
