"""A downloader that never loses a byte and never keeps a wrong one.

Every try asks for a fresh signed link and continues where ``<name>.part`` ends, if the server proves (ETag, date or MD5) that the file is
still the same; beside it ``<name>.part.json`` says which file it is a part of. A file takes its own name only when its length and its MD5
(as far as the server tells them) are right and it is on the disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, NoReturn

import orjson
import requests

from kaggle_kit.errors import DataError, DiskFullError, storage_errors
from kaggle_kit.files import write_json
from kaggle_kit.kaggle_service.failures import GaveUp, Refusal, Trouble, hidden_refusal, is_page, trouble_of
from kaggle_kit.kaggle_service.patience import Patience
from kaggle_kit.kaggle_service.transport import BLOCK, NETWORK_ERRORS, blocks
from kaggle_kit.kaggle_service.unpack import single_member, unpack
from kaggle_kit.progress import SILENCE, Progress, Task, size
from kaggle_kit.settings import ServiceSettings

DAMAGED_TRIES = 3
"""Whole downloads that may arrive damaged before we give up: a server that is consistently wrong stays so."""

RANGE_REFUSED = 416
"""HTTP status of a server that has no byte where a part ends: the file was replaced by a shorter one."""

ENOUGH_PROGRESS = 1 << 20
"""Bytes that count as progress; one per cent of a small file does, too."""

OpenLink = Callable[[Mapping[str, str]], requests.Response]
"""Asks for a fresh link and opens it with the given headers; raises ``Refusal`` or ``Trouble``."""


@dataclass(frozen=True)
class Downloaded:
    """A file that arrived whole.

    Attributes:
        size: its size in bytes.
        sha256: the hash of its content.
        bytes_received: bytes that came over the network in this call; less than ``size`` after a resumed download.
    """

    path: Path
    size: int
    sha256: str
    bytes_received: int


@dataclass(frozen=True)
class Version:
    """Which content a server offers, as far as its headers tell: equal versions are the same bytes.

    Attributes:
        etag: the entity tag, quotes included.
        modified: the ``Last-Modified`` date as sent.
        md5: MD5 of the content in hexadecimal.
        size: bytes of the whole file; None when not told.
    """

    etag: str = ""
    modified: str = ""
    md5: str = ""
    size: int | None = None

    @property
    def provable(self) -> bool:
        """A later answer can be compared with this one."""
        return bool(self.etag or self.modified or self.md5)

    def same_as(self, later: Version, *, promised: bool = False) -> bool:
        """Whether ``later`` is the same content: every trait that both have agrees.

        Args:
            promised: the server was asked to continue only the same content (``If-Range``); it need not repeat the traits then.
        """
        traits = [(getattr(self, name), getattr(later, name)) for name in ("md5", "etag", "modified")]
        both = [(mine, theirs) for mine, theirs in traits if mine and theirs]
        sizes_agree = None in (self.size, later.size) or self.size == later.size
        return sizes_agree and (bool(both) or promised) and all(mine == theirs for mine, theirs in both)


def version_of(response: requests.Response) -> Version:
    """The version in a response's headers; the size is that of the whole file for a 206, too."""
    headers = response.headers
    size = _total_of_range(headers) if response.status_code == 206 else _length(headers)
    if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        return Version()  # traits of the compressed form say nothing of what we write
    return Version(headers.get("ETag", ""), headers.get("Last-Modified", ""), _md5(headers), size)


