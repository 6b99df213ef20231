"""Follow a notebook: its place in the queue, its status, its log as it is written."""

from __future__ import annotations

from collections.abc import Iterator

from kaggle_kit.config import Project
from kaggle_kit.errors import CredentialsError, InterruptedWork, KaggleKitError, MissingError, ServiceError
from kaggle_kit.kaggle_service import KaggleService, LogLine
from kaggle_kit.progress import Progress
from kaggle_kit.workflow.pauses import Pauses
from kaggle_kit.workflow.remote.jobs import JobStore, RemoteJob

DENIALS = 5
"""Looks in a row that may be refused: a notebook that has just been made is not to be seen everywhere at once."""


def follow(
    project: Project, service: KaggleService, store: JobStore, job: RemoteJob, *, progress: Progress
) -> Iterator[LogLine]:
    """The log of the newest push, line by line as it comes, until its session has ended; the job's record is kept up to date.

    Raises:
        InterruptedWork: not ended within ``remote.wait_s``.
        CredentialsError: refused.
    """
    settings, push = project.settings.remote, job.last
    told, refused = 0, 0
    watch = progress.start(f"waiting for {job.kernel}", None, "s")
    pauses = Pauses(watch, settings.poll_first_s, settings.poll_last_s)
    try:
        while True:
            before = job.last.state
            try:
                job, refused = look(service, store, job, progress=progress), 0
            except CredentialsError:  # a notebook that is new may be denied for a moment
                refused += 1
                if refused == DENIALS:
                    raise
            if job.last.state != before or told == 0:
                watch.update(pauses.waited_s, state=job.last.state.lower())
            if job.last.finished:
                yield from service.kernels.output(job.kernel, push.version).log[told:]
                return
            if pauses.waited_s > settings.wait_s:
                raise InterruptedWork(
                    f"{job.kernel} has not ended after {pauses.waited_s:.0f} s ({job.last.state.lower()})",
                    f"it goes on by itself: kk remote pull {job.name} fetches what it makes",
                )
            if job.last.state == "RUNNING":
                for line in _stream(service, job, told):
                    told += 1
                    pauses.shorten()
                    yield line
            pauses.rest()
    finally:
        watch.finish()


def look(service: KaggleService, store: JobStore, job: RemoteJob, *, progress: Progress) -> RemoteJob:
    """The job after a look at the service; unchanged when that cannot be asked just now.

    A push that may not have arrived is looked for by its mark.
    """
    push = job.last
    if push.version is None:
        found = service.kernels.find(job.kernel, push.id)
        if found is None:
            return store.refuse(job.name, "it never arrived")
        job = store.update(job.name, push={"version": found.version, "url": found.url, "state": "QUEUED"})
    try:
        status = service.kernels.status(job.kernel, job.last.version)
    except (ServiceError, MissingError) as error:
        progress.note(f"cannot look at {job.kernel} just now: {error.message}")
        return job
    if (status.state, status.message) == (job.last.state, job.last.message):
        return job
    progress.note(f"{job.kernel}, version {job.last.version}: {status.state.lower().replace('_', ' ')}")
    session = status.session or job.last.session
    return store.update(job.name, push={"state": status.state, "message": status.message, "session": session})


def _stream(service: KaggleService, job: RemoteJob, told: int) -> Iterator[LogLine]:
    """What the log has beyond the first ``told`` lines, until it ends, breaks or is silent; it is opened again later."""
    try:
        for number, line in enumerate(service.kernels.log(job.kernel)):
            if number >= told:
                yield line
    except KaggleKitError:
        return  # an older server has no stream: the status goes on telling, and the log comes at the end
