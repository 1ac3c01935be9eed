#!/usr/bin/env python3
"""Measures two release binaries against each other in one run.

    python3 Benchmarks/compare.py BEFORE [AFTER] [--rounds 6] [--seconds 3] [--outweigh]

AFTER is .build/release/latchkey unless it is named. Both servers run at the same time and are loaded in turn, in
alternating order, so that a machine whose speed drifts slows both alike. The table holds the median of each figure and the
median of the ratios of neighbours; the time of the processor a request takes is the steadiest figure.
All traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import REPOSITORY, SESSIONS, USERS, Benchmark, machine
from load import Load, Request
from servers import Latchkey

WORSE_PERCENT_MAX = 3


def requests(server: Latchkey) -> Iterator[tuple[str, Request, int]]:
    """What is measured: a name, the request, and how many connections."""
    emails = server.seed(USERS)
    yield "login, 4 connections, one user", server.login(emails[:1]), 4
    yield f"login, 32 connections, {USERS} users", server.login(emails), 32
    # Behind the logins, which end an account's oldest sessions.
    tokens = server.tokens(emails, SESSIONS)
    yield "GET me, one token", server.me(tokens[:1]), 32
    yield f"GET me, {SESSIONS} tokens", server.me(tokens), 32
    yield "GET me, an API key", server.me([server.api_key(emails[0])]), 32
    yield "GET me, an opaque token", server.me([server.opaque_token(emails[0])]), 32
    yield "refresh, one session", server.refresh(tokens[:1]), 32
    yield f"refresh, {SESSIONS} sessions", server.refresh(tokens), 32


def row(what: str, pairs: list[tuple[Load, Load]]) -> str:
    """One line of the table: rates, times of the processor, and how much worse the second is by the steadier of both."""
    rates = statistics.median(after.rate / before.rate for before, after in pairs)
    cpu = [(before.server_cpu_ms or 0, after.server_cpu_ms or 0) for before, after in pairs]
    costs = statistics.median(after / before for before, after in cpu)
    worse = (min(costs, 1 / rates) - 1) * 100
    verdict = "met" if worse <= WORSE_PERCENT_MAX else "**not met**"
    cells = [
        what,
        *(f"{statistics.median(load.rate for load in loads):,.0f}/s" for loads in zip(*pairs, strict=True)),
        f"{(rates - 1) * 100:+.1f} %",
        *(f"{statistics.median(times):.3f}" for times in zip(*cpu, strict=True)),
        f"{(costs - 1) * 100:+.1f} %",
        str(sum(load.bad for pair in pairs for load in pair)),
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=REPOSITORY / ".build/release/latchkey")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--outweigh", action="store_true", help="outweigh other users of the machine (needs root)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-compare-")))
        benchmark = Benchmark(options.seconds, options.outweigh, scratch)
        servers = []
        for name, binary in (("before", options.before), ("after", options.after)):
            (scratch / name).mkdir()
            server = Latchkey(binary.absolute(), scratch / name, benchmark.preexec)
            stack.callback(server.stop)
            server.start()
            server.stop()
            server.lift_rate_limit()
            server.start()
            servers.append(server)
        kinds = [requests(server) for server in servers]
        print(machine(benchmark.raw, [f"{server.version()}" for server in servers]), end="\n\n")
        print("| measured | before | after | rate | CPU ms before | CPU ms after | CPU | bad | ≤ 3 % worse |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for before, after in zip(*kinds, strict=True):
            pairs = []
            for number in range(options.rounds):
                both = list(zip(servers, (before, after), strict=True))
                loads = {}
                for server, (_, request, connections) in both if number % 2 == 0 else reversed(both):
                    loads[server] = benchmark.load(server, request, connections)
                pairs.append((loads[servers[0]], loads[servers[1]]))
            print(row(before[0], pairs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
