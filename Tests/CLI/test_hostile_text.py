"""Hostile text in every position of every route: the right 4xx, at a bounded cost.

The positions are those of the OpenAPI document that the server gives of itself, so a new route is tested without a line
here. The cost is the CPU time of the server's process, which counts its work and not the time of a busy machine. Each
test bounds it for a request and in all, at about three times what a debug binary needed: 69 seconds for the 4,560
requests of this file, so the bounds of all tests together are 212 seconds. What sorts or compares such text naively
exceeds them by far: a single text of marks in halves took 22 seconds at 128 KB.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ANSWER_SECONDS_MAX, PASSWORD, Server, fresh_email
from hostile_text import (
    HEADER_BYTES,
    HEADER_BYTES_TOO_MANY,
    MEBIBYTE,
    TARGET_BYTES,
    TARGET_BYTES_TOO_MANY,
    Operation,
    Place,
    escaped,
    in_halves,
    json_strings,
    json_values,
    operations,
    places,
    texts,
)

# More than any text may have.
TEXT_BYTES = 66_000
BODY_BYTES_MAX = MEBIBYTE - 1_000
# Each position gets so many kinds of text, other ones than its neighbours. LATCHKEY_HOSTILE_KINDS=99 sends all kinds to
# all positions, which takes many minutes.
KINDS_EACH = int(os.environ.get("LATCHKEY_HOSTILE_KINDS", "3"))

# Settings that stand for those of all templates and providers.
SAMPLED = {"email.": "email.verify.", "oauth2.": "oauth2.oidc."}

# Nothing here depends on where accounts are stored.
pytestmark = pytest.mark.engine("sqlite")

REFUSED = {400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 431}


@dataclass
class Run:
    """What was sent, what was answered, and what it has cost the server."""

    pid: int
    sent: int = 0
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._begin = self._cpu_seconds()

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def note(self, status: int, is_right: bool, what: str) -> None:
        self.sent += 1
        self.statuses[status] += 1
        if not is_right:
            self.wrong.append(f"{status}: {what}")

    def check(self, *, cpu_ms_per_request_max: float, cpu_seconds_max: float) -> None:
        """Every answer was right, and the work is within both bounds."""
        assert self.sent
        spent = self._cpu_seconds() - self._begin
        told = f"{self.sent} requests, {spent:.2f} s of CPU, {spent / self.sent * 1e3:.1f} ms each, {dict(self.statuses)}"
        print(told)
        assert not self.wrong, f"{len(self.wrong)} wrong answers of {told}:\n" + "\n".join(self.wrong[:40])
        assert spent / self.sent * 1e3 < cpu_ms_per_request_max, told
        assert spent < cpu_seconds_max, told


class Attacker:
    """Sends bytes that no HTTP client would send, each request on a connection of its own."""

    def __init__(self, server: Server, document_of: Callable[[str], str]) -> None:
        self.server = server
        self._credential = document_of

    def head(self, method: str, target: bytes, caller: str, headers: dict[str, bytes]) -> bytes:
        credential = self._credential(caller)
        fields = {"Host": b"localhost", **({"Authorization": credential.encode()} if credential else {}), **headers}
        lines = [b"%s: %s" % (name.encode(), value) for name, value in fields.items()]
        return b"\r\n".join([b"%s %s HTTP/1.1" % (method.encode(), target), *lines, b"", b""])

    def status(
        self,
        method: str,
        target: str | bytes,
        caller: str = "",
        body: bytes | None = None,
        headers: dict[str, bytes] | None = None,
    ) -> int:
        """The status of the answer; 0 where the server only closes the connection."""
        raw = target.encode() if isinstance(target, str) else target
        fields = {"Content-Type": b"application/json"} if body is not None else {}
        fields |= headers or {}
        if body is not None:
            fields["Content-Length"] = str(len(body)).encode()
        with self.server.connect() as connection:
            try:
                connection.sendall(self.head(method, raw, caller, fields) + (body or b""))
            except ConnectionError:
                pass  # refused before all of it was sent; the answer still counts
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
            except (http.client.RemoteDisconnected, ConnectionResetError):
                return 0
            finally:
                response.close()
            return response.status


@pytest.fixture(scope="module")
def served(launch_for_module: Callable[..., Server]) -> Server:
    """A server that has every feature on, so that each handler is reached."""
    # One address must get more bodies into memory than the plan of a small machine allows.
    server = launch_for_module(LATCHKEY_MEMORY_MB="1024").admin_setup()
    own = f"http://127.0.0.1:{server.port}"
    changes = {
        "app.url": own, "smtp.enabled": "1", "smtp.host": "127.0.0.1", "smtp.port": "1",
        "auth.otp.enabled": "1", "auth.anonymous.enabled": "1", "auth.lockout.max_attempts": "0",
        "security.trusted_proxies": "127.0.0.1", "cors.origins": "https://app.example.com",
        "oauth2.oidc.enabled": "1", "oauth2.oidc.issuer": own, "oauth2.oidc.client_id": "x",
    }  # fmt: skip
    server.call("PATCH", "/api/admin/settings", changes, server.admin).accepted()
    return server


@pytest.fixture(scope="module")
def user(served: Server) -> dict[str, str]:
    """Somebody whose session is spared by every request of these tests."""
    login = served.new_user()
    return {"id": login["record"]["id"], "token": login["token"], "email": login["record"]["email"]}


@pytest.fixture(scope="module")
def attacker(served: Server, user: dict[str, str]) -> Iterator[Attacker]:
    credentials = {"": "", "user": f"Bearer {user['token']}", "admin": f"Bearer {served.admin}"}
    yield Attacker(served, lambda caller: credentials[caller])
    assert served.sees(user["token"]) and served.sees(served.admin), "a hostile text has ended a session"
    assert served.call("GET", "/api/health").data


@pytest.fixture(scope="module")
def described(served: Server) -> list[Operation]:
    return operations(served.call("GET", "/api/openapi.json").json)


@pytest.fixture
def run(served: Server) -> Run:
    assert served._process
    return Run(served._process.pid)


def rotation(*kinds: dict[str, bytes]) -> Callable[[], list[tuple[str, bytes]]]:
    """The next few kinds at each call."""
    all_kinds = [kind for some in kinds for kind in some.items()]
    turning = itertools.cycle(all_kinds)
    return lambda: list(itertools.islice(turning, min(KINDS_EACH, len(all_kinds))))


def caller_of(operation: Operation) -> str:
    """Who reaches the handler with the fewest rights."""
    if operation.guard == "open":
        return ""
    return "admin" if operation.guard == "admin" else "user"


def strangers_to(operation: Operation) -> list[str]:
    """Who doesn't get as far as the body."""
    return [] if "open" in operation.guard else ["", "user"] if operation.guard == "admin" else [""]


