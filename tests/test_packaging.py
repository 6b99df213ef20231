"""What is shipped holds the whole package."""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from kaggle_kit.workflow.wheel import package_files

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def shipped() -> set[PurePosixPath]:
    """Every file of the package in this checkout."""
    found = (path for path in (ROOT / "kaggle_kit").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {PurePosixPath(path.relative_to(ROOT).as_posix()) for path in found}


def rows(text: str) -> list[str]:
    return [row for row in text.splitlines() if row and not row.startswith("#")]


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
