"""A provider of OAuth that answers at once, always alike: what is measured is the server that asks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
from collections.abc import Iterator

TOKEN = {"access_token": "token", "token_type": "Bearer", "expires_in": 604800}
USER = {"id": "80351110224678912", "username": "ada", "email": "ada@example.com", "verified": True}


class Connection(asyncio.Protocol):
    """Answers each request of a connection: a POST with a token, a GET with the user."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, rest = self.received.partition(b"\r\n\r\n")
            fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
            length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
            if len(rest) < length:
                return
            self.received = rest[length:]
            answer = json.dumps(TOKEN if head.startswith(b"POST") else USER).encode()
            start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
            self.transport.write(start.encode() + answer)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def _run(port: int) -> None:
    asyncio.run(_serve(port))


@contextlib.contextmanager
def provider(port: int) -> Iterator[str]:
    """The host and port of one, in a process of its own."""
    process = multiprocessing.Process(target=_run, args=(port,), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()