def body_places(served: Server, described: list[Operation]) -> list[tuple[Operation, Place]]:
    usual = {"email": fresh_email(), "password": PASSWORD, "name": "sample", "type": "api_key", "provider": "oidc"}
    known = served.call("GET", "/api/admin/settings", token=served.admin).data
    settings = [
        name for name in known if all(name.startswith(kept) or not name.startswith(all_) for all_, kept in SAMPLED.items())
    ]  # fmt: skip
    assert len(settings) > 30
    with_body = [operation for operation in described if operation.schema is not None]
    found = [(operation, place) for operation in with_body for place in places(operation, usual, settings)]
    assert len(found) > 200
    return found


def test_every_kind_of_hostile_text_in_every_position_of_a_body_is_refused(
    served: Server, user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    values, names = rotation(json_values(TEXT_BYTES)), rotation(json_strings(TEXT_BYTES))
    for operation, place in body_places(served, described):
        for what, text in (names if place.is_name else values)():
            status = attacker.status(operation.method, operation.path(user), caller_of(operation), place.body(text))
            run.note(status, status in REFUSED, f"{operation.method} {operation.template} {place.label}: {what}")
    run.check(cpu_ms_per_request_max=42, cpu_seconds_max=40)


def test_a_mebibyte_of_hostile_text_in_every_position_of_a_body_is_refused(
    served: Server, user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    values, names = (itertools.cycle(kinds(BODY_BYTES_MAX).items()) for kinds in (json_values, json_strings))
    for operation, place in body_places(served, described):
        what, text = next(names if place.is_name else values)
        status = attacker.status(operation.method, operation.path(user), caller_of(operation), place.body(text))
        run.note(status, status in REFUSED, f"{operation.method} {operation.template} {place.label}: {what}")
    run.check(cpu_ms_per_request_max=330, cpu_seconds_max=105)


def test_a_mebibyte_from_those_who_may_not_send_it_is_not_even_read(
    user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    kinds = itertools.cycle(json_strings(BODY_BYTES_MAX).items())
    for operation in (operation for operation in described if operation.schema is not None):
        for caller in strangers_to(operation):
            what, text = next(kinds)
            status = attacker.status(operation.method, operation.path(user), caller, b'{"name":%s}' % text)
            expected = 403 if caller else 401
            run.note(status, status == expected, f"{operation.method} {operation.template} by {caller or 'nobody'}: {what}")
    run.check(cpu_ms_per_request_max=15, cpu_seconds_max=0.5)


def test_hostile_text_in_every_position_of_a_target_is_refused(
    user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    sizes = {size: rotation(texts(size)) for size in (TARGET_BYTES, TARGET_BYTES_TOO_MANY)}
    for (size, kinds), operation in itertools.product(sizes.items(), described):
        caller = caller_of(operation)
        path = operation.path(user).encode()
        for what, text in kinds():
            hostile = escaped(text, size)
            targets = {f"{{{name}}}": operation.path(user, **{name: hostile.decode()}).encode() for name in operation.parameters}
            targets["a segment more"] = path + b"/" + hostile
            targets["a name of the query"] = path + b"?" + hostile + b"=1"
            if size == TARGET_BYTES_TOO_MANY:
                targets |= {name: path + b"?%s=%s" % (name.encode(), hostile) for name in operation.query}
            for place, target in targets.items():
                status = attacker.status(operation.method, target, caller)
                run.note(status, status in REFUSED, f"{operation.method} {operation.template} {place}, {size} bytes: {what}")
    run.check(cpu_ms_per_request_max=13, cpu_seconds_max=25)


def test_hostile_text_in_a_member_of_a_query_is_read_at_a_bounded_cost(
    user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    """A text of a query may be searched for, so some are found nowhere instead of refused."""
    kinds = rotation(texts(TARGET_BYTES))
    for operation in described:
        for name, (what, text) in ((name, kind) for name in operation.query for kind in kinds()):
            target = operation.path(user).encode() + b"?%s=%s" % (name.encode(), escaped(text, TARGET_BYTES))
            status = attacker.status(operation.method, target, caller_of(operation))
            run.note(status, status == 200 or status in REFUSED, f"{operation.method} {operation.template} ?{name}: {what}")
    run.check(cpu_ms_per_request_max=25, cpu_seconds_max=5.5)


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "Authorization": lambda text: b"Bearer " + text,
    "authorization": lambda text: b"Basic " + base64.b64encode(text)[:HEADER_BYTES_TOO_MANY],
    "AUTHORIZATION": lambda text: text,
    "Content-Type": lambda text: b"application/json; charset=" + text,
    "content-type": lambda text: text,
    "X-MFA-Code": lambda text: text,
    "X-Forwarded-For": lambda text: text + b", 192.0.2.1",
    "x-forwarded-for": lambda text: text,
    "Origin": lambda text: b"https://" + text,
    "Accept": lambda text: text,
    "User-Agent": lambda text: text,
}
# A credential that is not one is refused wherever a credential is asked for.
CREDENTIALS = {"Authorization", "authorization", "AUTHORIZATION"}


def test_hostile_text_in_every_header_that_is_looked_at_is_refused_or_ignored(
    user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    kinds = rotation(texts(HEADER_BYTES), texts(HEADER_BYTES_TOO_MANY))
    for operation, (name, value) in itertools.product(described, HEADERS.items()):
        for what, text in kinds()[: max(1, KINDS_EACH - 2)]:
            is_credential = name in CREDENTIALS
            caller = caller_of(operation) if operation.is_harmless and not is_credential else ""
            body = b"{}" if operation.schema is not None else None
            status = attacker.status(operation.method, operation.path(user), caller, body, {name: value(text)})
            is_right = status in REFUSED
            if "open" in operation.guard or not is_credential:
                # A header that nobody asks for changes nothing; a control character closes the connection.
                is_right = is_right or status in (0, 200, 303)
            run.note(status, is_right, f"{operation.method} {operation.template} {name}: {what}")
    run.check(cpu_ms_per_request_max=15, cpu_seconds_max=15)


def test_hostile_text_in_a_form_is_refused(
    user: dict[str, str], attacker: Attacker, described: list[Operation], run: Run
) -> None:
    """Routes that take no form answer 415 before they look at it."""
    form = {"Content-Type": b"application/x-www-form-urlencoded"}
    kinds = rotation(texts(BODY_BYTES_MAX))
    for operation in (operation for operation in described if operation.schema is not None):
        member = next(iter(operation.schema or {}), "invented").encode()
        for what, text in kinds()[:1]:
            bodies = {
                "a name": escaped(text, BODY_BYTES_MAX) + b"=1",
                "a value": member + b"=" + escaped(text, BODY_BYTES_MAX),
                "unescaped": member + b"=" + text,
                "parts": b"&".join(b"a%d=1" % number for number in range(BODY_BYTES_MAX // 12)),
            }
            for place, body in bodies.items():
                status = attacker.status(operation.method, operation.path(user), caller_of(operation), body, form)
                run.note(status, status in REFUSED, f"{operation.method} {operation.template} {place}: {what}")
    run.check(cpu_ms_per_request_max=120, cpu_seconds_max=21)


# The two attacks that once stopped the server, with bounds of their own


@pytest.mark.parametrize("kilobytes", [16, 64, 128])
def test_one_member_name_of_marks_in_halves_costs_no_more_than_its_bytes(
    attacker: Attacker, run: Run, kilobytes: int
) -> None:
    """It took 0.34, 5.6 and 22 seconds of CPU."""
    hostile = in_halves("\u0301", "\u0316", kilobytes * 1024)
    for body in (b'{"%s":1}' % hostile, b'{"email":"%s","password":"x"}' % hostile, b'{"username":"%s"}' % hostile):
        status = attacker.status("POST", "/api/auth/users/login", body=body)
        run.note(status, status == 400, f"{body[:12]!r}…")
    for name in ("Authorization", "Content-Type"):
        status = attacker.status("POST", "/api/auth/users/login", body=b"{}", headers={name: hostile[:HEADER_BYTES_TOO_MANY]})
        run.note(status, status in REFUSED, name)
    run.check(cpu_ms_per_request_max=36, cpu_seconds_max=0.2)


def test_104_000_member_names_cost_no_more_than_their_bytes(attacker: Attacker, run: Run) -> None:
    """They took 7.7 seconds of CPU, and an answer of 8.7 MB."""
    body = b"{%s}" % b",".join(b'"%x":0' % number for number in range(104_000))
    status = attacker.status("POST", "/api/auth/users/register", body=body)
    run.note(status, status == 400, "member names")
    run.check(cpu_ms_per_request_max=100, cpu_seconds_max=0.1)
