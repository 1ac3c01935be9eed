"""What HTTP servers answer, also such that nobody wants to get."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


def says(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Answer:
    """An answer with that body: bytes as they are, anything else as JSON. Headers are written with `_` for `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in {"Content-Type": content_type, "Content-Length": str(len(raw)), **headers}.items():
            handler.send_header(name.replace("_", "-"), text)
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


def never_comes_to_the_body(handler: BaseHTTPRequestHandler) -> None:
    """Sends one header after another."""
    handler.send_response(200)
    while not is_stopping(handler).is_set():
        handler.send_header("X-More", "x" * 1000)
        handler.flush_headers()


def is_stopping(handler: BaseHTTPRequestHandler) -> threading.Event:
    stopping = getattr(handler.server, "stopping", None)
    assert isinstance(stopping, threading.Event)
    return stopping


def other_than_json(text: str) -> dict[str, Answer]:
    """What is no JSON, or comes in a way that nobody should follow; `text` stands in it."""
    body = text.encode()
    return {
        "HTML": says(b"<!doctype html><title>" + body + b"</title>", content_type="text/html"),
        "text": says(body, content_type="text/plain"), "nothing": says(b""), "nothing, 204": says(b"", 204),
        "a cut JSON": says(b'{"access_token": "' + body), "two values": says(b'{"a": "' + body + b'"}{}'),
        "a byte order mark": says(b"\xef\xbb\xbf{}"), "no UTF-8": says(b'{"access_token": "\xff\xfe"}'),
        "a lone surrogate": says(b'{"access_token": "\\ud800"}'), "deep": says(b"[" * 100_000),
        "a member twice": says(b'{"access_token": "aaaaaaaa", "access_token": "bbbbbbbb", "id_token": "x"}'),
        "UTF-16": says('{"access_token": "x"}'.encode("utf-16")),
        "redirect to itself": says(b"", 302, Location="/token"), "redirect inside": says(b"", 302, Location="http://169.254.169.254/latest/meta-data/"),
        "redirect, permanent": says(b"", 308, Location="/evil"), "redirect, as GET": says(b"", 303, Location="/evil"),
        "redirect, moved": says(b"", 301, Location="/evil"), "redirect, kept": says(b"", 307, Location="/evil"),
        "redirect to a file": says(b"", 302, Location="file:///etc/passwd"), "refresh": says(b"", Refresh="0; url=/evil"),
        "500": says({"error": text}, 500), "503": says(body, 503), "599": says(body, 599), "100,000 spaces": says(b" " * 100_000),
        "one byte too many": says(json.dumps({"access_token": "x"}).encode().ljust((1 << 20) + 1)),
        "endless": streams(b" " * 65_536), "endless text": streams(b'{"access_token": "' + body * 1000),
        "compressed": says(b"\x1f\x8b\x08\x00" + b"\0" * 100, Content_Encoding="gzip"),
        "endless headers": never_comes_to_the_body,
        "hangs up": hangs_up, "breaks off": breaks_off,
    }  # fmt: skip
