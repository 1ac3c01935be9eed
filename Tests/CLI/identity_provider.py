"""An identity provider for the tests, on a port of 127.0.0.1: OpenID Connect as the specifications have it, until it is
told to lie."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import secrets
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from conftest import fresh_email
from http_answers import Answer, says
from processes import free_port
from signing_keys import Key
from tokens import changed, encode

Claims = dict[str, Any]

ENDPOINTS = {
    "/.well-known/openid-configuration": "discovery", "/authorize": "authorize", "/token": "token",
    "/userinfo": "userinfo", "/userinfo/emails": "emails", "/jwks": "jwks",
}  # fmt: skip
# Issuers may have a path, as Keycloak's do.
REALM = "/realms/acme"
SIGNED_IN_AS = "X-Signed-In-As"
ID_TOKEN_SECONDS = 300


def person(**changes: Any) -> Claims:
    """Somebody whom the provider knows, with a verified address; a change to None removes a claim."""
    known = {"sub": uuid.uuid4().hex, "email": fresh_email(), "email_verified": True, "name": "Ada Lovelace"}
    return changed(known, changes)


@dataclass(frozen=True)
class Mood:
    """How the provider lies."""

    claims: Claims = field(default_factory=dict)
    """Changes of an ID token's claims."""
    header: Claims = field(default_factory=dict)
    """Changes of an ID token's header."""
    sign: Callable[[Claims, Claims], str] | None = None
    """Makes an ID token of its header and claims."""
    token: Claims = field(default_factory=dict)
    """Changes of what the token endpoint answers."""
    userinfo: Any = field(default_factory=dict)
    """Changes of what userinfo answers; the answer itself, if it is no object."""
    discovery: Claims = field(default_factory=dict)
    """Changes of the discovery document."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """What endpoints answer in place of all that."""
    takes_codes_again: bool = False


@dataclass(frozen=True)
class Asked:
    """A request to the provider."""

    endpoint: str
    headers: Message
    query: str
    form: dict[str, str]


@dataclass(frozen=True)
class Return:
    """Where the browser is sent back to, and with what."""

    url: str
    code: str
    state: str


@dataclass(frozen=True)
class _Grant:
    """What a code stands for."""

    person: Claims
    redirect_uri: str
    nonce: str | None
    challenge: str | None


class IdentityProvider:
    """The provider, while it is entered, and what it was asked.

    Whoever may use it shows `client_id` and `client_secret`, in the way that `authentication` tells.
    """

    def __init__(self, authentication: Literal["post", "basic", "none"] = "post") -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.client_id = "latchkey at the test"
        # With characters that a form or Basic has to encode.
        self.client_secret = f"s:+%&=é {secrets.token_urlsafe(24)}"
        self.authentication = authentication
        self.is_openid = True
        """Whether it gives ID tokens."""
        self.keys = [Key()]
        """Those it publishes; it signs with the last."""
        self.mood = Mood()
        self.asked: list[Asked] = []
        self.issued: list[tuple[str, str]] = [("client_secret", self.client_secret)]
        """Secrets that nobody else may keep: their kinds and values."""
        self._grants: dict[str, _Grant] = {}
        self._people: dict[str, Claims] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> IdentityProvider:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> IdentityProvider:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.stopping.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None

    @contextlib.contextmanager
    def lying(self, **lies: Any) -> Iterator[None]:
        """In another mood, and afterwards in that before."""
        before, self.mood = self.mood, replace(self.mood, **lies)
        try:
            yield
        finally:
            self.mood = before

    @contextlib.contextmanager
    def set_up(self, **changes: Any) -> Iterator[None]:
        """With other attributes, and afterwards with those before."""
        before = {name: getattr(self, name) for name in changes}
        vars(self).update(changes)
        try:
            yield
        finally:
            vars(self).update(before)

    def count(self, endpoint: str = "") -> int:
        """How often an endpoint was asked, or all that a browser doesn't ask."""
        with self._lock:
            counts = Counter(request.endpoint for request in self.asked)
        return counts[endpoint] if endpoint else counts.total() - counts["authorize"]

    def last(self, endpoint: str) -> Asked:
        with self._lock:
            return [request for request in self.asked if request.endpoint == endpoint][-1]

    def settings(self, name: str = "oidc", is_discovered: bool = True) -> dict[str, str]:
        """What makes Latchkey use this provider under that name."""
        urls = {
            "authorization_url": f"{self.issuer}/authorize", "token_url": f"{self.issuer}/token",
            "userinfo_url": f"{self.issuer}/userinfo", "jwks_url": f"{self.issuer}/jwks",
        }  # fmt: skip
        settings = {"enabled": "1", "client_id": self.client_id, "client_secret": self.client_secret}
        settings |= {"issuer": self.issuer, **({} if is_discovered else urls)}
        return {f"oauth2.{name}.{key}": text for key, text in settings.items()}

    # What the browser does

    def visit(self, url: str, user: Claims) -> Return:
        """Goes where the application sends the browser, signs in there as `user`, and is sent back."""
        parts = urlsplit(url)
        assert (parts.hostname, parts.port) == ("127.0.0.1", self.port), url
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", f"{parts.path}?{parts.query}", headers={SIGNED_IN_AS: json.dumps(user)})
            response = connection.getresponse()
            text = response.read()
        assert response.status == 302, text
        back = response.headers["Location"]
        query = dict(parse_qsl(urlsplit(back).query))
        return Return(back, query["code"], query["state"])

    # What it gives out

    def id_token(self, user: Claims, **changes: Any) -> str:
        """What says that `user` has signed in, as a mobile application gets it."""
        now = int(time.time())
        audience = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + ID_TOKEN_SECONDS}
        claims = changed({**user, **audience}, {**changes, **self.mood.claims})
        header = changed({"alg": self.keys[-1].algorithm, "kid": self.keys[-1].id, "typ": "JWT"}, self.mood.header)
        sign = self.mood.sign or self.keys[-1].signed
        return self._noted("id_token", sign(header, claims))

    def _noted(self, kind: str, value: str) -> str:
        with self._lock:
            self.issued.append((kind, value))
        return value

    # What is asked of it, in the threads of the server

    def answer(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        parts = urlsplit(handler.path)
        path = parts.path.removeprefix(REALM)
        endpoint = ENDPOINTS.get(path, path)
        with self._lock:
            self.asked.append(Asked(endpoint, handler.headers, parts.query, form))
        if lie := self.mood.answers.get(endpoint):
            return lie(handler)
        if endpoint == "authorize":
            return self._authorize(handler, dict(parse_qsl(parts.query)))
        answer = {
            "discovery": self._discovery, "token": self._token, "userinfo": self._userinfo, "jwks": self._jwks,
        }.get(endpoint)  # fmt: skip
        status, body = answer(handler.headers, form) if answer else (404, {"error": "not_found"})
        return says(body, status)(handler)

    def _authorize(self, handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        asked = query["response_type"], query["client_id"], query.get("code_challenge_method", "S256")
        if asked != ("code", self.client_id, "S256"):
            return says({"error": "invalid_request"}, 400)(handler)
        user = json.loads(handler.headers[SIGNED_IN_AS])
        code = self._noted("code", secrets.token_urlsafe(32))
        grant = _Grant(user, query["redirect_uri"], query.get("nonce"), query.get("code_challenge"))
        with self._lock:
            self._grants[code] = grant
        back = urlencode({"code": code, "state": query["state"]})
        return says(b"", 302, Location=f"{grant.redirect_uri}{'&' if '?' in grant.redirect_uri else '?'}{back}")(
            handler
        )

    def _discovery(self, headers: Message, form: dict[str, str]) -> tuple[int, Any]:
        document = {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks", "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": [f"client_secret_{self.authentication}"],
        }  # fmt: skip
        return 200, changed(document, self.mood.discovery)

    def _token(self, headers: Message, form: dict[str, str]) -> tuple[int, Any]:
        if not self._is_client(headers, form):
            return 401, {"error": "invalid_client"}
        with self._lock:
            code = form.get("code", "")
            grant = self._grants.get(code) if self.mood.takes_codes_again else self._grants.pop(code, None)
        if not grant or form["grant_type"] != "authorization_code" or form["redirect_uri"] != grant.redirect_uri:
            return 400, {"error": "invalid_grant"}
        verifier = form.get("code_verifier")
        if (encode(hashlib.sha256(verifier.encode()).digest()) if verifier else None) != grant.challenge:
            return 400, {"error": "invalid_grant"}
        if verifier:
            self._noted("code_verifier", verifier)
        token = self._noted("access_token", secrets.token_urlsafe(32))
        with self._lock:
            self._people[token] = grant.person
        answer: Claims = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        if self.is_openid:
            nonce = {} if grant.nonce is None else {"nonce": grant.nonce}
            answer["id_token"] = self.id_token(grant.person, **nonce)
        return 200, changed(answer, self.mood.token)

    def _is_client(self, headers: Message, form: dict[str, str]) -> bool:
        if self.authentication == "none":
            return True
        mine = self.client_id, self.client_secret
        shown = form.get("client_id"), form.get("client_secret")
        if self.authentication == "post":
            return shown == mine and "Authorization" not in headers
        scheme, _, pair = (headers["Authorization"] or "").partition(" ")
        user, _, password = base64.b64decode(pair).decode().partition(":")
        return scheme == "Basic" and (unquote_plus(user), unquote_plus(password)) == mine and shown == (None, None)

    def _userinfo(self, headers: Message, form: dict[str, str]) -> tuple[int, Any]:
        scheme, _, token = (headers["Authorization"] or "").partition(" ")
        with self._lock:
            user = self._people.get(token)
        if scheme != "Bearer" or user is None:
            return 401, {"error": "invalid_token"}
        lie = self.mood.userinfo
        return 200, changed(user, lie) if isinstance(lie, dict) else lie

    def _jwks(self, headers: Message, form: dict[str, str]) -> tuple[int, Any]:
        return 200, {"keys": [key.jwk for key in self.keys]}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, provider: IdentityProvider) -> None:
        super().__init__(("127.0.0.1", provider.port), _Handler)
        self.provider = provider
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asks may hang up at any time: it is no news."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._provider.answer(self, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._provider.answer(self, dict(parse_qsl(body.decode(), keep_blank_values=True)))

    @property
    def _provider(self) -> IdentityProvider:
        assert isinstance(self.server, _Server)
        return self.server.provider

    def log_message(self, format: str, *arguments: object) -> None:
        pass
