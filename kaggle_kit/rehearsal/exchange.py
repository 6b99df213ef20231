"""One request to a rehearsal server and its answer."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

BLOCK = 256 << 10

LARGEST_CALL = 4 << 20
"""Bytes of a call's JSON that are read."""


class Exchange(BaseHTTPRequestHandler):
    """A request being answered. Everything that the answer is made of goes through the methods below."""

    protocol_version = "HTTP/1.1"
    server_version = "kaggle-kit-rehearsal"
    sys_version = ""
    timeout = 120

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def _respond(self) -> None:
        try:
            self.server.respond(self)  # type: ignore[attr-defined]
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gave it
        """Keep quiet: only the render layer prints."""

    @property
    def route(self) -> str:
        """The path of the request, unquoted, without the query."""
        return unquote(urlsplit(self.path).path)

    @property
    def query(self) -> dict[str, str]:
        """The query's values by name."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def bears(self, token: str) -> bool:
        """Whether the request is signed with ``token``: as a bearer, or as the key of a user name."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(value.encode(), token.encode())

    def read_json(self) -> dict[str, Any] | None:
        """The request's JSON object; None when it is none."""
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_CALL:
            self.close_connection = True
            return None
        try:
            document = orjson.loads(self.rfile.read(length) or b"{}")
        except orjson.JSONDecodeError:
            return None
        return document if isinstance(document, dict) else None

    def body(self) -> Iterator[bytes]:
        """The request's body as it arrives; it ends early when the connection drops."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline(64).strip() or b"0", 16):
                yield self.rfile.read(size)
                self.rfile.readline(8)
            self.rfile.readline(8)
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (block := self.rfile.read1(min(left, BLOCK))):  # type: ignore[attr-defined]
            left -= len(block)
            yield block

    def send(self, status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> None:
        """Answer with ``body``; underscores in the names of ``headers`` stand for hyphens."""
        self.send_response(status)
        if body:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if self.close_connection and "Connection" not in headers:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, document: Any) -> None:
        """Answer a call; fields that are None are left out, as the real service leaves out what is not set."""
        if isinstance(document, dict):
            document = {name: value for name, value in document.items() if value is not None}
        self.send(200, orjson.dumps(document))

    def send_events(self, events: Iterable[bytes]) -> None:
        """Answer with a stream of events, each sent as soon as it is there; the connection ends with it."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(b"data: " + event + b"\n\n")
            self.wfile.flush()

    def refuse(self, status: int, message: str, name: str = "") -> None:
        """Answer with an error in the service's RPC shape."""
        if self.command == "PUT":
            self.close_connection = True  # its body was not read
        self.send(status, orjson.dumps({"error": {"code": status, "message": message, "status": name or str(status)}}))

    def send_file(self, path: Path, md5: str) -> None:
        """Answer with a file, or with the rest of it if the request asks for that (``Range``, ``If-Range``)."""
        status = path.stat()
        modified = formatdate(status.st_mtime, usegmt=True)
        traits = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{md5}"',
            "Last-Modified": modified,
            "x-goog-hash": f"md5={base64.b64encode(bytes.fromhex(md5)).decode()}",
            "Content-Type": "application/octet-stream",
        }
        start = self._start_asked(status.st_size, (f'"{md5}"', modified))
        if start is not None and start >= status.st_size:
            self.send(416, Content_Range=f"bytes */{status.st_size}")
            return
        self.send_response(200 if start is None else 206)
        for name, value in traits.items():
            self.send_header(name, value)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{status.st_size - 1}/{status.st_size}")
        self.send_header("Content-Length", str(status.st_size - (start or 0)))
        self.end_headers()
        with open(path, "rb") as file:
            file.seek(start or 0)
            while block := file.read(BLOCK):
                self.wfile.write(block)

    def _start_asked(self, size: int, traits: tuple[str, ...]) -> int | None:
        """The first byte asked for; None when the whole file is, or when the file is no longer the one meant."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "").strip())
        condition = self.headers.get("If-Range")
        if not found or (condition is not None and condition not in traits):
            return None
        return int(found.group(1))
