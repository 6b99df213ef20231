"""Submit the output of a notebook's version: the only way into a code competition."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.archive.submissions import may_have_been_sent
from kaggle_kit.config import Project
from kaggle_kit.errors import DuplicateError, UsageError
from kaggle_kit.files import hash_of
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.submitting.draft import common_fields, run_fields
from kaggle_kit.workflow.submitting.sending import send


def submit_notebook(
    project: Project,
    kernel: str,
    version: int,
    file_name: str = "submission.csv",
    *,
    message: str,
    run: Mapping[str, Any] | None = None,
    wait: bool = True,
    dry_run: bool = False,
    force: bool = False,
    confirm: Callable[[Record], bool] | None = None,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> Record:
    """Submit what a version of a notebook wrote, once, and file it like any other submission.

    Args:
        kernel: ``owner/slug`` of the notebook.
        version: number of its version.
        file_name: which of its output files.
        run: record of the run that was trained there; its CV stands beside the score then.
        message, wait, dry_run, confirm, service: as in :func:`kaggle_kit.workflow.submitting.submit.submit`.
        force: submit the same version's file again.

    Raises:
        UsageError: ``kernel`` is not ``owner/slug``, or ``version`` is no number from 1.
        DuplicateError: the same version's file was submitted before, or another submission is under way.
        QuotaError, CredentialsError, ServiceError, SubmissionError, InterruptedWork: as in ``submit``.
    """
    output = _output(kernel, version, file_name)

    def filed(store: SubmissionStore, settled: list[Record]) -> Record:
        arrived = (one for one in settled if one["ref"] is not None and one["kernel"] == output)
        return next(arrived, None) or _filed(project, store, output, message, run or {}, force=force)

    return send(
        project, filed, wait=wait, dry_run=dry_run, force=force, confirm=confirm, service=service, progress=progress
    )


def _output(kernel: str, version: int, file_name: str) -> dict[str, Any]:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", kernel):
        raise UsageError(f"{kernel!r} is not the name of a notebook", "OWNER/SLUG, as in the notebook's address")
    if version < 1 or not file_name:
        raise UsageError(f"version {version}, file {file_name!r}: versions count from 1, and the file needs a name")
    return {"kernel": kernel, "version": version, "file": file_name}


def _filed(
    project: Project,
    store: SubmissionStore,
    output: dict[str, Any],
    message: str,
    run: Mapping[str, Any],
    *,
    force: bool,
) -> Record:
    """The record of this output: one that was never sent, else a new one."""
    competition = project.settings.competition
    same = store.list(where=lambda one: one.belongs_to(competition) and one["kernel"] == output)
    twin = next((one for one in same if may_have_been_sent(one)), None)
    if twin is not None and not force:
        raise DuplicateError(
            f"version {output['version']} of {output['kernel']} was submitted before: {twin.id} ({twin.state})",
            "run a new version, or insist with --force",
        )
    behind = run_fields(run, [{"run": run["id"], "weight": 1.0}]) if run else {}
    fields = {**common_fields(project, message), "state": "valid", "kernel": output, **behind}
    unsent = next((one for one in same if not may_have_been_sent(one)), None)
    if unsent is not None:
        return store.update(unsent, {name: value for name, value in fields.items() if name != "state"})
    return store.create(store.reserve(output["kernel"].rpartition("/")[2], hash_of(output)), fields)
