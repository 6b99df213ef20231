"""Ask the service whether a submission would be taken, before a byte is sent."""

from __future__ import annotations

from datetime import UTC, datetime

from kaggle_kit.archive import remember_limit
from kaggle_kit.config import Project
from kaggle_kit.errors import CredentialsError, QuotaError
from kaggle_kit.kaggle_service import KaggleService, Limits
from kaggle_kit.progress import Progress


def preflight(
    project: Project, service: KaggleService, progress: Progress, *, force: bool, notebook: bool = False
) -> Limits:
    """The submissions left, when one would be taken now.

    Args:
        force: try it after the deadline, too.
        notebook: the output of a notebook is submitted, not a file.

    Raises:
        CredentialsError: not entered, disabled, notebooks only, or past the deadline.
        QuotaError: none left today, or none beyond those to keep.
    """
    slug = project.settings.competition.slug
    info = service.competition(slug)
    page = info.url or f"https://www.kaggle.com/competitions/{slug}"
    if info.entered is False:
        raise CredentialsError(
            f"you have not entered {slug}: its rules are not accepted",
            f"accept them at {page}/rules, then submit again",
        )
    if info.submissions_disabled:
        raise CredentialsError(f"{slug} takes no submissions (they are disabled)", f"see {page}")
    if info.code_only and not notebook:
        raise CredentialsError(
            f"{slug} takes submissions from notebooks only",
            f"kk submit --kernel OWNER/SLUG --kernel-version N --file NAME submits a notebook's output; see {page}/code",
        )
    if info.deadline is not None and info.deadline < datetime.now(UTC):
        passed = f"the deadline of {slug} was {info.deadline:%Y-%m-%d %H:%M} UTC"
        if not force:
            raise CredentialsError(f"{passed}; nothing was sent", "--force tries a late submission")
        progress.note(f"{passed}: trying a late submission")
    return _checked_quota(project, service, progress)


def _checked_quota(project: Project, service: KaggleService, progress: Progress) -> Limits:
    limits, keep = service.limits(project.settings.competition.slug), project.settings.submit.keep
    if limits.per_day:
        remember_limit(project.submissions_dir, project.settings.competition.slug, limits.per_day)
    if limits.allowed_now is None:
        return limits
    hours = max(0.0, (limits.resets - datetime.now(UTC)).total_seconds() / 3600)
    of = f" of {limits.per_day}" if limits.per_day else ""
    progress.note(f"{limits.allowed_now}{of} submissions left today, {keep} to keep; the count resets in {hours:.1f} h")
    if limits.allowed_now == 0:
        raise QuotaError(
            f"no submissions left today ({limits.used_today} used{of}); nothing was sent",
            f"try again in {hours:.1f} h (midnight UTC)",
        )
    if limits.allowed_now <= keep:
        raise QuotaError(
            f"{limits.allowed_now} submissions left today and {keep} to keep; nothing was sent",
            f"lower --keep, or try again in {hours:.1f} h (midnight UTC)",
        )
    return limits
