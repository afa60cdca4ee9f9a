"""An HTTP server on this machine that answers range requests, and fails on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["drop", "500", "cut", "404"] | None
"""Close without an answer; answer 500; send half of what was announced; answer 404; or answer as one should."""


@dataclass
class Loopback:
    """address: of the folder. faults: of the next requests, in their order; none after the last.

    always: of requests for files whose names are there. gets, failed: (file, fault) of the requests so far.
    """

    files: Mapping[str, bytes]
    address: str = ""
    faults: list[Fault] = field(default_factory=list)
    always: dict[str, Fault] = field(default_factory=dict)
    gets: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def next_fault(self, name: str) -> Fault:
        fault = self.always[name] if name in self.always else self.faults.pop(0) if self.faults else None
        if fault is not None:
            self.failed.append((name, fault))
        return fault


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Loopback]:
    state = Loopback(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            name = self.path.lstrip("/")
            if body:
                state.gets.append(name)
            fault = state.next_fault(name)
            content = state.files.get(name)
            if fault == "drop":
                self.close_connection = True
                self.connection.close()
            elif fault == "500" or fault == "404" or content is None:
                self.send_response(500 if fault == "500" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.send(content, body, cut=fault == "cut")

        def send(self, content: bytes, body: bool, cut: bool) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            end = min(int(wanted[2]) + 1, len(content)) if wanted and wanted[2] else len(content)
            self.send_response(206 if wanted else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            self.end_headers()
            if body:
                self.wfile.write(content[start : start + (end - start) // 2 if cut else end])
                self.close_connection = cut

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that leaves before the end of an answer is no news here."""

    server = Server(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
