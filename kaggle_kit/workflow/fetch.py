"""Get the competition's files: those mounted or unpacked already, those of a folder or zip, or a download."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from kaggle_kit.cells import rows_table
from kaggle_kit.config import Project
from kaggle_kit.embeddings import closest, file_if_there
from kaggle_kit.errors import CredentialsError, DataError, MissingError, UsageError, storage_errors
from kaggle_kit.files import atomic_writer, sha256_of
from kaggle_kit.kaggle_service import KaggleService, RemoteFile, unpack
from kaggle_kit.kaggle_service.download import bytes_there
from kaggle_kit.kaggle_service.unpack import inside, member_names, safe_path
from kaggle_kit.notebook import in_notebook, notebook_folders
from kaggle_kit.progress import SILENCE, InAll, Progress, size
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.manifest import Entry, Manifest

BLOCK = 1 << 20


@dataclass(frozen=True)
class FetchedFile:
    """One file of the competition and what was done about it.

    Attributes:
        name: as the competition names it.
        path: where it lies.
        size: bytes.
        sha256: hash of its content; None for a notebook's mount, which is not read.
        state: "downloaded", "unpacked", "copied", "present" (fetched before), "in place" (found, left alone), "changed"
            (no longer what was fetched, left alone) or "verified".
        bytes_received: bytes that came over the network now.
    """

    name: str
    path: Path
    size: int
    sha256: str | None
    state: str
    bytes_received: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "path": str(self.path)}


@dataclass(frozen=True)
class FetchResult:
    """What is there now, and remarks for people.

    Attributes:
        folder: where fetched files lie.
        files: the files that were asked for; not every photo of ``everything``, only a count in the notes.
        notes: one sentence each.
    """

    folder: Path
    files: list[FetchedFile]
    notes: list[str]

    @property
    def nothing_to_do(self) -> bool:
        """Every file was there already."""
        return all(file.state in ("present", "in place", "changed", "verified") for file in self.files)

    def _repr_html_(self) -> str:
        """The files for a notebook."""
        rows = [(file.name, size(file.size), file.state, file.path) for file in self.files]
        return rows_table(("file", "size", "state", "path"), rows, self.notes)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder),
            "files": [file.to_dict() for file in self.files],
            "notes": self.notes,
            "nothing_to_do": self.nothing_to_do,
        }


def fetch(
    project: Project,
    *,
    everything: bool = False,
    files: Sequence[str] = (),
    source: Path | None = None,
    keep_zip: bool = False,
    verify: bool = False,
    progress: Progress = SILENCE,
    environ: Mapping[str, str] = os.environ,
    service: KaggleService | None = None,
) -> FetchResult:
    """Get the files that training and submitting need, or find them where they are.

    Args:
        everything: all files of the competition, the photos too, as one archive.
        files: these files only, by the competition's names.
        source: a folder or zip that has the files already; nothing is downloaded.
        keep_zip: keep the archive after unpacking it.
        verify: only hash what was fetched again.
        environ: says whether this is a notebook, and where credentials are.
        service: the service to download from; the one that the settings name by default.

    Raises:
        CredentialsError: none, refused, or the rules are not accepted.
        MissingError: no such competition or file.
        ServiceError: the download failed; a second call continues it.
        DataError: an archive is broken or an attack; with ``verify``, a file changed.
        DiskFullError: not enough space.
        UsageError: the folder cannot be written to, another fetch is at work, or the arguments contradict each other.
    """
    if everything and files:
        raise UsageError("all files and a list of files were asked for", "give either --all or --file")
    work = _Fetch(project, progress, environ, service)
    if verify:
        return work.verify(files)
    if source is None and not everything and (result := work.all_there(files)):
        return result
    with work.locked():
        if source is not None:
            return work.take_from(source, files, everything=everything)
        if everything:
            return work.download_everything(keep_zip=keep_zip)
        return work.download(files)


class _Fetch:
    """One call of :func:`fetch`: what it knows of the project, and what it found out so far."""

    def __init__(
        self, project: Project, progress: Progress, environ: Mapping[str, str], service: KaggleService | None
    ) -> None:
        competition = project.settings.competition
        self.slug = competition.slug
        self.data_dir = project.data_dir
        self.folder = project.data_dir / competition.slug
        self.manifest = Manifest.load(project.data_dir, competition.slug)
        self._names = competition.files
        self._project = project
        self._progress = progress
        self._environ = environ
        self._given_service = service
        self._lock = FileLock(self.folder / ".fetch.lock", timeout=0)
        self._files: list[FetchedFile] = []
        self._notes: list[str] = []

    # -- what is there -----------------------------------------------------------------------------------------------

    def all_there(self, files: Sequence[str]) -> FetchResult | None:
        """The result if every file asked for is there already; None if something has to be got."""
        required = list(files) or self._names.required
        if not all(self._is_there(name, asked=bool(files)) for name in required):
            return None
        optional = [] if files or self._names.test_captions is None else [self._names.test_captions]
        for name in required + [name for name in optional if self._locate(name) is not None]:
            self._recognise(name)
        for name in (name for name in optional if self._locate(name) is None):
            self._notes.append(f"{name} is not there; nothing needs it (kk fetch --file {name} gets it)")
        self._notes.insert(0, "nothing to do: every file is there already")
        return self._result()

    def _is_there(self, name: str, *, asked: bool) -> bool:
        path = self._locate(name)
        entry = self.manifest.files.get(name)
        # A file that was asked for by its name is fetched anew when it is no longer what was fetched.
        return path is not None and (not asked or entry is None or self.manifest.is_unchanged(entry, path))

    def _locate(self, name: str) -> Path | None:
        entry = self.manifest.files.get(name)
        if entry is not None and self.manifest.place(entry).is_file():
            return self.manifest.place(entry)
        return file_if_there(name, slug=self.slug, data_dir=self.data_dir, environ=self._environ)

    def _recognise(self, name: str) -> None:
        """Enter a file that is there into the result, and into the manifest unless it is a notebook's mount."""
        path = self._locate(name)
        assert path is not None
        entry = self.manifest.files.get(name)
        if self._is_mounted(path):
            self._add(name, path, None, "in place")
            self._notes.append(f"{name} is mounted at {path} and used there")
        elif entry is None:
            digest = sha256_of(path)
            with suppress(UsageError), self.locked():  # a folder that may only be read is no obstacle
                self.manifest.add(name, path, digest, "found")
                self.manifest.save()
            self._check_known(name, digest)
            self._add(name, path, digest, "in place")
            self._notes.append(f"{name} was found at {path} and is used there")
        elif self.manifest.is_unchanged(entry, path):
            self._add(name, path, entry.sha256, "present")
        else:
            self._add(name, path, sha256_of(path), "changed")
            self._notes.append(
                f"{path} changed since it was fetched; it is left alone (kk fetch --file {name} gets it anew)"
            )

    def _is_mounted(self, path: Path) -> bool:
        return in_notebook(self._environ) and path.is_relative_to(notebook_folders(self._environ).input)

    def verify(self, files: Sequence[str]) -> FetchResult:
        """Hash every file of the manifest again, or those of ``files``."""
        for name in [*files] or list(self.manifest.files):
            entry = self.manifest.files.get(name)
            if entry is None:
                raise MissingError(f"{name} is not in {self.manifest.path}", f"kk fetch --file {name} gets it")
            self._verify(name, entry)
        if not self._files and not self._notes:
            raise MissingError(f"nothing was fetched into {self.folder} yet", "kk fetch gets the files")
        if self._notes:
            raise DataError("\n".join(self._notes), "move the file away and run kk fetch; it gets what is missing")
        self._notes.append(f"all {len(self._files)} files are what was fetched")
        return self._result()

    def _verify(self, name: str, entry: Entry) -> None:
        path = self.manifest.place(entry)
        if not path.is_file():
            self._notes.append(f"{path} is gone")
            return
        digest = sha256_of(path)
        self._add(name, path, digest, "verified")
        if digest != entry.sha256:
            self._notes.append(f"{path} changed: its sha256 is {digest}, fetched was {entry.sha256}")

    # -- downloads ---------------------------------------------------------------------------------------------------

    def download(self, files: Sequence[str]) -> FetchResult:
        """Download what is missing of the files asked for, the smallest first."""
        service = self._service()
        self._require_entered(service)
        listed = service.files(self.slug)
        wanted = [self._listed(name, listed) for name in files] if files else list(self._needed(listed))
        missing = [pair for pair in wanted if not self._is_there(pair[0], asked=bool(files))]
        for name, _ in wanted:
            if name not in dict(missing):
                self._recognise(name)
        self._download_each(service, sorted(missing, key=lambda pair: pair[1].size or 0))
        return self._result()

    def _download_each(self, service: KaggleService, missing: list[tuple[str, RemoteFile]]) -> None:
        places = {name: inside(self.folder, safe_path(name, "the competition's file")) for name, _ in missing}
        watch = self._progress
        if len(missing) > 1:
            total = sum(remote.size or 0 for _, remote in missing)
            there = sum(bytes_there(place) for place in places.values())
            watch = InAll(self._progress, f"{len(missing)} files of {self.slug}", total, there)
        for name, remote in missing:
            self._download(service, name, remote, places[name], watch)
        if isinstance(watch, InAll):
            watch.finish()

    def _needed(self, listed: list[RemoteFile]) -> Iterator[tuple[str, RemoteFile]]:
        """The files that training and submitting need, and the captions if there are any."""
        for name in self._names.required:
            remote = self._listed(name, listed)[1]
            yield name, remote
        if self._names.test_captions is None:
            return
        remote_name = closest(self._names.test_captions, [file.name for file in listed], agreement=2)
        if remote_name is None:
            self._notes.append(f"the competition has no {self._names.test_captions}; nothing needs it")
        else:
            yield self._names.test_captions, next(file for file in listed if file.name == remote_name)

    def _listed(self, name: str, listed: list[RemoteFile]) -> tuple[str, RemoteFile]:
        """The local name and the listed file for ``name``, which may have lost folders or gained a ``.zip``."""
        names = [file.name for file in listed]
        whole, zipped = closest(name, names), closest(f"{name}.zip", names)
        found = whole or zipped
        if found is None:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            raise MissingError(
                f"{self.slug} has no file {name!r} among its {len(names)}",
                f"did you mean {' or '.join(near)}?" if near else "look at the competition's data page",
            )
        local = name if name in self._described() else found if whole else found.removesuffix(".zip")
        return local, next(file for file in listed if file.name == found)

    def _download(
        self, service: KaggleService, name: str, remote: RemoteFile, target: Path, progress: Progress
    ) -> None:
        got = service.download(self.slug, remote.name, target, expected_size=remote.size, progress=progress)
        self._keep(name, got.path, got.sha256, service.name, "downloaded", got.bytes_received)

    def download_everything(self, *, keep_zip: bool) -> FetchResult:
        """Download the archive of all files and unpack it; one that lies here whole from an interrupted call is used."""
        if self.manifest.everything and not any(self.manifest.missing()):
            self._notes.append(f"nothing to do: all {len(self.manifest.files)} files are there already")
            for name in self._described():
                self._recognise(name)
            return self._result()
        service = self._service()
        archive = self.folder / f"{self.slug}.zip"
        received = 0
        if not self._has_archive(archive):
            self._require_entered(service)
            got = service.download_all(self.slug, archive)
            received = got.bytes_received
            self.manifest.archive = {"size": got.size, "sha256": got.sha256}
            self.manifest.save()
        self._unpack_everything(archive, service.name, received)
        if not keep_zip:
            archive.unlink()
        return self._result()

    def _has_archive(self, archive: Path) -> bool:
        known = self.manifest.archive
        there = bool(known) and archive.is_file() and archive.stat().st_size == known["size"]
        return there and sha256_of(archive) == known["sha256"]

    def _unpack_everything(self, archive: Path, source: str, received: int) -> None:
        try:
            unpacked = unpack(archive, self.folder, progress=self._progress)
        except DataError:
            # it would be found whole by its size and hash, and fail again, for ever
            archive.unlink(missing_ok=True)
            self.manifest.archive = {}
            self.manifest.save()
            raise
        for file in unpacked:
            self.manifest.add(file.name, file.path, file.sha256, source)
        self.manifest.everything = True
        self.manifest.save()
        for name in self._described():
            entry = self.manifest.files.get(name)
            if entry is None:
                self._notes.append(f"{name} is not in the archive")
                continue
            self._check_known(name, entry.sha256)
            self._add(name, self.manifest.place(entry), entry.sha256, "unpacked", received)
        self._notes.append(f"{len(unpacked)} files unpacked into {self.folder}")

    # -- files that the user has already -----------------------------------------------------------------------------

    def take_from(self, source: Path, files: Sequence[str], *, everything: bool) -> FetchResult:
        """Take files from a folder, a zip of the competition, or a single file."""
        source = source.expanduser()
        if not source.exists():
            raise MissingError(
                f"no such folder or file: {source}", "give a folder or a zip with the competition's files"
            )
        available = _contents(source)
        wanted = self._available(files, available, source) if not everything else {name: name for name in available}
        if _is_archive(source):
            self._take_from_zip(source, wanted)
        else:
            for name, found in wanted.items():
                self._copy(name, available[found])
        if everything:
            self._notes.append(f"{len(wanted)} files taken from {source}")
        return self._result()

    def _available(self, files: Sequence[str], available: Iterable[str], source: Path) -> dict[str, str]:
        """The source's names of the files asked for, by the competition's names."""
        names, wanted = list(available), {}
        if source.is_file() and not _is_archive(source):
            files = [name for name in self._described() if PurePosixPath(name).name == source.name] or files
        for name in [*files] or self._names.required:
            found = closest(name, names)
            if found is None:
                near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
                raise MissingError(
                    f"{source} has no {name!r} among its {len(names)} files", f"it has {', '.join(near) or 'nothing'}"
                )
            wanted[name] = found
        captions = None if files else self._names.test_captions
        if captions and (found := closest(captions, names, agreement=2)):
            wanted[captions] = found
        elif captions:
            self._notes.append(f"{source} has no {captions}; nothing needs it")
        return wanted

    def _take_from_zip(self, source: Path, wanted: Mapping[str, str]) -> None:
        places = {member: safe_path(name, "the competition's file") for name, member in wanted.items()}
        names = {member: name for name, member in wanted.items()}
        unpacked = unpack(
            source, self.folder, wanted=places.__contains__, place=places.__getitem__, progress=self._progress
        )
        for file in unpacked:
            self._keep(names[file.name], file.path, file.sha256, str(source), "unpacked")

    def _copy(self, name: str, origin: Path) -> None:
        target = inside(self.folder, safe_path(name, "the competition's file"))
        if target.exists() and target.samefile(origin):
            self._keep(name, target, sha256_of(target), "found", "in place")
            return
        _refuse_stand_in(origin)
        if target.is_file() and target.stat().st_size == origin.stat().st_size:
            sha256 = sha256_of(target)
            if sha256 == sha256_of(origin):
                self._keep(name, target, sha256, str(origin), "present")
                return
        self._keep(name, target, _copied(origin, target, self._progress), str(origin), "copied")

    # -- shared ------------------------------------------------------------------------------------------------------

    def _require_entered(self, service: KaggleService) -> None:
        """Before anything is downloaded: refusals tell the way without an account, too."""
        try:
            service.require_entered(self.slug)
        except CredentialsError as error:
            hint = f"{error.hint}; kk fetch --from DIR takes files that you have"
            raise CredentialsError(error.message, hint) from error

    def _service(self) -> KaggleService:
        return connect(self._project, self._given_service, environ=self._environ, progress=self._progress)

    def _described(self) -> list[str]:
        captions = self._names.test_captions
        return [*self._names.required, *([captions] if captions is not None else [])]

    def _keep(self, name: str, path: Path, sha256: str, source: str, state: str, received: int = 0) -> None:
        """Enter a file into the manifest at once, so that an interrupted call has not forgotten it."""
        self.manifest.add(name, path, sha256, source)
        self.manifest.save()
        self._check_known(name, sha256)
        self._add(name, path, sha256, state, received)

    def _check_known(self, name: str, sha256: str) -> None:
        known = {self._names.train: self._names.train_sha256, self._names.test: self._names.test_sha256}.get(name)
        if known and known != sha256:
            self._notes.append(
                f"{name} is not the file known so far: its sha256 is {sha256}, known is {known}; published anew?"
            )

    def _add(self, name: str, path: Path, sha256: str | None, state: str, received: int = 0) -> None:
        self._files.append(FetchedFile(name, path, path.stat().st_size, sha256, state, received))

    def _result(self) -> FetchResult:
        return FetchResult(self.folder, self._files, self._notes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other fetches out of the folder, and read what the last one left there.

        Raises:
            UsageError: one is at work there, or the folder cannot be written to.
        """
        first = not self._lock.is_locked
        with storage_errors(self.folder, "fetching into"):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise UsageError(
                    f"another kk fetch is at work in {self.folder}",
                    "wait for it to end, then run the same command again",
                ) from None
        try:
            if first:
                self.manifest = Manifest.load(self.data_dir, self.slug)
            yield
        finally:
            self._lock.release()


def _is_archive(source: Path) -> bool:
    """Whether ``source`` is a zip to look into; an npz is a zip, too, but is taken as it is."""
    return source.is_file() and source.suffix.lower() == ".zip"


def _contents(source: Path) -> dict[str, Path]:
    """The files in a folder or zip by their relative names; a single file by its own."""
    if source.is_dir():
        return {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
    if not _is_archive(source):
        return {source.name: source}
    return dict.fromkeys(member_names(source), source)


def _refuse_stand_in(path: Path) -> None:
    """Refuse what often lies where an npz should be.

    Raises:
        DataError: an HTML page or a Git LFS pointer.
    """
    if path.suffix.lower() != ".npz":
        return
    with storage_errors(path, "reading"), open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        return
    what = "no npz file"
    if head.startswith(b"version https://git-lfs"):
        what = "a Git LFS pointer, not the file itself (git lfs pull gets it)"
    elif head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        what = "an HTML page, saved in place of the file"
    raise DataError(f"{path} is {what}", "give a folder or zip with the real file, or let kk fetch download it")


def _copied(origin: Path, target: Path, progress: Progress) -> str:
    """Copy a file, whole or not at all; the hash of its content."""
    digest, done = hashlib.sha256(), 0
    task = progress.start(f"copying {origin.name}", origin.stat().st_size, "B")
    with storage_errors(origin, "reading"), open(origin, "rb") as source, atomic_writer(target) as file:
        while block := source.read(BLOCK):
            digest.update(block)
            file.write(block)
            task.update(done := done + len(block))
    task.finish()
    return digest.hexdigest()
