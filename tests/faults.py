"""A rehearsal server that misbehaves on demand, and what its tests share.

``server.fault("DownloadDataFile", answer(503), times=3)`` makes the next three requests whose route holds that text fail; every request is
kept in ``server.requests`` with the bytes of body that went out for it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import Silence
from kaggle_kit.rehearsal.exchange import Exchange
from kaggle_kit.rehearsal.hosted import HostedCompetition, Rival
from kaggle_kit.rehearsal.server import RehearsalServer
from kaggle_kit.settings import ServiceSettings

SLUG = "demo-competition"

SECRET = "KGAT_0123456789abcdefsecret"

QUICK = {
    "connect_timeout_s": 5.0,
    "read_timeout_s": 5.0,
    "attempts": 4,
    "backoff_s": 0.0,
    "backoff_max_s": 0.01,
    "deadline_s": 30.0,
}
"""Settings of a service that loses no time between tries."""

PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>not today</body></html>"


def quick(**changes: Any) -> ServiceSettings:
    """Service settings for tests, with ``changes``."""
    return ServiceSettings(**{**QUICK, **changes})


class Notes(Silence):
    """A progress that keeps the notes it was given."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Seen:
    """A request that came: its method, route and headers, and how many bytes of body were sent back."""

    command: str
    route: str
    headers: dict[str, str]
    sent: int = 0


class _Wire:
    """Where an answer is written to: counts and may change what goes out."""

    def __init__(self, inner: Any, seen: Seen) -> None:
        self.inner, self.seen = inner, seen
        self.change_head: Callable[[bytes], bytes] = lambda head: head
        self.change_body: Callable[[bytes, int], bytes] = lambda block, start: block
        self._position = 0

    def write(self, data: bytes) -> int:
        if data.startswith(b"HTTP/1."):
            self.inner.write(self.change_head(data))
        elif data:
            block = self.change_body(data, self._position)
            self._position += len(data)
            self.seen.sent += len(block)
            self.inner.write(block)
        return len(data)

    def flush(self) -> None:
        self.inner.flush()

    def close(self) -> None:
        self.inner.close()

    @property
    def closed(self) -> bool:
        return self.inner.closed


Act = Callable[["FaultyServer", Exchange, Callable[[], None]], None]
"""What a fault does: gets the server, the exchange, and a way to go on as if nothing were wrong."""


@dataclass
class Fault:
    """A fault that happens to the next ``times`` requests whose route holds ``on``, or ends so when that ends in ``$``."""

    on: str
    act: Act
    times: int
    command: str = ""
    happened: int = field(default=0)

    def meets(self, route: str) -> bool:
        """Whether a request is meant."""
        return route.endswith(self.on[:-1]) if self.on.endswith("$") else self.on in route


class FaultyServer(RehearsalServer):
    """A rehearsal server whose faults are planned by tests."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.faults: list[Fault] = []
        self.requests: list[Seen] = []
        self.released = threading.Event()
        self.stalled = threading.Event()

    def __exit__(self, *arguments: Any) -> None:
        self.released.set()
        super().__exit__(*arguments)

    def fault(self, on: str, act: Act, *, times: int = 1, command: str = "") -> Fault:
        """Plan a fault."""
        planned = Fault(on, act, times, command)
        self.faults.append(planned)
        return planned

    def respond(self, exchange: Exchange) -> None:
        seen = Seen(exchange.command, exchange.route, dict(exchange.headers.items()))
        self.requests.append(seen)
        plain = exchange.wfile
        exchange.wfile = _Wire(plain, seen)  # type: ignore[assignment]
        try:
            self._respond_or_fail(exchange)
        finally:
            exchange.wfile = plain

    def _respond_or_fail(self, exchange: Exchange) -> None:
        for fault in self.faults:
            fits = fault.meets(exchange.route) and fault.command in ("", exchange.command)
            if fits and fault.happened < fault.times:
                fault.happened += 1
                fault.act(self, exchange, lambda: super(FaultyServer, self).respond(exchange))
                return
        super().respond(exchange)

    def asked(self, text: str, command: str = "") -> list[Seen]:
        """The requests whose route holds ``text``."""
        return [seen for seen in self.requests if text in seen.route and command in ("", seen.command)]


def answer(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> Act:
    """Answer with this and nothing else."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        exchange.close_connection = True
        exchange.send(status, body, content_type, **headers)

    return act


