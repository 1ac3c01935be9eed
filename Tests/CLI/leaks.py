"""Looks for secrets where none may lie: in a server's data directory, its database and its logs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

# Members of requests and answers that hold secrets. Six-digit codes are left out: any log has such digits by chance.
SECRET_MEMBERS = {
    "token", "api_key", "secret", "password", "current_password", "recovery_code", "codes", "mfa_token", "setup_token",
    "smtp.pass",
}  # fmt: skip
# Shorter ones are found by chance.
LENGTH_MIN = 8
# What a refused request held may be any text, such as a word of the schema.
REFUSED_LENGTH_MIN = 20
# No test has so many on one server: it bounds the search after a storm of logins.
KIND_COUNT_MAX = 1_000


class Secrets:
    """The secrets that went to a server and came from it."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def note(self, kind: str, value: str) -> None:
        known = self._known.setdefault(kind, set())
        if len(value) >= LENGTH_MIN and len(known) < KIND_COUNT_MAX:
            known.add(value)

    def note_body(self, body: bytes | None, is_accepted: bool) -> None:
        """The secret members of a JSON body, at any depth, unless the same text stands in an open member too."""
        try:
            members = list(_members(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return
        open_values = {value for name, value in members if name not in SECRET_MEMBERS}
        for name, value in members:
            is_long = len(value) >= (LENGTH_MIN if is_accepted else REFUSED_LENGTH_MIN)
            if name in SECRET_MEMBERS and is_long and value not in open_values:
                self.note(name, value)

    def note_command(self, arguments: Sequence[str], printed: str) -> None:
        """Passwords and secret settings that a command was given, and the keys it printed."""
        for option, value in pairwise(arguments):
            if option == "--password":
                self.note("password", value)
        for name, is_set, value in (argument.partition("=") for argument in arguments):
            if is_set and name in SECRET_MEMBERS:
                self.note(name, value)
        for key in re.findall(r"\blk_key_[\w-]+", printed):
            self.note("api_key", key)

    def found_in(self, content: bytes, exempt: Iterable[str] = ()) -> set[str]:
        """The kinds of those that lie in `content`: as they are, in base64, or in hexadecimal, as PostgreSQL shows bytes."""
        return {
            kind
            for kind, values in self._known.items()
            if kind not in exempt
            for value in values
            if any(form in content for form in _forms(value))
        }

    def check_files(self, paths: Iterable[Path], exempt: Iterable[str] = ()) -> None:
        for path in paths:
            try:
                content = path.read_bytes()
            except OSError:
                continue  # a directory, a socket, or gone meanwhile
            found = self.found_in(content, exempt)
            assert not found, f"plaintext of {sorted(found)} in {path.name}"


def _members(json_value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a JSON value, with the name of the member that it is, or is in a list of."""
    if isinstance(json_value, str):
        yield name, json_value
    elif isinstance(json_value, list):
        for element in json_value:
            yield from _members(element, name)
    elif isinstance(json_value, dict):
        for key, element in json_value.items():
            yield from _members(element, key)


def _forms(value: str) -> list[bytes]:
    raw = value.encode(errors="surrogatepass")
    # The last characters depend on what follows.
    whole = raw[: len(raw) // 3 * 3]
    return [raw, base64.b64encode(whole), base64.urlsafe_b64encode(whole), raw.hex().encode()]
