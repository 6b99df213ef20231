"""Train in Kaggle's notebooks, driven from here: push, follow, pull, go on until done."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from kaggle_kit.archive import Record, RunStore, provenance
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.config import Project, Settings
from kaggle_kit.errors import (
    CredentialsError,
    DataError,
    InterruptedWork,
    KaggleKitError,
    MissingError,
    QuotaError,
    ServiceError,
    TrainingError,
    UsageError,
)
from kaggle_kit.kaggle_service import AnswerLost, KaggleService, Kernel, LogLine, Push, Quota
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import duration_text
from kaggle_kit.version import commit_text
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.notebooks.pack import make_pack, script_of
from kaggle_kit.workflow.notebooks.wheel import requirements
from kaggle_kit.workflow.records import load_run
from kaggle_kit.workflow.remote.accelerators import machine_of
from kaggle_kit.workflow.remote.jobs import REFUSED, JobStore, RemoteJob, RemotePush
from kaggle_kit.workflow.remote.output import bring_home, last_words
from kaggle_kit.workflow.remote.watch import follow, look
from kaggle_kit.workflow.submitting.code_submission import submit_notebook
from kaggle_kit.workflow.train import Run

LONGEST_SLUG = 50
RESUMABLE = ("interrupted",)

FAMILIES: dict[int | None, type[KaggleKitError]] = {
    kind.exit_code: kind
    for kind in (UsageError, DataError, CredentialsError, ServiceError, TrainingError, MissingError)
}
"""The error that a failed training there is here, by what ``kk`` ended with."""


@dataclass(frozen=True)
class RemoteResult:
    """What a remote training came to: its record, and the run once that is here."""

    job: RemoteJob
    run: Run | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {"job": self.job.to_dict(), "run": self.run.record if self.run else None}


def remote_train(
    project: Project,
    *,
    name: str | None = None,
    resume: str | None = None,
    wait: bool = True,
    until_done: bool = False,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> RemoteResult:
    """Train the translator that the project's settings select in a private notebook, and file the run here.

    Args:
        name: part of the run's and the notebook's name; the translator's when None.
        resume: a run, or a job, that was stopped by its time limit: it goes on from its own output. Empty: the newest such.
        wait: follow the notebook to its end and pull what it wrote; else only start it.
        until_done: push again whenever the time limit stopped it.
        service: where to; Kaggle, or the server that the settings name, when None.

    Raises:
        UsageError: arguments that exclude each other, a setting that cannot hold there, a secret among what would be sent, a pack that
            is too large.
        QuotaError: too few GPU hours left.
        CredentialsError: not logged in, or the competition's rules not accepted.
        ServiceError: the network or the service failed; the record tells how far it got.
        InterruptedWork: stopped by the time limit and pulled (go on with ``resume``), cancelled, or not ended in time.
        Any family (DataError, TrainingError, …): the training failed there, with its last words and its exit code; its log is here.
    """
    if name and resume is not None:
        raise UsageError("a run that goes on keeps its name", "leave out --name or --resume")
    if until_done and not wait:
        raise UsageError(
            "to push again until a run is done, it has to be followed", "leave out --until-done or --no-wait"
        )
    service = connect(project, service, progress=progress)
    store = JobStore(project.models_dir)
    if resume is None:
        job = _new_job(project, service, store, name)
        command = ["train", *(["--name", name] if name else [])]
        job = _push(project, project.settings, service, store, job, command, progress)
    else:
        job = _push_again(project, service, store, _to_resume(project, service, store, resume, progress), progress)
    if not wait:
        progress.note(f"it goes on by itself: kk remote pull {job.name} fetches what it makes")
        return RemoteResult(job, None)
    job = _follow_and_pull(project, service, store, job, progress)
    while until_done and job.run_state in RESUMABLE and len(job.pushes) < project.settings.remote.most_pushes:
        progress.note(f"run {job.run} goes on in another session ({len(job.pushes) + 1})")
        job = _follow_and_pull(project, service, store, _push_again(project, service, store, job, progress), progress)
    return _outcome(project, store, job)


def remote_pull(
    project: Project, wanted: str | None = None, *, service: KaggleService | None = None, progress: Progress = SILENCE
) -> RemoteResult:
    """Fetch what a remote training wrote, compare every hash, and file its run.

    Args:
        wanted: a job, its notebook or its run; ``OWNER/SLUG`` may also be a notebook of ``kk remote train`` on another machine.
            None: the newest.

    Raises:
        InterruptedWork: it has not ended yet, or it was stopped by its time limit.
        Others: as :func:`remote_train`.
    """
    service = connect(project, service, progress=progress)
    store = JobStore(project.models_dir)
    job = look(service, store, _known(project, service, store, wanted), progress=progress)
    if not job.last.finished:
        raise InterruptedWork(
            f"{job.kernel} has not ended yet ({job.state})", f"kk remote logs -f {job.name} follows it; pull again then"
        )
    return _outcome(project, store, _pulled(project, service, store, job, progress))


def remote_status(
    project: Project, wanted: str | None = None, *, service: KaggleService | None = None, progress: Progress = SILENCE
) -> RemoteJob:
    """How far a remote training got, asked of the service unless it has ended; None: the newest."""
    store = JobStore(project.models_dir)
    job = store.load(wanted)
    if job.last.finished and job.last.version is not None:
        return job
    return look(connect(project, service, progress=progress), store, job, progress=progress)


def remote_logs(
    project: Project,
    wanted: str | None = None,
    *,
    follow_it: bool = False,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> Iterator[LogLine]:
    """The log of a remote training so far, or with ``follow_it`` until its session has ended."""
    service = connect(project, service, progress=progress)
    store = JobStore(project.models_dir)
    job = look(service, store, store.load(wanted), progress=progress)
    if follow_it and not job.last.finished:
        yield from follow(project, service, store, job, progress=progress)
    elif job.last.finished:
        yield from service.kernels.output(job.kernel, job.last.version).log
    else:
        yield from _so_far(service, job)


def remote_list(
    project: Project, *, progress: Progress = SILENCE, service: KaggleService | None = None
) -> list[RemoteJob]:
    """The remote trainings known here, the newest first; those under way as the service sees them, if it can be asked.

    Raises:
        DataError: the only record is broken; one beside others is told of and left out.
    """
    store = JobStore(project.models_dir)
    jobs = _readable(store, progress)
    under_way = [job for job in jobs if not job.last.finished]
    try:
        asked = connect(project, service, progress=progress) if under_way else None
        fresh = {job.name: look(asked, store, job, progress=progress) for job in under_way} if asked else {}
    except KaggleKitError as error:
        progress.note(f"those under way are shown as last seen: {error.message}")
        return jobs
    return [fresh.get(job.name, job) for job in jobs]


def list_kernels(
    project: Project, *, service: KaggleService | None = None, progress: Progress = SILENCE
) -> list[Kernel]:
    """Every notebook of the account, the one run last first; one of ``kk remote train`` elsewhere can be pulled by its name."""
    service = connect(project, service, progress=progress)
    return [*service.kernels.list(_owner(project, service))]


def remote_cancel(
    project: Project, wanted: str | None = None, *, service: KaggleService | None = None, progress: Progress = SILENCE
) -> RemoteJob:
    """Stop a remote training, where the service tells the number of its session.

    Raises:
        UsageError: it has ended already, or the service gives no way; the text has the page where it can be stopped.
    """
    service = connect(project, service, progress=progress)
    store = JobStore(project.models_dir)
    job = look(service, store, store.load(wanted), progress=progress)
    if job.last.finished:
        raise UsageError(
            f"{job.kernel} has ended already ({job.state})", f"kk remote pull {job.name} fetches what it wrote"
        )
    if job.last.session is None:
        raise UsageError(
            f"{service.name} does not tell the number of the session of {job.kernel}, without which its API stops none",
            f"stop it on its page: {job.last.url or service.kernels.page(job.kernel)}",
        )
    service.kernels.cancel(job.last.session)
    return look(service, store, job, progress=progress)


def remote_submit(
    project: Project,
    wanted: str | None = None,
    *,
    message: str,
    wait: bool = True,
    dry_run: bool = False,
    force: bool = False,
    confirm: Callable[[Record], bool] | None = None,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> Record:
    """Submit the ``submission.csv`` that a remote training wrote, as a code competition asks for; waits for its end first.

    Args:
        wanted: a job, its notebook or its run; the newest when None.
        message, wait, dry_run, force, confirm, service: as in ``submit``.

    Raises:
        MissingError: it wrote none.
        Others: as :func:`remote_pull` and ``submit``.
    """
    service = connect(project, service, progress=progress)
    store = JobStore(project.models_dir)
    job = look(service, store, store.load(wanted), progress=progress)
    if not job.last.pulled:
        job = _follow_and_pull(project, service, store, job, progress)
    result = _outcome(project, store, job)
    if not job.last.predicted or job.last.state != "COMPLETE" or job.last.version is None:
        raise MissingError(
            f"version {job.last.version} of {job.kernel} left no submission.csv", "its log tells why: kk remote logs"
        )
    return submit_notebook(
        project,
        job.kernel,
        job.last.version,
        run=None if result.run is None else result.run.record,
        message=message,
        wait=wait,
        dry_run=dry_run,
        force=force,
        confirm=confirm,
        service=service,
        progress=progress,
    )


# --- pushing


def _owner(project: Project, service: KaggleService) -> str:
    return project.settings.remote.owner or service.username


def _new_job(project: Project, service: KaggleService, store: JobStore, name: str | None) -> RemoteJob:
    """A job that was not pushed yet and is not on disk."""
    settings = project.settings
    machine_of(settings.remote.gpu)  # refuse before anything is asked or written
    service.require_entered(settings.competition.slug)
    label, now = name or settings.translator.name, utc_now()
    plain = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    stamp = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    slug = f"kk-{plain[: LONGEST_SLUG - len(stamp) - 4].strip('-') or 'run'}-{stamp}"
    return RemoteJob(
        name=slug,
        kernel=f"{_owner(project, service)}/{slug}",
        label=label,
        competition=settings.competition.slug,
        rehearsal=settings.competition.rehearsal,
        created=timestamp(now),
        git=None,
        config_digest=settings.digest(),
    )


def _to_resume(project: Project, service: KaggleService, store: JobStore, wanted: str, progress: Progress) -> RemoteJob:
    """The job that is to go on, its output so far at hand.

    Raises:
        MissingError: none was stopped by a time limit.
        UsageError: it runs, or is done.
    """
    if wanted:
        job = store.load(wanted)
    else:
        stopped = [one for one in _readable(store, progress) if one.run_state in RESUMABLE or _may_have_stopped(one)]
        if not stopped:
            raise MissingError("no remote training was stopped by its time limit", "kk remote list shows all")
        job = stopped[0]
    job = look(service, store, job, progress=progress) if not job.last.finished else job
    if not job.last.finished:
        raise UsageError(f"{job.kernel} has not ended yet ({job.state})", f"kk remote logs -f {job.name} follows it")
    if not job.last.pulled:
        job = _pulled(project, service, store, job, progress)
    if job.run is None or job.run_state not in RESUMABLE:
        raise UsageError(f"{job.name} cannot go on: {job.state}", "kk remote train starts a new one")
    return job


def _readable(store: JobStore, progress: Progress) -> list[RemoteJob]:
    """Every job whose record can be read, the newest first; the others are told of.

    Raises:
        DataError: there are broken ones alone.
    """
    jobs, broken = store.scan()
    for error in broken.values():
        if not jobs:
            raise error
        progress.note(f"left out: {error.message}; {error.hint}")
    return jobs


def _may_have_stopped(job: RemoteJob) -> bool:
    """Whether it was pushed and what became of it is not here yet."""
    return not job.last.pulled and job.last.state != REFUSED


def _push_again(
    project: Project, service: KaggleService, store: JobStore, job: RemoteJob, progress: Progress
) -> RemoteJob:
    """Push a version that goes on with the job's run from the output of the version before."""
    assert job.run is not None
    record = load_run(project, job.run).record
    settings = replace(Settings.from_dict(record["config"]), remote=project.settings.remote)
    return _push(project, settings, service, store, job, ["train", "--resume", job.run], progress)


