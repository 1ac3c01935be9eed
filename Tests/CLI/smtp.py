"""A real SMTP server for the tests: aiosmtpd on a port of 127.0.0.1, with the moods that mail servers have."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from conftest import Server, eventually
from processes import free_port

APP_URL = "https://app.example.org/base"
SENDER = "Zoë from Latchkey <no-reply@example.org>"
# The longest that a mail takes when nothing is in its way; a retry may come half a minute later.
DELIVERY_SECONDS_MAX = 10
RETRY_SECONDS_MAX = 60

# How each mail begins its subject, or what stands in it, unless an operator changed that.
VERIFY = "Confirm your email address"
RESET = "Set a new password"
CODE = "is your sign-in code"
EMAIL_CHANGE = "Confirm your new email address"
RECOVER = "Recover your account"


@dataclass(frozen=True)
class Mail:
    """A mail that was taken, and how it was handed in."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    is_encrypted: bool
    user: str | None

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    def _part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        assert body, f"no {kind} part"
        return body.get_content().replace("\r\n", "\n")

    @property
    def link(self) -> str:
        found = re.search(r"^https?://\S+$", self.text, re.MULTILINE)
        assert found, self.text
        return found[0]

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)["token"][0]

    @property
    def code(self) -> str:
        found = re.search(r"^\d{6}$", self.text, re.MULTILINE)
        assert found, self.text
        return found[0]


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Certificate:
        made = cls(directory / "smtp.pem", directory / "smtp.key")
        options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        name = ["-subj", "/CN=mail.example.org", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run(["openssl", "req", "-x509", *options, *name, *files], check=True, capture_output=True)
        return made

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass
class Mood:
    """What the server does instead of taking a mail; may change while it runs."""

    recipient_reply: str | None = None
    data_reply: str | None = None
    seconds: float = 0
    """Before it answers DATA."""
    drops: int = 0
    """Connections that it still closes in the middle of DATA."""
    silences: int = 0
    """Connections that it still closes after it has taken a mail, without a word."""


class Mailbox:
    """The server, and what it was sent.

    It listens from `start` to `stop`, or while it is entered, always on the same port: a server may go and come back.
    """

    def __init__(
        self,
        tls: Literal["starttls", "implicit"] | None = None,
        certificate: Certificate | None = None,
        account: tuple[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        assert (tls is None) == (certificate is None)
        self.address = address
        self.port = free_port()
        self.mood = Mood()
        self.account = account
        self.sign_ins: list[tuple[str, bool, bool]] = []
        """User name, whether it was let in, whether the connection was encrypted."""
        self.connections = 0
        self._tls = tls
        self._certificate = certificate
        self._mails: list[Mail] = []
        self._lock = threading.Lock()
        self._controller: _Controller | None = None

    def __enter__(self) -> Mailbox:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def start(self) -> Mailbox:
        context = self._certificate.context() if self._certificate else None
        self._controller = _Controller(
            self,
            hostname=self.address,
            port=self.port,
            server_hostname="mail.example.org",
            ssl_context=context if self._tls == "implicit" else None,
            tls_context=context if self._tls == "starttls" else None,
            require_starttls=self._tls == "starttls",
            authenticator=self._authenticate,
            auth_require_tls=self._tls == "starttls",
        )
        self._controller.start()
        with self._lock:
            self.connections = 0  # the controller's own, by which it looks whether it runs
        return self

    def stop(self) -> None:
        if self._controller:
            self._controller.hang_up()
            self._controller.stop()
        self._controller = None

    # What was sent

    def mails(self, to: str | None = None, about: str = "") -> list[Mail]:
        """What was taken, oldest first: to an address, with that in its subject."""
        with self._lock:
            return [mail for mail in self._mails if about in mail.subject and (to is None or to in mail.recipients)]

    def wait(
        self, to: str | None = None, about: str = "", count: int = 1, within: float = DELIVERY_SECONDS_MAX
    ) -> list[Mail]:
        """The same, as soon as there are `count` of them."""
        return eventually(lambda: mails if len(mails := self.mails(to, about)) >= count else None, within)

    def newest(self, to: str | None = None, about: str = "", count: int = 1) -> Mail:
        """The `count`-th, when it is there."""
        return self.wait(to, about, count)[-1]

    def settings(self) -> dict[str, str]:
        """What makes Latchkey use this server."""
        user, password = self.account or ("", "")
        return {
            "smtp.enabled": "1",
            "smtp.host": "127.0.0.1",
            "smtp.port": str(self.port),
            "smtp.secure": str(int(self._tls == "implicit")),
            "smtp.user": user,
            "smtp.pass": password,
            "smtp.from": SENDER,
            "app.url": APP_URL,
        }

    # What aiosmtpd calls, in the thread of the controller

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: Any
    ) -> AuthResult:
        assert isinstance(credentials, LoginPassword)
        given = credentials.login.decode(), credentials.password.decode()
        is_right = given == self.account
        self.sign_ins.append((given[0], is_right, _is_encrypted(server)))
        return AuthResult(success=is_right, handled=False, auth_data=given[0])

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.account and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.mood.recipient_reply:
            return self.mood.recipient_reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply, seconds = self.mood.data_reply, self.mood.seconds
        if seconds:
            await asyncio.sleep(seconds)
        if reply:
            return reply
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        user = session.auth_data if session.authenticated else None
        mail = Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), message, _is_encrypted(server), user)
        with self._lock:
            self._mails.append(mail)
        if self.mood.silences > 0:
            self.mood.silences -= 1
            _hang_up(server)
        return "250 OK"

    def _note_connection(self) -> None:
        with self._lock:
            self.connections += 1


