"""Bring home what a version wrote: fetch it, compare every hash, and file the run as if it had been trained here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kaggle_kit.archive import Record, RunStore
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.archive.records import hold_lock
from kaggle_kit.config import Project
from kaggle_kit.errors import DataError, ServiceError, storage_errors
from kaggle_kit.files import read_json, sha256_of, write_bytes
from kaggle_kit.kaggle_service import KaggleService, KernelFile, LogLine
from kaggle_kit.kaggle_service.unpack import inside, safe_path
from kaggle_kit.progress import Progress, Silence, size
from kaggle_kit.workflow.notebooks.script import REPORT
from kaggle_kit.workflow.remote.jobs import JobStore, RemoteJob, RemotePush

LOG_MARGIN = 11
"""Characters in front of each line of a stored log: the seconds since the start, and a gap."""

RUNS = "models_archive"
"""Where a notebook keeps its runs; the project there has the default folders."""


def bring_home(
    project: Project, service: KaggleService, store: JobStore, job: RemoteJob, *, progress: Progress
) -> RemoteJob:
    """Fetch the output of the newest push, which has ended, and file its run.

    What an earlier call brought is not fetched again.

    Raises:
        ServiceError: something is missing, or is not what the notebook wrote; run again to go on.
        DataError: a file would lie outside the folder, or the run is not the one expected.
        InterruptedWork: another process is fetching it.
    """
    with hold_lock(store.folder / f".{job.name}.pull.lock", 0.0, f"the output of {job.kernel}"):
        return _brought(project, service, store, store.read(job.name), progress)


def _brought(
    project: Project, service: KaggleService, store: JobStore, job: RemoteJob, progress: Progress
) -> RemoteJob:
    push = job.last
    output = service.kernels.output(job.kernel, push.version)
    folder = store.outputs(job, push)
    write_bytes(folder / "log.txt", log_text(output.log).encode())
    files = {safe_path(file.name, "the notebook's file"): file for file in output.files}
    report = _report(service, job, push, files, folder, progress)
    wanted = report["files"] if report else {name: {} for name in files if name != REPORT and not _is_passing(name)}
    if not report and wanted:
        progress.note(
            f"{job.kernel} left no {REPORT}: it was ended before it could; sizes and MD5 are all that is compared"
        )
    _fetch(service, job, push, files, wanted, folder, progress)
    run = _run_in(folder, report, job)
    if run is not None:
        record = _file(project, job, push, folder / RUNS / run, progress)
        job = store.update(job.name, run=record.id, run_state=record.state)
    exit_code = report["exit"] if report else None
    predicted = (folder / "submission.csv").is_file()
    return store.update(job.name, push={"pulled": True, "exit": exit_code, "predicted": predicted})


class _Notes(Silence):
    """Hands on what went wrong with one file of many, not how far it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def note(self, text: str) -> None:
        self._progress.note(text)


def log_text(lines: list[LogLine]) -> str:
    """A log as text, one line each, seconds in front."""
    return "".join(
        f"{'' if line.seconds is None else f'{line.seconds:.1f}':>{LOG_MARGIN - 2}}  {text}\n"
        for line in lines
        for text in line.text.split("\n")
    )


def _report(
    service: KaggleService,
    job: RemoteJob,
    push: RemotePush,
    files: Mapping[str, KernelFile],
    folder: Path,
    progress: Progress,
) -> dict[str, Any] | None:
    """What the script says about its own output; None when it was killed before it could."""
    if REPORT not in files:
        return None
    path = folder / REPORT
    path.unlink(missing_ok=True)
    service.kernels.download(job.kernel, push.version, files[REPORT], path, progress=_Notes(progress))
    report = read_json(path)
    try:
        hashes = {safe_path(name, "the notebook's file"): dict(row) for name, row in report["files"].items()}
        whole = {**report, "files": hashes, "exit": int(report["exit"])}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise DataError(f"{path} is not what the script of kk writes", f"look at {push.url}") from None
    if push.id and whole.get("push") != push.id:
        raise DataError(
            f"the output of {job.kernel} is of another push than version {push.version}", f"look at {push.url}"
        )
    return whole


