"""Load on a server and the cost of it: wrk, the raw Argon2id rate, and whose CPU time it took. Linux only."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WARM_UP_SECONDS = 1
TICKS = os.sysconf("SC_CLK_TCK")

# What a child process does before it becomes the program it runs.
Preexec = Callable[[], None] | None


@dataclass(frozen=True)
class Request:
    """What a client sends over and over: the lines are tokens or JSON bodies, used in turn."""

    method: str
    path: str
    kind: str
    lines: list[str]


@dataclass(frozen=True)
class Load:
    """What came of it. `bad` counts answers that are no success and broken connections; `foreign_percent` is the CPU
    time that processes other than ours took meanwhile, in percent of one core: it spoils a number above about ten."""

    rate: float
    p50_ms: float
    p99_ms: float
    bad: int
    foreign_percent: float
    server_cpu_ms: float | None = None


class Meter:
    """CPU time spent since it was made: by a server, and by everyone who does not belong to this benchmark."""

    def __init__(self, server: int | None) -> None:
        self.server = server
        self._begin = self._read()

    def _read(self) -> tuple[float, float, float]:
        """The time, and the CPU time of the others and of the server."""
        others = machine_cpu_seconds() - tree_cpu_seconds(os.getpid())
        return time.monotonic(), others, tree_cpu_seconds(self.server) if self.server else 0

    def foreign_percent(self) -> float:
        """What the others used since then, in percent of one core."""
        elapsed, foreign, _ = (after - before for after, before in zip(self._read(), self._begin, strict=True))
        return max(0.0, foreign / elapsed * 100)

    def load(self, result: dict[str, float]) -> Load:
        """The load `result` stands for, with the CPU time spent since this meter was made."""
        elapsed, foreign, server = (after - before for after, before in zip(self._read(), self._begin, strict=True))
        return Load(
            rate=result["rate"],
            p50_ms=result["p50_ms"],
            p99_ms=result["p99_ms"],
            bad=int(result.get("bad", 0)),
            foreign_percent=round(max(0.0, foreign / elapsed * 100)),
            server_cpu_ms=server / max(1, result["requests"]) * 1e3 if self.server else None,
        )


def machine_cpu_seconds() -> float:
    """What all processes together used since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / TICKS


def tree_cpu_seconds(root: int) -> float:
    """What a process, its descendants and its ended children used."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            total += sum(
                int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
            )
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text().split()]
        except OSError:
            continue  # ended meanwhile; its parent accounts for it
    return total / TICKS


def resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no memory")


def outweigh_others() -> None:
    """Puts the calling process into a scheduler group that outweighs those of other users of the machine. Plain nice
    counts only inside a group; needs root."""
    os.setsid()
    Path("/proc/self/autogroup").write_text("-20")


class Generator:
    """wrk, with one thread: on a small machine the server needs the other cores."""

    def __init__(self, outweigh: bool) -> None:
        self.preexec: Preexec = outweigh_others if outweigh else None

    def measure(self, base: str, server: int, request: Request, connections: int, seconds: int) -> Load:
        """The steady state: a short run to warm up, then the run that counts."""
        self.start(base, request, connections, WARM_UP_SECONDS).wait()
        meter = Meter(server)
        return meter.load(self.start(base, request, connections, seconds).wait())

    def start(self, base: str, request: Request, connections: int, seconds: int) -> Run:
        return Run(base, request, connections, seconds, self.preexec)


class Run:
    """One run of wrk, which may go on beside another."""

    def __init__(self, base: str, request: Request, connections: int, seconds: int, preexec: Preexec) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="requests-", delete=False) as lines:
            lines.write("\n".join(request.lines) + "\n")
        self.lines = Path(lines.name)
        self.seconds = seconds
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "20s",
            "-s",
            str(HERE / "wrk/requests.lua"),
        ]
        script = ["--", request.method, request.path, request.kind, lines.name]
        self.process = subprocess.Popen(
            [*command, base, *script], stdout=subprocess.PIPE, text=True, preexec_fn=preexec
        )

    def wait(self) -> dict[str, float]:
        try:
            output, _ = self.process.communicate(timeout=self.seconds + 60)
        finally:
            self.process.kill()
            self.lines.unlink()
        found = [line for line in output.splitlines() if line.startswith("result ")]
        if not found:
            raise RuntimeError(f"wrk printed no result:\n{output}")
        result = json.loads(found[0].removeprefix("result "))
        # A refusal is quickly made: only what succeeded counts for the rate.
        rate = (result["requests"] - result["refused"]) / result["seconds"]
        return {**result, "rate": rate, "bad": result["refused"] + result["broken"]}


class RawArgon2:
    """What this machine hashes at best, with nothing around it."""

    def __init__(self, directory: Path, outweigh: bool) -> None:
        self.program = directory / "argon2id"
        self.preexec = outweigh_others if outweigh else None
        source = HERE / "limits/argon2id.c"
        subprocess.run(["cc", "-O2", "-rdynamic", source, "-o", self.program, "-lsodium", "-lpthread"], check=True)
        self.libsodium = ""

    def measure(self, seconds: int) -> Load:
        threads, meter = os.cpu_count() or 1, Meter(server=None)
        done = subprocess.run(
            [self.program, str(threads), str(seconds)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=seconds + 30,
            preexec_fn=self.preexec,
        )
        result = json.loads(done.stdout)
        self.libsodium = result["libsodium"]
        return meter.load({**result, "requests": result["rate"] * seconds})