def _push(
    project: Project,
    settings: Settings,
    service: KaggleService,
    store: JobStore,
    job: RemoteJob,
    command: list[str],
    progress: Progress,
) -> RemoteJob:
    """Pack, ask for the hours left, note down, push; the record is on disk before anything leaves the machine."""
    remote = project.settings.remote
    machine = machine_of(remote.gpu)
    if machine is not None and settings.train.device == "cpu":
        progress.note(f"train.device = cpu would leave the accelerator idle: auto is used on {remote.gpu}")
        settings = replace(settings, train=replace(settings.train, device="auto"))
    session_s = _session_s(project, service, machine, progress)
    budget_s = session_s - min(remote.margin_s, 0.1 * session_s)
    push = RemotePush(secrets.token_hex(16), timestamp(utc_now()), machine, session_s)
    content = {
        "push": push.id,
        "kernel": job.kernel,
        "run": job.run,
        "command": [*command, "--time-budget", f"{budget_s:.0f}s"] if budget_s >= 1 else command,
        "budget_s": budget_s,
        "session_s": session_s,
        "requires": requirements(),
        "wheels": remote.wheels,
    }
    job = replace(job, git=provenance(project.root)["git"], pushes=(*job.pushes, push))
    pack = make_pack(project, settings, job.git, secrets=service.credentials.secrets)
    script = script_of(pack, content, limit_mb=remote.pack_mb)
    asked = Push(
        kernel=job.kernel,
        title=job.kernel.partition("/")[2].replace("-", " "),
        text=script,
        machine=machine,
        internet=remote.internet,
        competitions=(job.competition,),
        datasets=tuple(dict.fromkeys([*remote.datasets, *([remote.wheels] if remote.wheels else [])])),
        kernels=(job.kernel,) if job.run else (),
        timeout_s=max(1, int(session_s)),
    )
    if len(job.pushes) == 1:
        store.create(job)
    else:
        store.update(job.name, git=job.git, pushes=job.pushes)
    return _sent(service, store, job, asked, progress)


