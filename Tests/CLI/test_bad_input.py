"""Bad input: the right 4xx in the error envelope, never a 5xx, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PASSWORD, Server, fresh_email
from processes import REPOSITORY

MEBIBYTE = 1 << 20
REGISTER = "/api/auth/users/register"
LOGIN = "/api/auth/users/login"

# One field of each type (contract §3), with values that are not of it.
TYPED_FIELDS: dict[str, list[Any]] = {
    "text": [5, True, [], {}],
    "number": ["5", True, [], {}],
    "bool": [0, "true", [], {}],
    "email": [5, True, [], {}, "nobody", "a@b@c.org"],
    "url": [5, True, [], {}, "example"],
    "date": [5, True, [], {}, "yesterday", "2026-02-30T00:00:00Z"],
    "select": [5, True, {}, "blue", ["red", "green"]],
}


@pytest.fixture(scope="module")
def people(server: Server) -> str:
    """An auth collection with a field of every type."""
    fields: list[dict[str, Any]] = [{"name": f"a_{kind}", "type": kind} for kind in TYPED_FIELDS]
    next(field for field in fields if field["type"] == "select")["values"] = ["red", "green"]
    fields.append({"name": "email", "type": "email", "min": 6, "max": 64})
    body = {"name": "people", "type": "auth", "fields": fields}
    return server.call("POST", "/api/collections", body, server.admin).data["name"]


def contents(server: Server, people: str) -> list[Any]:
    """Everything a refused request might have left behind, as the admin sees it."""
    paths = ["/api/admin/users/users?perPage=1", f"/api/admin/users/{people}?perPage=1"]
    totals = [server.call("GET", path, token=server.admin).json["totalItems"] for path in paths]
    kept = [server.call("GET", path, token=server.admin).data for path in ("/api/collections", "/api/admin/settings")]
    return totals + kept


@pytest.fixture(autouse=True)
def nothing_written(server: Server, people: str) -> Iterator[None]:
    before = contents(server, people)
    yield
    assert contents(server, people) == before


# Bodies that are no JSON, or too much of it


@pytest.mark.parametrize("path", [REGISTER, LOGIN, "/api/admin/auth/login", "/api/admin/setup"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="truncated object"),
        pytest.param(b'{"email":"ada@example.org","password":"corr', id="truncated text"),
        pytest.param(b'{"email":}', id="missing value"),
        pytest.param(b"{'email':'ada@example.org'}", id="single quotes"),
        pytest.param(b'{"email":"ada@example.org"}}', id="one brace too many"),
        pytest.param(b"email=ada", id="a form"),
        pytest.param(b"\x00", id="NUL"),
        pytest.param(b'{"email":"\xff\xfe@example.org","password":"correct horse"}', id="invalid UTF-8"),
        pytest.param(b'{"email":"ada\n@example.org"}', id="a raw line break in a text"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
    ],
)
def test_malformed_json_is_a_400(server: Server, path: str, body: bytes) -> None:
    server.call("POST", path, body).refused(400)


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"', b"true", b'["email","password"]'])
def test_json_that_is_no_object_is_refused(server: Server, path: str, body: bytes) -> None:
    server.call("POST", path, body).refused(400, 422)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="unclosed arrays"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="arrays"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="objects"),
        pytest.param(b'{"email":' + b"[" * 100_000 + b"]" * 100_000 + b',"password":"x"}', id="arrays in a field"),
    ],
)
def test_deeply_nested_json_is_refused(server: Server, body: bytes) -> None:
    for path in (REGISTER, LOGIN):
        server.call("POST", path, body).refused(400, 422)


def test_a_body_of_more_than_a_mebibyte_is_a_413_however_it_is_sent(server: Server) -> None:
    prefix, suffix = b'{"email":"ada@example.org","pad":"', b'"}'
    largest = prefix + b"x" * (MEBIBYTE - len(prefix) - len(suffix)) + suffix
    server.call("POST", REGISTER, largest).refused(422)
    server.call("POST", REGISTER, largest + b" ").refused(413)
    server.call("POST", REGISTER, b"x" * 3 * MEBIBYTE).refused(413)
    server.call("POST", REGISTER, iter([b" " * 65_536] * 17)).refused(413)


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "json",
        "",
        "application/jsonp",
    ],
)
def test_a_body_that_is_not_declared_as_json_is_a_415(server: Server, path: str, kind: str | None) -> None:
    body = json.dumps({"email": fresh_email(), "password": PASSWORD}).encode()
    server.call("POST", path, body, headers={"Content-Type": kind}).refused(415)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_json_is_recognised_in_every_spelling_of_its_type(server: Server, kind: str) -> None:
    server.call(
        "POST", LOGIN, b'{"email":"nobody@example.org","password":"wrong"}', headers={"Content-Type": kind}
    ).refused(401)


# Fields of a wrong type, or with an impossible value


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, ["ada@example.org"], {"text": "x"}, ""], ids=repr)
@pytest.mark.parametrize("field", ["email", "password"])
def test_a_registration_with_a_wrong_type_is_a_422_that_names_the_field(server: Server, field: str, value: Any) -> None:
    body = {"email": fresh_email(), "password": PASSWORD, field: value}
    assert field in server.call("POST", REGISTER, body).refused(422)["details"]


@pytest.mark.parametrize("value", [5, 1.5, True, [], {}], ids=repr)
@pytest.mark.parametrize("field", ["email", "username", "identity", "password", "token_type", "not_valid_after"])
def test_a_login_with_a_wrong_type_is_a_422(server: Server, field: str, value: Any) -> None:
    body = {"password": PASSWORD, field: value}
    if field not in ("username", "identity"):
        body = {"email": "ada@example.org"} | body
    server.call("POST", LOGIN, body).refused(422)


@pytest.mark.parametrize("field", ["email", "password"])
def test_a_missing_field_is_a_422(server: Server, field: str) -> None:
    body = {"email": fresh_email(), "password": PASSWORD}
    del body[field]
    server.call("POST", LOGIN, body).refused(422)
    assert field in server.call("POST", REGISTER, body).refused(422)["details"]


NO_ADDRESSES = [
    "nobody", "@example.org", "ada@", "a b@example.org", "a@b@example.org", "ada@example..org", "<ada@example.org>",
    "ada@example.org, eve@example.org", "ada@example.org\r\nBcc: eve@example.org", "ada\0@example.org",
    "ada@exam\0ple.org", "\ud800@example.org", "x" * 10_000 + "@example.org", "ada@" + "x" * 10_000 + ".org",
]  # fmt: skip


@pytest.mark.parametrize("email", NO_ADDRESSES, ids=lambda email: repr(email[:40]))
def test_a_text_that_is_no_email_address_is_refused(server: Server, email: str) -> None:
    server.call("POST", REGISTER, {"email": email, "password": PASSWORD}).refused(400, 422)
    server.call("POST", LOGIN, {"email": email, "password": PASSWORD}).refused(400, 401, 422)


NO_PASSWORDS = [
    "short", "password", "x" * 257, "\u00e9" * 257, "x" * 10_000, "pass\0word 12345", "\0" * 12, "\ud800" * 10,
]  # fmt: skip


@pytest.mark.parametrize("password", NO_PASSWORDS, ids=lambda password: repr(password[:12]))
def test_a_password_that_is_too_short_too_long_common_or_holds_nul_is_refused(server: Server, password: str) -> None:
    server.call("POST", REGISTER, {"email": fresh_email(), "password": password}).refused(400, 422)
    server.call("POST", LOGIN, {"email": fresh_email(), "password": password}).refused(400, 401, 422)


def test_the_emails_own_text_is_no_password(server: Server) -> None:
    email = fresh_email()
    for password in (email, email.upper()):
        server.call("POST", REGISTER, {"email": email, "password": password}).refused(422)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in TYPED_FIELDS.items() for value in values]
)
def test_a_field_of_a_wrong_type_is_a_422_that_names_it(server: Server, people: str, kind: str, value: Any) -> None:
    body = {"email": fresh_email(), "password": PASSWORD, f"a_{kind}": value}
    refusal = server.call("POST", f"/api/auth/{people}/register", body).refused(422)
    assert refusal["error"] == "validation failed"
    assert refusal["details"].keys() == {f"a_{kind}"}


def test_the_bounds_of_the_email_field_count_characters_and_answer_in_the_seeds_words(
    server: Server, people: str
) -> None:
    body = {"email": "a@b.c", "password": PASSWORD}
    refusal = server.call("POST", f"/api/auth/{people}/register", body).refused(422)
    assert refusal["error"] == "validation failed"
    assert refusal["details"] == {"email": "must be at least 6 characters"}


RESERVED_FIELDS = [
    "id", "collection", "kind", "status", "email_verified", "verified", "anonymous", "password_hash",
    "tokens_valid_after", "groups", "permissions", "created_at", "updated_at", "last_login_at", "pending_email",
]  # fmt: skip


@pytest.mark.parametrize("field", RESERVED_FIELDS)
def test_a_reserved_field_cannot_be_set_from_outside(server: Server, field: str) -> None:
    body = {"email": fresh_email(), "password": PASSWORD, field: "x"}
    assert field in server.call("POST", REGISTER, body).refused(422)["details"]


@pytest.mark.parametrize("value", [5, True, [], {}, {"a": "b"}], ids=repr)
def test_a_setting_that_is_no_text_is_a_422(server: Server, value: Any) -> None:
    body = {"auth.otp.enabled": "1", "auth.user.window_seconds": value}
    server.call("PATCH", "/api/admin/settings", body, server.admin).refused(422)


def test_an_unknown_setting_is_a_422_and_its_known_companions_stay(server: Server) -> None:
    body = {"auth.otp.enabled": "1", "no.such.setting": "1"}
    server.call("PATCH", "/api/admin/settings", body, server.admin).refused(422)


NO_NAMES: list[Any] = [
    None,
    5,
    [],
    "",
    "with space",
    "a/b",
    "..",
    "x" * 10_000,
    "nul\0",
    "me\u202e",
    "users",
    "_admins",
]
NO_FIELDS = [5, "x", {}, [5], ["x"], [{}], [{"name": "x"}], [{"name": "x", "type": "nonsense"}]]
NO_FIELD_NAMES = [5, "", "with space", "nul\0", "id", "password", "status"]
NO_TEXT_RULES = [{"min": "1"}, {"min": 5, "max": 2}, {"pattern": "["}, {"pattern": 5}, {"required": "yes"}]
NO_SELECT_RULES = [{}, {"values": []}, {"values": "red"}, {"values": [1]}]


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": name} for name in NO_NAMES),
        *({"type": kind} for kind in (5, [], "", "nonsense")),
        *({"fields": fields} for fields in NO_FIELDS),
        *({"fields": [{"name": name, "type": "text"}]} for name in NO_FIELD_NAMES),
        *({"fields": [{"name": "x", "type": "text", **rule}]} for rule in NO_TEXT_RULES),
        *({"fields": [{"name": "x", "type": "select", **rule}]} for rule in NO_SELECT_RULES),
        {"fields": [{"name": "x", "type": "text"}, {"name": "x", "type": "number"}]},
    ],
    ids=lambda changes: repr(changes)[:60],
)
def test_a_collection_that_makes_no_sense_is_refused(server: Server, changes: dict[str, Any]) -> None:
    body = {"name": "nonsense", "type": "auth", "fields": [], **changes}
    server.call("POST", "/api/collections", body, server.admin).refused(409, 422)


# Every code is documented


def test_every_code_an_outsider_can_provoke_is_documented(server: Server) -> None:
    documented = (REPOSITORY / "docs/errors.md").read_text()
    account = {"email": fresh_email(), "password": "short"}
    refusals = [
        server.call("POST", REGISTER, b"{").refused(400),
        server.call("POST", LOGIN, {"email": fresh_email(), "password": PASSWORD}).refused(401),
        server.call("GET", "/api/auth/me").refused(401),
        server.call("GET", "/api/admin/settings", token="lk_at_unknown").refused(401),
        server.call("GET", "/api/no/such/route").refused(404),
        server.call("POST", "/api/auth/nobody/login", account).refused(404),
        server.call("PUT", LOGIN, account).refused(405),
        server.call("POST", REGISTER, b"x" * (MEBIBYTE + 1)).refused(413),
        server.call("POST", REGISTER, b"x", headers={"Content-Type": "text/plain"}).refused(415),
        server.call("POST", REGISTER, account).refused(422),
    ]
    assert [refusal["code"] for refusal in refusals if f"`{refusal['code']}`" not in documented] == []