def _fetch(
    service: KaggleService,
    job: RemoteJob,
    push: RemotePush,
    files: Mapping[str, KernelFile],
    wanted: Mapping[str, Mapping[str, Any]],
    folder: Path,
    progress: Progress,
) -> None:
    """Have every wanted file in ``folder``, each with the hash that the notebook gave it."""
    if lacking := sorted(wanted.keys() - files.keys()):
        raise ServiceError(
            f"{len(lacking)} of {len(wanted)} files of {job.kernel} are not in the service's list, {lacking[0]} among them",
            f"the list may lag: kk remote pull {job.name} tries again; or look at {push.url}/output",
        )
    total = sum(row.get("size") or files[name].size or 0 for name, row in wanted.items())
    files_in_words = f"{len(wanted)} file{'s' * (len(wanted) != 1)}"
    task = progress.start(f"pulling {files_in_words}", total, "B")
    done = 0
    for name, row in wanted.items():
        path = inside(folder, name)
        if not (path.is_file() and row.get("sha256") and sha256_of(path) == row["sha256"]):
            got = service.kernels.download(job.kernel, push.version, files[name], path, progress=_Notes(progress))
            if row.get("sha256") not in (None, got.sha256):
                path.unlink()
                raise ServiceError(
                    f"{name} came with sha256 {got.sha256[:12]}…, the notebook wrote {row['sha256'][:12]}…",
                    f"kk remote pull {job.name} fetches it again",
                )
        done += row.get("size") or path.stat().st_size
        task.update(done)
    compared = "every hash compared" if all(row.get("sha256") for row in wanted.values()) else "no hashes to compare"
    task.finish(f"pulled {files_in_words}, {size(done)}, {compared}")


def _is_passing(name: str) -> bool:
    """Whether a file is of use to the session that wrote it only: locks, temporary files, the index of records."""
    base = name.rpartition("/")[2]
    return base.startswith(".") or base.endswith((".lock", ".part")) or ".sqlite" in base


def _run_in(folder: Path, report: Mapping[str, Any] | None, job: RemoteJob) -> str | None:
    """The id of the run among the output; None when it did not get so far."""
    runs = sorted(path.parent.name for path in (folder / RUNS).glob("*/run.json"))
    named = report.get("run") if report else job.run
    if job.run is not None and named != job.run:
        raise DataError(
            f"{job.kernel} went on with run {named} instead of {job.run}", "kk remote list shows what is known"
        )
    return str(named) if named in runs else next(iter(runs[-1:]), None)


def _file(project: Project, job: RemoteJob, push: RemotePush, source: Path, progress: Progress) -> Record:
    """Put a run among those of the project; an earlier state of the same run gives way."""
    store, arrived = RunStore(project.models_dir), RunStore(source.parent)
    record = arrived.read(source.name)
    provenance = {**(record["provenance"] or {}), "remote": _origin(job, push)}
    if not provenance.get("git"):
        provenance["git"] = job.git
    # one that was killed could not say so itself
    state = "interrupted" if record.state == "running" else record.state
    record = arrived.update(record.id, provenance=provenance, state=state, rehearsal=job.rehearsal)
    target = store.folder_of(source.name)
    if (target / store.file_name).exists():
        _refuse_other(store.read(source.name), record, job)
    with storage_errors(target, "filing"):
        former = target.with_name(f".{target.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.replace(target, former)
        os.replace(source, target)
        shutil.rmtree(former, ignore_errors=True)
    progress.note(f"run {record.id} is filed in {target}: {record.state}")
    return store.read(record.id)


def _refuse_other(there: Record, arrived: Record, job: RemoteJob) -> None:
    """Refuse to overwrite a run that came from elsewhere, or that was finished here meanwhile."""
    origin = (there["provenance"] or {}).get("remote") or {}
    if origin.get("kernel") != job.kernel or (there.state == "done" and arrived.state != "done"):
        raise DataError(
            f"run {there.id} is in the archive already ({there.state}) and is not overwritten",
            "move its folder away, then pull again",
        )


def _origin(job: RemoteJob, push: RemotePush) -> dict[str, Any]:
    """Where a run was trained, for its record."""
    return {
        "kernel": job.kernel,
        "version": push.version,
        "url": push.url,
        "gpu": push.gpu,
        "versions": [one.version for one in job.pushes if one.version],
        "asked": push.asked,
        "pulled": timestamp(utc_now()),
    }


def last_words(folder: Path) -> tuple[str, str]:
    """What ``kk`` gave in a log as its last error and as the hint to it; the log's last line where there is no error."""
    try:
        rows = (folder / "log.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", ""
    texts = [text for row in rows if (text := row[LOG_MARGIN:].strip())]
    said = {
        word: next((text.removeprefix(word).strip() for text in reversed(texts) if text.startswith(word)), "")
        for word in ("Error:", "Hint:")
    }
    return said["Error:"] or next(iter(texts[-1:]), ""), said["Hint:"]
