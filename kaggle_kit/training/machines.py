"""Several machines at one run: how their workers find it, and how they notice that another machine has ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]  # public, but not marked so

from kaggle_kit.errors import InterruptedWork
from kaggle_kit.training.interrupts import StopRequest

BEAT_S = 1.0
"""Seconds between two signs of life in the store that torchrun keeps."""

_RUN, _END = "kaggle_kit/run", "kaggle_kit/end"


class Machines:
    """A worker's view of the machines.

    Args:
        rank: the worker's number, and ``size`` how many there are on all machines.
        store: where they meet; None on one machine, whose workers torchrun itself watches.
    """

    def __init__(self, rank: int, size: int, store: Store | None) -> None:
        self.rank, self.size, self.store = rank, size, store

    @classmethod
    def of_environment(cls, wait_s: float) -> Machines:
        """What torchrun told this process."""
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if int(os.environ["GROUP_WORLD_SIZE"]) == 1:
            return cls(rank, size, None)
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # a connection of its own: a wait in another one would hold up the signs of life
        return cls(rank, size, TCPStore(host, port, is_master=False, timeout=timedelta(seconds=wait_s)))

    def agree_on_run(self, place: Path, *, joins: bool) -> Path:
        """The run's folder: ``place`` on the machine that leads; on one that ``joins``, of the leading one's name in ``place``."""
        if self.store is None:
            return place
        if not joins:
            self.store.set(_RUN, place.name)
            return place
        return place / self.store.get(_RUN).decode()

    @contextmanager
    def watched(self, stop: StopRequest, grace_s: float) -> Iterator[None]:
        """While the block runs, a stop here is told to the other machines, and one there stops this worker.

        A block that ends well is left when the workers of all machines are done.

        Raises:
            InterruptedWork: another machine ended before that.
        """
        if self.store is None:
            yield
            return
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(self.store, stop, over, grace_s), daemon=True)
        watch.start()
        try:
            yield
        except BaseException:
            self.store.set(_END, "1")
            raise
        else:
            self.store.set(_left(self.rank), "1")
            watch.join()
        finally:
            over.set()
        if stop:
            raise InterruptedWork("another machine of the run ended", "kk train --resume goes on")

    def _watch(self, store: Store, stop: StopRequest, over: threading.Event, grace_s: float) -> None:
        heard = dict.fromkeys(range(self.size), (0, time.monotonic()))
        try:
            while not over.wait(BEAT_S) and not self._everybody_left(store):
                if stop:
                    store.set(_END, "1")
                store.add(_beat(self.rank), 1)
                if store.check([_END]) or self._silent(store, heard, grace_s):
                    break
            else:
                return
        except (RuntimeError, ConnectionError):  # the machine that keeps the store is gone
            pass
        stop.note(signal.SIGTERM, None)

    def _everybody_left(self, store: Store) -> bool:
        return store.check([_left(rank) for rank in range(self.size)])

    def _silent(self, store: Store, heard: dict[int, tuple[int, float]], grace_s: float) -> bool:
        """Whether a worker that has not left gave no sign of life for ``grace_s`` seconds."""
        now = time.monotonic()
        for rank, (former, since) in heard.items():
            beats = store.add(_beat(rank), 0)
            heard[rank] = (beats, now if beats > former else since)
            if now - heard[rank][1] > grace_s and not store.check([_left(rank)]):
                return True
        return False


def _beat(rank: int) -> str:
    return f"kaggle_kit/beat/{rank}"


def _left(rank: int) -> str:
    return f"kaggle_kit/left/{rank}"
