"""The wheel and the sdist hold the whole package and nothing else: ``python .ci/check_dist.py FOLDER``, from anywhere."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TO_BUILD = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"}
TO_READ = {"CHANGELOG.md", "constraints.txt", "constraints-oldest.txt"}
INSTALLED = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "LICENSE"}
"""The last part of the names of a wheel's own files."""


def main() -> None:
    """Compare both with the checkout."""
    folder = Path(sys.argv[1])
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kaggle_kit").rglob("*") if _is_source(path)}
    recipes = {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.toml")}

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    own = {name for name in names if ".dist-info/" in name}
    _compare(wheel, names - own, package | {f"kaggle_kit/{name}" for name in recipes})
    _compare(wheel, {name.rpartition("/")[2] for name in own}, INSTALLED)

    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in names if name.startswith("kaggle_kit.egg-info/")} | {"PKG-INFO"}
    _compare(sdist, names - made, package | recipes | TO_BUILD | TO_READ)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _compare(archive: Path, found: set[str], expected: set[str]) -> None:
    if found != expected:
        sys.exit(f"{archive.name}: lacks {sorted(expected - found)}, should not hold {sorted(found - expected)}")
    print(f"{archive.name}: {len(found)} files as they should be")


if __name__ == "__main__":
    main()
