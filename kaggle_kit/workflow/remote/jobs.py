"""What is known here of trainings in notebooks: one JSON file each, so that any later command can take them up.

``models_archive/remote/<name>.json``; beside it ``<name>/v<number>/`` with what a version wrote, but for the run, which is filed among
the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kaggle_kit.archive.ids import resolve, timestamp, utc_now
from kaggle_kit.archive.records import hold_lock
from kaggle_kit.errors import DataError, DuplicateError, MissingError
from kaggle_kit.files import OWNER_ONLY, read_json, write_json
from kaggle_kit.kaggle_service.kernels import FINAL
from kaggle_kit.version import VERSION

ASKED, REFUSED = "ASKED", "REFUSED"
"""States of a push before the service has one: asked for and not known to have arrived; not taken."""


@dataclass(frozen=True)
class RemotePush:
    """One version of a notebook.

    Attributes:
        id: stands in its code, so that it can be recognised.
        asked: when it was pushed, ISO 8601, UTC.
        gpu: the accelerator asked for; None: none.
        session_s: seconds that its session may take.
        version: the service's number of it; None until known.
        session: the service's number of its session; None where it tells none.
        state: the service's, or ``ASKED`` or ``REFUSED``.
        message: why it failed.
        exit: what ``kk train`` ended with there; None until pulled.
        predicted: a ``submission.csv`` is among its output.
        pulled: its output is here.
    """

    id: str
    asked: str
    gpu: str | None
    session_s: float
    version: int | None = None
    url: str = ""
    session: int | None = None
    state: str = ASKED
    message: str = ""
    exit: int | None = None
    predicted: bool = False
    pulled: bool = False

    @property
    def finished(self) -> bool:
        """Nothing about it will change on the service."""
        return self.state in (*FINAL, REFUSED)


@dataclass(frozen=True)
class RemoteJob:
    """One training in a notebook, with every push that it took.

    Attributes:
        name: unique here; the last part of ``kernel`` as asked for.
        kernel: ``owner/slug``.
        label: name of the run, or the translator's.
        created: ISO 8601, UTC.
        git: the commit of the code that was sent last.
        config_digest: hash of the settings that were sent first.
        run: id of the run that came of it; None until pulled.
        run_state: state of that run when it was last pulled.
        pushes: its versions, oldest first.
    """

    name: str
    kernel: str
    label: str
    competition: str
    rehearsal: bool
    created: str
    git: dict[str, Any] | None
    config_digest: str
    run: str | None = None
    run_state: str | None = None
    pushes: tuple[RemotePush, ...] = ()

    @property
    def last(self) -> RemotePush:
        """The newest push."""
        return self.pushes[-1]

    @property
    def state(self) -> str:
        """How far it got: the run's state once it is here, else the newest push's, in small letters."""
        if self.last.pulled and self.run_state:
            return self.run_state
        return self.last.state.lower().replace("_", " ")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the file and for ``--json``."""
        return {**asdict(self), "state": self.state}


class JobStore:
    """The jobs of a project.

    Args:
        models: the folder of its runs.
    """

    def __init__(self, models: Path) -> None:
        self.folder = models / "remote"

    def outputs(self, job: RemoteJob, push: RemotePush) -> Path:
        """The folder for what a version wrote."""
        return self.folder / job.name / f"v{push.version}"

    def create(self, job: RemoteJob) -> RemoteJob:
        """Write a new job.

        Raises:
            DuplicateError: there is one of that name.
        """
        with self._locked(job.name):
            if self._path(job.name).exists():
                raise DuplicateError(f"there is a remote training {job.name} already", "kk remote list shows it")
            return self._write(job)

    def update(self, name: str, **changes: Any) -> RemoteJob:
        """Change fields of a job; ``push`` is a dictionary of changes to its newest push."""
        with self._locked(name):
            job = self.read(name)
            if (push := changes.pop("push", None)) is not None:
                changes["pushes"] = (*job.pushes[:-1], replace(job.last, **push))
            return self._write(replace(job, **changes))

    def refuse(self, name: str, message: str) -> RemoteJob:
        """Note that the newest push was not taken; one that should have gone on with a run is forgotten, so that another can."""
        with self._locked(name):
            job = self.read(name)
            refused = replace(job.last, state=REFUSED, message=message)
            return self._write(replace(job, pushes=job.pushes[:-1] or (refused,)))

    def _locked(self, name: str):  # type: ignore[no-untyped-def]  # a context manager
        return hold_lock(self.folder / f".{name}.lock", 30.0, f"remote training {name}")

    def _write(self, job: RemoteJob) -> RemoteJob:
        document = {"schema": 1, **asdict(job), "written": timestamp(utc_now()), "written_by": VERSION}
        write_json(self._path(job.name), document, mode=OWNER_ONLY)
        return job

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read(self, name: str) -> RemoteJob:
        """The job of exactly that name.

        Raises:
            MissingError: there is none.
            DataError: its file is broken.
        """
        path = self._path(name)
        document = read_json(path)
        try:
            pushes = tuple(_of(RemotePush, row) for row in document["pushes"])
            return replace(_of(RemoteJob, document), pushes=pushes)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is no record of a remote training: {error}", "restore the file or move it away"
            ) from None

    def scan(self) -> tuple[list[RemoteJob], dict[str, DataError]]:
        """The jobs that can be read, the newest first, and what is wrong with the others by their names."""
        jobs, broken = [], {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                jobs.append(self.read(path.stem))
            except DataError as error:
                broken[path.stem] = error
        return sorted(jobs, key=lambda job: (job.created, job.name), reverse=True), broken

    def load(self, wanted: str | None = None) -> RemoteJob:
        """The job that is meant: by its name, its notebook, its run's id, the unique beginning of one of them; None: the newest.

        Raises:
            MissingError: there is none.
            UsageError: several begin like that.
            DataError: it is broken, or a broken one may be the newest.
        """
        jobs, broken = self.scan()
        if not jobs and not broken:
            raise MissingError(f"no remote training yet in {self.folder}", "kk remote train starts one")
        if wanted is None:
            return self._newest(jobs, broken)
        exact = next((job for job in jobs if wanted in (job.name, job.kernel, job.run)), None)
        if exact is not None:
            return exact
        of_runs = [job for job in jobs if job.run and job.run.startswith(wanted)]
        if len(of_runs) == 1:
            return of_runs[0]
        # a broken record tells its name alone, which is the last part of its notebook's
        names = [*(job.name for job in jobs), *broken]
        slug = wanted.rpartition("/")[2]
        return self.read(slug if slug in broken else resolve(wanted, names, "remote training", "kk remote list"))

    def _newest(self, jobs: Sequence[RemoteJob], broken: Mapping[str, DataError]) -> RemoteJob:
        """The first of the jobs, unless a broken record was written after it began."""
        begun = datetime.fromisoformat(jobs[0].created).timestamp() if jobs else 0.0
        for name, error in broken.items():
            if self._path(name).stat().st_mtime >= begun:
                raise error
        return jobs[0]


def _of(kind: Any, document: dict[str, Any]) -> Any:
    """A record from its fields in a file; those of a later version are left out."""
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in document.items() if name in known})
