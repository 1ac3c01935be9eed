#!/usr/bin/env python3
"""Attacks the release binary on this machine, and measures what a good client and the server's memory see of it.

    python3 Benchmarks/attack.py [--seconds 8] [--only WORD] [--part 1.0]

Runs each attack alone and then all of them at once, with rate limits off: what is shown is what the bounds of
connections, bodies and memory hold. Prints one Markdown table. All traffic stays on 127.0.0.0/8; what is started here
is ended here.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attackers import ATTACKS, GoodClient, Running
from load import Meter
from servers import PASSWORD, Latchkey

REPOSITORY = Path(__file__).resolve().parents[1]

USERS = 50
QUIET_SECONDS = 3
RECOVERY_SECONDS_MAX = 10
SETTLED_SECONDS = 3
P99_MS_MAX = 50
# Memory is back when it is within this much of what it was before.
USS_LEFT_MEGABYTES_MAX = 20

HEADER = """\
| attack | health p50 ms | p99 | me p50 ms | p99 | bad | USS before MB | peak | 10 s after | p99 after, ms | what it did | others' CPU | budgets |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def private_megabytes(pid: int) -> float:
    """USS: what the process has in memory and nobody shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))) / 1024


class Peak:
    """The highest USS of a process while this is entered."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.megabytes = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            with contextlib.suppress(OSError):
                self.megabytes = max(self.megabytes, private_megabytes(self.pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self._thread.join()


@dataclasses.dataclass(frozen=True)
class Row:
    attack: str
    during: GoodClient
    after: GoodClient
    megabytes: tuple[float, float, float]
    plan_megabytes: int
    did: str
    foreign_percent: float

    def markdown(self) -> str:
        def milliseconds(part: float, name: str) -> str:
            return f"{self.during.percentile(name, part):.1f}"

        cells = [self.attack]
        cells += [milliseconds(part, name) for name in ("health", "me") for part in (0.5, 0.99)]
        cells += [f"**{self.during.bad}**" if self.during.bad else "0"]
        cells += [f"{amount:.0f}" for amount in self.megabytes]
        cells += [f"{self._p99(self.after):.1f}", self.did, f"{self.foreign_percent:.0f} %", "; ".join(self._verdicts())]
        return f"| {' | '.join(cells)} |"

    @staticmethod
    def _p99(client: GoodClient) -> float:
        return max(client.percentile(name, 0.99) for name in ("health", "me"))

    def _verdicts(self) -> Iterator[str]:
        before, peak, after = self.megabytes
        met = {
            f"p99 < {P99_MS_MAX} ms": self._p99(self.during) < P99_MS_MAX and not self.during.bad,
            f"USS < {self.plan_megabytes} MB": peak < self.plan_megabytes,
            f"back in {RECOVERY_SECONDS_MAX} s": after < before + USS_LEFT_MEGABYTES_MAX
            and self._p99(self.after) < P99_MS_MAX
            and not self.after.bad,
        }
        for budget, is_met in met.items():
            yield f"{budget}: {'met' if is_met else '**not met**'}"


class Benchmark:
    def __init__(self, server: Latchkey, seconds: float, part: float) -> None:
        self.server, self.seconds, self.part = server, seconds, part
        self.emails = server.seed(USERS)
        self.token = server.token(self.emails[0])
        printed = (server.directory / "log").read_text()
        found = re.findall(r"Memory plan: (\d+) MB in all", printed)
        self.plan_megabytes = int(found[-1])

    def quiet(self) -> Row:
        before = private_megabytes(self.server.pid)
        meter = Meter(self.server.pid)
        client = self._client(self.seconds)
        return Row("none", client, client, (before,) * 3, self.plan_megabytes, "", meter.foreign_percent())

    def row(self, what: str, names: list[str]) -> Row:
        before = private_megabytes(self.server.pid)
        with Peak(self.server.pid) as peak:
            attacks = [Running(name, self.server.port, self.part, self.emails, PASSWORD) for name in names]
            time.sleep(1)
            meter = Meter(self.server.pid)
            during = self._client(self.seconds)
            foreign = meter.foreign_percent()
            done = {attack.name: attack.stop() for attack in attacks}
        ended = time.monotonic()
        while time.monotonic() < ended + RECOVERY_SECONDS_MAX - SETTLED_SECONDS:
            time.sleep(0.2)
        after = self._client(SETTLED_SECONDS)
        megabytes = before, peak.megabytes, private_megabytes(self.server.pid)
        if self.server.process is None or self.server.process.poll() is not None:
            raise RuntimeError(f"{what}: the server has ended")
        return Row(what, during, after, megabytes, self.plan_megabytes, told(done), foreign)

    def _client(self, seconds: float) -> GoodClient:
        client = GoodClient(self.server.port, self.token).run(seconds)
        client.close()
        return client


def told(done: dict[str, Counter[str]]) -> str:
    if len(done) > 1:
        return ""
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(next(iter(done.values())).items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="length of each attack (default: %(default)s)")
    parser.add_argument("--part", type=float, default=1.0, help="of the full size of each attack (default: %(default)s)")
    parser.add_argument("--only", metavar="WORD", help="only attacks with that word in their name, and not all at once")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    binary = Path(os.environ.get("LATCHKEY_BIN", REPOSITORY / ".build/release/latchkey")).absolute()
    if not os.access(binary, os.X_OK):
        print(f"missing: {binary}", file=sys.stderr)
        return 1
    rows = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-attack-")))
        server = Latchkey(binary, scratch, None)
        stack.callback(server.stop)
        server.start()
        server.set("rate_limit.enabled=0", "auth.lockout.max_attempts=0")
        time.sleep(QUIET_SECONDS)
        benchmark = Benchmark(server, options.seconds, options.part)

        def keep(row: Row) -> None:
            print(row.markdown(), file=sys.stderr, flush=True)
            rows.append(row)

        keep(benchmark.quiet())
        for name in ATTACKS:
            if options.only is None or options.only in name:
                keep(benchmark.row(name, [name]))
        if options.only is None:
            keep(benchmark.row("all of them at once", list(ATTACKS)))
    print(HEADER)
    for row in rows:
        print(row.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
