"""Clients that mean harm. Each attack is a process that stops when it is told to; all traffic stays on 127.0.0.0/8."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import multiprocessing
import multiprocessing.synchronize
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Connections are opened again when the server has closed them, but never faster.
OPENINGS_PER_SECOND = 1_000
DESCRIPTORS_WANTED = 8_000
CONNECT_SECONDS_MAX, FILLING_SECONDS_MAX = 1, 2
STOP_SECONDS_MAX = 15
PIECE_BYTES = 65_536

HEALTH = b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n"
READY = b"GET /api/ready HTTP/1.1\r\nHost: x\r\n\r\n"
PREFLIGHT = (
    b"OPTIONS /api/auth/users/login HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\n"
    b"Access-Control-Request-Method: POST\r\n\r\n"
)
PIPELINED_AT_ONCE = 50

Stop = multiprocessing.synchronize.Event


def post(path: str, length: int, sent: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + sent


def login(email: str, password: str) -> bytes:
    body = json.dumps({"email": email, "password": password}).encode()
    return post("/api/auth/users/login", len(body), body)


def addresses(network: int) -> Iterator[str]:
    """Forty addresses of the loopback network, over and over."""
    return itertools.cycle(f"127.0.{network}.{number}" for number in range(1, 41))


class Crowd:
    """So many connections that are kept open, and opened again when the server closes them."""

    def __init__(self, port: int, count: int, network: int) -> None:
        self.port, self.count, self.sources = port, count, addresses(network)
        self.open: list[socket.socket] = []
        self.opened = 0
        self._begin = time.monotonic()

    def fill(self) -> list[socket.socket]:
        """Opens what is missing, and returns the new ones."""
        allowed = int((time.monotonic() - self._begin + 1) * OPENINGS_PER_SECOND)
        new, deadline = [], time.monotonic() + FILLING_SECONDS_MAX
        while len(self.open) + len(new) < self.count and self.opened < allowed and time.monotonic() < deadline:
            self.opened += 1
            client = socket.socket()
            client.settimeout(CONNECT_SECONDS_MAX)
            try:
                client.bind((next(self.sources), 0))
                client.connect(("127.0.0.1", self.port))
                client.setblocking(False)
                new.append(client)
            except OSError:
                client.close()
        self.open += new
        return new

    def send(self, raw: bytes) -> None:
        for client in self.open:
            with contextlib.suppress(OSError):
                client.send(raw)

    def drop_closed(self) -> None:
        kept = []
        for client in self.open:
            try:
                is_open = bool(client.recv(PIECE_BYTES))
            except BlockingIOError:
                is_open = True
            except OSError:
                is_open = False
            kept.append(client) if is_open else client.close()
        self.open = kept

    def close(self) -> None:
        for client in self.open:
            client.close()


def crowd(port: int, stop: Stop, count: int, network: int, first: bytes, then: bytes, pause: float) -> Counter[str]:
    """Connections that begin with `first` and send `then` after each pause."""
    made, done = Crowd(port, count, network), Counter[str]()
    try:
        while not stop.is_set():
            for client in made.fill():
                with contextlib.suppress(OSError):
                    client.send(first)
            if then:
                made.send(then)
            stop.wait(pause)
            made.drop_closed()
        done["connections"] = made.opened
    finally:
        made.close()
    return done


@dataclass
class Caller:
    """One connection of a flood."""

    socket: socket.socket
    request: Iterator[bytes]
    received: bytes = b""


def flood(
    port: int, stop: Stop, count: int, network: int, requests: Callable[[int], Iterator[bytes]], obeys: bool = True
) -> Counter[str]:
    """Connections that send one request after another and count the answers by status.

    With `obeys` a caller that is told to come back later does so; without it asks again at once.
    """
    done, sources = Counter[str](), addresses(network)
    with selectors.DefaultSelector() as selector:
        waiting: list[tuple[float, int, Caller | Iterator[bytes]]] = []
        tickets = itertools.count()

        def connect(request: Iterator[bytes]) -> None:
            client = socket.socket()
            client.settimeout(CONNECT_SECONDS_MAX)
            try:
                client.bind((next(sources), 0))
                client.connect(("127.0.0.1", port))
                client.setblocking(False)
                caller = Caller(client, request)
                selector.register(client, selectors.EVENT_READ, caller)
                client.send(next(request))
            except OSError:
                with contextlib.suppress(KeyError, ValueError):
                    selector.unregister(client)
                client.close()
                done["broken"] += 1
                heapq.heappush(waiting, (time.monotonic() + 0.2, next(tickets), request))

        def ask_again(caller: Caller) -> None:
            try:
                caller.socket.send(next(caller.request))
            except OSError:
                renew(caller)

        def renew(caller: Caller) -> None:
            # It may be waiting to ask again, and be closed meanwhile.
            if caller.socket.fileno() < 0:
                return
            selector.unregister(caller.socket)
            caller.socket.close()
            heapq.heappush(waiting, (time.monotonic() + 0.05, next(tickets), caller.request))

        for number in range(count):
            heapq.heappush(waiting, (0, next(tickets), requests(number)))
        while not stop.is_set():
            while waiting and waiting[0][0] <= time.monotonic() and not stop.is_set():
                _, _, due = heapq.heappop(waiting)
                ask_again(due) if isinstance(due, Caller) else connect(due)
            for key, _ in selector.select(0.05):
                caller: Caller = key.data
                try:
                    piece = caller.socket.recv(PIECE_BYTES)
                except OSError:
                    piece = b""
                if not piece:
                    done["closed"] += 1
                    renew(caller)
                    continue
                caller.received += piece
                answers, caller.received, delay = take_answers(caller.received)
                done.update(answers)
                if not answers:
                    continue
                if delay and obeys:
                    heapq.heappush(waiting, (time.monotonic() + delay, next(tickets), caller))
                else:
                    ask_again(caller)
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return done


def take_answers(received: bytes) -> tuple[list[str], bytes, int]:
    """The statuses of the whole answers, what is left, and the longest Retry-After."""
    statuses, delay = [], 0
    while (end := received.find(b"\r\n\r\n")) >= 0:
        head = received[:end].lower()
        length = int(field(head, b"content-length") or 0)
        if len(received) < end + 4 + length:
            break
        statuses.append(head[9:12].decode())
        delay = max(delay, int(field(head, b"retry-after") or 0))
        received = received[end + 4 + length :]
    return statuses, received, delay


def field(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


def endless(port: int, stop: Stop, count: int, network: int, begin: bytes, piece: bytes) -> Counter[str]:
    """Connections that send without end, and begin again when they are closed."""
    made, done = Crowd(port, count, network), Counter[str]()
    try:
        while not stop.is_set():
            for client in made.fill():
                with contextlib.suppress(OSError):
                    client.send(begin)
            for client in made.open:
                with contextlib.suppress(OSError):
                    done["bytes"] += client.send(piece)
            made.drop_closed()
            stop.wait(0.005)
        done["connections"] = made.opened
    finally:
        made.close()
    return done


# The attacks, by what they are: each takes a port, when to stop, and its share of the full size

Attack = Callable[[int, Stop, float, list[str], str], Counter[str]]


def share(count: int, part: float) -> int:
    return max(2, int(count * part))


def logins(obeys: bool) -> Attack:
    def attack(port: int, stop: Stop, part: float, emails: list[str], password: str) -> Counter[str]:
        def requests(number: int) -> Iterator[bytes]:
            """Every fifth caller doesn't know the password."""
            email = emails[number % len(emails)]
            return itertools.repeat(login(email, password if number % 5 else "wrong"))

        return flood(port, stop, share(500, part), 8, requests, obeys)

    return attack


