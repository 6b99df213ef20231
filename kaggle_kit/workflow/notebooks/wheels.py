"""The wheels that an offline notebook needs: ours, and what the image lacks; as a folder, and as a private data set."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kaggle_kit.archive import provenance
from kaggle_kit.config import Project
from kaggle_kit.errors import DataError, InterruptedWork, MissingError, ServiceError, UsageError, storage_errors
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.version import commit_text
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.notebooks.wheel import build_wheel, requirements

OF_THE_IMAGE = ("torch", "numpy", "pandas", "scikit-learn", "scipy", "matplotlib", "optuna")
"""Large, and in every image: never downloaded, whatever a list says."""

MAY_LACK = ("six", "safetensors", "filelock", "orjson", "zlib-ng")
"""Small ones that are downloaded when nobody says what the image has; a notebook installs those of them that it lacks."""


@dataclass(frozen=True)
class Wheels:
    """What was built.

    Attributes:
        folder: where the wheels lie.
        files: the wheels, ours first.
        missing: the requirements that were downloaded.
        notes: what does not fit together.
        ref: the data set ``owner/slug``; None when it was not pushed.
        url: its page.
        mount: where a notebook finds it.
    """

    folder: Path
    files: list[Path]
    missing: list[str]
    notes: list[str]
    ref: str | None = None
    url: str = ""
    mount: str = ""


def make_wheels(
    project: Project,
    folder: Path = Path("wheels"),
    *,
    have: Path | None = None,
    push: bool = True,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> Wheels:
    """Build our wheel, download what an image lacks, and push both as a private data set.

    Args:
        folder: where the wheels go; wheels that lie there already are replaced.
        have: what the image has: the output of ``pip list --format json`` in a notebook. None: :data:`MAY_LACK` is downloaded.
        push: publish them (privately) and wait until they can be attached.
        service: where to; Kaggle, or the server that the settings name, when None.

    Raises:
        MissingError: no such file. DataError: it is no list of packages.
        UsageError: the folder holds something else than wheels.
        ServiceError: pip or the service failed.
        InterruptedWork: pushed, and not ready within ``wheels.ready_s``.
    """
    missing, notes = _lacking(have)
    _clear(folder)
    own = build_wheel(folder, provenance(project.root)["git"])
    progress.note(f"{own.name}: {own.stat().st_size / 1e3:,.0f} kB")
    if missing:
        _download(project, folder, missing, progress)
    files = [own, *sorted(path for path in folder.glob("*.whl") if path != own)]
    made = Wheels(folder, files, missing, notes)
    return _published(project, made, connect(project, service, progress=progress), progress) if push else made


def _lacking(have: Path | None) -> tuple[list[str], list[str]]:
    """The requirements that an image lacks, and what it has in a version too old for us."""
    ours = {_plain_name(row): row for row in requirements()}
    if have is None:
        return [ours[name] for name in MAY_LACK if name in ours], []
    there = _packages_in(have)
    lacking = [row for name, row in ours.items() if name not in there]
    large = [row for row in lacking if _plain_name(row) in OF_THE_IMAGE]
    notes = [f"the image lacks {row}, which is not downloaded: switch to an image that has it" for row in large]
    notes += [
        f"the image has {name} {there[name]}, and {row} is asked for: it is left as it is"
        for name, row in ours.items()
        if name in there and not _satisfies(there[name], row)
    ]
    return [row for row in lacking if row not in large], notes


def _packages_in(path: Path) -> dict[str, str]:
    """Names and versions in the output of ``pip list --format json``."""
    if not path.is_file():
        raise MissingError(f"no such file: {path}", "run pip list --format json in a notebook and save what it prints")
    try:
        return {_plain_name(row["name"]): str(row["version"]) for row in orjson.loads(path.read_bytes())}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DataError(
            f"{path} is not what pip list --format json prints", "run that in a notebook and save its output as it is"
        ) from None


def _plain_name(requirement: str) -> str:
    """The normal form of a package's name at the beginning of a requirement."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found.group() if found else "").lower()


