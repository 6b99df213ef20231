"""Where a file of the competition lies: in the project, or mounted in a notebook; which name of a list is its.

A competition names its files with folders (``train/train/train.npz``). On laptops they are found as unzipped, with
the doubled folder undone, or flat; in a notebook below ``/kaggle/input``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath, PurePosixPath

from kaggle_kit.errors import MissingError
from kaggle_kit.notebook import in_notebook, notebook_folders


def find_file(name: str, *, slug: str, data_dir: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that the competition calls ``name``.

    Looked for in ``data_dir/<slug>`` and ``data_dir``, in the three layouts; then in the two places where a notebook
    has a competition mounted; then, in a notebook, by its last part anywhere below the mounts.

    Args:
        name: as the competition names it, such as ``train/train/train.npz``.
        slug: the competition's name.
        data_dir: the project's data folder.
        environ: ``KAGGLE_KERNEL_RUN_TYPE`` says that this is a notebook; ``KK_NOTEBOOK_ROOT`` also where the folder is
            that holds ``kaggle/input``.

    Raises:
        MissingError: with every folder that was looked at.
    """
    there = file_if_there(name, slug=slug, data_dir=data_dir, environ=environ)
    if there is not None:
        return there
    looked = "\n  ".join(str(folder) for folder in dict.fromkeys(_folders(slug, data_dir, environ)))
    mounts = _searched(environ)
    more = f"\nand for {PurePosixPath(name).name} anywhere below {mounts}" if mounts is not None else ""
    raise MissingError(
        f"{name} of {slug} is not there; looked for {' or '.join(map(str, layouts(name)))} in\n  {looked}{more}",
        "kk fetch downloads it; kk fetch --from DIR takes files that you already have",
    )


def file_if_there(name: str, *, slug: str, data_dir: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file as :func:`find_file` finds it; None when it is nowhere."""
    places = _places(name, slug, data_dir, environ)
    there = next((place for place in places if place.is_file()), None)
    mounts = _searched(environ)
    return _by_last_part(mounts, name) if there is None and mounts is not None else there


def find_folder(name: str, *, slug: str, data_dir: Path) -> Path | None:
    """The folder that the competition calls ``name`` (``train/train/Images``); None when it is nowhere.

    Looked for as a file is in :func:`find_file`, but for the search by last part.
    """
    places = _places(name, slug, data_dir, os.environ)
    return next((place for place in places if place.is_dir()), None)


def _places(name: str, slug: str, data_dir: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where the competition's own names may lead, best first."""
    for folder in _folders(slug, data_dir, environ):
        for layout in layouts(name):
            yield folder / layout


def _folders(slug: str, data_dir: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """What may hold the competition's files, in the project and mounted in a notebook."""
    yield from _project_folders(slug, data_dir)
    yield from notebook_folders(environ).competition(slug)


def _project_folders(slug: str, data_dir: Path) -> tuple[Path, ...]:
    return data_dir / slug, data_dir, data_dir.parent


def layouts(name: str) -> list[PurePosixPath]:
    """``name`` as unzipped, with a doubled first folder undone, and flat."""
    whole = PurePosixPath(name)
    parts = whole.parts
    undoubled = PurePosixPath(*parts[1:]) if len(parts) > 2 and parts[0] == parts[1] else whole
    return list(dict.fromkeys([whole, undoubled, PurePosixPath(whole.name)]))


def _searched(environ: Mapping[str, str]) -> Path | None:
    """Below what a file is looked for by its last part: a notebook's mounts; None outside of one."""
    return notebook_folders(environ).input if in_notebook(environ) else None


def _by_last_part(inputs: Path, name: str) -> Path | None:
    """The file below ``inputs`` of that last part whose folders agree best with ``name``."""
    wanted = PurePosixPath(name)
    found = [Path(folder) / wanted.name for folder, _, files in os.walk(inputs) if wanted.name in files]
    return min(found, key=lambda path: (-shared_last_parts(path, wanted), str(path)), default=None)


def closest(name: str, names: Iterable[str], *, agreement: int = 1) -> str | None:
    """The one of ``names`` that is ``name``, or else shares most of its last parts; None when none or several do.

    Args:
        agreement: how many last parts must be the same.
    """
    wanted = PurePosixPath(name)
    scored: dict[int, list[str]] = {}
    for candidate in names:
        if candidate == name:
            return candidate
        scored.setdefault(shared_last_parts(PurePosixPath(candidate), wanted), []).append(candidate)
    best = max(scored, default=0)
    return scored[best][0] if best >= agreement and len(scored[best]) == 1 else None


def shared_last_parts(path: PurePath, wanted: PurePath) -> int:
    """How many of the last parts of both are the same."""
    count = 0
    for one, other in zip(reversed(path.parts), reversed(wanted.parts), strict=False):
        if one != other:
            break
        count += 1
    return count
