"""What a worker tells the process that started it: one JSON document a line, on a pipe."""

from __future__ import annotations

import itertools
import os
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from kaggle_kit import errors
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.progress import Progress, Task

STDIN, STDOUT, STDERR = 0, 1, 2
LONGEST_LINE = 4000
"""Bytes that a pipe takes in one piece (POSIX promises 4,096 on Linux): lines of several workers never mix."""

UNTOLD = "unexpected"
"""Stands for the class of an error that is none of ours."""


class Channel:
    """The worker's end: a ``Progress`` whose notes and tasks arrive at the parent's.

    Takes standard output over, so that nothing that a library prints comes between the lines: it goes to standard error.
    """

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self._descriptor = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def tell(self, event: str, **content: Any) -> None:
        """Send one event; nobody listening is no error, for then the watch on standard input ends the worker."""
        line = orjson.dumps(
            {"worker": self.worker, "event": event, **content}, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY
        )
        with self._lock:
            try:
                os.write(self._descriptor, line + b"\n")
            except BrokenPipeError:
                return

    def note(self, text: str) -> None:
        """One line for people."""
        self.tell("note", text=text[: LONGEST_LINE // 4])

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``."""
        number = next(self._numbers)
        self.tell("start", task=number, what=what, total=total, unit=unit, done=done)
        return _RemoteTask(self, number)

    def failed(self, error: BaseException) -> None:
        """What ended the worker: an error of ours as it is, another one with its traceback."""
        ours = isinstance(error, KaggleKitError)
        message = error.message if isinstance(error, KaggleKitError) else _words(error)
        hint = error.hint if isinstance(error, KaggleKitError) else ""
        for line in traceback.format_exception(error):
            self.tell("traceback", text=line[: LONGEST_LINE // 4])
        kind = type(error).__name__ if ours else UNTOLD
        # a quarter each: JSON may write one character as several bytes
        self.tell("failed", kind=kind, message=message[: LONGEST_LINE // 4], hint=hint[: LONGEST_LINE // 4])


class _RemoteTask:
    def __init__(self, channel: Channel, number: int) -> None:
        self.channel, self.number = channel, number

    def update(self, done: float, **figures: object) -> None:
        """``done`` units are finished in all."""
        self.channel.tell("update", task=self.number, done=done, figures=figures)

    def finish(self, summary: str = "") -> None:
        """The work ended."""
        self.channel.tell("finish", task=self.number, summary=summary)


class WorkerTraceback(Exception):
    """The traceback of an error in a worker, as text: shown by ``--debug`` above the error that was made of it."""


class Listener:
    """The parent's end: replays the workers' progress on a ``Progress`` of its own and remembers how they ended."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.pids: dict[int, int] = {}
        self.open: dict[tuple[int, int], tuple[str, Task]] = {}
        self.left: set[int] = set()
        self.failures: list[Mapping[str, Any]] = []
        self.tracebacks: dict[int, str] = {}
        self.run: Path | None = None

    def take(self, line: bytes) -> None:
        """Act on one line; one that is no event is somebody else's and passed over."""
        try:
            event = orjson.loads(line)
            act = getattr(self, f"_on_{event['event']}")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return
        act(event)

    @property
    def in_training(self) -> list[str]:
        """What the workers had begun and not finished."""
        return [what for what, _ in self.open.values()]

    def work_of(self, worker: int) -> str:
        """What that worker had begun and not finished; empty when nothing."""
        return next((what for (owner, _), (what, _) in self.open.items() if owner == worker), "")

    def error(self) -> KaggleKitError | None:
        """The failure to tell: the first of ours, else the first of all."""
        if not self.failures:
            return None
        ours = [failure for failure in self.failures if failure["kind"] != UNTOLD]
        told = (ours or self.failures)[0]
        error = _rebuilt(told)
        error.__cause__ = WorkerTraceback(f"in worker {told['worker']}:\n{self.tracebacks.get(told['worker'], '')}")
        return error

    def _on_hello(self, event: Mapping[str, Any]) -> None:
        self.pids[event["worker"]] = event["pid"]
        self.run = Path(event["run"])

    def _on_note(self, event: Mapping[str, Any]) -> None:
        self.progress.note(event["text"])

    def _on_start(self, event: Mapping[str, Any]) -> None:
        task = self.progress.start(event["what"], event["total"], event["unit"], done=event["done"])
        self.open[event["worker"], event["task"]] = event["what"], task

    def _on_update(self, event: Mapping[str, Any]) -> None:
        _, task = self.open[event["worker"], event["task"]]
        task.update(event["done"], **event["figures"])

    def _on_finish(self, event: Mapping[str, Any]) -> None:
        _, task = self.open.pop((event["worker"], event["task"]))
        task.finish(event["summary"])

    def _on_traceback(self, event: Mapping[str, Any]) -> None:
        self.tracebacks[event["worker"]] = self.tracebacks.get(event["worker"], "") + event["text"]

    def _on_failed(self, event: Mapping[str, Any]) -> None:
        self.failures.append(event)
        self.left.add(event["worker"])

    def _on_bye(self, event: Mapping[str, Any]) -> None:
        self.left.add(event["worker"])


def _words(error: BaseException) -> str:
    """``ValueError: what it says``, the first line."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")


def _rebuilt(failure: Mapping[str, Any]) -> KaggleKitError:
    """The error in this process that a worker's was."""
    kind = getattr(errors, failure["kind"], None)
    if isinstance(kind, type) and issubclass(kind, KaggleKitError):
        error = kind.__new__(kind)  # a family may be made differently; what it carries is the same for all
        KaggleKitError.__init__(error, failure["message"], failure["hint"])
        return error
    return KaggleKitError(
        f"unexpected {failure['message']} (in worker {failure['worker']})",
        "run again with --debug to see where, and report it",
    )


def _plain(value: Any) -> Any:
    """Numbers of other libraries as plain ones."""
    return float(value)