def _length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _total_of_range(headers: Mapping[str, str]) -> int | None:
    found = re.fullmatch(r"\s*bytes\s+\S+/(\d+)\s*", headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _start_of_range(headers: Mapping[str, str]) -> int | None:
    found = re.fullmatch(r"\s*bytes\s+(\d+)-\d+/\S+\s*", headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _md5(headers: Mapping[str, str]) -> str:
    """The MD5 in ``x-goog-hash`` (or ``Content-MD5``), as hexadecimal; empty when not told."""
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    value = found.group(1) if found else headers.get("Content-MD5", "")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == 16 else ""


def bytes_there(target: Path) -> int:
    """Bytes that an interrupted download of ``target`` left."""
    part = target.with_name(target.name + ".part")
    return part.stat().st_size if part.is_file() else 0


class Part:
    """``<name>.part`` and its marker: what has arrived so far, and of which version.

    Args:
        target: the file to become.
        identity: competition and remote name; a part of another file is not continued.
    """

    def __init__(self, target: Path, identity: Mapping[str, str]) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.marker = target.with_name(target.name + ".part.json")
        self.version = Version()
        self.offset = 0
        self._identity = dict(identity)
        self._file: IO[bytes] | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def open(self) -> None:
        """Take up what an earlier run left, if it is a part of this very file; else touch nothing yet."""
        version = self._read_marker()
        if version is None or not self.path.is_file():
            return
        with storage_errors(self.path, "writing"):
            self.version = version
            self._file = open(self.path, "r+b")  # noqa: SIM115  # stays open from one try to the next; close() closes it
            self._hash_what_is_there(self._file)

    def _read_marker(self) -> Version | None:
        try:
            document = orjson.loads(self.marker.read_bytes())
            if document["identity"] != self._identity:
                return None
            version = Version(**{field.name: document["version"][field.name] for field in fields(Version)})
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return version if version.provable else None

    def _hash_what_is_there(self, file: IO[bytes]) -> None:
        while block := file.read(BLOCK):
            self._md5.update(block)
            self._sha256.update(block)
            self.offset += len(block)

    def restart(self, version: Version) -> None:
        """Begin ``version`` from its first byte. Its marker is written before any byte of it."""
        self.forget()
        with storage_errors(self.path, "writing"):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "wb")  # noqa: SIM115  # as in open()
        self.version = version
        if version.provable:
            write_json(self.marker, {"schema": 1, "identity": self._identity, "version": asdict(version)})

    def forget(self) -> None:
        """Throw away what is there."""
        self.close()
        with storage_errors(self.path, "writing"):
            self.marker.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self.version, self.offset = Version(), 0
        self._md5, self._sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Append ``block``, and hand it to the operating system, so that a kill loses nothing."""
        with storage_errors(self.path, "writing"):
            assert self._file is not None
            self._file.write(block)
            self._file.flush()
        self._md5.update(block)
        self._sha256.update(block)
        self.offset += len(block)

    @property
    def headers(self) -> dict[str, str]:
        """Request headers that ask for the rest, on condition that the file is still the same."""
        if not self.offset or not self.version.provable:
            return {}
        headers = {"Range": f"bytes={self.offset}-"}
        condition = self.version.etag if not self.version.etag.startswith("W/") else ""
        if condition := condition or self.version.modified:
            headers["If-Range"] = condition
        return headers

    @property
    def whole(self) -> bool:
        """Every byte is there."""
        return self.offset > 0 and self.offset == self.version.size

    @property
    def sha256(self) -> str:
        """The hash of what is there."""
        return self._sha256.hexdigest()

    def damage(self) -> str:
        """What is wrong with a part that should be whole; empty when nothing is."""
        if self.version.size is not None and self.offset != self.version.size:
            return f"{self.offset} bytes came instead of {self.version.size}"
        if self.version.md5 and self._md5.hexdigest() != self.version.md5:
            return f"its MD5 is {self._md5.hexdigest()} instead of {self.version.md5}"
        return ""

    def finish(self) -> None:
        """Give the part its own name, once it is on the disk."""
        with storage_errors(self.target, "writing"):
            assert self._file is not None
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
            os.replace(self.path, self.target)
            self.marker.unlink(missing_ok=True)

    def leave(self) -> None:
        """Close the file for good; one that was begun and is still empty is of no use to the next run."""
        opened = self._file is not None
        self.close()
        # not by the offset: of a block that did not fit on the disk, the bytes that did are there
        if opened and bytes_there(self.target) == 0:
            self.forget()

    def close(self) -> None:
        """Close the file; what is there stays."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


class Download:
    """One file's way from a link to its place.

    Args:
        open_link: asks for a fresh link and opens it.
        target: where the file goes.
        name: its remote name, folders included.
        identity: what the part belongs to.
        expected_size: bytes according to the list of files; only a hint, as the service may send a zip of the file.
    """

    def __init__(
        self,
        open_link: OpenLink,
        target: Path,
        *,
        name: str,
        identity: Mapping[str, str],
        settings: ServiceSettings,
        progress: Progress = SILENCE,
        expected_size: int | None = None,
        who: str = "Kaggle",
        secrets: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._open_link = open_link
        self._part = Part(target, identity)
        self._name = name
        self._settings = settings
        self._progress = progress
        self._patience = Patience(settings, progress=progress, what=who)
        self._expected_size = expected_size
        self._secrets = secrets
        self._damaged = 0
        self._reached = 0
        self._received = 0
        self._task: Task | None = None

    def run(self) -> Downloaded:
        """Download until the file is whole.

        Raises:
            Refusal: the API said no for good (401, 403, 404).
            GaveUp: patience ended; the part stays and the next run continues it.
            DiskFullError: not enough space, before the first byte or later; the part stays.
        """
        part = self._part
        part.open()
        self._reached = part.offset
        try:
            while True:
                try:
                    return self._attempt()
                except (Refusal, Trouble) as failure:
                    self._go_on_after(failure)
        finally:
            part.leave()

    def _go_on_after(self, failure: Refusal | Trouble) -> None:
        if isinstance(failure, Refusal) and failure.status == RANGE_REFUSED and self._part.offset:
            self._part.forget()
            failure = Trouble(f"the server has no byte {self._reached} of {self._name}; beginning again")
        # A link that is refused has expired; the next try gets a fresh one. The API's own refusals are final.
        final = isinstance(failure, Refusal) and not failure.temporary and not failure.from_link
        if final or (isinstance(failure, Trouble) and failure.permanent):
            raise failure
        # what was thrown away and comes again is no progress: a server that forever begins anew must not be asked forever
        enough = min(ENOUGH_PROGRESS, (self._part.version.size or ENOUGH_PROGRESS) // 100 + 1)
        if self._part.offset - self._reached >= enough:
            self._reached = self._part.offset
            self._patience.progressed()
        self._patience.wait(failure)

    def _attempt(self) -> Downloaded:
        part = self._part
        if not part.whole:
            with self._open_link(part.headers) as response:
                self._begin(response)
                self._receive(response)
        if problem := part.damage() or self._unlike_the_list():
            self._start_over(problem)
        done = self._finish()
        if self._task:
            self._task.finish(f"{self._name}: {size(done.size)}")
        return done

    def _finish(self) -> Downloaded:
        """Put the whole file in its place; a zip that the service made around it is taken off."""
        part = self._part
        member = single_member(part.path, part.target.name)
        if member is None:
            length, sha256 = part.offset, part.sha256
            part.finish()
            return Downloaded(part.target, length, sha256, self._received)
        try:
            [file] = unpack(part.path, part.target.parent, place=lambda name: part.target.name)
        except DataError as error:
            self._start_over(error.message)
        part.forget()
        return Downloaded(part.target, file.size, file.sha256, self._received)

    def _unlike_the_list(self) -> str:
        """What is wrong with the size according to the list of files, when no MD5 says that all is well."""
        part = self._part
        if not self._expected_size or part.offset == self._expected_size or part.version.md5:
            return ""
        if single_member(part.path, part.target.name):
            return ""  # a zip around the file has a size of its own
        return f"{part.offset} bytes came, {self._expected_size} are listed"

    def _start_over(self, problem: str) -> NoReturn:
        """Throw a damaged file away; a server that is wrong every time is given up.

        Raises:
            Trouble: to be tried again.
            GaveUp: it arrived damaged too often.
        """
        self._part.forget()
        self._damaged += 1
        trouble = Trouble(f"{self._name} arrived damaged: {problem}")
        if self._damaged >= min(DAMAGED_TRIES, self._settings.attempts):
            raise GaveUp(trouble, f"{self._damaged} times; nothing of it was kept")
        raise trouble

    def _begin(self, response: requests.Response) -> None:
        """Set the part to where ``response`` begins: its end for a continuation, else the first byte."""
        version, part = version_of(response), self._part
        if response.status_code == 206:
            start = _start_of_range(response.headers)
            if start == part.offset and part.version.same_as(version, promised="If-Range" in part.headers):
                self._watch(part.version.size)
                return
            part.forget()
            raise Trouble(f"the server continued {self._name} at byte {start} of another version; beginning again")
        if response.status_code != 200:
            raise Trouble(f"the server answered {response.status_code} for {self._name}")
        part.restart(version)
        self._watch(version.size)

    def _watch(self, total: int | None) -> None:
        self._check_space(total if total is not None else self._expected_size)
        if self._task is None:
            there = float(self._part.offset)
            self._task = self._progress.start(self._name, total or self._expected_size, "B", done=there)

    def _check_space(self, total: int | None) -> None:
        with storage_errors(self._part.path, "writing"):
            free = shutil.disk_usage(self._part.path.parent).free
        missing = (total or 0) - self._part.offset
        if missing > free:
            raise DiskFullError(
                f"{self._name} needs {size(missing)} more, {size(free)} are free in {self._part.path.parent}",
                "free some space or choose another folder (paths.data), then run the same command again",
            )

    def _receive(self, response: requests.Response) -> None:
        part, encoded = self._part, version_of(response) == Version() and "Content-Encoding" in response.headers
        first = part.offset == 0
        try:
            for block in blocks(response, decode=encoded):
                if first:
                    self._refuse_page(response, block)
                    first = False
                if part.version.size is not None and part.offset + len(block) > part.version.size:
                    raise Trouble(f"more bytes of {self._name} came than the {part.version.size} announced")
                part.write(block)
                self._received += len(block)
                if self._task:
                    self._task.update(part.offset)
        except NETWORK_ERRORS as error:
            read_s = self._settings.read_timeout_s
            raise trouble_of(error, connect_s=self._settings.connect_timeout_s, read_s=read_s) from None
        if part.version.size is not None and part.offset < part.version.size:
            raise Trouble(f"the connection ended after {part.offset} of {part.version.size} bytes of {self._name}")

    def _refuse_page(self, response: requests.Response, block: bytes) -> None:
        """Nothing that is an error in disguise is ever written: a page, or the service's JSON with status 200.

        Raises:
            Refusal: the JSON's own code and message.
            Trouble: a page came instead of the file.
        """
        content_type, suffix = response.headers.get("Content-Type", ""), Path(self._name).suffix.lower()
        if is_page(block, content_type) and suffix not in (".html", ".htm"):
            self._part.forget()
            raise Trouble(f"an HTML page came instead of {self._name}")
        if suffix not in (".json", ".jsonl", ".ipynb", ".geojson") and (
            refusal := hidden_refusal(response, block, secrets=self._secrets())
        ):
            self._part.forget()
            raise refusal
