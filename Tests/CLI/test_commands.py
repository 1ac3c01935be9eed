"""The command line (contract §5): help, exit codes, refusals to start, and commands beside a running server."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import tokens
from conftest import PASSWORD, Server, eventually, fresh_email
from processes import free_port, run_command

DONE, FAILED, USAGE = 0, 1, 64

Launch = Callable[..., Server]

COMMANDS = [
    "", "serve", "admin", "admin create", "admin reset-password", "settings", "settings get", "settings set",
    "secret", "secret rotate", "migrate", "version", "user", "user create-system", "user reassign-key",
    "audit", "audit verify", "audit checkpoint",
]  # fmt: skip
WRONG_USAGES = [
    "nonsense", "serve --nonsense", "serve --port", "serve --port many", "serve extra", "admin nonsense",
    "admin create", "admin create --email", "user nonsense", "user create-system", "user reassign-key", "settings set", "settings set no-equals-sign", "secret nonsense",
    "version extra",
]  # fmt: skip


# Help and usage


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_what_every_option_means(command: str) -> None:
    help_text = run_command(*command.split(), "--help")
    assert help_text.returncode == DONE
    assert re.search(r"^OVERVIEW: \S+ \S+", help_text.stdout, re.MULTILINE)
    assert f"USAGE: latchkey {command}".strip() in help_text.stdout
    lines = help_text.stdout.partition("USAGE:")[2].splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.match(r"  [-<a-z]", line):
            explained = re.match(r"  \S.*?\s{2,}\S", line) or re.match(r" {10,}\S", following)
            assert explained, f"without an explanation: {line}"


@pytest.mark.parametrize("arguments", WRONG_USAGES)
def test_a_wrong_usage_exits_64_and_explains_itself_on_stderr(arguments: str, tmp_path: Path) -> None:
    place = [] if "version" in arguments else ["--data-dir", str(tmp_path / "data")]
    wrong = run_command(*arguments.split(), *place)
    assert wrong.returncode == USAGE
    assert "Usage: latchkey" in wrong.stderr
    assert not (tmp_path / "data").exists(), "nothing is made for a command that is not understood"


def test_version_prints_a_version() -> None:
    done = run_command("version")
    assert done.returncode == DONE
    assert re.search(r"\b\d+\.\d+\.\d+\b", done.stdout)


# Starting, and refusing to


def test_every_problem_of_the_configuration_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "latchkey.json").write_text(json.dumps({"prot": 8090, "no_such_key": "x", "log_level": "deafening"}))
    weak = {"LATCHKEY_JWT_ALGORITHM": "HS256", "LATCHKEY_JWT_SECRET": "hunter2", "LATCHKEY_SEALING_KEY": "c2hvcnQ="}
    refused = run_command("serve", "--port", str(free_port()), "--data-dir", str(tmp_path), environment=weak)
    assert refused.returncode == FAILED
    named = refused.stderr.lower().replace(".", "_").replace("-", "_").replace(" ", "_")
    for problem in ("prot", "no_such_key", "log_level", "jwt_secret", "sealing_key"):
        assert problem in named, refused.stderr
    assert "hunter2" not in refused.stderr, "a secret is not repeated, weak as it may be"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LATCHKEY_PORT", "many"),
        ("LATCHKEY_PORT", "70000"),
        ("LATCHKEY_JWT_ALGORITHM", "none"),
        ("LATCHKEY_JWT_ALGORITHM", "RS256"),
        ("LATCHKEY_JWT_SECRET", "x" * 31),
        ("LATCHKEY_SEALING_KEY", "not base64!"),
    ],
)
def test_a_setting_of_the_environment_that_cannot_be_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    refused = run_command("serve", "--data-dir", str(tmp_path / "data"), environment={name: value})
    assert refused.returncode == FAILED
    assert name.removeprefix("LATCHKEY_").lower() in refused.stderr.lower().replace(".", "_").replace("-", "_")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"port": "many"}', '{"port": 8090'])
def test_a_configuration_file_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "latchkey.json").write_text(text)
    refused = run_command("serve", "--data-dir", str(tmp_path))
    assert refused.returncode == FAILED
    assert "latchkey.json" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "file"),
    [
        pytest.param(["--port", "GOOD"], "BAD", "BAD", id="a flag"),
        pytest.param([], "GOOD", "BAD", id="the environment"),
        pytest.param([], None, "GOOD", id="the file"),
    ],
)
def test_a_flag_outweighs_the_environment_and_the_environment_the_file(
    tmp_path: Path, flags: list[str], environment: str | None, file: str
) -> None:
    with Server(tmp_path) as server:
        port = {"GOOD": str(server.port), "BAD": str(free_port())}
        (tmp_path / "latchkey.json").write_text(json.dumps({"port": int(port[file])}))
        if environment:
            server.environment["LATCHKEY_PORT"] = port[environment]
        server.start("--host", "127.0.0.1", *(port.get(flag, flag) for flag in flags))
        assert server.stop() == DONE


def test_a_port_in_use_and_an_unusable_directory_end_the_start_with_1(launch: Launch, tmp_path: Path) -> None:
    server = launch()
    taken = run_command("serve", "--port", str(server.port), "--data-dir", str(tmp_path / "other"))
    assert taken.returncode == FAILED
    assert str(server.port) in taken.stderr
    (tmp_path / "file").touch()
    assert run_command("serve", "--data-dir", str(tmp_path / "file")).returncode == FAILED


def test_migrate_makes_a_database_that_serve_takes_over(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    for _ in range(2):
        assert run_command("migrate", "--data-dir", str(data_dir)).returncode == DONE
    with Server(data_dir) as server:
        assert server.start().setup_token()


def test_the_secrets_of_the_data_directory_are_for_their_owner_only(server: Server) -> None:
    secrets = [path for path in server.data_dir.iterdir() if path.name.startswith(".")]
    assert {path.name for path in secrets} >= {".secret", ".sealing-key"}
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


# Beside a running server


def test_an_admin_created_beside_a_running_server_can_log_in_at_once(server: Server) -> None:
    email = fresh_email()
    server.command("admin", "create", "--email", email, "--password", PASSWORD)
    assert server.admin_login(email)["record"]["email"] == email


@pytest.mark.parametrize(
    ("email", "password"), [("nobody", PASSWORD), ("ada@example.org", "hunter2"), ("ada@example.org", "x" * 257)]
)
def test_an_admin_that_cannot_be_is_refused_with_1(server: Server, email: str, password: str) -> None:
    refused = run_command(
        "admin", "create", "--email", email, "--password", password, "--data-dir", str(server.data_dir)
    )
    assert refused.returncode == FAILED
    assert refused.stderr.strip()
    assert password not in refused.stderr


def test_an_admin_is_not_created_twice(server: Server) -> None:
    email = fresh_email()
    server.command("admin", "create", "--email", email, "--password", PASSWORD)
    again = run_command(
        "admin", "create", "--email", email, "--password", "another password", "--data-dir", str(server.data_dir)
    )
    assert again.returncode == FAILED
    assert server.admin_login(email)


def test_a_reset_admin_password_works_at_once_and_ends_the_sessions(server: Server) -> None:
    email = fresh_email()
    server.command("admin", "create", "--email", email, "--password", PASSWORD)
    old = server.admin_login(email)["token"]
    server.command("admin", "reset-password", "--email", email, "--password", "an even better one")
    assert server.admin_login(email, "an even better one")
    server.call("POST", "/api/admin/auth/login", {"email": email, "password": PASSWORD}).refused(401)
    eventually(lambda: not server.sees(old))
    nobody = ("--email", fresh_email(), "--password", PASSWORD, "--data-dir", str(server.data_dir))
    assert run_command("admin", "reset-password", *nobody).returncode == FAILED


def test_a_setting_changed_beside_a_running_server_is_used_within_a_second(server: Server) -> None:
    login = server.new_user()

    def lifetime() -> int:
        claims = tokens.claims(server.login(login["record"]["email"])["token"])
        return claims["exp"] - claims["iat"]

    server.command("settings", "set", "auth.user.window_seconds=120", "auth.file.window_seconds=61")
    eventually(lambda: lifetime() == 120)
    assert "120" in server.command("settings", "get", "auth.user.window_seconds")
    everything = server.command("settings", "get")
    assert re.search(r"auth\.file\.window_seconds\W+61\b", everything)


def test_an_unknown_setting_is_refused_with_1_and_its_companions_stay(server: Server) -> None:
    place = ("--data-dir", str(server.data_dir))
    refused = run_command("settings", "set", "auth.otp.enabled=1", "no.such.setting=1", *place)
    assert refused.returncode == FAILED
    assert "no.such.setting" in refused.stderr
    assert run_command("settings", "get", "no.such.setting", *place).returncode == FAILED
    assert server.command("settings", "get", "auth.otp.enabled").strip().endswith("0")


def test_a_secret_setting_is_never_shown_again(server: Server) -> None:
    server.command("settings", "set", "smtp.pass=hunter2-hunter2")
    shown = server.command("settings", "get") + server.command("settings", "get", "smtp.pass")
    shown += server.call("GET", "/api/admin/settings", token=server.admin).body.decode()
    assert "hunter2" not in shown
    for path in filter(Path.is_file, server.data_dir.rglob("*")):
        assert b"hunter2" not in path.read_bytes(), f"in clear in {path.name}"


# Commands without the server's environment


def test_a_command_without_the_servers_signing_secret_logs_nobody_out(launch: Launch) -> None:
    server = launch(LATCHKEY_JWT_SECRET="7Jr0yqk3-Xw2vZt8Lm5nQp1sRu4vYb6d")
    alive = server.new_user()
    assert run_command("settings", "get", "--data-dir", str(server.data_dir)).returncode == DONE
    assert server.sees(alive["token"])
    server.restart()
    assert server.sees(alive["token"])
    foreign = run_command("secret", "rotate", "--data-dir", str(server.data_dir))
    assert foreign.returncode == FAILED
    assert "another secret" in foreign.stderr
    assert server.sees(alive["token"])


def test_a_command_without_the_databases_sealing_key_refuses_to_work(launch: Launch) -> None:
    server = launch(LATCHKEY_SEALING_KEY="q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=")
    missing = run_command("settings", "set", "smtp.pass=x", "--data-dir", str(server.data_dir))
    assert missing.returncode == FAILED
    assert "sealing key" in missing.stderr
    assert not (server.data_dir / ".sealing-key").exists()
    other = {"LATCHKEY_SEALING_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
    wrong = run_command("settings", "get", "--data-dir", str(server.data_dir), environment=other)
    assert wrong.returncode == FAILED
    assert "sealing key" in wrong.stderr
