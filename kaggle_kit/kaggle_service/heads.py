"""Connections on which the head of an answer comes whole in time, or not at all.

The libraries' timeouts hold for each read: a server that sends a byte now and then can keep them waiting for the end of a head for ever.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_LATE = "the head of the answer did not come in time"

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def heads_within(seconds: float) -> Iterator[None]:
    """Let heads that are awaited inside come within ``seconds``; :class:`TimeoutError`, as of a read, where they do not."""
    token = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(token)


def bound_heads(pools: urllib3.PoolManager) -> None:
    """Make the connections of ``pools`` obey :func:`heads_within`."""
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Bounded:
    """What both kinds of connections add to theirs."""

    sock: Any

    def getresponse(self) -> Any:
        until, connection = _until.get(), self.sock
        if until is None or connection is None:
            return super().getresponse()  # type: ignore[misc]  # of the class that this is mixed into
        late = threading.Event()

        def hang_up() -> None:
            late.set()
            with suppress(OSError):  # closed already
                # as of a plain socket: one with TLS would forget its keys, while another thread reads with them
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

        timer = threading.Timer(max(0.0, until - time.monotonic()), hang_up)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        except Exception as error:
            raise (TimeoutError(_LATE) if late.is_set() else error) from None
        finally:
            timer.cancel()
        if late.is_set():  # a head that was cut off reads like a whole one
            answer.close()
            raise TimeoutError(_LATE)
        return answer


class _Connection(_Bounded, HTTPConnection):
    pass


class _SecureConnection(_Bounded, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
