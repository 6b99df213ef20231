"""A competition that a rehearsal server plays: its files, its hidden answers, its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import UsageError


@dataclass(frozen=True)
class Rival:
    """Another team on the leaderboard."""

    team: str
    score: float


@dataclass(frozen=True)
class HostedCompetition:
    """What the server knows of a competition, the answers included.

    Attributes:
        slug: its name in addresses.
        title: its title, for people.
        files: folder whose files are offered for download under their relative paths.
        ids: ids to predict, (n,) int64.
        answers: the right image of each id, (n, d_image) float32; never served.
        gallery_size: rows of one gallery; galleries are cut in the order of the ids.
        format: columns of a submission.
        plain: a competition without embeddings: one number a row is submitted, scored by R² against ``answers`` of shape (n, 1).
        max_daily_submissions: submissions a day (UTC); those that end in ERROR do not count.
        deadline: aware; None: it never ends. Private scores are hidden until then.
        entered: the rules are accepted and the competition joined.
        public_share: share of the galleries behind the public score; the rest makes the private one. 1: both are the same.
        team: our team's name on the leaderboard.
        rivals: other teams.
        submissions_disabled: nothing can be submitted.
        code_only: only notebooks can be submitted.
        notebooks: what versions of notebooks wrote: ``owner/slug/version`` to a folder.

    Raises:
        UsageError: the arrays do not fit together.
    """

    slug: str
    title: str
    files: Path
    ids: NDArray[np.int64]
    answers: NDArray[np.float32]
    gallery_size: int = 100
    format: SubmissionFormat = field(default_factory=SubmissionFormat)
    plain: bool = False
    max_daily_submissions: int = 5
    deadline: datetime | None = None
    entered: bool = True
    public_share: float = 1.0
    team: str = "rehearsal team"
    rivals: tuple[Rival, ...] = ()
    submissions_disabled: bool = False
    code_only: bool = False
    notebooks: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.answers.ndim != 2 or len(self.ids) != len(self.answers):
            raise UsageError(f"{len(self.ids)} ids do not fit answers of shape {self.answers.shape}")
        if not 0 < self.public_share <= 1:
            raise UsageError(f"public_share must be above 0 and at most 1, not {self.public_share}")
