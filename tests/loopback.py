"""A small HTTP server on the loopback, whose answers a test scripts path by path."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[[BaseHTTPRequestHandler, threading.Event], None]


def _begin(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.end_headers()


def body(content: bytes, *, delay: float = 0.0, **headers: str) -> Answer:
    """Answer 200 with `content` and headers (underscores for hyphens), after `delay` seconds."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}

    def answer(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        closing.wait(delay)
        _begin(handler, 200, {"Content-Length": str(len(content)), **named})
        handler.wfile.write(content)

    return answer


def truncated(content: bytes) -> Answer:
    """Promise all of `content`, send half of it, and hang up."""

    def answer(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        _begin(handler, 200, {"Content-Length": str(len(content))})
        handler.wfile.write(content[: len(content) // 2])

    return answer


def stalling(content: bytes) -> Answer:
    """Promise all of `content`, send half of it, and fall silent."""

    def answer(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        truncated(content)(handler, closing)
        handler.wfile.flush()
        closing.wait(30)

    return answer


def status(code: int, **headers: str) -> Answer:
    """Answer with a bare status and headers (underscores in their names stand for hyphens)."""

    def answer(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        _begin(handler, code, {"Content-Length": "0", **named})

    return answer


class Loopback:
    """``with Loopback() as server: server.serve("/a", status(500), body(b"x"))``.

    Each request to a path gets its next answer; the last one is repeated. `hits` counts the requests.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.asked = threading.Event()
        self._answers: dict[str, tuple[Answer, ...]] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                loopback.asked.set()
                with loopback._lock:
                    answers = loopback._answers.get(self.path, (status(404),))
                    answer = answers[min(loopback.hits[self.path], len(answers) - 1)]
                    loopback.hits[self.path] += 1
                with contextlib.suppress(ConnectionError):  # the client may give up, as some tests want
                    answer(self, loopback._closing)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def serve(self, path: str, *answers: Answer) -> str:
        """Script the answers of a path; gives its URL."""
        self._answers[path] = answers
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def close(self) -> None:
        """Stop answering, and let go of the port."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
