"""Notebooks and scripts that run on the service: push, watch, fetch what they wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from kaggle_kit.errors import KaggleKitError, QuotaError, ServiceError
from kaggle_kit.kaggle_service.answers import Row, moment, number, text, truth, whole
from kaggle_kit.kaggle_service.answers import field as field_of
from kaggle_kit.kaggle_service.calls import Calls, rows_in, texts_in
from kaggle_kit.kaggle_service.connection import KERNELS, Connection
from kaggle_kit.kaggle_service.download import Download, Downloaded
from kaggle_kit.kaggle_service.failures import (
    WEB,
    AnswerLost,
    Call,
    GaveUp,
    Refusal,
    Trouble,
    clean,
    explain,
    trouble_of,
)
from kaggle_kit.kaggle_service.official import official_client_class
from kaggle_kit.kaggle_service.transport import ANSWER_LIMIT, NETWORK_ERRORS, blocks
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings

_TYPES = "kagglesdk.kernels.types.kernels_api_service"

STATES = ("QUEUED", "RUNNING", "COMPLETE", "ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED", "NEW_SCRIPT")
"""In the order of the service's numbers."""

FINAL = ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")

_END_OF_LOG = "END_OF_LOG"
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Push:
    """A version of a script or notebook to be.

    Attributes:
        kernel: ``owner/slug``.
        title: must become the slug when words are joined by hyphens.
        text: the code, or a notebook's JSON.
        kind: ``script`` or ``notebook``.
        machine: the service's name of the accelerator; None: no accelerator.
        internet: whether it reaches the network.
        competitions, datasets, kernels: what is attached, by slug or ``owner/slug``.
        timeout_s: seconds after which the service ends it; None: the service's own limit.
    """

    kernel: str
    title: str
    text: str = field(repr=False)
    kind: str = "script"
    machine: str | None = None
    internet: bool = True
    competitions: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    timeout_s: int | None = None


@dataclass(frozen=True)
class Pushed:
    """A version that was taken: ``owner/slug`` as the service calls it, the version's number, its page.

    Attributes:
        session: the service's number of its session, by which it can be cancelled; None when not told.
    """

    kernel: str
    version: int
    url: str
    session: int | None = None


@dataclass(frozen=True)
class KernelStatus:
    """How far a version got.

    Attributes:
        state: one of ``STATES``.
        message: why it failed; empty when it did not.
        session: as in :class:`Pushed`.
    """

    state: str
    message: str = ""
    session: int | None = None

    @property
    def finished(self) -> bool:
        """Nothing will change any more."""
        return self.state in FINAL


@dataclass(frozen=True)
class Kernel:
    """A script or notebook of an account; ``ref`` is ``owner/slug``."""

    ref: str
    title: str
    last_run: datetime | None
    version: int | None
    private: bool | None
    url: str


@dataclass(frozen=True)
class KernelFile:
    """A file that a version wrote: its name with folders, a link to it that expires, its size (None when not told)."""

    name: str
    link: str = field(repr=False)
    size: int | None = None


@dataclass(frozen=True)
class LogLine:
    """Something that a version printed: where (``stdout`` or ``stderr``), seconds after its start, what."""

    stream: str
    seconds: float | None
    text: str


@dataclass(frozen=True)
class KernelOutput:
    """What a version left: its files and its log."""

    files: list[KernelFile]
    log: list[LogLine]


@dataclass(frozen=True)
class Quota:
    """Hours on one kind of accelerator.

    Attributes:
        used_s, total_s: seconds used and allowed until ``refreshes``; what running sessions have reserved counts as used.
        refreshes: when the count starts anew; None when not told.
    """

    used_s: float
    total_s: float
    refreshes: datetime | None

    @property
    def left_s(self) -> float:
        """Seconds left; never below 0."""
        return max(0.0, self.total_s - self.used_s)


