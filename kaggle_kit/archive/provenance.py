"""Where a result came from: commit, versions, machine and command line, without importing what it names."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_kit.errors import KaggleKitError
from kaggle_kit.files import read_json
from kaggle_kit.version import VERSION

BUILT_FROM = "built_from.json"
"""Beside the package's modules in a wheel: the commit that it was built from."""

GIT_TIMEOUT_S = 5.0
"""Seconds that one call of git may take."""

PACKAGES = ("numpy", "torch", "scikit-learn", "pandas", "kaggle", "orjson", "safetensors")
_TOKEN = re.compile(r"KGAT_[A-Za-z0-9_-]+|(?<=://)[^/@\s]+(?=@)")
_SECRET_VARIABLES = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_PASSWORD")


def provenance(
    project: Path | None = None,
    *,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What made a result, as plain data for its record.

    Args:
        project: the project's folder, whose git commit counts; where that is in no repository, the package's own, or the one that its
            wheel was built from. None: the current folder.
        argv: the command line; None: this process's. Whatever looks like a credential is taken out.
        environ: where credentials are looked up, to be taken out; None: this process's environment.

    Returns:
        ``git`` (commit, dirty, diff_sha256; None without a repository), ``versions``, ``platform`` and ``argv``.
    """
    environ = os.environ if environ is None else environ
    folders = (project or Path.cwd(), Path(__file__).parent)
    repositories = (_git_state(folder) for folder in folders)
    return {
        "git": next((state for state in repositories if state), None) or _built_from(),
        "versions": _versions(),
        "platform": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "argv": [without_credentials(word, environ) for word in (sys.argv if argv is None else argv)],
    }


def without_credentials(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with everything that is, or looks like, a credential replaced by ``***``."""
    for name in _SECRET_VARIABLES:
        if environ.get(name):
            text = text.replace(environ[name], "***")
    return _TOKEN.sub("***", text)


def _versions() -> dict[str, str | None]:
    import importlib.metadata  # costs a fifth of the start of kk leaderboard, which does not need it

    versions: dict[str, str | None] = {"python": platform.python_version(), "kaggle_kit": VERSION}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that ``folder`` is at, and whether tracked files differ from it; None when there is no repository or no git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD")
    dirty = bool(diff) if diff is not None else None
    return {
        "commit": commit.decode().strip(),
        "dirty": dirty,
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
    }


def _built_from() -> dict[str, Any] | None:
    """The commit that the package's wheel was built from; None in a checkout, or when it was built outside of one."""
    path = Path(__file__).parent.parent / BUILT_FROM
    try:
        return read_json(path)["git"]
    except (KaggleKitError, OSError, KeyError, TypeError):
        return None


def _git(folder: Path, *words: str) -> bytes | None:
    """What git prints; None when it fails. It gets no credentials, takes no locks and starts no hooks."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