class _Protocol(SMTP):
    """A connection, which may break where no hook of aiosmtpd is called."""

    async def smtp_DATA(self, arg: str) -> None:
        mood = self.event_handler.mood
        if mood.drops > 0:
            mood.drops -= 1
            await self.push("354 Go on")
            await self._reader.readline()
            _hang_up(self)
        else:
            await super().smtp_DATA(arg)


class _Controller(Controller):
    def __init__(self, mailbox: Mailbox, **options: Any) -> None:
        super().__init__(mailbox, **options)
        self._mailbox = mailbox
        self._connections: list[_Protocol] = []

    def factory(self) -> SMTP:
        self._mailbox._note_connection()
        made = _Protocol(self.handler, **self.SMTP_kwargs)
        self._connections.append(made)
        return made

    def hang_up(self) -> None:
        """Closes every connection; the loop would leave them open when it stops."""

        async def close() -> None:
            for connection in self._connections:
                _hang_up(connection)
            while any(connection.transport for connection in self._connections):
                await asyncio.sleep(0.01)

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(DELIVERY_SECONDS_MAX)


def _hang_up(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


def _is_encrypted(server: SMTP) -> bool:
    return server.transport is not None and server.transport.get_extra_info("sslcontext") is not None


# What tests do with it


def change_settings(server: Server, changes: Mapping[str, str | None]) -> None:
    server.call("PATCH", "/api/admin/settings", changes, server.admin).accepted()


@contextlib.contextmanager
def changed_settings(server: Server, changes: Mapping[str, str | None]) -> Iterator[None]:
    """With these settings, and afterwards with those before."""
    before = server.call("GET", "/api/admin/settings", token=server.admin).data
    change_settings(server, changes)
    try:
        yield
    finally:
        change_settings(server, {key: before[key] for key in changes})


def outbox(server: Server, to: str | None = None, state: str = "") -> list[dict[str, Any]]:
    """What admins see of the mails, to one address or to all, newest first."""
    query = f"perPage=500&state={state}" if state else "perPage=500"
    rows = server.call("GET", f"/api/admin/outbox?{query}", token=server.admin).data
    return [row for row in rows if to in (None, row["to"])]


def settled(server: Server, within: float = DELIVERY_SECONDS_MAX) -> None:
    """Returns when nothing waits in the outbox: from then on no mail is sent a second time."""
    eventually(lambda: outbox(server) and not {row["state"] for row in outbox(server)} & {"pending", "sending"}, within)


def assert_sent_once(server: Server, mailbox: Mailbox, to: str, within: float = DELIVERY_SECONDS_MAX) -> Mail:
    """The one mail to `to`, which was delivered once and is written down as sent."""
    settled(server, within)
    assert [row["state"] for row in outbox(server, to)] == ["sent"]
    mails = mailbox.mails(to)
    assert len(mails) == 1, f"sent {len(mails)} times"
    return mails[0]
