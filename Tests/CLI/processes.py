"""The binary under test, and the plain processes the suite makes of it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("LATCHKEY_BIN", REPOSITORY / ".build/debug/latchkey")).absolute()

COMMAND_SECONDS_MAX = 30


def run_command(
    *arguments: str, environment: dict[str, str] | None = None, seconds: float = COMMAND_SECONDS_MAX
) -> subprocess.CompletedProcess[str]:
    """Runs one `latchkey` command to its end; the caller's own LATCHKEY_… variables never reach it."""
    return subprocess.run(
        [BINARY, *arguments],
        env=clean_environment(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATCHKEY_")}
    return {**inherited, **extra}


def free_port() -> int:
    """A port nobody uses, below those the kernel gives to outgoing connections: still free when a server comes back."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
