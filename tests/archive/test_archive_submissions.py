"""Submissions: states with their history, vectors, the same bytes again, duplicates."""

from __future__ import annotations

import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.archive import Record, RecordChanged, SubmissionStore
from kaggle_kit.archive.submissions import NEXT_STATES, may_have_been_sent
from kaggle_kit.competition import Competition, SubmissionFormat
from kaggle_kit.errors import DataError, DiskFullError, DuplicateError, MissingError, UsageError
from kaggle_kit.files import sha256_of
from kaggle_kit.submission import read_vectors, vectors_sha256, write_submission

Build = Callable[..., Record]


def test_built_submission_has_record_file_and_vectors(
    submissions: SubmissionStore, build: Build, ids: np.ndarray, vectors: np.ndarray
) -> None:
    record = build(vectors)
    file = submissions.file_of(record)
    assert record.state == "built"
    assert record["file"]["sha256"] == sha256_of(file)
    assert record["file"]["size"] == file.stat().st_size
    assert record["vectors"] == {"sha256": vectors_sha256(vectors), "rows": 12, "dimension": 8}
    assert read_vectors(file, ids, 8).tobytes() == vectors.tobytes()
    kept_ids, kept = submissions.vectors(record)
    assert (kept == vectors).all()
    assert (kept_ids == ids).all()


def test_states_are_written_down_with_time_and_note(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors, "sending")
    record = submissions.advance(record, "sent", note="accepted", changes={"ref": 4711})
    record = submissions.advance(record, "scored", changes={"public_score": 0.875})
    again = submissions.read(record.id)
    assert [entry["state"] for entry in again["history"]] == ["built", "valid", "sending", "sent", "scored"]
    assert again["history"][3]["note"] == "accepted"
    assert (again["ref"], again["public_score"], again.state) == (4711, 0.875, "scored")
    times = [entry["at"] for entry in again["history"]]
    assert times == sorted(times)


def test_every_state_but_the_allowed_ones_is_refused(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors)
    for state, allowed in NEXT_STATES.items():
        for following in NEXT_STATES:
            record = submissions.update(record, state=state)
            if following in allowed or following == state:
                record = submissions.advance(record, following)
            else:
                with pytest.raises(UsageError, match=f"is {state}: it cannot become {following}"):
                    submissions.advance(record, following)


def test_advance_of_a_stale_record_is_refused(submissions: SubmissionStore, build: Build, vectors: np.ndarray) -> None:
    stale = build(vectors)
    submissions.advance(stale, "valid")
    with pytest.raises(RecordChanged, match="was changed by another process"):
        submissions.advance(stale, "valid")


def test_adopted_submission_needs_no_file(submissions: SubmissionStore) -> None:
    record = submissions.create(
        submissions.reserve("web", "ab" * 20),
        {
            "competition": "aml-competition",
            "state": "scored",
            "ref": 99,
            "public_score": 0.8,
            "message": "from the page",
        },
    )
    assert [entry["state"] for entry in record["history"]] == ["scored"]
    with pytest.raises(MissingError, match="has no file: it was made elsewhere"):
        submissions.file_of(record)
    with pytest.raises(MissingError, match="are not kept any more"):
        submissions.vectors(record)


