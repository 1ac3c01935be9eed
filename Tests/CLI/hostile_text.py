"""Text that is meant to keep a server busy, and every position of its API that takes text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

MEBIBYTE = 1 << 20
# Below the limits of a target, of a header's value and of all headers, and above them.
TARGET_BYTES, TARGET_BYTES_TOO_MANY = 7_000, 24_000
HEADER_BYTES, HEADER_BYTES_TOO_MANY = 7_000, 15_000

METHODS = {"get", "put", "post", "delete", "patch"}
# Stands for the text of a position while its document is written down.
HERE = "@@here@@"
# Members that objects of free form are given: one that nobody knows, and those of a field of a collection.
INVENTED = ["invented", "name", "type", "pattern", "values"]


def repeated(unit: str | bytes, size: int, prefix: str = "") -> bytes:
    """As many whole units as `size` bytes hold."""
    raw = unit if isinstance(unit, bytes) else unit.encode()
    return prefix.encode() + raw * ((size - len(prefix)) // len(raw))


def in_halves(first: str, second: str, size: int) -> bytes:
    """`a` with a run of one mark and a run of another one of lower class: sorting them is quadratic where it is naive."""
    return repeated(first, size // 2, "a") + repeated(second, size // 2)


def texts(size: int) -> dict[str, bytes]:
    """Raw texts of about `size` bytes, by what they are."""
    return {
        "marks in turns": repeated("\u0301\u0316", size, "a"),
        "marks in halves": in_halves("\u0301", "\u0316", size),
        "marks that are two": repeated("\u0344", size, "a"),
        "marks that say they are starters": repeated("\u0f73", size, "a"),
        "ignorable characters": repeated("\u115f\u3164\ufe0f\u200b", size),
        "joiners": repeated("\U0001f469\u200d", size),
        "regional indicators": repeated("\U0001f1e6", size),
        "Indic conjuncts": repeated("\u0915\u094d", size),
        "Hangul": repeated("\u1100", size),
        "runs of marks that are just allowed": repeated("a" + "\u0301\u0316" * 15, size),
        "digits": repeated("9", size),
        "bytes that are not UTF-8": repeated(b"\xff", size),
        "halves of characters": repeated(b"a\xcc", size),
        "surrogates as UTF-8": repeated(b"\xed\xa0\x80", size),
        "NUL": repeated(b"\0", size),
    }


def json_strings(size: int) -> dict[str, bytes]:
    """Texts between quotes, and such as only JSON can write; of about `size` bytes when they are read."""
    written = min(3 * size, MEBIBYTE - 1_000)
    quoted = {what: b'"%s"' % text for what, text in texts(size).items()}
    escapes = {
        "escaped marks": repeated(r"\u0301\u0316", written),
        "escaped conjuncts": repeated(r"\u0915\u094d", written),
        "escaped pairs": repeated(r"\ud83d\udc69", written),
        "escaped lone surrogates": repeated(r"\ud800", written),
        "escaped NUL": repeated(r"\u0000", written),
    }
    return quoted | {what: b'"%s"' % text for what, text in escapes.items()}


def json_values(size: int) -> dict[str, bytes]:
    """Values of all types that are costly to read."""
    count = size // 12
    members = b",".join(b'"m%06d":0' % number for number in range(count))
    return json_strings(size) | {
        "nested arrays": repeated("[", size // 2) + repeated("]", size // 2),
        "nested objects": repeated('{"a":', size),
        "members": b"{%s}" % members,
        "elements": b"[%s0]" % repeated("0,", size),
        "a number": repeated("9", size),
        "a fraction": b"0." + repeated("9", size),
        "an exponent": b"1e" + repeated("9", size),
    }


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the OpenAPI document tells it."""

    method: str
    template: str
    guard: str
    query: tuple[str, ...]
    schema: dict[str, Any] | None

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.template)

    @property
    def is_harmless(self) -> bool:
        """Whether it changes nothing if its body is empty and its target is in order."""
        return self.method == "GET" or self.schema is not None

    def path(self, values: dict[str, str], **replaced: str) -> str:
        """The path with its parameters replaced; `me` stands for the caller where the path takes it."""
        known = {"id": "me" if self.guard == "self or admin" else values.get("id", "x"), "col": "users"}
        return re.sub(r"\{(\w+)\}", lambda name: {**known, **replaced}.get(name[1], "none"), self.template)


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(
            method.upper(),
            path,
            operation["x-guard"],
            tuple(member["name"] for member in operation.get("parameters", []) if member["in"] == "query"),
            operation["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in operation else None,
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


@dataclass(frozen=True)
class Place:
    """A position of a body: what stands before the text and behind it."""

    label: str
    before: bytes
    after: bytes
    is_name: bool

    @classmethod
    def of(cls, label: str, document: Any, is_name: bool = False) -> Place:
        before, after = json.dumps(document).encode().split(b'"%s"' % HERE.encode())
        return cls(label, before, after, is_name)

    def body(self, text: bytes) -> bytes:
        return self.before + text + self.after


def places(operation: Operation, usual: dict[str, Any], settings: list[str]) -> Iterator[Place]:
    """Every position of the body of an operation; the members that it requires have their usual values elsewhere."""
    schema = operation.schema or {}
    required = {name: usual.get(name, "x") for name in schema.get("required", [])}
    for name, value in schema.get("properties", {}).items():
        for place, document, is_name in inside(value, name):
            yield Place.of(place, {**required, name: document}, is_name)
    if "additionalProperties" in schema:
        for name in settings if operation.template == "/api/admin/settings" else INVENTED:
            yield Place.of(name, {**required, name: HERE})
    yield Place.of("a name", {**required, HERE: 1}, is_name=True)


def inside(schema: dict[str, Any], label: str) -> Iterator[tuple[str, Any, bool]]:
    """The positions inside of a value: where they are, the value around them, and whether they are names."""
    yield label, HERE, False
    kind = schema.get("type")
    if kind == "array":
        for place, document, is_name in inside(schema["items"], f"{label}[]"):
            yield place, [document], is_name
    if kind in ("object", None):
        yield f"a name in {label}", {HERE: 1}, True
        for name in INVENTED:
            yield f"{label}.{name}", {"name": "a", "type": "text", name: HERE}, False


def escaped(text: bytes, size: int) -> bytes:
    """The beginning of a text, percent-encoded as a target takes it: of about `size` bytes."""
    widest = -(-len(quote(text[:12], safe="")) // 12)
    return quote(text[: size // widest], safe="").encode()
