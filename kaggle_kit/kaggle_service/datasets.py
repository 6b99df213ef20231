"""Data sets that notebooks attach: make one, add a version, know when it can be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.errors import ServiceError
from kaggle_kit.kaggle_service.answers import field, text
from kaggle_kit.kaggle_service.calls import Calls
from kaggle_kit.kaggle_service.connection import DATASETS, Connection
from kaggle_kit.kaggle_service.failures import WEB, AnswerLost, Call
from kaggle_kit.kaggle_service.official import official_client_class
from kaggle_kit.kaggle_service.upload import Upload
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings

BLOBS = "blobs.BlobApiService"
_TYPES = "kagglesdk.datasets.types.dataset_api_service"
_BLOB_TYPES = "kagglesdk.blobs.types.blob_api_service"

STATES = (
    "NOT_YET_PERSISTED",
    "BLOBS_RECEIVED",
    "BLOBS_DECOMPRESSED",
    "BLOBS_COPIED_TO_SDS",
    "INDIVIDUAL_BLOBS_COMPRESSED",
    "READY",
    "FAILED",
    "DELETED",
    "REPROCESSING",
)
"""In the order of the service's numbers; only READY can be attached."""


@dataclass(frozen=True)
class Published:
    """A data set, or a version of one, that was taken: ``owner/slug`` and its page."""

    ref: str
    url: str


class Datasets:
    """The data sets of one service; all that is made here is private.

    Args:
        connection: the line to it.
        settings: timeouts, tries and waits.
        progress: told about waits and transfers.
    """

    def __init__(self, connection: Connection, settings: ServiceSettings, *, progress: Progress = SILENCE) -> None:
        self._connection = connection
        self._settings = settings
        self._progress = progress
        self._calls = Calls(connection, settings, DATASETS, _TYPES)
        self._blobs = Calls(connection, settings, BLOBS, _BLOB_TYPES)

    def page(self, ref: str) -> str:
        """The page of the data set ``owner/slug`` on the web."""
        return f"{self._connection.endpoint.url or WEB}/datasets/{ref}"

    def status(self, ref: str) -> str | None:
        """One of ``STATES``; None when there is no data set ``owner/slug`` that is yours."""
        owner, _, slug = ref.partition("/")
        request = self._calls.request("ApiGetDatasetStatusRequest", owner_slug=owner, dataset_slug=slug)
        call = self._call(f"asking for the data set {ref}", ref)
        answer = self._calls.answer_if_there("GetDatasetStatus", request, call)
        return None if answer is None else _state(field(answer, "status"))

    def create(self, ref: str, title: str, files: Sequence[Path]) -> Published:
        """Make the private data set ``owner/slug`` of ``files``.

        Raises:
            AnswerLost: it may have been made: ask for its :meth:`status`.
            ServiceError: refused, or an upload failed; nothing was made then.
        """
        owner, _, slug = ref.partition("/")
        request = self._calls.request(
            "ApiCreateDatasetRequest",
            owner_slug=owner,
            slug=slug,
            title=title,
            license_name="other",
            is_private=True,
            files=self._sent(files),
        )
        return self._made("CreateDataset", request, ref)

    def add_version(self, ref: str, notes: str, files: Sequence[Path]) -> Published:
        """Give the data set ``owner/slug`` a new version of ``files``; raises as :meth:`create`."""
        owner, _, slug = ref.partition("/")
        body = self._calls.request("ApiCreateDatasetVersionRequestBody", version_notes=notes, files=self._sent(files))
        request = self._calls.request("ApiCreateDatasetVersionRequest", owner_slug=owner, dataset_slug=slug, body=body)
        return self._made("CreateDatasetVersion", request, ref)

    def _made(self, method: str, request: Any, ref: str) -> Published:
        answer = self._calls.once(
            method,
            request,
            self._call(f"making the data set {ref}", ref),
            lambda why: AnswerLost(
                f"{self._calls.who} was asked for the data set {ref}, and whether it took it is not known: {why}",
                f"look at {self.page(ref)} before trying again",
            ),
        )
        refused = text(answer, "error")
        if refused or text(answer, "status").lower() == "error":
            raise ServiceError(
                f"{self._calls.who} refused the data set {ref}: {refused or '(no reason given)'}",
                f"see {self.page(ref)}",
            )
        return Published(ref, text(answer, "url") or self.page(ref))

    def _sent(self, files: Sequence[Path]) -> list[Any]:
        """The files as a request names them, once every one of them is with the service."""
        return [self._calls.request("ApiDatasetNewFile", token=self._send(path)) for path in files]

    def _send(self, path: Path) -> str:
        upload = Upload(
            path,
            lambda: self._begin(path),
            session=self._connection.storage,
            settings=self._settings,
            progress=self._progress,
            who=self._calls.who,
        )
        return self._blobs.explained(upload.run, Call(f"sending {path.name}", link=f"{WEB}/datasets"))

    def _begin(self, path: Path) -> tuple[str, str]:
        official_client_class()  # what belongs to it can be imported from here on
        from kagglesdk.blobs.types.blob_api_service import ApiBlobType

        status = path.stat()
        request = self._blobs.request(
            "ApiStartBlobUploadRequest",
            type=ApiBlobType.DATASET,
            name=path.name,
            content_length=status.st_size,
            last_modified_epoch_seconds=int(status.st_mtime),
        )
        answer = self._blobs.rpc("StartBlobUpload", request, Call(f"sending {path.name}", link=f"{WEB}/datasets"))
        return self._blobs.upload_link(answer, f"started no upload of {path.name}")

    def _call(self, doing: str, ref: str) -> Call:
        return Call(doing, missing=f"no data set {ref!r} that is yours", link=self.page(ref))


def _state(value: Any) -> str:
    if isinstance(value, int) and 0 <= value < len(STATES):
        return STATES[value]
    name = str(value or STATES[0]).rpartition(".")[2].upper()
    return name if name in STATES else STATES[0]
