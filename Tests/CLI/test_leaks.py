"""The search for secrets itself, which every server of the suite is put through: it must find what is there."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from conftest import Launcher, Server
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


def test_what_a_command_was_given_and_what_it_printed_is_noted() -> None:
    secrets = Secrets()
    secrets.note_command(["admin", "create", "--password", "correct horse"], "")
    secrets.note_command(["settings", "set", "smtp.port=25252525", "smtp.pass=hunter2-hunter2"], "")
    secrets.note_command(["user", "reassign-key", "id"], "lk_key_c29tZXRoaW5n\n")
    everything = b"correct horse, hunter2-hunter2, lk_key_c29tZXRoaW5n"
    assert secrets.found_in(everything) == {"password", "smtp.pass", "api_key"}
    assert secrets.found_in(b"25252525 reassign-key") == set()


def plant(server: Server, place: str, value: str) -> None:
    if place == "database":
        server.query(f"CREATE TABLE planted AS SELECT '{value}' AS planted")
    elif place == "log":
        with server.data_dir.with_suffix(".stderr").open("a") as log:
            log.write(value)
    else:
        (server.data_dir / "planted").write_text(f"a {value} b")


@pytest.mark.parametrize("place", ["database", "log", "file"])
def test_a_secret_that_a_server_has_kept_fails_the_run_at_its_end(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = request.config.getoption("--engine")
    leaked = pytest.raises(AssertionError, match=r"plaintext of \['token'\] in ")
    with leaked as failure, Launcher(tmp_path, engine) as launch:
        server = launch()
        token = server.new_user()["token"]
        server.check_leaks()
        plant(server, place, token)
    assert token not in str(failure.value)