def test_vectors_that_the_disk_cuts_short_are_told_and_make_no_submission(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=r"disk full while writing .*vectors\.npy"):
            build(np.tile(vectors, (1, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert submissions.list() == []
    assert not list(submissions.folder.rglob("*vectors*"))


@pytest.mark.parametrize(("digits", "compress"), [(None, None), (4, None), (None, "zip"), (6, "gz")])
def test_pruned_file_is_rebuilt_to_the_byte(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, digits: int | None, compress: str | None
) -> None:
    record = build(vectors, digits=digits, compress=compress)
    file = submissions.file_of(record)
    before = file.read_bytes()
    file.unlink()
    assert submissions.rebuild_submission_csv(record.id) == file
    assert file.read_bytes() == before
    assert sorted(path.name for path in record.folder.iterdir()) == sorted(
        [".lock", "ids.npy", "record.json", file.name, "vectors.npy"]
    )


def test_rebuild_elsewhere_leaves_the_archive_alone(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, tmp_path: Path
) -> None:
    record = build(vectors, compress="zip")
    target = submissions.rebuild_submission_csv(record.id[:20], tmp_path / "again.zip")
    assert sha256_of(target) == record["file"]["sha256"]


def test_rebuild_from_other_vectors_is_refused_and_leaves_nothing(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors)
    np.save(record.folder / "vectors.npy", vectors + 1)
    submissions.file_of(record).unlink()
    with pytest.raises(DataError, match=r"has SHA-256 .*…, the one sent had .*…"):
        submissions.rebuild_submission_csv(record.id)
    assert not submissions.file_of(record).exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage" * 100])
def test_damaged_vectors_are_named(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, content: bytes
) -> None:
    record = build(vectors)
    (record.folder / "vectors.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"vectors\.npy is damaged"):
        submissions.vectors(record)
    assert submissions.duplicate_of(Competition(), vectors=vectors) is None


def test_pickled_vectors_are_never_loaded(submissions: SubmissionStore, build: Build, vectors: np.ndarray) -> None:
    record = build(vectors)
    np.save(record.folder / "vectors.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is damaged"):
        submissions.vectors(record)


def test_file_made_elsewhere_is_kept_to_the_byte_and_never_claimed_as_ours(
    submissions: SubmissionStore, tmp_path: Path, ids: np.ndarray, vectors: np.ndarray
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("id,embedding\n" + "".join(f'{i},"{row.tolist()}"\n' for i, row in zip(ids, vectors, strict=True)))
    record = submissions.build_from_file("mine", path, ids, vectors, {"competition": "c"}, columns=SubmissionFormat())
    assert submissions.file_of(record).read_bytes() == path.read_bytes()
    assert (record["file"]["format"], record["file"]["sha256"]) == ("foreign", sha256_of(path))
    with pytest.raises(DataError, match="was not written by this kaggle_kit"):
        submissions.rebuild_submission_csv(record.id)


@pytest.mark.parametrize("name", ["mine.csv", "mine.zip", "mine.csv.gz"])
def test_file_of_our_writer_is_recognised_and_can_be_rebuilt(
    submissions: SubmissionStore, tmp_path: Path, ids: np.ndarray, vectors: np.ndarray, name: str
) -> None:
    written = write_submission(tmp_path / name, ids, vectors)
    record = submissions.build_from_file(
        "mine", written.path, ids, vectors, {"competition": "c"}, columns=SubmissionFormat()
    )
    assert record["file"]["format"] == written.format_id
    submissions.file_of(record).unlink()
    assert sha256_of(submissions.rebuild_submission_csv(record.id)) == written.sha256


def test_zip_in_the_archive_holds_a_file_of_its_name(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    with zipfile.ZipFile(submissions.file_of(build(vectors, compress="zip"))) as archive:
        assert archive.namelist() == ["submission.csv"]


@pytest.mark.parametrize("state", ["sending", "sent", "scored"])
def test_same_vectors_are_found_once_they_may_have_been_sent(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, state: str
) -> None:
    record = build(vectors, state)
    for found in (
        submissions.duplicate_of(Competition(), vectors_sha256=vectors_sha256(vectors)),
        submissions.duplicate_of(Competition(), vectors=vectors),
        submissions.duplicate_of(Competition(), vectors=vectors * 2),
        submissions.duplicate_of(Competition(), vectors=np.round(vectors, 5)),
    ):
        assert found is not None
        assert found.id == record.id


def test_what_was_never_sent_and_other_vectors_are_no_duplicates(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    built = build(vectors)
    build(vectors, "valid")
    assert submissions.duplicate_of(Competition(), vectors=vectors) is None
    failed = submissions.advance(built, "failed", note="could not upload")
    assert submissions.duplicate_of(Competition(), vectors=vectors) is None
    submissions.update(failed, ref=12)
    assert submissions.duplicate_of(Competition(), vectors=vectors) is not None
    assert submissions.duplicate_of(Competition(), vectors=vectors[::-1]) is None
    assert submissions.duplicate_of(Competition(slug="another"), vectors=vectors) is None


@pytest.mark.parametrize("state", NEXT_STATES)
def test_without_a_number_only_what_was_never_asked_for_can_be_sent_again(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, state: str
) -> None:
    record = submissions.update(build(vectors), state=state, ref=None)
    assert may_have_been_sent(record) == (state in ("sending", "sent", "scored"))
    assert may_have_been_sent(submissions.update(record, ref=12)), "what has a number was sent, whatever its state"


def test_rehearsals_and_the_real_competition_do_not_mix(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    build(vectors, "scored", rehearsal=True)
    assert submissions.duplicate_of(Competition(), vectors=vectors) is None
    assert submissions.duplicate_of(Competition(rehearsal=True), vectors=vectors) is not None


def test_only_one_may_send_to_a_competition(submissions: SubmissionStore) -> None:
    other = SubmissionStore(submissions.folder)
    with submissions.sending("aml-competition"):
        with (
            pytest.raises(DuplicateError, match="another kk submit or kk sync of aml-competition is under way"),
            other.sending("aml-competition"),
        ):
            pass
        with other.sending("another"):
            pass
    with other.sending("aml-competition"):
        pass


def test_file_name_outside_the_folder_is_refused(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors)
    record = submissions.update(record, file={**record["file"], "name": "../../secret"})
    with pytest.raises(DataError, match="is outside"):
        submissions.file_of(record)