def _sent(service: KaggleService, store: JobStore, job: RemoteJob, asked: Push, progress: Progress) -> RemoteJob:
    """Push once, and keep what came of it."""
    progress.note(
        f"pushing {asked.kernel}: {len(asked.text) / 1e3:,.0f} kB, commit {commit_text(job.git) or 'unknown (no repository)'}; "
        f"{asked.machine or 'no accelerator'}, {duration_text(job.last.session_s)} at most"
    )
    try:
        pushed = service.kernels.push(asked)
    except AnswerLost:
        found = service.kernels.find(asked.kernel, job.last.id)
        if found is None:
            raise
        pushed = found
    except KaggleKitError as error:
        store.refuse(job.name, error.message)
        raise
    progress.note(f"version {pushed.version} is at {pushed.url}")
    changes = {"version": pushed.version, "url": pushed.url, "session": pushed.session, "state": "QUEUED"}
    return store.update(job.name, kernel=pushed.kernel, push=changes)


def _session_s(project: Project, service: KaggleService, machine: str | None, progress: Progress) -> float:
    """How long the session may be: the setting, or what is left of the week's hours.

    Raises:
        QuotaError: too little is left.
    """
    remote = project.settings.remote
    quota = service.kernels.quota().get("gpu") if machine is not None else None
    if quota is None:
        return remote.session_s
    progress.note(f"GPU hours this week: {_hours(quota)}")
    if quota.left_s < remote.keep_quota_s or not quota.left_s:
        raise QuotaError(
            f"{duration_text(quota.left_s)} of GPU time are left this week, less than remote.keep_quota_s = "
            f"{remote.keep_quota_s:.0f} asks for; nothing was pushed",
            "--gpu cpu needs no quota; the hours come back when the week is over",
        )
    return min(remote.session_s, quota.left_s)


