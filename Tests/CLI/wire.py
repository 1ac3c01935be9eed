"""Connections of clients that are slow, odd or hostile: bare sockets, from any address of the loopback network."""

from __future__ import annotations

import contextlib
import http.client
import io
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

# For what must come, on however slow a machine.
PATIENCE_SECONDS = 30

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
LOGIN = "/api/auth/users/login"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def closes(self) -> bool:
        return (self.headers["Connection"] or "").lower() == "close"


class _Shared(io.BufferedIOBase):
    """A reader that isn't closed with the answer that is read by it."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader
        self.read, self.read1, self.readline, self.readinto = reader.read, reader.read1, reader.readline, reader.readinto  # type: ignore[method-assign]
        self.peek = reader.peek


class Wire:
    """One connection."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.bind((source, 0))
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        # One for all answers: the next one may have come with this one.
        self._reader = self.socket.makefile("rb")

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def makefile(self, mode: str) -> _Shared:
        """As `http.client` asks a socket for it."""
        return _Shared(self._reader)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def send(self, raw: bytes) -> Wire:
        """Sends as much as the other side takes."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(raw)
        return self

    def answer(self) -> Answer | None:
        """The next answer; None when the connection is closed instead."""
        with contextlib.closing(http.client.HTTPResponse(self)) as response:  # type: ignore[arg-type]
            try:
                response.begin()
                return Answer(response.status, response.headers, response.read())
            except (http.client.HTTPException, ConnectionError):
                return None

    def ask(self, raw: bytes = HEALTH) -> int:
        """The status of the answer to a whole request; 0 when the connection is closed instead."""
        answer = self.send(raw).answer()
        return answer.status if answer else 0

    def is_closed(self) -> bool:
        """Whether the other side has closed it by now."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65_536):
                pass
            return True
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)

    def ends(self) -> bool:
        """Waits until the other side closes it; false when it doesn't."""
        try:
            while self.socket.recv(65_536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


def head(method: str, target: str, length: int | None = None, **headers: str) -> bytes:
    """The head of a request; `_` in a header's name stands for `-`."""
    fields = {"Host": "x", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if length is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(length)}
    return "\r\n".join([f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


@contextlib.contextmanager
def many(count: int, port: int, *sources: str) -> Iterator[list[Wire]]:
    """So many connections, from the addresses in turn; those that are refused at once are left out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(count):
            with contextlib.suppress(ConnectionError):
                made.append(stack.enter_context(Wire(port, sources[number % len(sources)] if sources else "127.0.0.1")))
        yield made


def all_end(wires: dict[str, Wire], seconds: float) -> list[str]:
    """Waits for all of them to be closed, and returns which are not."""
    deadline = time.monotonic() + seconds
    open_wires = dict(wires)
    while open_wires and time.monotonic() < deadline:
        open_wires = {name: wire for name, wire in open_wires.items() if not wire.is_closed()}
        time.sleep(0.1)
    return list(open_wires)
