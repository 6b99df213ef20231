"""Check any submission file against the test ids and the dimension of the competition's data."""

from __future__ import annotations

from pathlib import Path

from kaggle_kit.archive import SubmissionStore
from kaggle_kit.config import Project
from kaggle_kit.embeddings import TestCaptions
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.submission import Earlier, ValidationReport, validate_against, validate_submission
from kaggle_kit.workflow.data import find_sample, image_dimension, read_test


def validate(
    project: Project,
    file: Path | str,
    *,
    most: int = 20,
    against: Path | None = None,
    strict: bool = False,
    progress: Progress = SILENCE,
) -> ValidationReport:
    """What is wrong with ``file``, row by row, and what looks odd beside the last submission.

    Args:
        file: a csv, or a zip or gz of one.
        most: problems kept in full; the others are counted.
        against: a sample submission that shows the format, of any competition; the project's data is not needed then.
        strict: raise for warnings, too.

    Raises:
        MissingError: no such file, or the test data is nowhere.
        SubmissionError: ``strict``, and there are errors or warnings.
    """
    file = Path(file)
    report = (
        judged(project, file, most=most, progress=progress)
        if against is None
        else validate_against(file, against, most=most)
    )
    if strict:
        report.raise_for_errors(strict=True)
    return report


def judged(
    project: Project,
    file: Path,
    *,
    test: TestCaptions | None = None,
    dimension: int | None = None,
    but: str | None = None,
    most: int = 20,
    progress: Progress = SILENCE,
) -> ValidationReport:
    """What is wrong with a file for the project's competition, and what looks odd beside the last submission.

    Args:
        test: the captions that it answers; they are read when None.
        dimension: numbers in a vector, where no training file tells it.
        but: id of the submission that the file is of, which is not compared with itself.
        most: as in :func:`validate`.
    """
    if project.settings.competition.plain:
        return validate_against(file, find_sample(project), most=most)
    if test is None:
        test = read_test(project, progress=progress)
    dimension = image_dimension(project) or dimension
    if dimension is None:
        progress.note("no training file here: the first list says how many numbers a vector has")
    return validate_submission(
        file,
        test.ids,
        dimension,
        project.settings.competition.submission,
        most=most,
        captions=test.captions,
        earlier=last_submission(project, but=but),
    )


def last_submission(project: Project, *, but: str | None = None) -> list[Earlier]:
    """The vectors of the newest submission that was scored, to compare a new one with; none when there are none."""
    store, competition = SubmissionStore(project.submissions_dir), project.settings.competition
    scored = store.list(where=lambda one: one.belongs_to(competition) and one.state == "scored" and one.id != but)
    for record in scored:
        try:
            return [Earlier(record.id, store.vectors(record)[1])]
        except (MissingError, DataError):
            continue
    return []
