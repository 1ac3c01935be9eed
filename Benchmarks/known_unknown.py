#!/usr/bin/env python3
"""Measures whether the time of an answer tells an address that has an account from one that has none.

    .venv/bin/python Benchmarks/known_unknown.py [--count 400] [--rounds 2]
    scripts/with-postgres --durable .venv/bin/python Benchmarks/known_unknown.py --engine postgres

One client asks for as many known addresses as unknown ones of the same shape, in random order, while the mails go out
to an SMTP server. The times are compared by a Mann-Whitney U test. Prints one Markdown table, and all rows taken
together, which see a smaller difference than one of them can; a |z| above 1.96 comes by chance alone once in twenty. In
the first round an account has no token of that kind, in later ones it has.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ.setdefault("LATCHKEY_BIN", str(REPOSITORY / ".build/release/latchkey"))
sys.path.insert(0, str(REPOSITORY / "Tests/CLI"))

from conftest import Launcher, Server, fresh_email  # noqa: E402
from postgres import SHARED  # noqa: E402
from processes import BINARY  # noqa: E402
from smtp import RETRY_SECONDS_MAX, Mailbox, change_settings, outbox, settled  # noqa: E402

WARM_UP = 50
# An account gets 20 mails of a kind in an hour, and two of the questions are of one kind.
ROUNDS_MAX = 10
SEEDING_THREADS = 4
CLIENT_SECONDS_MAX = 30

HEADER = """\
| request | round | n each | known, median ms | unknown, median ms | difference µs | z | p |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Question:
    """A request that names an address."""

    method: str
    path: str
    body: str | None = None

    def ask(self, connection: http.client.HTTPConnection, address: str) -> float:
        """How long the answer takes, in seconds; it must be the one that says nothing."""
        body = self.body.replace("ADDRESS", address).encode() if self.body else None
        path = self.path.replace("ADDRESS", address)
        headers = {"Content-Type": "application/json"} if body else {}
        begin = time.perf_counter()
        connection.request(self.method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        elapsed = time.perf_counter() - begin
        if response.status != 200 or json.loads(answer) != {"data": {"sent": True}}:
            raise RuntimeError(f"{self.method} {path} answered {response.status}: {answer!r}")
        return elapsed


QUESTIONS = [
    Question("POST", "/api/auth/users/request-password-reset", '{"email":"ADDRESS"}'),
    Question("POST", "/api/auth/users/otp/request", '{"email":"ADDRESS"}'),
    Question("GET", "/api/users/ADDRESS/recover"),
    Question("POST", "/api/users/ADDRESS/recover"),
]


def mann_whitney(first: list[float], second: list[float]) -> float:
    """z of the U test, by its normal approximation with the correction for ties: above 0 when the first are larger."""
    pooled = sorted(first + second)
    ties = Counter(pooled)
    rank: dict[float, float] = {}
    before = 0
    for value, count in ties.items():  # in ascending order
        rank[value] = before + (count + 1) / 2
        before += count
    m, n = len(first), len(second)
    u = sum(rank[value] for value in first) - m * (m + 1) / 2
    total = m + n
    tied = sum(count**3 - count for count in ties.values()) / (total * (total - 1))
    deviation = math.sqrt(m * n / 12 * (total + 1 - tied))
    return (u - m * n / 2) / deviation if deviation else 0.0


def two_sided(z: float) -> float:
    """How often chance alone leads to such a z, or one farther from 0."""
    return math.erfc(abs(z) / math.sqrt(2))


@contextlib.contextmanager
def mail_server(port: int) -> Iterator[None]:
    """An SMTP server in a process of its own, so that it takes no time from the client, which drops what it gets."""
    options = ["--nosetuid", "--listen", f"127.0.0.1:{port}", "--class", "aiosmtpd.handlers.Sink"]
    process = subprocess.Popen([sys.executable, "-m", "aiosmtpd", *options], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(CLIENT_SECONDS_MAX)


def seed(server: Server, count: int) -> list[str]:
    """Registers accounts, and returns their addresses."""
    addresses = [fresh_email() for _ in range(count)]
    with ThreadPoolExecutor(SEEDING_THREADS) as pool:
        list(pool.map(server.register, addresses))
    settled(server, RETRY_SECONDS_MAX)
    return addresses


def measure(server: Server, question: Question, known: list[str], warm_up: list[str]) -> dict[bool, list[float]]:
    """The times of known and unknown addresses."""
    tasks = [(True, address) for address in known] + [(False, fresh_email()) for _ in known]
    random.shuffle(tasks)
    times: dict[bool, list[float]] = {True: [], False: []}
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=CLIENT_SECONDS_MAX)
    ) as connection:
        for address in warm_up:
            question.ask(connection, address)
            question.ask(connection, fresh_email())
        for is_known, address in tasks:
            times[is_known].append(question.ask(connection, address))
    return times


def row(question: Question, number: int, times: dict[bool, list[float]], z: float) -> str:
    known, unknown = (statistics.median(times[kind]) * 1e3 for kind in (True, False))
    cells = [
        f"{question.method} {question.path.replace('ADDRESS', ':id')}",
        str(number),
        str(len(times[True])),
        f"{known:.3f}",
        f"{unknown:.3f}",
        f"{(known - unknown) * 1e3:+.0f}",
        f"{z:+.2f}",
        f"{two_sided(z):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite", help="where the server stores")
    parser.add_argument("--count", type=int, default=400, help="addresses of each kind (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, choices=range(1, ROUNDS_MAX + 1), default=2, help="how often each is asked for"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if not os.access(BINARY, os.X_OK):
        print(f"missing: {BINARY}", file=sys.stderr)
        return 1
    if options.engine == "postgres" and not SHARED:
        print("run this by scripts/with-postgres --durable", file=sys.stderr)
        return 1
    mailbox = Mailbox()
    with (
        tempfile.TemporaryDirectory(prefix="latchkey-known-") as directory,
        mail_server(mailbox.port),
        Launcher(Path(directory), options.engine) as launch,
    ):
        server = launch().admin_setup()
        change_settings(server, {**mailbox.settings(), "auth.otp.enabled": "1"})
        known, warm_up = seed(server, options.count), seed(server, WARM_UP)
        print(HEADER, flush=True)
        scores = []
        for number in range(1, options.rounds + 1):
            for question in QUESTIONS:
                times = measure(server, question, known, warm_up)
                scores.append(mann_whitney(times[True], times[False]))
                print(row(question, number, times, scores[-1]), flush=True)
        settled(server, RETRY_SECONDS_MAX)
        states = Counter(item["state"] for item in outbox(server))
    together = sum(scores) / math.sqrt(len(scores))  # Stouffer's method
    print(f"\nAll rows together: z {together:+.2f}, p {two_sided(together):.3f}.")
    print(f"The latest mails, by state: {dict(states)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
