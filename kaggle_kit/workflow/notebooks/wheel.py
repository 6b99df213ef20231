"""The package as it is running here, as a wheel or as files to send: the same code gives the same bytes.

Made from the files that were imported, with no build tool and no network, so that it works in a checkout and from an installed wheel alike.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from kaggle_kit.archive.provenance import BUILT_FROM
from kaggle_kit.config.places import PACKAGE, shipped_configs
from kaggle_kit.errors import UsageError
from kaggle_kit.files import to_json, write_bytes
from kaggle_kit.version import VERSION

NAME = "kaggle_kit"
WHEEL_NAME = f"{NAME}-{VERSION}-py3-none-any.whl"

_DIST_INFO = f"{NAME}-{VERSION}.dist-info"
_SUFFIXES = (".py", ".toml", ".html", ".typed")
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the wheel; a zip knows no earlier one."""


def package_files(git: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Every file of the installed package by its name in a wheel, with the commit that it is of.

    Args:
        git: the state of the repository (see ``provenance``); goes along, as the package will be in no repository there.

    Raises:
        UsageError: the package is not installed, so that its metadata is not known.
    """
    files = {
        f"{NAME}/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.suffix in _SUFFIXES and "__pycache__" not in path.parts
    }
    files |= {f"{NAME}/configs/{path.name}": path.read_bytes() for path in shipped_configs().values()}
    files[f"{NAME}/{BUILT_FROM}"] = to_json({"git": git})
    files[f"{_DIST_INFO}/METADATA"] = _metadata("METADATA", "PKG-INFO")
    files[f"{_DIST_INFO}/entry_points.txt"] = _metadata("entry_points.txt")
    return files


def requirements() -> list[str]:
    """What the package needs, extras left out, as in its metadata."""
    return [row for row in _distribution().requires or [] if "extra ==" not in row]


def build_wheel(folder: Path, git: Mapping[str, Any] | None) -> Path:
    """Write the package's wheel into ``folder``.

    Raises:
        UsageError: as in :func:`package_files`, or the folder cannot be written to.
    """
    files = package_files(git)
    files[f"{_DIST_INFO}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: {NAME} {VERSION}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ).encode()
    files[f"{_DIST_INFO}/RECORD"] = _record(files)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, _OLDEST)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, content)
    path = folder / WHEEL_NAME
    write_bytes(path, buffer.getvalue())
    return path


def _record(files: Mapping[str, bytes]) -> bytes:
    """The list of files with their hashes that a wheel holds."""
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join([*rows, f"{_DIST_INFO}/RECORD,,", ""]).encode()


def _distribution() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"{NAME} is not installed here, only imported", "pip install -e . in its folder") from None


def _metadata(*names: str) -> bytes:
    distribution = _distribution()
    found = next((text for name in names if (text := distribution.read_text(name))), "")
    return found.encode()
