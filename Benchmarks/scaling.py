#!/usr/bin/env python3
"""Measures the release binary on SQLite, and with one and two nodes on a PostgreSQL that waits for the disk.

    scripts/with-postgres --durable .venv/bin/python Benchmarks/scaling.py [--seconds 4]

Everything runs on this machine, the load generator and PostgreSQL too: what a second node adds here is bounded by the
cores that are left for it. Prints one Markdown table, and how long a logout on one node takes to be known on the other.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg

from load import Generator, Request, tree_cpu_seconds
from servers import Latchkey

REPOSITORY = Path(__file__).resolve().parents[1]
USERS = 100
SESSIONS = 1000
CONNECTIONS = 64
PROPAGATIONS = 50

HEADER = """\
| measured, {connections} connections in all | SQLite | PostgreSQL, one node | PostgreSQL, two nodes |
|---|---|---|---|"""


class Topology:
    """Some nodes on one database, with users and sessions."""

    def __init__(self, nodes: list[Latchkey], postgres: int | None) -> None:
        self.nodes = nodes
        self.postgres = postgres
        for node in nodes:
            node.start()
        nodes[0].lift_rate_limit()
        time.sleep(1)
        self.emails = nodes[0].seed(USERS)
        self.tokens = nodes[0].tokens(self.emails, SESSIONS)

    def measure(self, generator: Generator, request: Callable[[Latchkey], Request], seconds: int) -> str:
        """The rate over all nodes, the worst p99, and whose CPU time a request takes."""
        share = CONNECTIONS // len(self.nodes)

        def load(length: int) -> list[dict[str, float]]:
            runs = [generator.start(node.base, request(node), share, length) for node in self.nodes]
            return [run.wait() for run in runs]

        load(1)
        before = self._cpu()
        results = load(seconds)
        after = self._cpu()
        bad = sum(result["bad"] for result in results)
        requests = sum(result["requests"] for result in results)
        costs = [1e3 * (b - a) / requests for a, b in zip(before, after, strict=True)]
        rate = sum(result["rate"] for result in results)
        p99 = max(result["p99_ms"] for result in results)
        text = f"{rate:,.0f}/s, p99 {p99:.1f} ms, CPU {costs[0]:.3f} ms"
        if self.postgres:
            text += f" + {costs[1]:.3f} ms"
        return text + (f" **BAD {bad:.0f}**" if bad else "")

    def _cpu(self) -> list[float]:
        """Of the nodes together, and of PostgreSQL."""
        own = sum(tree_cpu_seconds(node.pid) for node in self.nodes)
        return [own, tree_cpu_seconds(self.postgres) if self.postgres else 0]

    def propagation(self) -> str:
        """From a logout's answer on one node to the first refusal on the other, which knew the session by heart."""
        first, second = self.nodes
        times = []
        for token in self.tokens[:PROPAGATIONS]:
            if first.ask("GET", "/api/auth/me", token=token)[0] != 200:
                raise RuntimeError("a session is not known")
            if second.ask("POST", "/api/auth/logout", token=token)[0] != 200:
                raise RuntimeError("a logout was refused")
            begin = time.monotonic()
            while first.ask("GET", "/api/auth/me", token=token)[0] != 401:
                if time.monotonic() > begin + 5:
                    raise RuntimeError("a logout is not heard of")
            times.append((time.monotonic() - begin) * 1e3)
        return f"median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms of {PROPAGATIONS}"

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def topology(binary: Path, scratch: Path, count: int, url: str | None) -> Topology:
    key = base64.b64encode(os.urandom(32)).decode()
    nodes = []
    for number in range(count):
        directory = scratch / f"{uuid.uuid4().hex[:6]}-{number}"
        directory.mkdir()
        node = Latchkey(binary, directory, None)
        if url:
            node.environment = {"LATCHKEY_DATABASE_URL": url, "LATCHKEY_SEALING_KEY": key}
        nodes.append(node)
    return Topology(nodes, int(os.environ["LATCHKEY_TEST_POSTGRES_PID"]) if url else None)


def new_database(server_url: str) -> str:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server_url.replace("/postgres?", f"/{name}?")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="length of each measurement (default: %(default)s)")
    options = parser.parse_args()
    server_url = os.environ.get("LATCHKEY_TEST_POSTGRES")
    binary = Path(os.environ.get("LATCHKEY_BIN", REPOSITORY / ".build/release/latchkey")).absolute()
    if not server_url:
        print("run this by scripts/with-postgres --durable", file=sys.stderr)
        return 1
    if not os.access(binary, os.X_OK):
        print(f"missing: {binary}", file=sys.stderr)
        return 1

    generator = Generator(outweigh=False)
    cells: dict[str, list[str]] = {}
    propagation = ""
    with tempfile.TemporaryDirectory(prefix="latchkey-scaling-") as scratch, contextlib.ExitStack() as stack:
        for count, on_postgres in ((1, False), (1, True), (2, True)):
            url = new_database(server_url) if on_postgres else None
            made = topology(binary, Path(scratch), count, url)
            stack.callback(made.stop)
            requests: dict[str, Callable[[Latchkey], Request]] = {
                f"login, {USERS} users": lambda node, made=made: node.login(made.emails),
                f"GET me, {SESSIONS} tokens": lambda node, made=made: node.me(made.tokens),
                f"refresh, {SESSIONS} sessions": lambda node, made=made: node.refresh(made.tokens),
            }
            for what, request in requests.items():
                cells.setdefault(what, []).append(made.measure(generator, request, options.seconds))
                print(what, cells[what][-1], file=sys.stderr, flush=True)
            if count == 2:
                propagation = made.propagation()
            made.stop()
    print(HEADER.format(connections=CONNECTIONS))
    for what, results in cells.items():
        print(f"| {what} | {' | '.join(results)} |")
    print(f"\nA logout on one node is refused on the other after: {propagation}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
