"""``pip install`` of our wheel in an image: it adds what is small and missing, and changes nothing that is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kaggle_kit.workflow.notebooks.wheel import build_wheel, requirements

pytestmark = pytest.mark.slow

OLDEST = {
    "torch": "2.4.0", "numpy": "1.26.4", "pandas": "2.0.3", "scikit-learn": "1.2.2", "click": "8.1.7", "rich": "12.6.0",
    "kaggle": "1.8.3", "requests": "2.31.0", "urllib3": "2.0.7", "packaging": "24.0", "filelock": "3.13.1",
}  # fmt: skip
"""What every image has, at the oldest that we say we work with or older than any image of today."""

SMALL = {"six", "safetensors", "orjson", "zlib-ng"}
"""What an image may lack."""


def metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def an_image(folder: Path, packages: dict[str, str]) -> Path:
    """A Python in which packages are installed, as far as pip can see."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for name, version in packages.items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(metadata(name, version))
        (info / "RECORD").write_text("")
        (info / "INSTALLER").write_text("pip\n")
    return folder / "bin" / "python"


def an_index(folder: Path, packages: set[str]) -> Path:
    """A folder of wheels that hold nothing but their names, newer than any that is installed."""
    folder.mkdir()
    for name in packages:
        plain = name.replace("-", "_")
        with zipfile.ZipFile(folder / f"{plain}-99.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{plain}-99.0.dist-info/METADATA", metadata(name, "99.0"))
            wheel.writestr(
                f"{plain}-99.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{plain}-99.0.dist-info/RECORD", "")
    return folder


def would_install(python: Path, wheel: Path, index: Path) -> set[str]:
    """The packages that pip would install or replace."""
    words = ["install", "--dry-run", "--quiet", "--no-index", f"--find-links={index}", "--report", "-", str(wheel)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull},  # caps and indexes of this machine are not the image's
    )
    assert done.returncode == 0, done.stderr
    return {row["metadata"]["name"].replace("_", "-") for row in json.loads(done.stdout)["install"]}


@pytest.fixture
def index(tmp_path):
    """Everything could be had, in a newer version."""
    return an_index(tmp_path / "index", {*OLDEST, *SMALL})


def test_only_our_wheel_and_small_missing_packages_would_be_added(tmp_path, index):
    wheel = build_wheel(tmp_path, None)
    bare = an_image(tmp_path / "bare", OLDEST)
    assert would_install(bare, wheel, index) == {"kaggle-kit", *SMALL}
    full = an_image(tmp_path / "full", OLDEST | dict.fromkeys(SMALL, "5.0"))
    assert would_install(full, wheel, index) == {"kaggle-kit"}


def test_the_check_would_see_a_package_that_is_replaced(tmp_path, index):
    wheel = build_wheel(tmp_path, None)
    older = an_image(tmp_path / "older", OLDEST | {"torch": "2.3.1"})
    assert "torch" in would_install(older, wheel, index)


def test_the_image_of_the_check_lacks_nothing_that_is_large():
    names = {Requirement(row).name for row in requirements()}
    assert names <= {*OLDEST, *SMALL}
