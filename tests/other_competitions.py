"""Two competitions that are not the first: one with other names and sizes throughout, one without embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from separate_streams import cli_runner

from kaggle_kit.cli import cli
from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.server import RehearsalServer

SOUNDS = """\
title = "Sounds of things"
gallery_size = 7
[files]
train = "pairs.npz"
test = "queries.npz"
test_captions = "none"
images = "none"
[train_keys]
caption_ids = "q/id"
caption_texts = "q/words"
caption_embeddings = "q/vec"
label = "q/target"
image_names = "t/name"
image_embeddings = "t/vec"
[test_keys]
caption_ids = "q/id"
caption_texts = "q/words"
caption_embeddings = "q/vec"
[submission]
id_column = "query"
embedding_column = "vector"
"""
QUICK = "[folds]\ncount = 2\n[train]\nthreads = 1\n[submit]\npoll_first_s = 0.01\npoll_last_s = 0.05\n"
PRICES = np.linspace(1.0, 9.0, 12)
Command = Callable[..., Any]


def write_sounds(folder: Path, *, targets: int = 44, queries: int = 21) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with one to four texts a target, in no order; ids and answers of the queries."""
    rng = np.random.default_rng(4)
    target = rng.permutation(np.repeat(np.arange(targets), rng.integers(1, 5, targets)))
    mix, out = rng.standard_normal((5, 9)), rng.standard_normal((5, 6))

    def vectors(latent: np.ndarray, into: np.ndarray, noise: float) -> np.ndarray:
        return ((latent + noise * rng.standard_normal(latent.shape)) @ into).astype(np.float32)

    latent, hidden = rng.standard_normal((targets, 5)), rng.standard_normal((queries, 5))
    folder.mkdir(parents=True)
    np.savez(folder / "pairs.npz", **{
        "q/id": np.arange(len(target)) * 3 + 7, "q/words": np.array([f"sound {i}" for i in range(len(target))]),
        "q/vec": vectors(latent[target], mix, 0.1), "q/target": target.astype(np.int64),
        "t/name": np.array([f"{i}.wav" for i in range(targets)]), "t/vec": vectors(latent, out, 0.0),
    })  # fmt: skip
    ids = np.arange(queries) * 5 + 400
    np.savez(folder / "queries.npz", **{
        "q/id": ids, "q/words": np.array([f"query {i}" for i in range(queries)]), "q/vec": vectors(hidden, mix, 0.1),
    })  # fmt: skip
    return ids, (hidden @ out).astype(np.float32)


def write_prices(folder: Path) -> None:
    """A table to learn from, and a sample submission of ids and one number."""
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("id,rooms,price\n1,2,3.5\n2,4,7.0\n")
    rows = "".join(f"{identifier},0.5\n" for identifier in range(901, 901 + len(PRICES)))
    (folder / "sample_submission.csv").write_text(f"house,price\n{rows}")


@pytest.fixture
def kk() -> Command:
    """Run a command line as a user would; its exit code has to be ``code``."""

    def run(*arguments: str, code: int = 0) -> Any:
        outcome = cli_runner().invoke(cli, list(arguments), catch_exceptions=False)
        assert outcome.exit_code == code, outcome.output
        return outcome

    return run


def _serving(hosted: HostedCompetition, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RehearsalServer]:
    with RehearsalServer(hosted, folder=folder) as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def sounds(clean_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RehearsalServer]:
    """A server for the competition of other names."""
    ids, answers = write_sounds(tmp_path / "sounds")
    hosted = HostedCompetition(
        "sound-match", "Sounds of things", tmp_path / "sounds", ids, answers, gallery_size=7,
        format=SubmissionFormat("query", "vector"), max_daily_submissions=3,
    )  # fmt: skip
    yield from _serving(hosted, tmp_path / "server", monkeypatch)


@pytest.fixture
def prices(clean_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RehearsalServer]:
    """A server for the competition without embeddings."""
    write_prices(tmp_path / "prices")
    hosted = HostedCompetition(
        "house-prices", "House prices", tmp_path / "prices", np.arange(901, 901 + len(PRICES)),
        PRICES[:, None].astype(np.float32), plain=True, format=SubmissionFormat("house", "price"),
    )  # fmt: skip
    yield from _serving(hosted, tmp_path / "server", monkeypatch)
