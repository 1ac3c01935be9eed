"""An application whose users sign in by a provider: it asks Latchkey where to send the browser, and hands in what the
browser brings back."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from conftest import PASSWORD, Reply, Server, fresh_email
from identity_provider import Claims, IdentityProvider, person
from smtp import change_settings
from tokens import changed, encode

CALLBACK = "https://app.example.org/callback"
SECRETS = "/api/users/me/secrets"


def random_text() -> str:
    return encode(os.urandom(24))


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL, each of which stands there once."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), url
    return dict(pairs)


@dataclass(frozen=True)
class App:
    """The application, of one collection and by one provider."""

    server: Server
    idp: IdentityProvider
    provider: str = "oidc"
    collection: str = "users"

    def by(self, provider: str) -> App:
        return replace(self, provider=provider)

    def into(self, collection: str) -> App:
        return replace(self, collection=collection)

    def call(self, method: str, route: str, body: Any = None, token: str | None = None) -> Reply:
        return self.server.call(method, f"/api/auth/{self.collection}/oauth2/{route}", body, token)

    @contextlib.contextmanager
    def settings(self, changes: Mapping[str, str]) -> Iterator[None]:
        """With these settings, and afterwards with those before: what was not listed goes back to its default."""
        before = self.server.call("GET", "/api/admin/settings", token=self.server.admin).data
        change_settings(self.server, changes)
        try:
            yield
        finally:
            change_settings(self.server, {key: before.get(key) for key in changes})

    # Going there

    def authorize(self, token: str | None = None, **query: Any) -> Reply:
        """Asks for the URL, with changes of the usual query; signed in, it is to connect an account."""
        fields = changed({"provider": self.provider, "redirectUri": CALLBACK}, query)
        return self.call("GET", f"{'connect' if token else 'authorize'}?{urlencode(fields)}", token=token)

    def back(self, user: Claims, token: str | None = None, **query: Any) -> dict[str, Any]:
        """What the application hands in after `user` has signed in at the provider."""
        going = self.authorize(token, **query).data
        came = self.idp.visit(going["authorize_url"], user)
        assert came.state == going["state"]
        self.server.secrets.note("state", came.state)
        redirect = query.get("redirectUri", CALLBACK)
        return {"provider": self.provider, "code": came.code, "redirectUri": redirect, "state": came.state}

    # Coming back

    def exchange(self, body: Any, token: str | None = None) -> Reply:
        return self.call("POST", "exchange", body, token)

    def sign_in(self, user: Claims, **more: Any) -> Reply:
        """All of it; `more` goes into the body at the end."""
        return self.exchange(changed(self.back(user), more))

    def signed_in(self, user: Claims, **more: Any) -> Any:
        login = self.sign_in(user, **more).data
        assert login.keys() == {"token", "token_type", "expires_at", "record"}, login.keys()
        return login

    def refuses(self, user: Claims | None = None) -> None:
        """Signs in with an ID token that leads nowhere: nothing is written, and nothing is told of it."""
        user = user or person()
        before = written(self.server)
        refused = self.sign_in(user).refused(400, code="invalid_id_token")
        assert "OpenID Connect" in refused["error"]
        assert user["sub"] not in str(refused) and user["email"] not in str(refused)
        assert written(self.server) == before
        row = audited(self.server, "sign_in.failed")[0]
        assert (row["actor_id"], row["subject_id"], row["outcome"]) == (None, None, "failure")
        assert row["details"] == {"provider": self.provider, "reason": "invalid_id_token"}

    def merge_token(self, user: Claims) -> str:
        """What is given where the owner of the email has to confirm."""
        waits = self.sign_in(user).data
        assert waits.keys() == {"merge_required", "merge_token"} and waits["merge_required"] is True
        self.server.secrets.note("merge_token", waits["merge_token"])
        return str(waits["merge_token"])

    def confirm(self, merge_token: str, token: str | None = None, **body: Any) -> Reply:
        return self.call("POST", "merge-confirm", {"merge_token": merge_token, **body}, token)

    # Links

    def connect(self, user: Claims, token: str) -> Reply:
        return self.call("POST", "connect", self.back(user, token), token)

    def unlink(self, token: str) -> Reply:
        return self.call("DELETE", f"{self.provider}/unlink", token=token)

    def links(self, token: str) -> list[str]:
        """The providers that are linked, oldest first."""
        return [link["provider"] for link in self.call("GET", "links", token=token).data]


@contextlib.contextmanager
def signing_in(server: Server, *names: str) -> Iterator[App]:
    """An application on this server, whose provider is known by these names (`oidc`), and runs meanwhile."""
    with IdentityProvider() as idp:
        changes = {"outbound.allowed_hosts": f"127.0.0.1:{idp.port}"}
        for name in names or ("oidc",):
            changes |= idp.settings(name)
        change_settings(server, changes)
        try:
            yield App(server, idp, (names or ("oidc",))[0])
        finally:
            for kind, value in idp.issued:
                server.secrets.note(kind, value)


@contextlib.contextmanager
def another(app: App, **changes: str) -> Iterator[App]:
    """Another provider, whose documents nobody has seen yet; its settings go with it."""
    name = f"oidc-{uuid.uuid4().hex[:8]}"
    with IdentityProvider() as idp:
        hosts = {"outbound.allowed_hosts": f"127.0.0.1:{app.idp.port},127.0.0.1:{idp.port}"}
        settings = {**idp.settings(name), **hosts}
        settings |= {f"oauth2.{name}.{key}": text.replace("{issuer}", idp.issuer) for key, text in changes.items()}
        with app.settings(settings):
            yield App(app.server, idp, name)
        for kind, value in idp.issued:
            app.server.secrets.note(kind, value)


# Who has an account


@dataclass(frozen=True)
class Account:
    """A user with a password, and whom the provider would know by the same address."""

    id: str
    email: str
    token: str
    person: Claims


def account(server: Server, is_verified: bool = True, collection: str = "users") -> Account:
    """Somebody new, whose session is fresh."""
    email = fresh_email()
    user = server.register(email, collection=collection)["id"]
    if is_verified:
        path = f"/api/admin/users/{collection}/{user}"
        server.call("PATCH", path, {"email_verified": True}, server.admin).accepted()
    token = server.login(email, collection=collection)["token"]
    return Account(user, email, token, person(email=email))


def knows_password(server: Server, email: str, password: str = PASSWORD) -> bool:
    body = {"email": email, "password": password}
    return server.call("POST", "/api/auth/users/login", body).status == 200


def device(server: Server, token: str) -> str:
    """The secret of a new trusted device."""
    secret = os.urandom(32).hex()
    body = {"type": "device", "secret": secret, "name": "phone"}
    server.call("POST", SECRETS, body, token).accepted()
    return secret


def device_session(server: Server, who: Account) -> str:
    """A session that is not fresh."""
    body = {"identity": who.email, "secret": device(server, who.token)}
    return str(server.call("POST", "/api/auth/users/login/device", body).data["token"])


def audited(server: Server, action: str, **about: str) -> list[Any]:
    """The rows of the audit log, newest first: of that action, and by or on somebody."""
    query = urlencode({"action": action, "perPage": "500", **about})
    return list(server.call("GET", f"/api/admin/audit?{query}", token=server.admin).data)


def mailed(server: Server, to: str, template: str) -> Any:
    """The newest such mail of the development inbox."""
    path = f"/api/admin/inbox/wait?{urlencode({'to': to, 'template': template})}"
    return server.call("GET", path, token=server.admin).data


def mails(server: Server, to: str, template: str) -> list[Any]:
    """Those that were sent so far."""
    rows = server.call("GET", f"/api/admin/inbox?{urlencode({'to': to})}", token=server.admin).data
    return [row for row in rows if row["template"] == template]


def written(server: Server) -> list[int]:
    """How many users, links and sessions there are."""
    return [server.query(f"SELECT count(*) FROM {table}")[0][0] for table in ("users", "identities", "sessions")]