def _hours(quota: Quota) -> str:
    reset = f", reset {quota.refreshes:%a %d %b %H:%M} UTC" if quota.refreshes else ""
    return f"{quota.left_s / 3600:.1f} of {quota.total_s / 3600:.0f} left{reset}"


# --- following and pulling


def _follow_and_pull(
    project: Project, service: KaggleService, store: JobStore, job: RemoteJob, progress: Progress
) -> RemoteJob:
    try:
        for line in follow(project, service, store, job, progress=progress):
            progress.note(f"  {line.text}")
    except KeyboardInterrupt:
        progress.note(f"{job.kernel} goes on by itself; kk remote pull {job.name} fetches what it makes")
        raise
    return _pulled(project, service, store, store.read(job.name), progress)


def _pulled(project: Project, service: KaggleService, store: JobStore, job: RemoteJob, progress: Progress) -> RemoteJob:
    """The job with its newest push's output here; fetched now unless it was."""
    if job.last.version is None:
        raise ServiceError(f"{job.kernel} never arrived: {job.last.message}", "kk remote train starts another")
    here = job.run is not None and (RunStore(project.models_dir).folder_of(job.run) / RunStore.file_name).is_file()
    if job.last.pulled and here:
        progress.note(f"the output of version {job.last.version} is here already")
        return job
    return bring_home(project, service, store, job, progress=progress)


