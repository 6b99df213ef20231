"""The one error root of the package, and one class a family of failures.

Every error that a user can meet says what happened (``message``, with the values), what to do next (``hint``)
and carries the exit code that ``kk`` ends with. The command line turns them into text or JSON in one place.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "unexpected error",
    2: "usage or configuration",
    3: "data or submission invalid (a submission that Kaggle scored as ERROR too)",
    4: "credentials or rules",
    5: "quota used up or duplicate refused",
    6: "service or network",
    7: "training diverged",
    8: "no such run, submission or file",
    75: "stopped but resumable (time budget, SIGTERM, full disk, score still awaited)",
    130: "Ctrl-C",
}


class KaggleKitError(Exception):
    """Root of every error that the package raises on purpose.

    Attributes:
        message: what happened, with the values.
        hint: what to do next; empty when there is nothing to add.
        exit_code: what ``kk`` exits with (see ``EXIT_CODES``).
        kind: the family's short name, for ``--json``.
    """

    exit_code = 1
    kind = "unexpected"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"Hint: {hint}")  # at the end of a traceback, in a notebook too

    def to_dict(self) -> dict[str, object]:
        """The error as plain data, the shape that ``--json`` prints under ``error``."""
        return {"code": self.exit_code, "kind": self.kind, "message": self.message, "hint": self.hint}


class UsageError(KaggleKitError):
    """A command, option or argument that makes no sense as given."""

    exit_code = 2
    kind = "usage"


class ConfigError(UsageError):
    """One or more settings are wrong; ``problems`` holds one sentence each."""

    kind = "config"

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("\n".join(problems), hint or "kk config show lists every setting with its value and origin")
        self.problems = problems

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "problems": self.problems}


class DataError(KaggleKitError):
    """The competition's data, or an archive of it, is not what it should be."""

    exit_code = 3
    kind = "data"


class SubmissionError(DataError):
    """A submission file is invalid, or the service scored it as ERROR."""

    kind = "submission"


class CredentialsError(KaggleKitError):
    """No credentials, refused ones, rules not accepted, or a permission that is missing."""

    exit_code = 4
    kind = "credentials"


class QuotaError(KaggleKitError):
    """No submissions left today, or fewer than the user wants to keep."""

    exit_code = 5
    kind = "quota"


class DuplicateError(KaggleKitError):
    """The same thing was done before: the same vectors sent, the same prediction averaged twice."""

    exit_code = 5
    kind = "duplicate"


class ServiceError(KaggleKitError):
    """The network or the service failed, and patience did not help."""

    exit_code = 6
    kind = "service"


class TrainingError(KaggleKitError):
    """Training diverged."""

    exit_code = 7
    kind = "training"


class MissingError(KaggleKitError):
    """No run, submission or file of that name."""

    exit_code = 8
    kind = "missing"


class InterruptedWork(KaggleKitError):
    """Stopped before the end, with everything kept that is needed to go on."""

    exit_code = 75
    kind = "interrupted"


class DiskFullError(InterruptedWork):
    """No space was left on the device; what was there before is untouched."""

    kind = "disk_full"


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where nothing more can be written."""

REFUSALS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)
"""What the system says where no file or folder can be made: read-only, not permitted, a file in place of a folder."""


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Translate the operating system's refusals while ``doing`` something to ``path`` into our errors.

    Raises:
        DiskFullError: no space, quota or file size left.
        UsageError: the folder is read-only, missing or not permitted.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFullError(
                f"disk full while {doing} {path} ({error.strerror})", "free some space, then run the same command again"
            ) from error
        if error.errno in REFUSALS:
            raise UsageError(
                f"cannot finish {doing} {path}: {error.strerror}", "choose a folder that you may write to"
            ) from error
        raise