def _satisfies(version: str, requirement: str) -> bool:
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion, Version

    try:
        return Requirement(requirement).specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _clear(folder: Path) -> None:
    """Make room for new wheels; anything but wheels stays and is an error."""
    with storage_errors(folder, "writing to"):
        folder.mkdir(parents=True, exist_ok=True)
        others = [path for path in folder.iterdir() if path.suffix != ".whl" or not path.is_file()]
        if others:
            raise UsageError(f"{folder} holds {others[0].name}, which is no wheel", "name another folder with --folder")
        for path in folder.iterdir():
            path.unlink()


def _download(project: Project, folder: Path, missing: Sequence[str], progress: Progress) -> None:
    """Have pip download exactly ``missing``, for the notebooks' Python and platform."""
    settings = project.settings.wheels
    platforms = [f"--platform={name}" for name in platforms_of(settings.platform)]
    target = [f"--python-version={settings.python}", *platforms, "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check", *target]
    progress.note(f"downloading {', '.join(missing)} for Python {settings.python} on {settings.platform}")
    try:
        done = subprocess.run(
            [*command, f"--dest={folder}", *missing],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=settings.pip_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(f"pip did not end within {settings.pip_s:g} s (wheels.pip_s)", "check the network") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ServiceError(
            f"pip could not download the wheels: {lines[-1].removeprefix('ERROR: ') if lines else 'it gave no reason'}",
            "check the network, and that wheels.python and wheels.platform are those of the image",
        )


_LEGACY = {"17": "manylinux2014", "12": "manylinux2010", "5": "manylinux1"}
"""Older names of platforms, by the version of glibc that they stand for."""


def platforms_of(platform: str) -> list[str]:
    """``platform`` and every older one whose wheels run on it; pip takes a platform that it is given at its word."""
    found = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", platform)
    if not found:
        return [platform]
    names = []
    for minor in range(int(found[1]), 4, -1):
        names.append(f"manylinux_2_{minor}_{found[2]}")
        names += [f"{_LEGACY[str(minor)]}_{found[2]}"] if str(minor) in _LEGACY else []
    return names


# --- the data set


def _published(project: Project, made: Wheels, service: KaggleService, progress: Progress) -> Wheels:
    """Make the data set, or a version of it, and wait until it can be attached."""
    slug = project.settings.wheels.dataset
    ref = f"{project.settings.remote.owner or service.username}/{slug}"
    sums = _versions(made.files)
    if service.datasets.status(ref) is None:
        published = service.datasets.create(ref, slug.replace("-", " "), made.files)
        progress.note(f"made the private data set {ref}")
    else:
        commit = commit_text(provenance(project.root)["git"]) or "unknown"
        published = service.datasets.add_version(ref, f"kk {sums['kaggle-kit']}, commit {commit}", made.files)
        progress.note(f"gave {ref} a new version")
    _await_ready(project, service, ref, published.url, progress)
    fields: dict[str, Any] = {**vars(made), "ref": ref, "url": published.url, "mount": f"/kaggle/input/datasets/{ref}"}
    return Wheels(**fields)


def _versions(files: Sequence[Path]) -> Mapping[str, str]:
    """The versions of wheels by package."""
    return {_plain_name(path.name.split("-")[0]): path.name.split("-")[1] for path in files}


def _await_ready(project: Project, service: KaggleService, ref: str, url: str, progress: Progress) -> None:
    """Look until the data set can be attached.

    Raises:
        ServiceError: the service could not process it.
        InterruptedWork: not ready within ``wheels.ready_s``.
    """
    settings = project.settings.wheels
    started = time.monotonic()
    watch = progress.start(f"waiting for {ref}", None, "s")
    try:
        while (state := service.datasets.status(ref)) != "READY":
            waited = time.monotonic() - started
            if state in ("FAILED", "DELETED"):
                raise ServiceError(f"the data set {ref} ended as {state.lower()}", f"see {url}")
            if waited > settings.ready_s:
                raise InterruptedWork(
                    f"{ref} is not ready after {waited:.0f} s ({state})", f"it goes on by itself: see {url}"
                )
            watch.update(waited)
            time.sleep(settings.poll_s)
    finally:
        watch.finish()
