"""Where a project, a configuration and a competition's description are found."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from kaggle_kit.errors import ConfigError, MissingError, UsageError

PROJECT_FILE = "kk.toml"
PACKAGE = Path(__file__).parent.parent

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,199}")  # files are called by it
_IN_URL = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/(?:competitions|c)/([^/?#]+)")


def find_root(start: Path | str | None = None) -> Path:
    """The nearest folder at or above ``start`` (the current one) with a ``kk.toml``; ``start`` itself without one.

    Raises:
        UsageError: the current folder was removed, or ``start`` is no folder.
    """
    try:
        folder = Path(start or Path.cwd()).resolve(strict=True)
    except FileNotFoundError:
        raise UsageError(
            f"no such folder: {start or 'the current one was removed'}", "change to another folder"
        ) from None
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a project's folder", f"give the folder that holds {PROJECT_FILE}")
    return next((place for place in (folder, *folder.parents) if (place / PROJECT_FILE).is_file()), folder)


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with the package, by name without ``.toml``."""
    # inside the package when installed from a wheel, beside it in a checkout
    folders = (PACKAGE / "configs", PACKAGE.parent / "configs")
    folder = next((place for place in folders if place.is_dir()), folders[0])
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find_config(name: Path | str, root: Path) -> tuple[Path, str]:
    """The configuration file called ``name`` and how it is shown to people.

    Looked for as a path from the current folder, then from the project's folder ``root``, then among the shipped ones,
    where ``configs/residual.toml``, ``residual.toml`` and ``residual`` all mean the same.

    Raises:
        MissingError: there is none.
    """
    for place in (Path(name), root / name):
        if os.path.isfile(place):  # unlike Path.is_file, False for names that no file can have
            return place.resolve(), str(name)
    shipped = shipped_configs()
    path = Path(name)
    if path.stem in shipped and str(path.parent) in (".", "configs") and path.suffix in ("", ".toml"):
        return shipped[path.stem], f"configs/{path.stem}.toml"
    near = difflib.get_close_matches(path.stem, shipped, 1)
    known = f"did you mean {near[0]}?" if near else f"shipped ones: {', '.join(shipped) or 'none'}"
    raise MissingError(f"no configuration file {str(name)!r}", f"give the path of a TOML file; {known}")


def is_description_path(reference: str) -> bool:
    """Whether a competition is named by the path of a TOML description, not by its slug or URL."""
    return reference.endswith(".toml")


def slug_of(reference: str) -> str:
    """The slug in ``reference``, which is a slug or the URL of a competition's page.

    Raises:
        ValueError: it is neither; the message is a sentence.
    """
    in_url = _IN_URL.match(reference.strip())
    slug = in_url.group(1) if in_url else reference.strip()
    if not _SLUG.fullmatch(slug):
        raise ValueError(f"must be a competition's slug, its URL or the path of a .toml description, not {reference!r}")
    return slug


def find_description(reference: str, root: Path) -> tuple[Path, str] | None:
    """The TOML description of a competition and how it is shown; None when a slug has none.

    Raises:
        MissingError: ``reference`` is a path, and there is no such file.
        ValueError: ``reference`` is neither a path nor a slug.
    """
    if is_description_path(reference):
        path = root / Path(reference).expanduser()
        if not os.path.isfile(path):
            raise MissingError(f"no competition description {path}", "write one, or name the competition by its slug")
        return path, reference
    file = f"competitions/{slug_of(reference)}.toml"
    for place in (root, PACKAGE):
        if (place / file).is_file():
            return place / file, file
    return None


def read_text(path: Path, shown: str) -> str:
    """The text of a settings file.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError([f"{shown}: cannot be read ({reason})"], f"check the file {path}") from error
