"""A small project on this machine, and a server in the place of Kaggle whose notebooks really run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import SECRET, FaultyServer
from separate_streams import cli_runner

from kaggle_kit.cli import cli
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.rehearsal.hosted import HostedCompetition, Rival
from kaggle_kit.rehearsal.kernel_host import KernelRules

TOML = """
[competition]
slug = "tiny"
gallery_size = 20
[folds]
count = 2
[translator]
name = "ridge"
[train]
threads = 1
[submit]
poll_first_s = 0.01
poll_last_s = 0.05
[service]
attempts = 3
backoff_s = 0
backoff_max_s = 0.01
deadline_s = 60
[remote]
poll_first_s = 0.02
poll_last_s = 0.1
wait_s = 300
[wheels]
poll_s = 0.01
ready_s = 5
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def kk() -> Callable[..., Outcome]:
    """Run a command line in this process."""

    def run(*arguments: str) -> Outcome:
        result = cli_runner().invoke(cli, list(arguments), catch_exceptions=False)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The competition's files, and the answers that its server keeps."""
    folder = tmp_path_factory.mktemp("competition")
    return folder, generate_competition(folder, captions=400, images=80, text_dim=12, image_dim=8, test=40, seed=5)


@pytest.fixture
def project(clean_world: Path) -> Path:
    """The current folder as a project without data: that is where the notebook has it."""
    (clean_world / "kk.toml").write_text(TOML)
    return clean_world


@pytest.fixture
def serve(competition, project, tmp_path, monkeypatch) -> Iterator[Callable[..., FaultyServer]]:
    """Start the server and put it in force by the environment."""
    opened: list[FaultyServer] = []

    def start(rules: dict[str, Any] | None = None, **hosted: Any) -> FaultyServer:
        files, answers = competition
        played = HostedCompetition(
            slug="tiny", title="Tiny", files=files, ids=np.arange(1, 41), answers=answers, gallery_size=20, rivals=(Rival("r", 0.1),),
            **hosted,
        )  # fmt: skip
        server = FaultyServer(played, folder=tmp_path / "server", token=SECRET, rules=KernelRules(**(rules or {})))
        opened.append(server.__enter__())
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        return server

    yield start
    for server in opened:
        server.__exit__(None, None, None)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Push a program that trains nothing (see ``standin.py``), and next to no code, as it runs none of it."""
    monkeypatch.setattr(
        "kaggle_kit.workflow.notebooks.pack.package_files", lambda git: {"kaggle_kit/version.py": b"VERSION = '0'\n"}
    )
    monkeypatch.setattr("kaggle_kit.workflow.notebooks.pack.SCRIPT", Path(__file__).with_name("standin.py"))
