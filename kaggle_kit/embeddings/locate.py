"""Where a file of the competition lies: in the project, or mounted in a notebook.

A competition names its files with folders (``train/train/train.npz``). On laptops they are found as unzipped, with
the doubled folder undone, or flat; in a notebook below ``/kaggle/input``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from kaggle_kit.errors import MissingError
from kaggle_kit.notebook import in_notebook, notebook_folders


def find_file(
    name: str,
    *,
    slug: str,
    data_dir: Path,
    environ: Mapping[str, str] = os.environ,
    notebook_root: Path = Path("/"),
) -> Path:
    """The file that the competition calls ``name``.

    Looked for in ``data_dir/<slug>`` and ``data_dir``, in the three layouts; then in the two places where a notebook
    has a competition mounted; then, in a notebook, by its last part anywhere below the mounts.

    Args:
        name: as the competition names it, such as ``train/train/train.npz``.
        slug: the competition's name.
        data_dir: the project's data folder.
        environ: ``KAGGLE_KERNEL_RUN_TYPE`` says that this is a notebook; ``KK_NOTEBOOK_ROOT`` moves
            ``notebook_root``.
        notebook_root: the folder that holds ``kaggle/input``.

    Raises:
        MissingError: with every place that was looked at.
    """
    inputs = notebook_folders(environ, notebook_root).input
    places = [*_places(name, slug, data_dir, environ, notebook_root)]
    for place in places:
        if place.is_file():
            return place
    if in_notebook(environ):
        found = _by_last_part(inputs, name)
        if found:
            return found
    looked = "\n  ".join(str(place) for place in dict.fromkeys(places))
    more = f"\n  and for {PurePosixPath(name).name} anywhere below {inputs}" if in_notebook(environ) else ""
    raise MissingError(
        f"{name} of {slug} is not there; looked for\n  {looked}{more}",
        "kk fetch downloads it; kk fetch --from DIR takes files that you already have",
    )


def find_folder(
    name: str,
    *,
    slug: str,
    data_dir: Path,
    environ: Mapping[str, str] = os.environ,
    notebook_root: Path = Path("/"),
) -> Path | None:
    """The folder that the competition calls ``name`` (``train/train/Images``); None when it is nowhere.

    Looked for as a file is in :func:`find_file`, but for the search by last part.
    """
    places = _places(name, slug, data_dir, environ, notebook_root)
    return next((place for place in places if place.is_dir()), None)


def _places(name: str, slug: str, data_dir: Path, environ: Mapping[str, str], notebook_root: Path) -> Iterator[Path]:
    """Where the competition's own names may lead, best first."""
    yield from project_places(name, slug=slug, data_dir=data_dir)
    for mount in notebook_folders(environ, notebook_root).competition(slug):
        for layout in layouts(name):
            yield mount / layout


def project_places(name: str, *, slug: str, data_dir: Path) -> Iterator[Path]:
    """Where a project may have the file, best first."""
    for folder in (data_dir / slug, data_dir, data_dir.parent):
        for layout in layouts(name):
            yield folder / layout


def layouts(name: str) -> list[PurePosixPath]:
    """``name`` as unzipped, with a doubled first folder undone, and flat."""
    whole = PurePosixPath(name)
    parts = whole.parts
    undoubled = PurePosixPath(*parts[1:]) if len(parts) > 2 and parts[0] == parts[1] else whole
    return list(dict.fromkeys([whole, undoubled, PurePosixPath(whole.name)]))


def _by_last_part(inputs: Path, name: str) -> Path | None:
    """The file below ``inputs`` of that last part whose folders agree best with ``name``."""
    wanted = PurePosixPath(name)
    found = [Path(folder) / wanted.name for folder, _, files in os.walk(inputs) if wanted.name in files]
    return min(found, key=lambda path: (-_agreement(path, wanted), str(path)), default=None)


def _agreement(path: Path, wanted: PurePosixPath) -> int:
    """How many of the last parts of both are the same."""
    count = 0
    for one, other in zip(reversed(path.parts), reversed(wanted.parts), strict=False):
        if one != other:
            break
        count += 1
    return count
