"""A project on a small made-up competition, and a server that plays it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.competition import Competition
from kaggle_kit.config import Project
from kaggle_kit.embeddings import generate_competition, load_test
from kaggle_kit.kaggle_service import Credentials, KaggleService
from kaggle_kit.progress import Silence
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.server import RehearsalServer
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import Run, train

SLUG = "small-competition"
QUICK = {
    "competition.slug": SLUG,
    "competition.gallery_size": 10,
    "folds.count": 2,
    "train.threads": 1,
    "submit.appear_s": 0.1,
    "submit.poll_first_s": 0.01,
    "submit.poll_last_s": 0.05,
    "submit.wait_s": 20,
    "service.backoff_s": 0.01,
    "service.backoff_max_s": 0.05,
    "service.read_timeout_s": 5,
    "service.deadline_s": 10,
    "service.attempts": 3,
}


class Notes(Silence):
    """Remembers what people were told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@dataclass
class World:
    """The files below ``data``, the hidden answers, and the test ids."""

    ids: np.ndarray
    answers: np.ndarray


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    folder = tmp_path_factory.mktemp("small") / SLUG
    answers = generate_competition(folder, captions=1200, images=300, text_dim=48, image_dim=16, test=40, seed=3)
    return folder, World(load_test(folder / Competition().files.test).ids, answers)


@pytest.fixture
def world(small_data) -> World:
    return small_data[1]


@pytest.fixture
def make_project(clean_world: Path, small_data):
    """A project in the current folder, its data in place; keyword overrides by dotted key."""

    def build(**overrides: object) -> Project:
        data = clean_world / "data"
        data.mkdir(exist_ok=True)
        if not (data / SLUG).exists():
            (data / SLUG).symlink_to(small_data[0])
        given = {"translator.name": "ridge", **QUICK, **overrides}
        return load_project(clean_world, overrides=given)

    return build


@pytest.fixture
def project(make_project) -> Project:
    return make_project()


@pytest.fixture
def run(project: Project) -> Run:
    return train(project)


@pytest.fixture
def serve(tmp_path: Path, small_data):
    """Start a server for the small competition, with other rules where given."""
    open_servers: list[RehearsalServer] = []

    def start(**rules: object) -> RehearsalServer:
        folder, world = small_data
        hosted = HostedCompetition(
            slug=SLUG, title="Small", files=folder, ids=world.ids, answers=world.answers, gallery_size=10
        )
        server = RehearsalServer(replace(hosted, **rules), folder=tmp_path / "server")
        open_servers.append(server.__enter__())
        return server

    yield start
    for server in open_servers:
        server.__exit__(None, None, None)


@pytest.fixture
def connect(project: Project, notes: Notes):
    """A service that leads to a server, through the real client."""
    opened: list[KaggleService] = []

    def build(server: RehearsalServer, project: Project = project) -> KaggleService:
        credentials = Credentials.of_token(server.token, "the test")
        opened.append(
            KaggleService(project.settings.service, environ=server.environ(), credentials=credentials, progress=notes)
        )
        return opened[-1]

    yield build
    for service in opened:
        service.close()


@pytest.fixture
def service(serve, connect) -> Iterator[KaggleService]:
    return connect(serve())