ATTACKS: dict[str, Attack] = {
    "2,000 idle connections": lambda port, stop, part, *_: crowd(port, stop, share(2_000, part), 1, b"", b"", 0.2),
    "500 slow heads": lambda port, stop, part, *_: crowd(port, stop, share(500, part), 2, HEALTH[:-4], b"x", 0.5),
    "500 slow bodies": lambda port, stop, part, *_: crowd(
        port, stop, share(500, part), 3, post("/api/auth/users/login", 1_000_000, b"{"), b" ", 0.5
    ),
    "500 large bodies that stop": lambda port, stop, part, *_: crowd(
        port, stop, share(500, part), 4, post("/api/auth/users/login", 1_000_000), b" " * PIECE_BYTES, 0.2
    ),
    "50 endless bodies after a refusal": lambda port, stop, part, *_: endless(
        port, stop, share(50, part), 5, post("/api/none", 10**12), b" " * PIECE_BYTES
    ),
    "50 header floods": lambda port, stop, part, *_: endless(
        port, stop, share(50, part), 6, b"GET / HTTP/1.1\r\n", b"X-Some: header\r\n" * 1_000
    ),
    "50 connections that pipeline": lambda port, stop, part, *_: flood(
        port, stop, share(50, part), 7, lambda _: itertools.repeat(HEALTH * PIPELINED_AT_ONCE)
    ),
    "500 connections that log in": logins(obeys=True),
    "500 connections that log in and don't wait": logins(obeys=False),
    "50 connections of preflights and readiness": lambda port, stop, part, *_: flood(
        port, stop, share(50, part), 9, lambda number: itertools.cycle([PREFLIGHT, READY])
    ),
}


class Running:
    """An attack in a process of its own."""

    def __init__(self, name: str, port: int, part: float, emails: list[str], password: str) -> None:
        context = multiprocessing.get_context("fork")
        self.name = name
        self._stop = context.Event()
        self._results, sender = context.Pipe(duplex=False)

        def run() -> None:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS_WANTED), hard))
            sender.send(ATTACKS[name](port, self._stop, part, emails, password))

        self._process = context.Process(target=run, daemon=True)
        self._process.start()

    def stop(self) -> Counter[str]:
        """Ends it, and returns what it has counted."""
        self._stop.set()
        done = self._results.recv() if self._results.poll(STOP_SECONDS_MAX) else Counter({"no result": 1})
        self._process.join(STOP_SECONDS_MAX)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return done


class GoodClient:
    """Somebody who asks in turn, on one connection, for the server's health and for their own account."""

    def __init__(self, port: int, token: str) -> None:
        me = f"GET /api/auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self._requests = {"health": HEALTH, "me": me}
        self._port = port
        self._socket: socket.socket | None = None
        self.milliseconds: dict[str, list[float]] = {"health": [], "me": []}
        self.bad = 0

    def run(self, seconds: float, pause: float = 0.004) -> GoodClient:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, raw in self._requests.items():
                begin = time.monotonic()
                self.bad += 0 if self._is_served(raw) else 1
                self.milliseconds[name].append((time.monotonic() - begin) * 1e3)
                time.sleep(pause)
        return self

    def _is_served(self, raw: bytes) -> bool:
        try:
            if not self._socket:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._socket.sendall(raw)
            received, statuses = b"", []
            while not statuses:
                piece = self._socket.recv(PIECE_BYTES)
                if not piece:
                    raise ConnectionError
                statuses, received, _ = take_answers(received + piece)
            return statuses == ["200"]
        except OSError:
            self.close()
            return False

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    @property
    def answered(self) -> int:
        return sum(map(len, self.milliseconds.values())) - self.bad

    def percentile(self, name: str, part: float) -> float:
        times = sorted(self.milliseconds[name])
        return times[min(len(times) - 1, int(len(times) * part))]