def rpc_error(status: int, message: str) -> Act:
    """Answer with an error in the RPC shape."""
    return answer(status, b'{"error":{"code":%d,"message":"%s","status":"X"}}' % (status, message.encode()))


def rest_error(status: int, message: str) -> Act:
    """Answer with an error in the REST shape."""
    return answer(status, b'{"code":%d,"message":"%s"}' % (status, message.encode()))


def drop(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
    """Close the connection without a word."""
    _hang_up(exchange)


def _hang_up(exchange: Exchange) -> None:
    exchange.close_connection = True
    exchange.connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def drop_after(count: int) -> Act:
    """Close the connection after ``count`` bytes of the body."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        def change(block: bytes, start: int) -> bytes:
            if start + len(block) < count:
                return block
            exchange.wfile.inner.write(block[: count - start])  # type: ignore[attr-defined]
            exchange.wfile.seen.sent += count - start  # type: ignore[attr-defined]
            exchange.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError

        exchange.wfile.change_body = change  # type: ignore[attr-defined]
        exchange.close_connection = True
        proceed()

    return act


def stall_after(count: int) -> Act:
    """Send ``count`` bytes of the body, then nothing more until the server ends; ``server.stalled`` is set then."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        def change(block: bytes, start: int) -> bytes:
            if start + len(block) < count:
                return block
            exchange.wfile.inner.write(block[: count - start])  # type: ignore[attr-defined]
            server.stalled.set()
            server.released.wait(60)
            raise ConnectionAbortedError

        exchange.wfile.change_body = change  # type: ignore[attr-defined]
        proceed()

    return act


def hang(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
    """Answer nothing until the server ends."""
    server.stalled.set()
    server.released.wait(60)
    raise ConnectionAbortedError


def trickle(pause_s: float) -> Act:
    """Send the body a few bytes at a time."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        def change(block: bytes, start: int) -> bytes:
            step = max(1, len(block) // 20)
            for position in range(0, len(block) - step, step):
                exchange.wfile.inner.write(block[position : position + step])  # type: ignore[attr-defined]
                server.released.wait(pause_s)
            return _rest(block, step)

        exchange.wfile.change_body = change  # type: ignore[attr-defined]
        proceed()

    return act


def trickle_head(pause_s: float) -> Act:
    """Begin a header and never end it, a byte at a time."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        exchange.close_connection = True
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not server.released.wait(pause_s):
            exchange.connection.sendall(b"x")

    return act


def _rest(block: bytes, step: int) -> bytes:
    sent = len(range(0, len(block) - step, step)) * step
    return block[sent:]


def flip(position: int) -> Act:
    """Change one byte of the body."""

    def change(block: bytes, start: int) -> bytes:
        if not start <= position < start + len(block):
            return block
        changed = bytearray(block)
        changed[position - start] ^= 1
        return bytes(changed)

    return _change(body=change)


def truncate(count: int) -> Act:
    """Pretend that the body is only ``count`` bytes long."""

    def head(lines: bytes) -> bytes:
        kept = [line for line in lines.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        return b"\r\n".join([*kept[:-2], b"Content-Length: %d" % count, *kept[-2:]])

    return _change(head=head, body=lambda block, start: block[: max(0, count - start)])


def without(*names: str) -> Act:
    """Leave out headers of the answer."""
    wanted = tuple(f"{name.lower()}:".encode() for name in names)

    def head(lines: bytes) -> bytes:
        return b"\r\n".join(line for line in lines.split(b"\r\n") if not line.lower().startswith(wanted))

    return _change(head=head)


def no_ranges(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
    """Know nothing of ``Range``."""
    for name in ("Range", "If-Range"):
        del exchange.headers[name]
    proceed()


def both(*acts: Act) -> Act:
    """Several faults at once."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        if not acts:
            proceed()
            return
        acts[0](server, exchange, lambda: both(*acts[1:])(server, exchange, proceed))

    return act


def _change(
    head: Callable[[bytes], bytes] = lambda lines: lines,
    body: Callable[[bytes, int], bytes] = lambda block, start: block,
) -> Act:
    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        wire: Any = exchange.wfile
        before_head, before_body = wire.change_head, wire.change_body
        wire.change_head = lambda lines: before_head(head(lines))
        wire.change_body = lambda block, start: before_body(body(block, start), start)
        proceed()

    return act


def lose_answer(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
    """Do what was asked and drop the connection instead of telling."""

    class Nowhere:
        def write(self, data: bytes) -> int:
            return len(data)

        def flush(self) -> None:
            pass

    wire: Any = exchange.wfile
    wire.inner = Nowhere()
    proceed()
    _hang_up(exchange)


def drop_upload_after(count: int) -> Act:
    """Take ``count`` bytes of the request's body, then close the connection."""

    def act(server: FaultyServer, exchange: Exchange, proceed: Callable[[], None]) -> None:
        inner, left = exchange.rfile, count

        class Broken:
            def read1(self, size: int) -> bytes:
                nonlocal left
                if left <= 0:
                    raise ConnectionResetError
                block: bytes = inner.read1(min(size, left))  # type: ignore[attr-defined]
                left -= len(block)
                return block

        exchange.rfile = Broken()  # type: ignore[assignment]
        exchange.close_connection = True
        try:
            proceed()
        finally:
            exchange.rfile = inner

    return act


def small_competition(folder: Path, **changes: Any) -> HostedCompetition:
    """A competition of 30 ids in 8 dimensions, galleries of 10, and files of some hundred kilobytes in ``folder``."""
    rng = np.random.default_rng(7)
    contents = {
        "train/train/train.npz": b"PK\x03\x04" + rng.bytes(400_000),
        "test/test/test.clean.npz": b"PK\x03\x04" + rng.bytes(30_000),
        "test/test/captions.txt": b"1,a dog\n2,a cat\n",
        "train/train/captions.txt": b"1,a horse\n",
        "train/train/Images/1.jpg": rng.bytes(2_000),
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    ids = np.arange(1, 31)
    answers = rng.normal(size=(30, 8)).astype(np.float32)
    values = {"gallery_size": 10, "rivals": (Rival("rivals", 0.5),), "max_daily_submissions": 3, **changes}
    return HostedCompetition(SLUG, "Demo competition", folder, ids, answers, **values)


def submission_bytes(hosted: HostedCompetition, vectors: np.ndarray | None = None) -> bytes:
    """A submission of ``vectors``, or of the right answers."""
    rows = hosted.answers if vectors is None else vectors
    lines = [f'{identifier},"{row.tolist()}"' for identifier, row in zip(hosted.ids, rows, strict=True)]
    return ("id,embedding\n" + "\n".join(lines) + "\n").encode()


@pytest.fixture
def hosted(tmp_path: Path) -> HostedCompetition:
    """The small competition."""
    return small_competition(tmp_path / "hosted")


@pytest.fixture
def server(hosted: HostedCompetition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A faulty server that plays ``hosted``; the environment leads there."""
    with FaultyServer(hosted, folder=tmp_path / "server", token=SECRET) as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def notes() -> Notes:
    """What the service remarked."""
    return Notes()


@pytest.fixture
def service(server: FaultyServer, notes: Notes):
    """A client of ``server`` that loses no time."""
    client = KaggleService(quick(), progress=notes)
    yield client
    client.close()