class Kernels:
    """The notebooks of one service.

    Args:
        connection: the line to it.
        settings: timeouts, tries and waits.
        progress: told about waits and transfers.
    """

    def __init__(self, connection: Connection, settings: ServiceSettings, *, progress: Progress = SILENCE) -> None:
        self._connection = connection
        self._settings = settings
        self._progress = progress
        self._calls = Calls(connection, settings, KERNELS, _TYPES)

    def page(self, kernel: str) -> str:
        """The page of a notebook on the web."""
        return f"{self._connection.endpoint.url or WEB}/code/{kernel}"

    def push(self, push: Push) -> Pushed:
        """Save a version and have it run.

        Raises:
            AnswerLost: it may have been saved: look with :meth:`find` before pushing again.
            QuotaError: no hours left.
            CredentialsError: not yours, or a token that may not write.
            ServiceError: refused, or saved without something that it should have attached; the text names it.
        """
        call = self._call(f"pushing {push.kernel}", push.kernel)
        request = self._calls.request("ApiSaveKernelRequest", **_wire(push))
        answer = self._calls.once(
            "SaveKernel",
            request,
            call,
            lambda why: AnswerLost(
                f"{self._calls.who} was asked to run {push.kernel}, and whether it does is not known: {why}",
                f"kk remote status finds out; or look at {self.page(push.kernel)}",
            ),
        )
        return self._pushed(push, answer)

    def _pushed(self, push: Push, answer: Row) -> Pushed:
        if refused := text(answer, "error"):
            kind = QuotaError if re.search(r"quota|hours", refused, re.IGNORECASE) else ServiceError
            raise kind(f"{self._calls.who} refused {push.kernel}: {refused}", f"see {self.page(push.kernel)}")
        kernel = _kernel_in(text(answer, "ref")) or _kernel_in(text(answer, "url")) or push.kernel
        url = text(answer, "url") or self.page(kernel)
        invalid = {
            what: texts_in(answer, f"invalid{what.title()}Sources") for what in ("dataset", "competition", "kernel")
        }
        missing = [f"{what} {name}" for what, names in invalid.items() for name in names]
        if missing:
            raise ServiceError(
                f"{kernel} was saved, but without what {self._calls.who} could not attach: {', '.join(missing)}",
                f"it may be running for nothing: stop it at {url}; check the names, and that the rules of a competition are accepted",
            )
        version = whole(answer, "versionNumber")
        if not version:
            raise AnswerLost(
                f"{self._calls.who} gave {kernel} no version number", f"kk remote status finds out; or look at {url}"
            )
        return Pushed(kernel, version, url, whole(answer, "kernelSessionId"))

    def find(self, kernel: str, marker: str) -> Pushed | None:
        """The current version of a notebook if its code holds ``marker``; None when it does not, or there is none."""
        owner, slug = kernel.split("/")
        request = self._calls.request("ApiGetKernelRequest", user_name=owner, kernel_slug=slug)
        answer = self._calls.answer_if_there("GetKernel", request, self._call(f"looking up {kernel}", kernel))
        if answer is None:
            return None
        metadata, blob = field_of(answer, "metadata") or {}, field_of(answer, "blob") or {}
        version = whole(metadata, "currentVersionNumber")
        if marker not in str(field_of(blob, "source") or "") or not version:
            return None
        return Pushed(kernel, version, self.page(kernel))

    def status(self, kernel: str, version: int | None = None) -> KernelStatus:
        """How far the notebook's version, or its newest one, got.

        Raises:
            CredentialsError, MissingError: no such notebook, or not yours.
        """
        request = self._calls.request("ApiGetKernelSessionStatusRequest", **_named(kernel, version))
        answer = self._calls.rpc("GetKernelSessionStatus", request, self._call(f"asking for {kernel}", kernel))
        return KernelStatus(
            _state(field_of(answer, "status")), text(answer, "failureMessage"), whole(answer, "kernelSessionId")
        )

    def cancel(self, session: int) -> None:
        """Stop a session.

        Raises:
            ServiceError: it cannot be stopped, in the service's words.
        """
        request = self._calls.request("ApiCancelKernelSessionRequest", kernel_session_id=session)
        answer = self._calls.rpc("CancelKernelSession", request, Call(f"stopping session {session}"))
        if refused := text(answer, "errorMessage"):
            raise ServiceError(f"{self._calls.who} does not stop session {session}: {refused}")

    def list(self, owner: str) -> Iterator[Kernel]:
        """The account's own notebooks, the one run last first."""
        official_client_class()  # what belongs to it can be imported from here on
        from kagglesdk.kernels.types.kernels_enums import KernelsListSortType, KernelsListViewType

        call = Call("listing notebooks", link=f"{WEB}/{owner}/code")
        sort, group = KernelsListSortType.DATE_RUN, KernelsListViewType.PROFILE
        rows = self._calls.pages(
            "ListKernels", "ApiListKernelsRequest", "kernels", call, user=owner, sort_by=sort, group=group
        )
        for row in rows:
            ref = _kernel_in(text(row, "ref")) or ""
            yield Kernel(
                ref,
                text(row, "title"),
                moment(row, "lastRunTime"),
                whole(row, "currentVersionNumber"),
                truth(row, "isPrivate"),
                self.page(ref),
            )

    def quota(self) -> dict[str, Quota]:
        """The hours left this week, by accelerator (``gpu``, ``tpu``); empty when the service does not tell."""
        request = self._calls.request("ApiGetAcceleratorQuotaStatisticsRequest")
        answer = self._calls.answer_if_there(
            "GetAcceleratorQuotaStatistics",
            request,
            Call("asking for the hours left"),
            absent=(403, 404, 501),  # a server without the call, or a token that may not ask
        )
        if answer is None:
            return {}
        refreshes = moment(answer, "quotaRefreshTime")
        rows = {kind: field_of(answer, f"{kind}Quota") for kind in ("gpu", "tpu")}
        return {kind: _quota(row, refreshes) for kind, row in rows.items() if isinstance(row, Mapping)}

    # -- what a version left -----------------------------------------------------------------------------------------

    def output(self, kernel: str, version: int | None = None) -> KernelOutput:
        """The files and the log of a version, or of the newest one; all pages."""
        call, named = self._call(f"listing what {kernel} wrote", kernel), _named(kernel, version)
        files: dict[str, str] = {}
        log = ""
        for answer in self._calls.answers(
            "ListKernelSessionOutput", "ApiListKernelSessionOutputRequest", call, **named
        ):
            log = log or str(field_of(answer, "log") or "")
            files |= {
                str(field_of(row, "fileName") or ""): str(field_of(row, "url") or "")
                for row in rows_in(answer, "files")
            }
        sizes = self._sizes(named) if files else {}
        return KernelOutput(
            [KernelFile(name, link, sizes.get(name)) for name, link in files.items() if name and link], read_log(log)
        )

    def _sizes(self, named: Mapping[str, Any]) -> dict[str, int]:
        """The sizes of the files, as far as the service tells them."""
        rows = self._calls.pages(
            "ListKernelFiles", "ApiListKernelFilesRequest", "files", Call("listing files"), **named
        )
        sizes: dict[str, int] = {}
        with suppress(KaggleKitError):  # only one check more: a file's MD5 and our own list of hashes say enough
            sizes |= {str(field_of(row, "name")): size for row in rows if (size := whole(row, "size")) is not None}
        return sizes

    def download(
        self,
        kernel: str,
        version: int | None,
        file: KernelFile,
        target: Path,
        *,
        progress: Progress | None = None,
    ) -> Downloaded:
        """Download one file that a version wrote, continuing an earlier part; its length and MD5 are checked.

        Raises:
            ServiceError: patience ended; run again to continue.
            DiskFullError: not enough space.
        """
        call = self._call(f"downloading {file.name}", kernel)
        links = self._links(kernel, version, file)
        download = Download(
            lambda headers: self._connection.open_file(next(links), headers),
            target,
            name=file.name,
            identity={"kernel": kernel, "version": str(version), "name": file.name},
            settings=self._settings,
            progress=progress or self._progress,
            expected_size=file.size,
            who=self._calls.who,
            secrets=self._connection.secrets,
        )
        return self._calls.explained(download.run, call)

    def _links(self, kernel: str, version: int | None, file: KernelFile) -> Iterator[str]:
        """The link of a file, then a fresh one each time: links expire."""
        yield file.link
        while True:
            files = self.output(kernel, version).files
            fresh = next((one.link for one in files if one.name == file.name), None)
            if fresh is None:
                raise Trouble(f"{file.name} is no longer among the files of {kernel}", permanent=True)
            yield fresh

    def log(self, kernel: str) -> Iterator[LogLine]:
        """The log of the newest version from its first line: as it is written while that runs, else as stored.

        Raises:
            ServiceError: the stream broke, or was silent for ``service.log_quiet_s``; it can be opened again.
        """
        try:
            with self._connection.open_log(kernel) as response:
                if "text/event-stream" in response.headers.get("Content-Type", "").lower():
                    yield from _events(response)
                else:
                    yield from read_log(_whole(response))
        except (Refusal, Trouble, GaveUp) as failure:
            call = self._call(f"reading the log of {kernel}", kernel)
            raise explain(failure, self._calls.filled(call)) from None
        except NETWORK_ERRORS as error:
            trouble = trouble_of(error, connect_s=self._settings.connect_timeout_s, read_s=self._settings.log_quiet_s)
            raise ServiceError(f"the log of {kernel} broke off: {trouble}", "kk remote logs -f goes on") from None

    def _call(self, doing: str, kernel: str) -> Call:
        return Call(doing, missing=f"no notebook {kernel!r} that is yours", link=self.page(kernel))


