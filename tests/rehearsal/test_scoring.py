"""Scores against a naive count of ranks, and files that cannot be scored."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pytest
from faults import small_competition, submission_bytes

from kaggle_kit.errors import UsageError
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.scoring import Rejected, reciprocal_ranks, score_file, score_vectors


def naive(vectors, answers, gallery):
    """MRR by loops: the rank of the right image among its gallery, ties counted against."""
    total = []
    for row, vector in enumerate(vectors):
        start = row // gallery * gallery
        rivals = answers[start : start + gallery]
        cosines = [float(vector @ image / np.linalg.norm(vector) / np.linalg.norm(image)) for image in rivals]
        total.append(1 / sum(cosine >= cosines[row - start] for cosine in cosines))
    return float(np.mean(total))


def test_score_equals_a_naive_count(hosted):
    vectors = np.random.default_rng(3).normal(size=hosted.answers.shape)
    assert score_vectors(vectors, hosted).public == pytest.approx(naive(vectors, hosted.answers, 10))


def test_ties_count_against():
    gallery = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert reciprocal_ranks(vectors, gallery).tolist() == [0.5, 0.5, pytest.approx(1 / 3)]


def test_public_and_private_share_the_galleries(tmp_path):
    hosted = small_competition(tmp_path, public_share=1 / 3)
    vectors = hosted.answers.astype(float).copy()
    vectors[10:] = -vectors[10:]
    score = score_vectors(vectors, hosted)
    assert score.public == 1.0
    assert score.private == pytest.approx(naive(vectors[10:], hosted.answers[10:], 10))


def test_order_of_columns_and_rows_does_not_matter(hosted, tmp_path):
    _, *rows = submission_bytes(hosted).decode().splitlines()
    swapped = [row.partition(",")[2] + "," + row.partition(",")[0] for row in reversed(rows)]
    (tmp_path / "s").write_text("\n".join(["embedding,id", *swapped]))
    assert score_file(tmp_path / "s", hosted).public == 1.0


@pytest.mark.parametrize("packed", ["zip", "gz"])
def test_packed_file_is_scored(hosted, tmp_path, packed):
    path = tmp_path / "s"
    if packed == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("submission.csv", submission_bytes(hosted))
    else:
        path.write_bytes(gzip.compress(submission_bytes(hosted)))
    assert score_file(path, hosted).public == 1.0


def edited(hosted, old, new):
    return submission_bytes(hosted).replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b"embedding\n", b"embeddings\n"), r"Unexpected Column: 'embeddings' \(Line 1, Column 2\)"),
        ((b"id,embedding\n", b"id\n"), "Missing Column: 'embedding'"),
        ((b"\n2,", b"\n1,"), "Duplicate id: 1"),
        ((b"\n2,", b"\n99,"), "Unexpected id: 99"),
        ((b"\n2,", b"\ntwo,"), "Unable to parse id 'two'"),
        ((b'\n2,"[', b'\n2,"[NaN, '), "contains NaN or infinite values at id 2"),
        ((b'\n2,"[', b'\n2,"[1e999, '), "at id 2"),
        ((b'\n2,"[', b'\n2,"[np.float32(1.5), '), "no list of numbers at id 2"),
        ((b'\n2,"[', b'\n2,"[0.5, '), "embedding of id 2 must have 8 numbers, not 9"),
        ((b"\n30,", b"\n\n30,"), "0 fields where 2 are expected"),
        ((b"id,", b"\xff\xfeid,"), "Unable to read the file"),
    ],
)
def test_file_that_cannot_be_scored_is_rejected_with_the_reason(hosted, tmp_path, change, reason):
    (tmp_path / "s").write_bytes(edited(hosted, *change))
    with pytest.raises(Rejected, match=reason):
        score_file(tmp_path / "s", hosted)


def test_missing_rows_are_rejected_with_the_number_expected(hosted, tmp_path):
    (tmp_path / "s").write_bytes(b"\n".join(submission_bytes(hosted).splitlines()[:-1]))
    with pytest.raises(Rejected, match="Submission must have 30 rows"):
        score_file(tmp_path / "s", hosted)


def test_answers_that_do_not_fit_the_ids_are_refused(tmp_path):
    with pytest.raises(UsageError, match="3 ids do not fit answers of shape"):
        HostedCompetition("x", "X", tmp_path, np.arange(3), np.zeros((4, 2), np.float32))
