"""What happened on a rehearsal server so far: uploads and submissions, kept in one JSON file."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from kaggle_kit.files import read_json, write_json

FIRST_REF = 56_000_001


@dataclass(frozen=True)
class StoredUpload:
    """A file that was announced: its name, its size in bytes, whether it was submitted."""

    token: str
    name: str
    size: int


@dataclass(frozen=True)
class Submission:
    """A submission; ``date`` is an ISO moment in UTC, ``status`` PENDING, COMPLETE or ERROR."""

    ref: int
    token: str
    file_name: str
    description: str
    date: str
    status: str = "PENDING"
    public_score: float | None = None
    private_score: float | None = None
    error: str = ""

    @property
    def moment(self) -> datetime:
        """The date, aware."""
        return datetime.fromisoformat(self.date)


class Book:
    """The uploads and submissions of one server; safe for its threads, and written before a change is acknowledged.

    Args:
        folder: where ``state.json`` and the uploaded files lie; an earlier server's are taken up.
        clock: gives the present moment, aware.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._path = folder / "state.json"
        self._folder = folder / "uploads"
        self._clock = clock
        self._lock = threading.RLock()
        self._uploads: dict[str, StoredUpload] = {}
        self._submissions: dict[int, Submission] = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._load()

    def _load(self) -> None:
        document = read_json(self._path)
        self._uploads = {row["token"]: StoredUpload(**row) for row in document["uploads"]}
        self._submissions = {row["ref"]: Submission(**row) for row in document["submissions"]}

    def _save(self) -> None:
        write_json(
            self._path,
            {
                "schema": 1,
                "uploads": [asdict(upload) for upload in self._uploads.values()],
                "submissions": [asdict(submission) for submission in self._submissions.values()],
            },
        )

    def announce(self, name: str, size: int) -> StoredUpload:
        """Expect a file."""
        with self._lock:
            upload = StoredUpload(secrets.token_urlsafe(24), name, size)
            self._uploads[upload.token] = upload
            self._save()
            return upload

    def upload(self, token: str) -> StoredUpload | None:
        """The announced file with that token."""
        with self._lock:
            return self._uploads.get(token)

    def place(self, upload: StoredUpload) -> Path:
        """Where the bytes of an upload go."""
        return self._folder / upload.token

    def arrived(self, upload: StoredUpload) -> int:
        """How many bytes of an upload are there."""
        path = self.place(upload)
        return path.stat().st_size if path.exists() else 0

    def submit(self, upload: StoredUpload, description: str) -> Submission:
        """Enter a submission, still without a score."""
        with self._lock:
            ref = max(self._submissions, default=FIRST_REF - 1) + 1
            date = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
            submission = Submission(ref, upload.token, upload.name, description, date)
            self._submissions[ref] = submission
            self._save()
            return submission

    def decide(self, ref: int, **outcome: object) -> None:
        """Enter what scoring gave."""
        with self._lock:
            self._submissions[ref] = replace(self._submissions[ref], **outcome)  # type: ignore[arg-type]
            self._save()

    def submission(self, ref: int) -> Submission | None:
        """The submission with that number."""
        with self._lock:
            return self._submissions.get(ref)

    def submissions(self) -> list[Submission]:
        """All submissions, newest first."""
        with self._lock:
            return sorted(self._submissions.values(), key=lambda submission: submission.ref, reverse=True)

    def counted_today(self) -> int:
        """Submissions since midnight UTC; those that ended in ERROR do not count."""
        today = self._clock().astimezone(UTC).date()
        return sum(row.status != "ERROR" and row.moment.date() == today for row in self.submissions())
