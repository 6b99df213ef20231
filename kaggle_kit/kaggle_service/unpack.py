"""Archives from outside, unpacked with suspicion: nothing leaves its folder, nothing grows beyond what it declared."""

from __future__ import annotations

import hashlib
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kaggle_kit.errors import DataError, DiskFullError, storage_errors
from kaggle_kit.files import atomic_writer
from kaggle_kit.progress import SILENCE, Progress, size

BLOCK = 1 << 20

LONGEST_NAME = 255
"""Bytes that a file's or folder's name may have."""

MOST_MEMBERS = 2_000_000
"""Members of an archive that we are willing to list."""

MOST_GROWTH = 200
"""How many times its size an archive may declare to hold, beyond the first gigabyte; real data stays far below."""

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError, ValueError)
# what the zip reader raises for damaged, encrypted or exotic archives


@dataclass(frozen=True)
class Unpacked:
    """A file that came out of an archive: the member's name, where it lies, its size and hash."""

    name: str
    path: Path
    size: int
    sha256: str


def unpack(
    archive: Path,
    folder: Path,
    *,
    wanted: Callable[[str], bool] = lambda name: True,
    place: Callable[[str], str] = lambda name: name,
    progress: Progress = SILENCE,
) -> list[Unpacked]:
    """Unpack the ``wanted`` members of ``archive`` below ``folder``, each whole or not at all, its CRC checked.

    Args:
        wanted: says by name which members to unpack; every member is checked, wanted or not.
        place: where below ``folder`` a member goes, by its name.

    Raises:
        DataError: no zip, damaged, encrypted, or an attack: a path that leaves the folder, a link, a bomb. Files that were there before
            such a member are whole; none outside ``folder`` was touched.
        DiskFullError: not enough space.
    """
    with _opened(archive) as file:
        members = checked_members(archive, file)
        chosen = [(name, info) for name, info in members if wanted(name)]
        total = sum(info.file_size for _, info in chosen)
        _check_space(archive, folder, total)
        task = progress.start(f"unpacking {archive.name}", total, "B")
        done, unpacked = 0, []
        for name, info in chosen:
            unpacked.append(_extract(archive, file, info, name, inside(folder, place(name))))
            done += info.file_size
            task.update(done)
        task.finish()
    return unpacked


def member_names(archive: Path) -> list[str]:
    """The names of the files in ``archive``, folders left out.

    Raises:
        DataError: no zip, damaged, or an attack.
    """
    with _opened(archive) as file:
        return [name for name, _ in checked_members(archive, file)]


def single_member(archive: Path, name: str) -> str | None:
    """The one member of ``archive`` if it is a zip around the file ``name``, as the service sends large files; else None.

    An npz is a zip of its own and stays what it is: its members have other names.
    """
    base = PurePosixPath(name).name
    if base.lower().endswith(".zip") or not zipfile.is_zipfile(archive):
        return None
    try:
        with zipfile.ZipFile(archive) as file:
            names = [info.filename for info in file.infolist() if not info.is_dir()]
    except _BROKEN:
        return None
    return names[0] if len(names) == 1 and PurePosixPath(names[0].replace("\\", "/")).name == base else None


def checked_members(archive: Path, file: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """The files in an open archive, by their safe names; folders are left out.

    Raises:
        DataError: a member that is an attack, or too many or too large members.
    """
    infos = file.infolist()
    if len(infos) > MOST_MEMBERS:
        raise _refused(archive, f"it has {len(infos)} members")
    declared = sum(info.file_size for info in infos)
    if declared > (1 << 30) + MOST_GROWTH * archive.stat().st_size:
        raise _refused(archive, f"it declares {declared} bytes in {archive.stat().st_size}: a zip bomb")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _safe_name(archive, info)
        if info.is_dir():
            continue
        if name in members:
            raise _refused(archive, f"two members are named {name!r}")
        members[name] = info
    nearest = {name.rpartition("/")[0] for name in members}
    folders = nearest | {parent.as_posix() for name in nearest for parent in PurePosixPath(name).parents}
    if both := next((name for name in members if name in folders), None):
        raise _refused(archive, f"{both!r} is a file and a folder in it")
    return list(members.items())


def _safe_name(archive: Path, info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(archive, f"the member {info.filename!r} is a link or a device")
    if info.flag_bits & 1:
        raise _refused(archive, f"the member {info.filename!r} is encrypted")
    return safe_path(info.filename, f"{archive.name}: the member")


def safe_path(name: str, what: str) -> str:
    """``name``, a path from outside, as a relative path with forward slashes.

    Raises:
        DataError: it is absolute, climbs out of its folder, or cannot be a file's name.
    """
    flat = name.replace("\\", "/")
    parts = [part for part in flat.split("/") if part not in ("", ".")]
    if any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise DataError(f"{what} {name[:40]!r}… has a name of more than {LONGEST_NAME} bytes, which no disk takes")
    if flat.startswith("/") or ".." in parts or not parts or ":" in parts[0] or not name.isprintable():
        raise DataError(
            f"{what} {name!r} does not stay in its folder", "nothing of it was written; do not trust its origin"
        )
    return "/".join(parts)


def inside(folder: Path, name: str) -> Path:
    """``folder / name``, after following the links that are on the disk already.

    Raises:
        DataError: a link on the way leads out of ``folder``.
    """
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{path} leads out of {folder} through a link", "remove the link, then run the same command again"
        )
    return path


def _extract(archive: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path) -> Unpacked:
    digest, length = hashlib.sha256(), 0
    try:
        with file.open(info) as source, atomic_writer(path) as target:
            while block := source.read(BLOCK):
                length += len(block)
                if length > info.file_size:
                    raise _refused(archive, f"the member {name!r} is longer than it declares")
                digest.update(block)
                target.write(block)
            if length != info.file_size:
                raise _refused(archive, f"the member {name!r} has {length} bytes instead of {info.file_size}")
    except _BROKEN as error:
        raise _broken(archive, f"the member {name!r}: {error}") from None
    return Unpacked(name, path, length, digest.hexdigest())


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        file = zipfile.ZipFile(archive)
    except _BROKEN as error:
        raise _broken(archive, str(error)) from None
    with file:
        yield file


def _check_space(archive: Path, folder: Path, needed: int) -> None:
    with storage_errors(folder, "unpacking into"):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"unpacking {archive.name} needs {size(needed)}, {size(free)} are free in {folder}",
            "free some space, then run the same command again",
        )


def _broken(archive: Path, problem: str) -> DataError:
    return DataError(f"{archive} is not a whole zip archive: {problem}", "fetch it again")


def _refused(archive: Path, problem: str) -> DataError:
    return DataError(f"{archive} is refused: {problem}", "nothing of that member was written; do not trust its origin")
