"""Submissions: ``submissions_archive/<id>/record.json``, the vectors that were sent and, until pruned, the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kaggle_kit.archive.fields import Field, Number, Types
from kaggle_kit.archive.ids import timestamp
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.archive.records import Listing, Record, RecordStore, hold_lock
from kaggle_kit.archive.runs import BASIS, MEMBER, PROVENANCE, inside
from kaggle_kit.errors import DuplicateError, InterruptedWork, MissingError, UsageError

if TYPE_CHECKING:  # numpy and the writer are needed for vectors only, and the history of thousands must open at once
    import numpy as np

    from kaggle_kit.competition import Competition, SubmissionFormat

SUBMISSION_MIGRATIONS = Migrations("submission")

NEXT_STATES: dict[str, tuple[str, ...]] = {
    "built": ("valid", "failed"),
    "valid": ("sending", "failed"),
    # back to valid: Kaggle was asked and knows nothing of it
    "sending": ("sent", "scored", "failed", "valid"),
    "sent": ("scored", "failed"),
    "scored": ("failed",),
    # a submission thought lost may turn up, a failed upload may be tried again
    "failed": ("sending", "sent", "scored"),
}
"""Which states may follow a state; staying in one is always allowed."""

ELSEWHERE = "elsewhere"
"""Origin of a submission that was found at the service: from its web page, or from another machine's archive."""

UNSENT_STATES = ("built", "valid", "failed")
"""States in which a submission without a number never reached Kaggle."""

FILE: Mapping[str, Types] = {
    "name": str, "member": str, "sha256": str, "size": int, "format": str, "content_sha256": str, "columns": dict,
}  # fmt: skip
VECTORS: Mapping[str, Types] = {"sha256": str, "rows": int, "dimension": int}
PLACE: Mapping[str, Types] = {"rank": int, "teams": int}
STEP: Mapping[str, Types] = {"state": str, "at": str, "note": str}
UPLOAD: Mapping[str, Types] = {"token": str, "asked": bool, "before": dict}
KERNEL: Mapping[str, Types] = {"kernel": str, "version": int, "file": str}
DIGITS_LOSS: Mapping[str, Types] = {
    "digits": int, "ranked": int, "changed": int, "mrr": Number, "mrr_rounded": Number,
}  # fmt: skip

SUBMISSION_FIELDS = {
    "id": Field(str, "the folder's name", required=True),
    "competition": Field(str, "slug", required=True),
    "rehearsal": Field(bool, "sent to a rehearsal server, not to Kaggle", False, required=True),
    "created": Field(str, "ISO 8601, UTC", required=True, moment=True),
    "sent_at": Field(str, "when it went to Kaggle from here, ISO 8601, UTC", moment=True),
    "state": Field(str, " | ".join(NEXT_STATES), "built", required=True),
    "message": Field(str, "what the user said about it", ""),
    "description": Field(str, "what Kaggle was told", ""),
    "run": Field(str, "id of the run or ensemble behind it"),
    "made_from": Field(str, "name of the file that was sent as it was"),
    "members": Field(list, "runs averaged: run and weight each", [], inside=MEMBER),
    "translator": Field(str, "name; of an ensemble, those of its members"),
    "folds": Field(int, "number of folds"),
    "seeds": Field(int, "how many seeds each fold was trained with"),
    "refit": Field(int, "translators trained on all images, besides those of the folds"),
    "cv": Field(Number, "out-of-fold MRR"),
    "cv_error": Field(Number, "its standard error"),
    "leaks": Field(dict, "what stands on both sides of the folds behind cv, where that was allowed"),
    "basis": Field(
        dict,
        "what cv was measured on: gallery_size, train_sha256, folds, folds_by, folds_digest, captions an image",
        {},
        inside=BASIS,
    ),
    "train_seconds": Field(Number, "seconds of training behind it, all runs together"),
    "file": Field(dict, "name, sha256, size, format, content_sha256, columns", {}, inside=FILE),
    "vectors": Field(
        dict, "sha256, rows, dimension; of a file without vectors the content's sha256 alone", {}, inside=VECTORS
    ),
    "ref": Field((int, str), "Kaggle's reference"),
    "origin": Field(str, f"{ELSEWHERE}: found at the service, not sent from this archive"),
    "kaggle_status": Field(str, "Kaggle's own status"),
    "public_score": Field(Number, "as Kaggle scored it"),
    "private_score": Field(Number, "known after the deadline"),
    "rank": Field(dict, "on the public leaderboard when the score came: rank, teams", inside=PLACE),
    "error_description": Field(str, "Kaggle's reason when it failed"),
    "history": Field(list, "state, at (UTC), note", [], inside=STEP),
    "provenance": Field(dict, "git, versions, argv, config and data hashes", {}, inside=PROVENANCE),
    "upload": Field(dict, "what is needed to find out what became of an upload", {}, inside=UPLOAD),
    "kernel": Field(dict, "of a notebook's output: owner/slug, version, file", inside=KERNEL),
    "digits_loss": Field(dict, "what fewer digits cost, measured out of fold", inside=DIGITS_LOSS),
    "final": Field(dict, "chosen as a final submission: when, why, by whom"),
    "pruned": Field(list, "what was dropped to save space, and when", []),
}


