"""The black-box suite: the built binary, driven over real HTTP.

Each `Server` has a port and a data directory of its own, so tests may run in parallel. Whatever a test waits for has a
deadline, and every process is killed when its test or module ends.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from leaks import Secrets
from postgres import SHARED, Database
from processes import BINARY, clean_environment, free_port, run_command

PASSWORD = "correct horse battery"
ADMIN = "root@example.org"

START_SECONDS_MAX = STOP_SECONDS_MAX = 20
ANSWER_SECONDS_MAX = 30
# What another process changes is to be seen within a second (contract §3, §5); the rest is slack for a busy machine.
PROPAGATION_SECONDS_MAX = 4

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=("sqlite", "postgres"), default="sqlite", help="where servers store")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine(name): only with that engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is about the other engine."""
    engine = config.getoption("--engine")
    others = [item for item in items if (mark := item.get_closest_marker("engine")) and mark.args[0] != engine]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_report_header(config: pytest.Config) -> str:
    return f"engine: {config.getoption('--engine')}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Says at once what is missing, instead of failing every test."""
    if not session.config.option.collectonly and not os.access(BINARY, os.X_OK):
        pytest.exit(f"no latchkey binary at {BINARY}: build it first, or name it in LATCHKEY_BIN", returncode=2)
    if session.config.getoption("--engine") == "postgres" and not SHARED:
        pytest.exit("no PostgreSQL: run this by scripts/with-postgres", returncode=2)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, with the two questions every test asks of it: the data, or the refusal."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.accepted().json["data"]

    def accepted(self) -> Reply:
        """This answer, which must be a success; any other fails the test and is shown."""
        assert 200 <= self.status < 300, f"{self.status}: {self.body[:1000]!r}"
        return self

    def refused(self, *statuses: int, code: str | None = None) -> dict[str, Any]:
        """The error envelope of a refusal with one of `statuses`; any other answer fails the test and is shown."""
        assert self.status in statuses, f"{self.status}, not {statuses}: {self.body[:1000]!r}"
        assert self.headers.get_content_type() == "application/json"
        envelope = self.json
        assert envelope.keys() - {"details"} == {"error", "code", "request_id"}, envelope
        assert envelope["error"].strip()
        assert re.fullmatch(r"[a-z][a-z0-9_]*", envelope["code"]), envelope
        assert envelope["request_id"] == self.headers["X-Request-Id"]
        assert code is None or envelope["code"] == code, envelope
        if self.status == 401:
            assert self.headers["WWW-Authenticate"]
        if self.status in (429, 503):
            assert int(self.headers["Retry-After"]) >= 1
        return envelope


def fresh_email() -> str:
    return f"user-{uuid.uuid4().hex[:12]}@example.org"


def basic(credential: str) -> dict[str, str]:
    """The header `curl -u "$credential:"` sends."""
    return {"Authorization": "Basic " + base64.b64encode(f"{credential}:".encode()).decode()}


def eventually(check: Callable[[], T | None], within: float = PROPAGATION_SECONDS_MAX) -> T:
    """The first truthy answer of `check`; the test fails when there is none in time."""
    deadline = time.monotonic() + within
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.05)
    return answer