def _known(project: Project, service: KaggleService, store: JobStore, wanted: str | None) -> RemoteJob:
    """The job that is meant; a notebook of ours that was pushed from elsewhere gets a record."""
    try:
        return store.load(wanted)
    except MissingError:
        if wanted is None or not re.fullmatch(r"[\w-]+/[\w-]+", wanted):
            raise
    found = service.kernels.find(wanted, "")
    if found is None:
        raise MissingError(f"no notebook {wanted} that is yours", "kk remote list --all shows those there are")
    now, competition = timestamp(utc_now()), project.settings.competition
    push = RemotePush("", now, None, 0.0, version=found.version, url=found.url, state="QUEUED")
    slug = found.kernel.partition("/")[2]
    return store.create(
        RemoteJob(slug, found.kernel, slug, competition.slug, competition.rehearsal, now, None, "", pushes=(push,))
    )


def _outcome(project: Project, store: JobStore, job: RemoteJob) -> RemoteResult:
    """The result of a job whose output is here.

    Raises:
        InterruptedWork: the time limit or somebody stopped it.
        KaggleKitError: it failed; of the family that the error there was of.
    """
    run = load_run(project, job.run) if job.run else None
    if job.run_state == "done":
        return RemoteResult(job, run)
    folder = store.outputs(job, job.last)
    if job.last.state == "CANCEL_ACKNOWLEDGED":
        raise InterruptedWork(f"{job.kernel} was cancelled", f"what it wrote until then is in {folder}")
    if job.run_state in RESUMABLE:
        raise InterruptedWork(
            f"run {job.run} was stopped by the time limit in version {job.last.version} of {job.kernel}; its state is here",
            f"kk remote train --resume {job.run} goes on; kk train --resume {job.run} does so on this machine",
        )
    if job.run is None and job.last.exit == InterruptedWork.exit_code:
        raise InterruptedWork(
            f"{job.kernel} was stopped by the time limit before it had begun to train", "allow more time: --session"
        )
    if job.run is None and job.last.state == "COMPLETE":
        raise DataError(f"{job.kernel} left no run among its output", f"what it wrote is in {folder}")
    why, hint = last_words(folder)
    raise FAMILIES.get(job.last.exit, KaggleKitError)(
        f"{job.kernel} failed in version {job.last.version}: {why or job.last.message or 'no reason in its log'}",
        "; ".join(filter(None, [hint, f"its log is in {folder / 'log.txt'}", job.last.url])),
    )


def _so_far(service: KaggleService, job: RemoteJob) -> Iterator[LogLine]:
    """What a session that runs has printed: the stream is left when it falls silent."""
    try:
        yield from service.kernels.log(job.kernel)
    except (ServiceError, MissingError):
        return