def _wire(push: Push) -> dict[str, Any]:
    """The values of a request to save ``push``."""
    values: dict[str, Any] = {
        "slug": push.kernel,
        "new_title": push.title,
        "text": push.text,
        "language": "python",
        "kernel_type": push.kind,
        "is_private": True,
        "enable_gpu": push.machine is not None,
        "enable_tpu": False,
        "enable_internet": push.internet,
        "dataset_data_sources": [*push.datasets],
        "competition_data_sources": [*push.competitions],
        "kernel_data_sources": [*push.kernels],
    }
    if push.machine is not None:
        values["machine_shape"] = push.machine
    if push.timeout_s is not None:
        values["session_timeout_seconds"] = push.timeout_s
    return values


def _named(kernel: str, version: int | None) -> dict[str, Any]:
    """How requests name a notebook's version."""
    owner, _, slug = kernel.partition("/")
    named: dict[str, Any] = {"user_name": owner, "kernel_slug": slug}
    return named if version is None else {**named, "version_label": f"v{version}"}


def _kernel_in(address: str) -> str | None:
    """``owner/slug`` in a ref or URL such as ``/code/owner/slug`` or ``https://www.kaggle.com/code/owner/slug``."""
    path = re.sub(r"^https?://[^/]+", "", address).partition("?")[0]
    parts = [part for part in path.split("/") if part and part != "code"]
    return "/".join(parts[:2]) if len(parts) >= 2 else None


