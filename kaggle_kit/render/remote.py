"""How trainings in notebooks, their logs and wheels look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import clean, day, moment, size
from kaggle_kit.render.views import View, heading, line, pairs, run
from kaggle_kit.version import commit_text


def remote_result(result: Any) -> View:
    """A remote training, and the run that came of it."""
    yield from remote_job(result.job)
    if result.run is not None:
        yield Text()
        yield from run(result.run)


def remote_job(job: Any) -> View:
    """One remote training."""
    last = job.last
    yield heading(f"Remote training {job.name}")
    yield pairs(
        {
            "state": f"{job.state}: {last.message}" if last.message else job.state,
            "notebook": job.kernel,
            "version": last.version,
            "accelerator": last.gpu or "none",
            "started": moment(last.asked),
            "sessions": len(job.pushes) if len(job.pushes) > 1 else None,
            "commit": commit_text(job.git),
            "run": job.run,
            "page": last.url,
        }
    )


_JOBS = (
    Column("created", "When", day),
    Column("name", "Name", least=20),
    Column("state", "State"),
    Column("version", "Version", right=True),
    Column("gpu", "Accelerator", order=3),
    Column("run", "Run", least=20, order=2),
)


def remote_jobs(jobs: Sequence[Any]) -> View:
    """Every remote training that is known here."""
    rows = [
        {
            "created": job.created, "name": job.name, "state": job.state, "version": job.last.version, "gpu": job.last.gpu or "none",
            "run": job.run,
        }
        for job in jobs
    ]  # fmt: skip
    yield Grid(_JOBS, rows, empty="no remote training yet: kk remote train starts one")


_KERNELS = (
    Column("last_run", "Last run", day),
    Column("ref", "Notebook", least=20),
    Column("version", "Version", right=True),
    Column("title", "Title", least=16, order=1),
)


def kernels(found: Sequence[Any]) -> View:
    """Every notebook of the account."""
    yield Grid(_KERNELS, [vars(kernel) for kernel in found], empty="the account has no notebooks")


def log_lines(lines: Iterable[Any]) -> View:
    """A log, each line as soon as it is there; what went to stderr is dim."""
    for row in lines:
        for part in row.text.split("\n"):
            yield Text(clean(part), style="dim" if row.stream == "stderr" else "", no_wrap=True, overflow="ignore")


def wheels(result: Any) -> View:
    """What kk wheels made."""
    yield heading(f"Wheels for an offline notebook: {result.folder}")
    rows = [{"name": path.name, "size": path.stat().st_size} for path in result.files]
    yield Grid((Column("name", "File", least=20), Column("size", "Size", size, right=True)), rows)
    for note in result.notes:
        yield line(note)
    if result.ref:
        yield line(f"data set {result.ref} is ready: {result.url}")
        yield line(f"in a notebook, offline: pip install --no-index --find-links={result.mount} kaggle_kit")
