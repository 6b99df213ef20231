"""The part of a rehearsal server that speaks of data sets: uploads, create, versions, status."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kaggle_kit.files import read_json, write_json
from kaggle_kit.rehearsal.book import Book
from kaggle_kit.rehearsal.exchange import Exchange
from kaggle_kit.rehearsal.kernel_host import OWNER

Body = Mapping[str, Any]

SERVICE, BLOBS = "datasets.DatasetApiService", "blobs.BlobApiService"


class DatasetCalls:
    """Answers the calls about data sets.

    Args:
        folder: where versions lie: ``owner/slug/<number>/files``.
        book: keeps the uploads.
        link: makes the link that an upload with that token is sent to.
        ready_after_s: seconds until a version can be attached.
    """

    def __init__(self, folder: Path, book: Book, link: Callable[[str], str], *, ready_after_s: float = 0.0) -> None:
        self._folder = folder
        self._book = book
        self._link = link
        self._ready_after_s = ready_after_s

    def calls(self) -> dict[str, Callable[[Exchange, Body], None]]:
        """The calls by their names in addresses."""
        return {
            f"{BLOBS}/StartBlobUpload": self.start_upload,
            f"{SERVICE}/CreateDataset": self.create,
            f"{SERVICE}/CreateDatasetVersion": self.add_version,
            f"{SERVICE}/GetDatasetStatus": self.status,
        }

    def files_of(self, ref: str) -> Path | None:
        """The folder with the files of the newest version of ``owner/slug`` that can be attached; None when there is none."""
        ready = [version for version in self._versions(ref) if self._is_ready(version)]
        return ready[-1] / "files" if ready else None

    def _versions(self, ref: str) -> list[Path]:
        """The folders of a data set's versions, the oldest first."""
        if not re.fullmatch(r"[\w-]+/[\w-]+", ref):
            return []
        return sorted((self._folder / ref).glob("*"), key=lambda path: int(path.name))

    def _is_ready(self, version: Path) -> bool:
        return time.time() >= float(read_json(version / "version.json")["made"]) + self._ready_after_s

    def start_upload(self, exchange: Exchange, body: Body) -> None:
        """StartBlobUpload: a token and a signed link to send the file to."""
        upload = self._book.announce(Path(str(body.get("name") or "file")).name, int(body.get("contentLength") or 0))
        exchange.send_json({"token": upload.token, "createUrl": self._link(upload.token)})

    def create(self, exchange: Exchange, body: Body) -> None:
        """CreateDataset; what is wrong with it is told in an answer of 200, as the real service does."""
        ref, title = f"{body.get('ownerSlug')}/{body.get('slug')}", str(body.get("title", ""))
        if self._versions(ref):
            problem = f'The requested title "{title}" is already in use by a dataset. Please choose another title.'
        elif not 6 <= len(title) <= 50:
            problem = "The dataset title must be between 6 and 50 characters."
        elif not body.get("isPrivate"):
            problem = "This server keeps private datasets only."
        else:
            problem = ""
        self._make(exchange, ref, body.get("files"), problem, "")

    def add_version(self, exchange: Exchange, body: Body) -> None:
        """CreateDatasetVersion."""
        ref, inner = f"{body.get('ownerSlug')}/{body.get('datasetSlug')}", body.get("body") or {}
        if not self._versions(ref):
            exchange.refuse(403, "Permission 'datasets.update' was denied", "PERMISSION_DENIED")
        else:
            self._make(exchange, ref, inner.get("files"), "", str(inner.get("versionNotes", "")))

    def _make(self, exchange: Exchange, ref: str, files: Any, problem: str, notes: str) -> None:
        """Make a version of uploaded files, and answer."""
        uploads = [self._book.upload(str(row.get("token"))) for row in files or []]
        if not ref.startswith(f"{OWNER}/"):
            exchange.refuse(403, "Permission 'datasets.create' was denied", "PERMISSION_DENIED")
            return
        if not uploads or any(upload is None or self._book.arrived(upload) < upload.size for upload in uploads):
            problem = problem or "An uploaded file was not found."
        if problem:
            exchange.send_json({"status": "error", "error": problem})
            return
        version = self._folder / ref / str(len(self._versions(ref)) + 1)
        (version / "files").mkdir(parents=True)
        for upload in uploads:
            assert upload is not None
            shutil.copyfile(self._book.place(upload), version / "files" / upload.name)
        write_json(version / "version.json", {"schema": 1, "made": time.time(), "notes": notes})
        exchange.send_json({"ref": f"/datasets/{ref}", "url": f"https://www.kaggle.com/datasets/{ref}", "status": "ok"})

    def status(self, exchange: Exchange, body: Body) -> None:
        """GetDatasetStatus of the newest version."""
        versions = self._versions(f"{body.get('ownerSlug')}/{body.get('datasetSlug')}")
        if not versions:
            exchange.refuse(403, "Permission 'datasets.get' was denied", "PERMISSION_DENIED")
        else:
            exchange.send_json({"status": "READY" if self._is_ready(versions[-1]) else "BLOBS_RECEIVED"})
