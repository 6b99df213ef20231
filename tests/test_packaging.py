"""What is shipped holds the whole package, and the oldest versions that we say we work with are those of ``.ci/oldest``."""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from kaggle_kit.workflow.notebooks.wheel import package_files

ROOT = Path(__file__).parent.parent
OLDEST = ROOT / "constraints-oldest.txt"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")

NOT_THE_OLDEST = {"torch": "an older build for CPUs is in no index that CI reaches, one with CUDA has gigabytes"}
"""Packages that ``.ci/oldest`` has in a newer version than the oldest that we say we work with, and why."""


def shipped() -> set[PurePosixPath]:
    """Every file of the package in this checkout."""
    found = (path for path in (ROOT / "kaggle_kit").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {PurePosixPath(path.relative_to(ROOT).as_posix()) for path in found}


def rows(text: str) -> list[str]:
    return [row for row in text.splitlines() if row and not row.startswith("#")]


def lower_bounds() -> dict[str, str]:
    """The oldest version of each package that a user may have, with those of the extras that are for users."""
    extras = SETUP["options.extras_require"]
    listed = [
        Requirement(row)
        for text in (SETUP["options"]["install_requires"], extras["plots"], extras["sweep"])
        for row in rows(text)
    ]
    return {one.name: limit.version for one in listed for limit in one.specifier if limit.operator == ">="}


def oldest_tested() -> dict[str, str]:
    return {row.partition("==")[0].lower(): row.partition("==")[2] for row in rows(OLDEST.read_text(encoding="utf-8"))}


def test_setup_names_every_folder_of_the_package():
    folders = {".".join(path.parent.parts) for path in shipped()}
    assert set(rows(SETUP["options"]["packages"])) == folders | {"kaggle_kit.configs"}


def test_setup_names_every_file_that_is_no_module():
    patterns = SETUP["options.package_data"]
    for path in shipped():
        if path.suffix != ".py":
            assert fnmatch(path.name, patterns.get(".".join(path.parent.parts), "")), path


def test_our_own_wheel_holds_every_file_of_the_package_and_every_recipe():
    held = {PurePosixPath(name) for name in package_files(None)}
    assert shipped() <= held
    assert {PurePosixPath("kaggle_kit") / path.relative_to(ROOT) for path in (ROOT / "configs").glob("*.toml")} <= held


@pytest.mark.parametrize(("package", "version"), lower_bounds().items())
def test_lower_bound_is_the_version_that_is_tested(package, version):
    tested = Version(oldest_tested()[package])
    if package in NOT_THE_OLDEST:
        assert tested > Version(version), f"{package} is no exception any more"
    else:
        assert tested == Version(version), f"setup.cfg: {package}>={version}; {OLDEST.name}: {package}=={tested}"