def _state(value: Any) -> str:
    """A state by its name, in any of the spellings that clients have met, or by its number; absent means the first."""
    if isinstance(value, int) and 0 <= value < len(STATES):
        return STATES[value]
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(value or "QUEUED").rpartition(".")[2]).upper()
    return next((state for state in sorted(STATES, key=len, reverse=True) if name.endswith(state)), "RUNNING")


def _quota(row: Row, refreshes: datetime | None) -> Quota:
    used = _duration(row, "timeUsed") + _duration(row, "timeReserved")
    return Quota(used, _duration(row, "totalTimeAllowed"), refreshes)


def _duration(row: Row, name: str) -> float:
    """Seconds of a duration such as ``"5400s"`` or ``"1.5s"``; 0 when absent, as zeros are left out."""
    value = field_of(row, name)
    return number({name: value.rstrip("s")} if isinstance(value, str) else {name: value}, name) or 0.0


def _events(response: Any) -> Iterator[LogLine]:
    """The events of a stream until it says that it has ended."""
    buffer = b""
    for block in blocks(response, decode=True):
        buffer += block
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            payload = line.strip().removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if payload == _END_OF_LOG.encode():
                return
            if payload:
                yield _line(payload)
        if len(buffer) > _LONGEST_LINE:
            buffer = b""
    raise ServiceError("the log broke off before its end", "kk remote logs -f goes on")


def _line(payload: bytes) -> LogLine:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        document = None
    return (
        _log_line(document)
        if isinstance(document, dict)
        else LogLine("stdout", None, _shown(payload.decode("utf-8", "replace")))
    )


def _log_line(row: Row) -> LogLine:
    return LogLine(text(row, "stream_name") or "stdout", number(row, "time"), _shown(str(field_of(row, "data") or "")))


def _shown(printed: str) -> str:
    """What was printed, without control characters and the line's end."""
    return clean(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.rstrip("\r\n")).replace("\r", "\n"))


def read_log(stored: str) -> list[LogLine]:
    """A stored log: a JSON list of ``{stream_name, time, data}``, or plain lines."""
    try:
        rows = orjson.loads(stored) if stored.strip() else []
    except orjson.JSONDecodeError:
        return [LogLine("stdout", None, _shown(line)) for line in stored.splitlines() if line.strip()]
    return [_log_line(row) for row in (rows if isinstance(rows, list) else [rows]) if isinstance(row, dict)]


def _whole(response: Any) -> str:
    body = bytearray()
    for block in blocks(response, decode=True):
        body += block
        if len(body) > ANSWER_LIMIT:
            break
    return body.decode("utf-8", "replace")