class SubmissionStore(RecordStore):
    """The submissions of a project."""

    kind: ClassVar[str] = "submission"
    file_name: ClassVar[str] = "record.json"
    command: ClassVar[str] = "kk leaderboard"
    fields: ClassVar = SUBMISSION_FIELDS
    listed: ClassVar[tuple[str, ...]] = (
        "competition", "rehearsal", "sent_at", "message", "run", "members", "translator", "folds", "seeds", "refit", "cv", "cv_error",
        "leaks", "basis", "train_seconds", "ref", "origin", "public_score", "private_score", "rank", "error_description", "final",
    )  # fmt: skip
    migrations: ClassVar[Migrations] = SUBMISSION_MIGRATIONS

    def _how_to_make_one(self) -> str:
        return "kk submit makes one"

    # --- finding submissions

    def scan(self) -> Listing:
        """As in the base, each submission once: see :func:`without_copies`."""
        listing = super().scan()
        return Listing(without_copies(listing.records), listing.broken)

    def overview(self) -> Listing:
        """As in the base, each submission once: see :func:`without_copies`."""
        listing = super().overview()
        return Listing(without_copies(listing.records), listing.broken)

    def every(self, *, where: Callable[[Record], bool]) -> list[Record]:
        """The readable records for which ``where`` is true, copies of one submission among them."""
        return [one for one in super().scan().records if where(one)]

    # --- making submissions

    def create(self, record_id: str, record: Mapping[str, Any]) -> Record:
        """As in the base; the state that it begins in is the first entry of its history."""
        state = record.get("state", "built")
        first = {"state": state, "at": timestamp(self.clock()), "note": ""}
        return super().create(record_id, {"history": [first], **record, "state": state})

    def build(
        self,
        name: str,
        ids: Sequence[Any] | np.ndarray,
        vectors: np.ndarray,
        record: Mapping[str, Any],
        *,
        columns: SubmissionFormat,
        digits: int | None = None,
        compress: str | None = None,
    ) -> Record:
        """A new submission in state built: vectors and file first, the record when both are whole.

        Args:
            name: for people; becomes part of the id.
            ids: (n,) integers or texts.
            vectors: (n, d) float32, in the order of ``ids``.
            record: the other fields; ``competition`` at least.
            columns: names of the file's columns.
            digits, compress: as in :func:`kaggle_kit.submission.write_submission`.
        """
        from kaggle_kit.archive import sent

        record_id = self.reserve(name, sent.vectors_sha256(vectors))
        folder = self.folder_of(record_id)
        kept = sent.save_vectors(folder, ids, vectors)
        file = sent.write_file(folder, ids, vectors, columns, digits=digits, compress=compress)
        return self.create(record_id, {**record, "vectors": kept, "file": file})

    def build_from_file(
        self,
        name: str,
        path: Path,
        ids: Sequence[Any] | np.ndarray,
        vectors: np.ndarray,
        record: Mapping[str, Any],
        *,
        columns: SubmissionFormat,
    ) -> Record:
        """A new submission in state built from a file made elsewhere, which is kept byte for byte.

        Args:
            path: the file: csv, zip or gz.
            vectors: (n, d) float32: what :func:`kaggle_kit.submission.read_vectors` read from it.
        """
        from kaggle_kit.archive import sent

        record_id = self.reserve(name, sent.vectors_sha256(vectors))
        folder = self.folder_of(record_id)
        kept = sent.save_vectors(folder, ids, vectors)
        file = sent.copy_file(folder, path, ids, vectors, columns)
        return self.create(record_id, {**record, "vectors": kept, "file": file})

    def keep(self, name: str, path: Path, record: Mapping[str, Any], *, content_sha256: str) -> Record:
        """A new submission in state built from a file of any format, which is kept byte for byte; there are no vectors.

        Args:
            content_sha256: what equal submissions are recognised by.
        """
        from kaggle_kit.archive import sent

        record_id = self.reserve(name, content_sha256)
        file = sent.keep_file(self.folder_of(record_id), path)
        return self.create(record_id, {**record, "vectors": {"sha256": content_sha256}, "file": file})

    def advance(
        self, record: Record | str, state: str, *, note: str = "", changes: Mapping[str, Any] | None = None
    ) -> Record:
        """Bring a submission to ``state`` and write that down, with the time and a ``note``, in its history.

        Raises:
            UsageError: the state cannot follow the one that it is in.
            RecordChanged: another process wrote the record since it was read.
        """
        record_id = record if isinstance(record, str) else record.id
        with self.locked(record_id):
            current = self._checked(record)
            if state != current.state and state not in NEXT_STATES.get(current.state, ()):
                raise UsageError(f"submission {record_id} is {current.state}: it cannot become {state}")
            entry = {"state": state, "at": timestamp(self.clock()), "note": note}
            fields = {**current, **(changes or {}), "id": record_id, "state": state}
            if state == "sending":
                fields["sent_at"] = entry["at"]
            elif state == "valid":  # Kaggle was asked and knows nothing of it
                fields["sent_at"] = None
            return self._write(record_id, {**fields, "history": [*current["history"], entry]})

    @contextmanager
    def sending(self, competition: str, *, timeout_s: float = 0.0) -> Iterator[None]:
        """Hold the competition's one lock, from pre-flight until Kaggle's answer.

        Raises:
            DuplicateError: another process is submitting to ``competition``.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.folder / f"sending-{competition}.lock", timeout_s, competition))
            except InterruptedWork:
                raise DuplicateError(
                    f"another kk submit or kk sync of {competition} is under way",
                    "wait until it has ended; kk leaderboard shows what became of it",
                ) from None
            yield

    # --- vectors and file

    def vectors(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """The ids (n,) and the vectors (n, d) float32 that were sent, the vectors mapped read-only from the disk.

        Raises:
            MissingError: they were pruned, or never kept.
            DataError: the file is damaged.
        """
        from kaggle_kit.archive import sent

        return sent.load_vectors(record.folder)

    def file_of(self, record: Record) -> Path:
        """Where the submission's file lies, or lay before it was pruned.

        Raises:
            MissingError: the record knows of no file.
        """
        if not record["file"].get("name"):
            raise MissingError(f"submission {record.id} has no file: it was made elsewhere")
        return inside(record.folder, record["file"]["name"])

    def rebuild_submission_csv(self, name: str | None, target: Path | None = None) -> Path:
        """Write a submission's file again from its vectors: the very same bytes, or nothing.

        Args:
            name: the submission, as in :meth:`load`.
            target: where to; None: where it was.

        Raises:
            MissingError: no such submission, or its vectors are gone.
            DataError: the bytes cannot be made again: a foreign file, or vectors that changed.
        """
        from kaggle_kit.archive import sent

        record = self.load(name)
        target = Path(target) if target else self.file_of(record)
        sent.rebuild_file(record.folder, record["file"], target)
        return target

    # --- looking for submissions

    def duplicate_of(
        self,
        competition: Competition,
        *,
        vectors_sha256: str | None = None,
        vectors: np.ndarray | None = None,
    ) -> Record | None:
        """An earlier submission of the same vectors that has, or may have, reached Kaggle; None when there is none.

        Args:
            competition: only submissions to this one count, rehearsed where it is.
            vectors_sha256: hash of the vectors.
            vectors: (n, d) float32; finds the same vectors written with fewer digits or another length too.
        """
        rivals = self.list(where=lambda one: one.belongs_to(competition) and may_have_been_sent(one))
        if vectors_sha256:
            same = next((one for one in rivals if one["vectors"].get("sha256") == vectors_sha256), None)
            if same:
                return same
        return next((one for one in rivals if vectors is not None and self._same_direction(one, vectors)), None)

    def _same_direction(self, record: Record, vectors: np.ndarray) -> bool:
        from kaggle_kit.archive import sent

        facts = record["vectors"]
        return (facts.get("rows"), facts.get("dimension")) == vectors.shape and sent.same_direction(
            record.folder, vectors
        )


def without_copies(records: Sequence[Record]) -> list[Record]:
    """``records`` with one of each submission at the service, in their order.

    Where the archives of two machines were merged, the one that sent a submission has a record of it, and the other found it at the
    service: the record of the sender counts, else the oldest.
    """
    numbers = [(one["competition"], one["rehearsal"], str(one["ref"])) for one in records if one["ref"] is not None]
    if len(set(numbers)) == len(numbers):
        return list(records)
    best: dict[tuple[str, bool, str], Record] = {}
    for number, one in zip(numbers, (one for one in records if one["ref"] is not None), strict=True):
        if number not in best or _outranks(one, best[number]):
            best[number] = one
    kept = {one.id for one in best.values()}
    return [one for one in records if one["ref"] is None or one.id in kept]


def _outranks(one: Record, other: Record) -> bool:
    return (one.get("origin") == ELSEWHERE, one.created, one.id) < (
        other.get("origin") == ELSEWHERE,
        other.created,
        other.id,
    )


def may_have_been_sent(record: Record) -> bool:
    """Whether Kaggle has, or may have, a submission: sending it again could cost a second one; any other can be sent as it is."""
    return record.state not in UNSENT_STATES or record["ref"] is not None
