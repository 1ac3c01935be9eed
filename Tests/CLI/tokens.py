"""Making tokens by hand, for tests that forge them: base64url, HMAC, and the segments of a JWT."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def header(token: str) -> dict[str, Any]:
    return json.loads(decode(token.split(".")[0]))


def claims(token: str) -> dict[str, Any]:
    return json.loads(decode(token.split(".")[1]))


def unsigned(head: Any, payload: Any) -> str:
    """The first two segments of a token with these contents, which need not make sense."""
    return ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (head, payload))


def hs256(key: bytes, head: Any, payload: Any) -> str:
    """A token with these contents, signed with HMAC-SHA-256 whatever its header says."""
    text = unsigned(head, payload)
    return f"{text}.{encode(hmac.digest(key, text.encode(), hashlib.sha256))}"


def changed(mapping: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`mapping` with `changes`; a change to None removes the name."""
    return {name: value for name, value in {**mapping, **changes}.items() if value is not None}


def neighbour(character: str) -> str:
    """The base64url character that differs from `character` in the lowest bit only: at the end of a segment that is
    a bit no byte uses, so that a lenient decoder sees the same bytes."""
    return ALPHABET[ALPHABET.index(character) ^ 1]