class Server:
    """One `latchkey serve` process on a port and data directory of its own, and on `database` if one is given."""

    def __init__(
        self, data_dir: Path, rate_limited: bool = False, database: Database | None = None, **environment: str
    ) -> None:
        self.data_dir = data_dir
        self.rate_limited = rate_limited
        self.database = database
        self._is_new = True
        if database:
            # Commands find it there too.
            data_dir.mkdir(mode=0o700, exist_ok=True)
            (data_dir / "latchkey.json").write_text(json.dumps({"database_url": database.url}))
        self.environment = environment
        self.port = free_port()
        self.admin = ""
        self.secrets = Secrets()
        self._process: subprocess.Popen[bytes] | None = None
        self._stdout = data_dir.with_suffix(".stdout")
        self._stderr = data_dir.with_suffix(".stderr")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *failure: object) -> None:
        self.kill()

    # The process

    def start(self, *flags: str) -> Server:
        """Starts the server and returns when it is ready. `flags` replace `--host` and `--port`."""
        if self._is_new and not self.rate_limited:
            self.command("settings", "set", "rate_limit.enabled=0")
        self._is_new = False
        self._check_logs()
        network = flags or ("--host", "127.0.0.1", "--port", str(self.port))
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [BINARY, "serve", *network, "--data-dir", str(self.data_dir)],
                env=clean_environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self._wait_until_ready(self._process)
        return self

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/api/ready").status == 200:
                    return
            time.sleep(0.02)
        pytest.fail(f"not ready in {START_SECONDS_MAX} s (exit {process.returncode}): {self.printed()} {self.logged()}")

    def terminate(self) -> None:
        """Asks the server to finish, without waiting for it."""
        assert self._process
        self._process.terminate()

    def stop(self) -> int:
        """Asks the server to finish, and returns its exit status."""
        self.terminate()
        return self.wait()

    def wait(self) -> int:
        assert self._process
        return self._process.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        """Ends the process with SIGKILL, if it still runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS_MAX)

    def restart(self) -> None:
        assert self.stop() == 0
        self.start()

    def printed(self) -> str:
        """What the server wrote to stdout since its last start."""
        return self._stdout.read_text(errors="replace")

    def logged(self) -> str:
        """What the server wrote to stderr since its last start."""
        return self._stderr.read_text(errors="replace")

    def command(self, *arguments: str) -> str:
        """Runs a command on this server's data directory, which must succeed, and returns what it printed."""
        done = run_command(*arguments, "--data-dir", str(self.data_dir), environment=self.environment)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr or done.stdout}"
        self.secrets.note_command(arguments, done.stdout)
        return done.stdout

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement on this server's database, beside the running server."""
        if self.database:
            return self.database.query(text)
        with contextlib.closing(sqlite3.connect(self.data_dir / "latchkey.db", isolation_level=None)) as database:
            return database.execute(text).fetchall()

    def check_leaks(self) -> None:
        """No secret that went to this server or came from it lies in its files, its database or its logs."""
        self._check_logs()
        self.secrets.check_files(self.data_dir.rglob("*"))
        if self.database:
            # Some tests have taken their database away.
            with contextlib.suppress(OSError, psycopg.OperationalError):
                found = self.secrets.found_in("\n".join(self.database.contents()).encode(errors="surrogatepass"))
                assert not found, f"plaintext of {sorted(found)} in the database"

    def _check_logs(self) -> None:
        # The set-up URL is printed on purpose.
        self.secrets.check_files([self._stdout, self._stderr], exempt=["setup_token"])

    # HTTP

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """One request on a connection of its own. The path goes out as it is. `body` is sent as JSON unless it is bytes
        or an iterator of bytes (sent in chunks); a header of None is left out."""
        if body is not None and not isinstance(body, (bytes, Iterator)):
            body = json.dumps(body).encode()
        content = {"Content-Type": "application/json"} if body is not None else {}
        credential = {"Authorization": f"Bearer {token}"} if token is not None else {}
        fields = {name: text for name, text in {**content, **credential, **(headers or {})}.items() if text is not None}
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        ) as connection:
            # A server may refuse a body before it has read all of it, and close; its answer still counts.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, fields)
            response = connection.getresponse()
            reply = Reply(response.status, response.headers, response.read())
        is_accepted = reply.status < 300
        if isinstance(body, bytes):
            self.secrets.note_body(body, is_accepted)
        if is_accepted:
            self.secrets.note_body(reply.body, is_accepted)
        return reply

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS_MAX)

    # Words of the job

    def setup_token(self) -> str:
        """The token of the set-up URL the server printed."""
        found = eventually(lambda: re.search(rf"http://127\.0\.0\.1:{self.port}/setup\?token=(\S+)", self.printed()))
        return found[1]

    def admin_setup(self) -> Server:
        """Creates the first admin as the set-up page does, logs in, and keeps the token in `admin`."""
        account = {"email": ADMIN, "password": PASSWORD}
        assert self.call("POST", "/api/admin/setup", {**account, "setup_token": self.setup_token()}).data
        self.admin = self.admin_login()["token"]
        return self

    def admin_login(self, email: str = ADMIN, password: str = PASSWORD) -> Any:
        return self.call("POST", "/api/admin/auth/login", {"email": email, "password": password}).data

    def register(self, email: str, password: str = PASSWORD, collection: str = "users", **fields: Any) -> Any:
        body = {"email": email, "password": password, **fields}
        return self.call("POST", f"/api/auth/{collection}/register", body).data

    def login(self, email: str, password: str = PASSWORD, collection: str = "users", **options: Any) -> Any:
        body = {"email": email, "password": password, **options}
        return self.call("POST", f"/api/auth/{collection}/login", body).data

    def new_user(self, **options: Any) -> Any:
        """Registers somebody new and logs them in."""
        email = fresh_email()
        self.register(email)
        return self.login(email, **options)

    def me(self, token: str) -> Reply:
        return self.call("GET", "/api/auth/me", token=token)

    def sees(self, token: str) -> bool:
        """Whether the server takes `token` for a live credential."""
        return self.me(token).status == 200


class Launcher:
    """Starts servers below a directory, and ends what still runs when it is left."""

    def __init__(self, directory: Path, engine: str) -> None:
        self._directory = directory
        self._engine = engine
        self._running = contextlib.ExitStack()
        self._servers: list[Server] = []

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        with self._running:
            if failure is None:
                for server in self._servers:
                    server.check_leaks()

    def __call__(self, rate_limited: bool = False, database: Database | None = None, **environment: str) -> Server:
        if database is None and self._engine == "postgres":
            database = Database(SHARED)
            self._running.callback(database.drop)
        return self._start(rate_limited, database, environment)

    def nodes(self, count: int = 2, database: Database | None = None, **options: Any) -> list[Server]:
        """Real nodes on one PostgreSQL database, each with a data directory of its own and the same sealing key."""
        if database is None:
            database = Database(SHARED)
            self._running.callback(database.drop)
        rate_limited = options.pop("rate_limited", False)
        environment = {"LATCHKEY_SEALING_KEY": base64.b64encode(os.urandom(32)).decode(), **options}
        return [self._start(rate_limited, database, environment) for _ in range(count)]

    def _start(self, rate_limited: bool, database: Database | None, environment: dict[str, str]) -> Server:
        server = Server(self._directory / uuid.uuid4().hex[:8], rate_limited, database, **environment)
        self._servers.append(server)
        return self._running.enter_context(server).start()


@pytest.fixture
def launch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Starts servers for one test: `launch()`, `launch(LATCHKEY_JWT_ALGORITHM="HS256")`, `launch.nodes(2)`."""
    with Launcher(tmp_path, request.config.getoption("--engine")) as start:
        yield start


@pytest.fixture(scope="module")
def launch_for_module(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Launcher]:
    """Starts servers that the tests of a module share."""
    with Launcher(tmp_path_factory.mktemp("servers"), request.config.getoption("--engine")) as start:
        yield start


@pytest.fixture(scope="module")
def server(launch_for_module: Callable[..., Server]) -> Server:
    """A running server with an admin, shared by the tests of a module."""
    return launch_for_module().admin_setup()
