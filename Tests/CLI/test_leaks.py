"""The search for secrets itself, which every server of the suite is put through: it must find what is there."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from leaks import Secrets


def noted(body: object, is_accepted: bool = True) -> Secrets:
    secrets = Secrets()
    secrets.note_body(json.dumps(body).encode(), is_accepted)
    return secrets


@pytest.mark.parametrize(
    "content",
    [
        b"...lk_key_c29tZXRoaW5n...",
        b"..." + base64.b64encode(b"lk_key_c29tZXRoaW5n:") + b"...",
        b'{"x":"\\x' + b"lk_key_c29tZXRoaW5n".hex().encode() + b'"}',
    ],
)
def test_a_secret_is_found_in_every_form(content: bytes, tmp_path: Path) -> None:
    secrets = noted({"data": {"api_key": "lk_key_c29tZXRoaW5n"}})
    assert secrets.found_in(content) == {"api_key"}
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(AssertionError, match="plaintext of \\['api_key'\\] in log"):
        secrets.check_files(tmp_path.iterdir())
    secrets.check_files(tmp_path.iterdir(), exempt=["api_key"])


def test_lists_and_nested_members_are_noted_and_open_ones_are_not() -> None:
    secrets = noted({"data": {"codes": ["abcdefgh", "jkmnpqrs"], "record": {"email": "ada@example.org"}}})
    assert secrets.found_in(b"jkmnpqrs") == {"codes"}
    assert secrets.found_in(b"ada@example.org") == set()
    assert noted({"email": "ada@example.org", "password": "ada@example.org"}).found_in(b"ada@example.org") == set()


def test_what_is_short_or_was_refused_as_a_word_is_left_out() -> None:
    assert noted({"password": "short"}).found_in(b"short") == set()
    assert noted({"password": "password"}, is_accepted=False).found_in(b"password") == set()
    assert noted({"token": "x" * 20}, is_accepted=False).found_in(b"x" * 20) == {"token"}
