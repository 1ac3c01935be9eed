"""Connections that are slow, too many, too large or never finished: each is bounded, and nobody else is held up."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ADMIN, PASSWORD, Server, eventually, fresh_email
from processes import BINARY, clean_environment, free_port
from wire import HEALTH, LOGIN, PATIENCE_SECONDS, Wire, all_end, head, many

Launch = Callable[..., Server]

MEBIBYTE = 1 << 20
# Deadlines of the server.
HEAD_SECONDS = BODY_GRACE_SECONDS = 10
SLACK_SECONDS = 15
DRAIN_SECONDS_MAX = 20

CHUNKED = {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}
FIRST_HALF = HEALTH[:-4]


def account(**members: str) -> bytes:
    return json.dumps({"email": fresh_email(), "password": PASSWORD, **members}).encode()


# Slow ones


def test_slow_heads_and_slow_bodies_are_cut_and_a_body_that_keeps_its_pace_is_not(server: Server) -> None:
    register = account()
    wires = {
        "a head that stops": FIRST_HALF,
        "a head that trickles": FIRST_HALF,
        "a body that never begins": head("POST", LOGIN, 100),
        "a body that trickles": head("POST", LOGIN, 100_000),
        "a chunked body that trickles": head("POST", LOGIN, **CHUNKED),
        "a body that trickles behind a whole request": HEALTH + head("POST", LOGIN, 100_000) + b"{",
        "a head that trickles behind a whole request": HEALTH + FIRST_HALF,
        "a body that trickles behind a refusal": head("POST", "/api/none", 100_000) + b"{",
    }
    trickles = {name: b"1\r\n \r\n" if "chunked" in name else b" " for name in wires if "trickles" in name}
    with contextlib.ExitStack() as stack:
        opened = {name: stack.enter_context(Wire(server.port)).send(raw) for name, raw in wires.items()}
        idle, steady = stack.enter_context(Wire(server.port)), stack.enter_context(Wire(server.port))
        assert idle.ask() == 200
        padding = b" " * 50_000
        steady.send(head("POST", "/api/auth/users/register", len(register) + len(padding)) + register)
        deadline = time.monotonic() + HEAD_SECONDS + SLACK_SECONDS
        still, sent = opened, 0
        while time.monotonic() < deadline and still:
            still = {name: wire for name, wire in still.items() if not wire.is_closed()}
            for name in still.keys() & trickles.keys():
                still[name].send(trickles[name])
            steady.send(padding[sent : sent + 2_500])
            sent += 2_500
            time.sleep(1)
        steady.send(padding[sent:])
        assert list(still) == [], "not cut"
        answer = steady.answer()
        assert answer and answer.status == 200, "a slow body that keeps its pace is answered"
        assert idle.ask() == 200, "a connection may be idle for longer than a head may take"


# Bodies that nobody reads


@pytest.mark.parametrize(
    ("target", "status"), [("/api/none", 404), ("/api/auth/me", 405), ("/api/auth/reauthenticate", 401), (LOGIN, 413)]
)
@pytest.mark.parametrize("length", [100_000_000_000, None], ids=["by length", "in chunks"])
def test_a_body_without_end_after_a_refusal_is_not_read_and_its_client_gets_the_answer(
    server: Server, target: str, status: int, length: int | None
) -> None:
    chunk = b" " * 65_536
    piece = chunk if length else b"10000\r\n" + chunk + b"\r\n"
    with Wire(server.port) as wire:
        wire.send(head("POST", target, length) if length else head("POST", target, **CHUNKED))
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                wire.socket.sendall(piece)
        answer = wire.answer()
        assert answer and answer.status == status
        assert answer.closes
        assert wire.ends()


def test_a_request_in_single_bytes_is_served(server: Server) -> None:
    body = account()
    raw = head("POST", "/api/auth/users/register", len(body)) + body
    with Wire(server.port) as wire:
        for number in range(len(raw)):
            wire.send(raw[number : number + 1])
        answer = wire.answer()
        assert answer and answer.status == 200 and not answer.closes
        assert wire.ask() == 200, "the connection stays open"


def test_requests_sent_ahead_are_answered_in_order(server: Server) -> None:
    body, wrong = account(), account(password="not the password")
    ahead = [
        (HEALTH, 200), (head("GET", "/api/none"), 404), (head("POST", LOGIN, len(wrong)) + wrong, 401),
        (head("GET", "/api/auth/me"), 401), (head("POST", "/api/auth/users/register", len(body)) + body, 200),
    ]  # fmt: skip
    with Wire(server.port) as wire:
        wire.send(b"".join(raw for raw, _ in ahead * 10))
        statuses = [answer.status if (answer := wire.answer()) else 0 for _ in ahead * 10]
    expected = [status for _, status in ahead * 10]
    expected[9::5] = [409 if statuses[9] == 409 else 422] * 9
    assert statuses == expected


def test_a_body_that_is_not_read_behind_requests_sent_ahead_closes_the_connection(server: Server) -> None:
    with Wire(server.port) as wire:
        wire.send(HEALTH * 3 + head("POST", "/api/none", 10_000_000) + b" " * 1_000)
        answers = [wire.answer() for _ in range(4)]
        assert [answer.status if answer else 0 for answer in answers] == [200, 200, 200, 404]
        assert answers[3] and answers[3].closes
        assert wire.ends()


def test_requests_behind_the_one_that_ends_the_connection_do_not_keep_it_open(server: Server) -> None:
    last = head("GET", "/api/health", Connection="close")
    with Wire(server.port) as wire:
        answer = wire.send(last + HEALTH * 3).answer()
        assert answer and answer.status == 200
        assert wire.answer() is None
        assert all_end({"the other direction": wire}, SLACK_SECONDS) == []


def test_requests_sent_ahead_without_end_leave_the_others_their_turn(server: Server) -> None:
    """A read holds hundreds of them, and every other connection would wait for their answers."""
    with many(8, server.port) as greedy, Wire(server.port) as good:
        for wire in greedy:
            wire.socket.setblocking(False)
        before = server.call("GET", "/api/health").headers["X-Request-Id"]
        served = [request_number(before)]
        for _ in range(20):
            for wire in greedy:
                with contextlib.suppress(BlockingIOError):
                    wire.socket.send(HEALTH * 2_000)
            answer = good.send(HEALTH).answer()
            assert answer and answer.status == 200
            served.append(request_number(answer.headers["X-Request-Id"]))
        # Without turns it is thousands for each of them.
        others = served[-1] - served[0]
        assert others < 10_000, "so many requests were begun while the good client waited for twenty answers"


def request_number(request_id: str) -> int:
    """Requests are numbered in the order in which they are begun."""
    return int(request_id.partition("-")[2], 16)


# Heads that are too large

FLOODS = {
    "many headers": b"GET /api/health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(1_000)) + b"\r\n",
    "one header too many bytes": b"GET /api/health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 60_000 + b"\r\n\r\n",
    "headers that are large together": b"GET /api/health HTTP/1.1\r\nHost: x\r\n" + b"X: %s\r\n" % (b"x" * 1_000) * 60 + b"\r\n",
    "a long target": b"GET /api/health?" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long method": b"G" * 60_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long chunk extension": head("POST", LOGIN, **CHUNKED) + b"1;x=" + b"x" * 2_000_000,
    "many trailers": head("POST", LOGIN, **CHUNKED) + b"0\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200_000)) + b"\r\n",
    "leading zeros of a chunk": head("POST", LOGIN, **CHUNKED) + b"0" * 2_000_000,
    "empty lines": b"\r\n" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("raw", FLOODS.values(), ids=FLOODS.keys())
def test_a_head_that_is_too_large_is_refused_and_the_connection_closed(server: Server, raw: bytes) -> None:
    with Wire(server.port) as wire:
        answer = wire.send(raw).answer()
        assert answer is None or answer.status in (400, 413, 414, 431)
        assert wire.ends()
    assert server.call("GET", "/api/health").data


@pytest.mark.parametrize("begin", ["GET /", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX: "])
def test_a_head_without_end_is_refused_and_the_connection_closed(server: Server, begin: str) -> None:
    piece = b"X-Some: thing\r\n" * 4_000 if begin.endswith("\n") else b"x" * 60_000
    with Wire(server.port) as wire:
        wire.send(begin.encode())
        deadline = time.monotonic() + PATIENCE_SECONDS
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                wire.socket.sendall(piece)
            pytest.fail("it reads on")


# Too many


@pytest.fixture
def small(launch: Launch) -> Server:
    """A server of few connections, and of as little memory as it takes."""
    return launch(LATCHKEY_CONNECTIONS_MAX="40", LATCHKEY_CONNECTIONS_PER_ADDRESS_MAX="10", LATCHKEY_MEMORY_MB="92")


def stuck(wires: list[Wire], size: int = MEBIBYTE, sent: int = 1_000, **headers: str) -> None:
    """Makes each of them a request whose body never ends."""
    for wire in wires:
        wire.send(head("POST", LOGIN, size, **headers) + b"x" * sent)


def test_an_address_that_is_full_gives_up_its_oldest_idle_connection_and_no_other(small: Server) -> None:
    with many(10, small.port, "127.0.0.2") as idle, Wire(small.port, "127.0.0.3") as other:
        assert [wire.ask() for wire in [*idle, other]] == [200] * 11
        with Wire(small.port, "127.0.0.2") as newest:
            assert newest.ask() == 200
            eventually(lambda: idle[0].is_closed())
            assert [wire.ask() for wire in idle[1:]] == [200] * 9
            assert other.ask() == 200


def test_a_connection_that_serves_a_request_is_never_given_up(small: Server) -> None:
    with many(10, small.port, "127.0.0.2") as busy:
        stuck(busy, size=1_001)
        eventually(lambda: small.call("GET", "/api/health").data)
        time.sleep(0.5)  # so that their heads are read
        with many(5, small.port, "127.0.0.2") as more:
            assert [wire.ask() for wire in more] == [0] * 5, "there is no place"
        with Wire(small.port, "127.0.0.3") as other:
            assert other.ask() == 200
        assert [wire.ask(b" ") for wire in busy] == [400] * 10


def test_all_addresses_together_are_bounded_too(small: Server) -> None:
    sources = [f"127.0.0.{number}" for number in range(2, 12)]
    with many(200, small.port, *sources) as wires:
        with Wire(small.port, "127.0.0.99") as newest:
            assert newest.ask() == 200
        is_open = eventually(lambda: (n := sum(not wire.is_closed() for wire in wires)) <= 40 and [n])
        assert is_open[0] >= 30


def test_half_open_connections_give_way_to_a_client_that_comes_with_a_request(small: Server) -> None:
    with many(300, small.port, *[f"127.0.1.{number}" for number in range(1, 31)]) as wires:
        for wire in wires:
            wire.send(FIRST_HALF)
        for _ in range(20):
            with Wire(small.port) as good:
                assert good.ask() == 200


# Bodies in memory


def test_bodies_of_one_address_are_bounded_and_others_are_served(small: Server) -> None:
    with many(4, small.port, "127.0.0.2") as wires:
        stuck(wires, sent=600_000)
        answers = eventually(lambda: [wire for wire in wires[1:] if readable(wire)])
        answer = answers[0].answer()
        assert answer and answer.status == 429 and int(answer.headers["Retry-After"]) >= 1 and answer.closes
        with Wire(small.port, "127.0.0.3") as other:
            body = b"x" * 900_000
            assert other.ask(head("POST", LOGIN, len(body)) + body) == 400
    with Wire(small.port, "127.0.0.2") as again:
        body = b"x" * 900_000
        eventually(lambda: again.ask(head("POST", LOGIN, len(body)) + body) == 400)


def test_bodies_of_all_addresses_are_bounded_and_their_places_come_back(small: Server) -> None:
    sources = [f"127.0.0.{number}" for number in range(2, 8)]
    body = b"x" * 900_000
    with many(6, small.port, *sources) as wires:
        stuck(wires, sent=900_000)
        refused = eventually(lambda: [wire for wire in wires if readable(wire)])
        answer = refused[0].answer()
        assert answer and answer.status == 503 and int(answer.headers["Retry-After"]) >= 1 and answer.closes
        assert small.call("GET", "/api/health").data
    for source in sources:
        with Wire(small.port, source) as wire:
            assert wire.ask(head("POST", LOGIN, len(body)) + body) in (400, 503)
    eventually(lambda: small.call("POST", LOGIN, body).status == 400)


def readable(wire: Wire) -> bool:
    """Whether an answer is there, or the end."""
    wire.socket.setblocking(False)
    try:
        wire.socket.recv(1, 2)  # MSG_PEEK
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        wire.socket.settimeout(PATIENCE_SECONDS)
    return True


def test_a_trusted_proxy_is_not_capped_and_its_clients_are(small: Server) -> None:
    proxy = "127.0.0.9"
    small.command("settings", "set", f"security.trusted_proxies={proxy}")
    time.sleep(1.5)  # so that the running server has noticed
    with many(25, small.port, proxy) as wires:
        assert [wire.ask() for wire in wires] == [200] * 25
        stuck(wires[:1], sent=900_000, X_Forwarded_For="192.0.2.1")
        time.sleep(0.5)
        body = b"x" * 900_000
        same = wires[1].send(head("POST", LOGIN, len(body), X_Forwarded_For="192.0.2.1") + body).answer()
        assert same and same.status == 429
        assert wires[2].ask(head("POST", LOGIN, len(body), X_Forwarded_For="192.0.2.2") + body) == 400
        assert wires[3].ask() == 200


# The end


def test_sigterm_ends_the_process_in_time_whatever_clients_do_and_answers_what_is_under_way(launch: Launch) -> None:
    server = launch()
    body = account()
    big = head("GET", "/api/openapi.json")
    with contextlib.ExitStack() as stack:
        def wire(raw: bytes = b"") -> Wire:
            return stack.enter_context(Wire(server.port)).send(raw)

        kept = [wire() for _ in range(20)]
        kept += [wire(FIRST_HALF) for _ in range(20)]
        kept += [wire(head("POST", LOGIN, 1_000) + b"{") for _ in range(20)]
        kept += [wire(head("POST", "/api/none", 1_000_000) + b"{") for _ in range(5)]
        finished, raw = wire(), head("POST", "/api/auth/users/register", len(body)) + body
        assert finished.ask() == 200
        finished.send(raw[:-5])
        time.sleep(0.5)  # so that it is under way
        unread = [wire(big * 100) for _ in range(5)]
        begin = time.monotonic()
        server.terminate()
        time.sleep(1)
        answer = finished.send(raw[-5:]).answer()
        assert answer and answer.status == 200
        assert server.wait() == 0
        assert time.monotonic() - begin < DRAIN_SECONDS_MAX
        assert len(kept) == 65 and len(unread) == 5
    assert server.query("SELECT count(*) FROM users")


# Few descriptors


@contextlib.contextmanager
def limited(directory: Path, descriptors: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that may open so many files and connections, on a port."""
    port = free_port()
    command = ["prlimit", f"--nofile={descriptors}:{descriptors}", str(BINARY), "serve"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--data-dir", str(directory / "data")],
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def test_too_few_descriptors_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with limited(tmp_path, 64) as (process, _):
        _, told = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode not in (0, None) and process.returncode > 0
        assert "64" in told and "ulimit -n" in told


@pytest.mark.parametrize("descriptors", [256, 1024])
def test_a_server_of_few_descriptors_serves_within_its_means(tmp_path: Path, descriptors: int) -> None:
    with limited(tmp_path, descriptors) as (process, port):
        eventually(lambda: is_served(port), within=PATIENCE_SECONDS)
        for count in (300, 2_000):
            with many(count, port, *[f"127.0.2.{number}" for number in range(1, 41)]) as wires:
                for wire in wires[::2]:
                    wire.send(FIRST_HALF)
                for _ in range(20):
                    with Wire(port) as good:
                        assert [good.ask() for _ in range(3)] == [200] * 3
                assert process.poll() is None
        assert is_served(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DRAIN_SECONDS_MAX) == 0


def is_served(port: int) -> bool:
    with contextlib.suppress(ConnectionError), Wire(port) as wire:
        return wire.ask() == 200
    return False
