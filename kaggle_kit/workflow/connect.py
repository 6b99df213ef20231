"""The service that a use case talks to: the one given, or the one that the project's settings lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kaggle_kit.config import Project
from kaggle_kit.errors import UsageError
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import Progress


def connect(
    project: Project,
    given: KaggleService | None,
    *,
    progress: Progress,
    environ: Mapping[str, str] = os.environ,
) -> KaggleService:
    """``given``, or a connection to Kaggle or the server named instead; nothing is sent yet.

    Raises:
        UsageError: the project is a rehearsal whose server is gone: Kaggle knows nothing of its competition.
    """
    if given is not None:
        return given
    settings = project.settings
    elsewhere = settings.service.endpoint or environ.get("KAGGLE_API_ENDPOINT")
    if settings.competition.rehearsal and not elsewhere:
        raise UsageError(
            f"{settings.competition.slug} is a rehearsal; its server ran inside kk demo or kk rehearse and has ended",
            "kk rehearse plays again; kk leaderboard, kk predict and kk validate need no server",
        )
    return KaggleService(settings.service, environ=environ, progress=progress)
