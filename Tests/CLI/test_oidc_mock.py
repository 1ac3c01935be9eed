"""Sign-in by OpenID Connect providers that are not ours: two of `oidc-provider-mock`, known by nothing but their issuers."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Reply, Server, eventually, fresh_email
from oauth_app import CALLBACK, account, query_of, random_text
from processes import free_port
from smtp import change_settings
from tokens import claims

START_SECONDS_MAX = 30
ANSWER_SECONDS_MAX = 10


class Mock:
    """One of them: a process that lets whoever names themselves sign in, and whose clients have to be registered."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--require-registration", "true", "--require-nonce", "true"]
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "oidc_provider_mock", *options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._is_up, START_SECONDS_MAX)

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/.well-known/openid-configuration")[0] == 200
        assert self._process and self._process.poll() is None, self._log.read_text()
        return False

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(ANSWER_SECONDS_MAX)

    def call(self, method: str, path: str, body: str = "", type: str = "application/json") -> tuple[int, str, Any]:
        """The status, where it redirects to, and the body."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        ) as connection:
            connection.request(method, path, body, {"Content-Type": type})
            response = connection.getresponse()
            return response.status, response.headers["Location"] or "", response.read()

    def client(self) -> dict[str, str]:
        """A new client of it, as Latchkey's settings have it."""
        status, _, body = self.call("POST", "/oauth2/clients", json.dumps({"redirect_uris": [CALLBACK]}))
        assert status == 201, body
        return {name: json.loads(body)[name] for name in ("client_id", "client_secret")}

    def knows(self, sub: str, **user: Any) -> None:
        status, _, body = self.call("PUT", f"/users/{sub}", json.dumps(user))
        assert status == 204, body

    def visit(self, url: str, sub: str) -> dict[str, str]:
        """What the browser brings back, when its user has signed in by the form."""
        assert url.startswith(self.issuer), url
        form = urllib.parse.urlencode({"sub": sub})
        status, location, body = self.call(
            "POST", url.removeprefix(self.issuer), form, "application/x-www-form-urlencoded"
        )
        assert status == 302, body
        return query_of(location)


@dataclass(frozen=True)
class App:
    """Signs its users in by one of them."""

    server: Server
    mock: Mock
    provider: str

    def back(self, sub: str, **query: str) -> dict[str, str]:
        wish = urllib.parse.urlencode({"provider": self.provider, "redirectUri": CALLBACK, **query})
        going = self.server.call("GET", f"/api/auth/users/oauth2/authorize?{wish}").data
        came = self.mock.visit(going["authorize_url"], sub)
        for kind, value in came.items():
            self.server.secrets.note(kind, value)
        assert came["state"] == going["state"]
        return {"provider": self.provider, "redirectUri": CALLBACK, **came}

    def exchange(self, body: Any) -> Reply:
        return self.server.call("POST", "/api/auth/users/oauth2/exchange", body)

    def sign_in(self, sub: str, **query: str) -> Reply:
        return self.exchange(self.back(sub, **query))

    def set_up(self) -> None:
        client = {"enabled": "1", "issuer": self.mock.issuer, **self.mock.client()}
        self.server.secrets.note("client_secret", client["client_secret"])
        change_settings(self.server, {f"oauth2.{self.provider}.{name}": text for name, text in client.items()})


@pytest.fixture(scope="module")
def apps(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, App]]:
    directory = tmp_path_factory.mktemp("mocks")
    names = ("oidc-one", "oidc-two")
    one, two = (App(server, Mock(directory / name), name) for name in names)
    with contextlib.ExitStack() as running:
        for app in (one, two):
            running.callback(app.mock.stop)
            app.mock.start()
            app.set_up()
        hosts = ",".join(f"127.0.0.1:{app.mock.port}" for app in (one, two))
        change_settings(server, {"outbound.allowed_hosts": hosts})
        yield one, two


def test_both_sign_their_own_users_in(apps: tuple[App, App]) -> None:
    ids = []
    for app in apps:
        sub, email = uuid.uuid4().hex, fresh_email()
        app.mock.knows(sub, email=email, email_verified=True, name="Ada Lovelace")
        login = app.sign_in(sub).data
        assert (login["record"]["email"], login["record"]["email_verified"]) == (email, True)
        assert claims(login["token"])["amr"] == ["fed"]
        assert app.sign_in(sub, state=random_text(), use_pkce="1").data["record"]["id"] == login["record"]["id"]
        links = app.server.call("GET", "/api/auth/users/oauth2/links", token=login["token"]).data
        assert [(link["provider"], link["email"]) for link in links] == [(app.provider, email)]
        ids.append(login["record"]["id"])
    assert len(set(ids)) == 2
    listed = apps[0].server.call("GET", "/api/auth/users/oauth2/providers").data
    assert [provider["name"] for provider in listed] == ["oidc-one", "oidc-two"]


def test_one_subject_at_both_is_two_people_unless_both_have_verified_the_email(apps: tuple[App, App]) -> None:
    one, two = apps
    sub, email = uuid.uuid4().hex, fresh_email()
    one.mock.knows(sub, email=email, email_verified=True)
    first = one.sign_in(sub).data["record"]["id"]
    two.mock.knows(sub, email=email)
    two.sign_in(sub).refused(409, code="email_taken")
    two.mock.knows(sub, email=fresh_email())
    other = two.sign_in(sub).data["record"]
    assert other["id"] != first and other["email_verified"] is False
    same = uuid.uuid4().hex
    two.mock.knows(same, email=email, email_verified=True)
    assert two.sign_in(same).data["record"]["id"] == first


def test_a_user_with_a_password_is_linked_by_a_verified_email(apps: tuple[App, App]) -> None:
    app = apps[0]
    who, sub = account(app.server), uuid.uuid4().hex
    app.mock.knows(sub, email=who.email, email_verified=True)
    assert app.sign_in(sub).data["record"]["id"] == who.id
    assert app.server.sees(who.token)


def test_a_code_is_good_once_and_where_it_was_given_out(apps: tuple[App, App]) -> None:
    one, two = apps
    back = one.back(uuid.uuid4().hex + "@example.org")
    one.exchange(back).accepted()
    again = {name: text for name, text in back.items() if name != "state"}
    one.exchange(again).refused(400, code="oauth_refused")
    stolen = one.back(uuid.uuid4().hex + "@example.org")
    two.exchange({**stolen, "provider": "oidc-two"}).refused(400, code="invalid_oauth_state")
    two.exchange({"provider": "oidc-two", "redirectUri": CALLBACK, "code": stolen["code"]}).refused(
        400, code="oauth_refused"
    )


def test_a_wrong_client_secret_is_refused_there(apps: tuple[App, App]) -> None:
    app = apps[0]
    change_settings(app.server, {"oauth2.oidc-one.client_secret": random_text()})
    try:
        app.sign_in(uuid.uuid4().hex + "@example.org").refused(400, code="oauth_refused")
    finally:
        app.set_up()
    app.sign_in(uuid.uuid4().hex + "@example.org").accepted()


def test_a_provider_that_comes_back_with_new_keys_is_believed(apps: tuple[App, App]) -> None:
    app = apps[1]
    sub, email = uuid.uuid4().hex, fresh_email()
    app.mock.knows(sub, email=email, email_verified=True)
    id = app.sign_in(sub).data["record"]["id"]
    app.mock.stop()
    app.mock.start()
    app.set_up()
    app.mock.knows(sub, email=email, email_verified=True)
    assert app.sign_in(sub).data["record"]["id"] == id
