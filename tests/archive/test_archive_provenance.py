"""Where a result came from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kaggle_kit.archive import provenance
from kaggle_kit.version import VERSION


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "kk.toml").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_commit_and_clean_tree_are_recorded(repository: Path) -> None:
    state = provenance(repository)["git"]
    assert state == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False, "diff_sha256": None}


def test_changed_tree_is_recorded_with_a_hash_of_the_change(repository: Path) -> None:
    (repository / "kk.toml").write_text("a = 2\n")
    first = provenance(repository)["git"]
    assert first["dirty"] is True
    assert len(first["diff_sha256"]) == 64
    (repository / "kk.toml").write_text("a = 3\n")
    assert provenance(repository)["git"]["diff_sha256"] != first["diff_sha256"]


def test_versions_name_every_package_without_importing_it(tmp_path: Path) -> None:
    versions = provenance(tmp_path)["versions"]
    assert versions["kaggle_kit"] == VERSION
    assert set(versions) >= {"python", "numpy", "torch", "kaggle"}


def test_credentials_never_get_into_the_command_line_recorded(tmp_path: Path) -> None:
    words = ["kk", "fetch", "--key=s3cret", "KGAT_abcDEF-123_x", "https://me:pw@host/x"]
    recorded = provenance(tmp_path, argv=words, environ={"KAGGLE_KEY": "s3cret"})["argv"]
    assert recorded == ["kk", "fetch", "--key=***", "***", "https://***@host/x"]


def test_folder_that_is_no_repository_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(tmp_path)["git"] is None
