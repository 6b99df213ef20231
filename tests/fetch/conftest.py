"""A project whose competition lies on a server that can be made to misbehave; see ``tests/faults.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import QUICK, SLUG, hosted, notes, server, service

from kaggle_kit.config import Project, Settings

__all__ = ["hosted", "notes", "server", "service"]


@pytest.fixture
def project(clean_world: Path) -> Project:
    """A project for the small competition, in the current folder."""
    return Project(clean_world, Settings.from_dict({"competition": {"slug": SLUG}, "service": QUICK}))
