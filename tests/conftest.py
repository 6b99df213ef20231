"""Every test gets a world of its own: an empty home, an empty working folder, no credentials, no proxies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # one process a core, so one thread a process: threads of all processes on all cores slow each other down
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def clean_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME, caches and the current folder move below ``tmp_path``; KAGGLE*, KK_* and proxy variables vanish."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE", "KK_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(work)
    return work
