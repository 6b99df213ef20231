"""A tiny competition played by commands: a project with one trained run, and a server that misbehaves on demand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faults import SECRET, FaultyServer

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.rehearsal.hosted import HostedCompetition, Rival
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import train

SLUG, TEST = "tiny", 40

SETTINGS = f"""
[competition]
slug = "{SLUG}"
gallery_size = 20
[folds]
count = 2
[translator]
name = "ridge"
[train]
threads = 1
[submit]
appear_s = 0.1
poll_first_s = 0.01
poll_last_s = 0.05
wait_s = 30
[service]
connect_timeout_s = 2
read_timeout_s = 5
attempts = 4
backoff_s = 0
backoff_max_s = 0.01
deadline_s = 20
"""


@dataclass(frozen=True)
class Template:
    """A project to copy for each test, and the answers that its server keeps."""

    folder: Path
    answers: np.ndarray

    def hosted(self, **rules: object) -> HostedCompetition:
        """The competition as a server plays it."""
        values = {"title": "Tiny", "gallery_size": 20, "rivals": (Rival("rivals", 0.5),), **rules}
        files, ids = self.folder / "data", np.arange(1, TEST + 1)
        return HostedCompetition(slug=SLUG, files=files, ids=ids, answers=self.answers, **values)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The files of the competition, settings, and one run trained on them."""
    folder = tmp_path_factory.mktemp("template")
    answers = generate_competition(
        folder / "data", captions=240, images=80, text_dim=16, image_dim=12, test=TEST, seed=5
    )
    (folder / "kk.toml").write_text(SETTINGS)
    train(load_project(folder, environ={}), name="first")
    return Template(folder, answers)


@pytest.fixture
def tiny(template: Template, clean_world: Path) -> Path:
    """The project in the current folder, ready to submit."""
    shutil.copytree(template.folder, clean_world, dirs_exist_ok=True)
    return clean_world


@pytest.fixture
def faulty(template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """The competition's server, in force by the environment; its token is ``SECRET``."""
    with FaultyServer(template.hosted(), folder=tmp_path / "server", token=SECRET) as running:
        for name, value in running.environ().items():
            monkeypatch.setenv(name, value)
        yield running


def records(folder: Path) -> list[Record]:
    """The submissions in a project's archive, every one of which must be readable and whole."""
    listing = SubmissionStore(folder / "submissions_archive").scan()
    assert listing.broken == []
    assert list((folder / "submissions_archive").rglob("*.tmp")) == []
    return listing.records


def holding(secret: str, folder: Path) -> list[Path]:
    """The files below ``folder`` that hold ``secret``, in any part of their bytes or name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret in path.name or secret.encode() in path.read_bytes()]
