"""The upload of a submission's file to the storage behind a signed link, resumed when the connection breaks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

import orjson
import requests

from kaggle_kit.errors import storage_errors
from kaggle_kit.kaggle_service.failures import Refusal, Trouble
from kaggle_kit.kaggle_service.patience import Patience
from kaggle_kit.kaggle_service.transport import NETWORK_ERRORS
from kaggle_kit.progress import SILENCE, Progress, Task
from kaggle_kit.settings import ServiceSettings

StartUpload = Callable[[], tuple[str, str]]
"""Asks the API for an upload: gives the token of the file to be, and the signed link to send it to."""


class _Rest:
    """The bytes of an open file from where it stands to ``size``, telling a task how far they were sent."""

    def __init__(self, file: IO[bytes], start: int, size: int, task: Task) -> None:
        file.seek(start)
        self._file = file
        self._sent = start
        self._size = size
        self._task = task

    def __len__(self) -> int:
        return self._size - self._sent

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._sent
        block = self._file.read(left if count < 0 else min(count, left))
        self._sent += len(block)
        self._task.update(self._sent)
        return block


class Upload:
    """One file's way to the storage.

    Args:
        path: the file.
        start: asks for a token and a link; called again when a link expires.
        on_token: told every token before a byte is sent for it.
    """

    def __init__(
        self,
        path: Path,
        start: StartUpload,
        *,
        session: requests.Session,
        settings: ServiceSettings,
        progress: Progress = SILENCE,
        on_token: Callable[[str], None] = lambda token: None,
        who: str = "Kaggle",
    ) -> None:
        self._path = path
        self._start = start
        self._session = session
        self._patience = Patience(settings, progress=progress, what=who)
        self._progress = progress
        self._on_token = on_token

    def run(self) -> str:
        """Send the file; the token that names it to the API.

        Raises:
            Refusal: the API said no.
            GaveUp: patience ended; nothing was submitted.
        """
        with storage_errors(self._path, "reading"), open(self._path, "rb") as file:
            size = self._path.stat().st_size
            task = self._progress.start(f"sending {self._path.name}", size, "B")
            token = self._until_sent(file, size, task)
            task.finish()
            return token

    def _until_sent(self, file: IO[bytes], size: int, task: Task) -> str:
        token, link = self._begin()
        offset = 0
        while True:
            try:
                if self._send(link, file, offset, size, task):
                    return token
                raise Trouble("the storage took only a part of the file")
            except (Refusal, Trouble) as failure:
                if isinstance(failure, Trouble) and failure.permanent:
                    raise
                self._patience.wait(failure)
                if isinstance(failure, Refusal) and not failure.temporary:
                    token, link = self._begin()  # the link has expired or is not liked: another one
                    offset = 0
                    continue
            arrived = self._arrived(link, size)
            if arrived == size:
                return token
            if arrived > offset:
                self._patience.progressed()
            offset = arrived

    def _begin(self) -> tuple[str, str]:
        token, link = self._start()
        self._on_token(token)
        return token, link

    def _send(self, link: str, file: IO[bytes], offset: int, size: int, task: Task) -> bool:
        """Send the bytes from ``offset`` on; whether the storage has the whole file now."""
        headers = {"Content-Type": "application/octet-stream"}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{size - 1}/{size}"
        body = _Rest(file, offset, size, task) if size else b""
        response = self._session.put(link, data=body, headers=headers, stream=True, allow_redirects=False)
        with response:
            stated = _stated_size(response)
            if stated not in (None, size):
                raise Trouble(f"the storage has {stated} bytes of the {size} sent")
            return 200 <= response.status_code < 300

    def _arrived(self, link: str, size: int) -> int:
        """How many bytes the storage has, by asking it; 0 whenever that is not certain, so that all of it is sent again."""
        headers = {"Content-Range": f"bytes */{size}"}
        try:
            response = self._session.put(link, data=b"", headers=headers, stream=True, allow_redirects=False)
        except (Refusal, Trouble):
            return 0
        with response:
            if response.status_code == 308:
                found = re.fullmatch(r"bytes=0-(\d+)", response.headers.get("Range", "").strip())
                return min(int(found.group(1)) + 1, size) if found else 0
            # A storage that knows nothing of resuming may have taken the question for an empty file: only a stated size is believed.
            return size if _stated_size(response) == size else 0


def _stated_size(response: requests.Response) -> int | None:
    """The size in the storage's description of a stored object; None when there is none."""
    try:
        return int(orjson.loads(response.raw.read(65536))["size"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, *NETWORK_ERRORS):
        return None
