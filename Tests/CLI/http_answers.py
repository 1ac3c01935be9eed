"""What HTTP servers answer, also such that nobody wants to get."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


def says(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Answer:
    """An answer with that body: bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in {"Content-Type": content_type, "Content-Length": str(len(raw)), **headers}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


def streams(chunk: bytes, pause: float = 0, content_type: str = "application/json") -> Answer:
    """An answer that never ends, with a pause after each chunk."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.end_headers()
        while not is_stopping(handler).wait(pause):
            handler.wfile.write(chunk)

    return answer


def says_nothing(handler: BaseHTTPRequestHandler) -> None:
    """Keeps the connection open for longer than anybody should wait."""
    is_stopping(handler).wait(60)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    """Closes the connection in the middle of its answer."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"access_token": "')


def is_stopping(handler: BaseHTTPRequestHandler) -> threading.Event:
    stopping = getattr(handler.server, "stopping", None)
    assert isinstance(stopping, threading.Event)
    return stopping
