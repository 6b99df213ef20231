"""The submission file: written to the exact byte, read back, and judged problem by problem.

``writer`` turns float32 vectors into the file, ``validator`` says everything that is wrong with one, ``sample`` does the same for any CSV
competition that has a sample file. Nothing here knows of runs, networks or Kaggle.
"""

from kaggle_kit.submission.comparison import Earlier
from kaggle_kit.submission.fingerprint import vectors_sha256
from kaggle_kit.submission.report import Problem, ValidationReport
from kaggle_kit.submission.sample import SampleFormat, content_sha256, learn_format, validate_against
from kaggle_kit.submission.validator import read_vectors, validate_submission
from kaggle_kit.submission.writer import FORMAT_ID, WritingFormat, WrittenFile, round_digits, write_submission

__all__ = [
    "FORMAT_ID",
    "Earlier",
    "Problem",
    "SampleFormat",
    "ValidationReport",
    "WritingFormat",
    "WrittenFile",
    "content_sha256",
    "learn_format",
    "read_vectors",
    "round_digits",
    "validate_against",
    "validate_submission",
    "vectors_sha256",
    "write_submission",
]
