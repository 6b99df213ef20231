"""README.md, the pages in docs/ and CONTRIBUTING.md cannot lie: their blocks are played, in order, against a server on this machine.

``sh`` blocks are command lines that must end with 0, ``toml`` and ``python`` blocks that begin with a comment of a file's name become that
file, other ``python`` blocks are executed. ``text`` and ``console`` blocks are for reading.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from separate_streams import cli_runner

from kaggle_kit.cli import cli
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.errors import EXIT_CODES
from kaggle_kit.rehearsal.hosted import HostedCompetition
from kaggle_kit.rehearsal.server import RehearsalServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = ("compete", "translator", "loss", "another-competition", "formats", "errors", "design")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
QUICK = {
    "KK_TRAIN_EPOCHS": "2", "KK_TRAIN_MIN_STEPS": "0", "KK_TRAIN_THREADS": "1", "KK_TRAIN_SEEDS": "1", "KK_FOLDS_COUNT": "2",
    "KK_SUBMIT_POLL_FIRST_S": "0.01", "KK_SUBMIT_POLL_LAST_S": "0.05",
}  # fmt: skip


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("pages")
    return folder, generate_competition(folder, captions=120, images=40, text_dim=12, image_dim=10, test=20, seed=2)


@pytest.fixture
def evening(made_up, clean_world, tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder, and a small competition of the real one's name on a server."""
    hosted = HostedCompetition(
        "aml-competition", "Latent space translation", made_up[0], np.arange(1, 21), made_up[1], max_daily_submissions=5
    )
    with RehearsalServer(hosted, folder=tmp_path / "server") as server:
        for name, value in {**server.environ(), **QUICK}.items():
            monkeypatch.setenv(name, value)
        yield clean_world


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def play(language: str, text: str, folder: Path) -> None:
    named = re.match(r"# ([\w/.-]+\.(?:toml|py))\n", text)
    if named and language in ("toml", "python"):
        target = folder / named.group(1)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    elif language == "python":
        exec(compile(text, "page", "exec"), {})
    elif language == "toml":
        tomllib.loads(text)
    elif language == "sh":
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                assert words[0] == "kk", line
                outcome = cli_runner().invoke(cli, words[1:], catch_exceptions=False)
                assert outcome.exit_code == 0, f"{line}\n{outcome.output}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page, evening, made_up):
    if page in ("translator", "loss"):
        (evening / "data").symlink_to(made_up[0])
    for language, text in blocks(DOCS / f"{page}.md"):
        play(language, text, evening)


def test_the_readme_does_what_it_says(evening):
    for language, text in blocks(ROOT / "README.md"):
        play(language, text, evening)


FIGURE = re.compile(r"\d\.\d{4,5}")


def test_the_demo_prints_what_the_readme_shows(clean_world, monkeypatch):
    """Figures to three digits: the last ones change with the processor's instructions."""
    monkeypatch.setenv("COLUMNS", "200")
    outcome = cli_runner().invoke(cli, ["demo"], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    shown = next(text for _, text in blocks(ROOT / "README.md") if text.startswith("$ kk demo"))
    printed = outcome.output.splitlines()
    for line in shown.splitlines()[1:]:
        near = [other for other in printed if wording(other) == wording(line)]
        assert line == "…" or any(figures(other) == pytest.approx(figures(line), abs=2e-3) for other in near), line


def wording(line: str) -> str:
    """A line without what another run changes: moments, ids, figures, and the width of its columns."""
    plain = re.sub(r"^\d+ \w+ \d\d:\d\d|\d{8}-\d{6}-\S+|\d+:\d\d|[*─]", "", FIGURE.sub("", line))
    return " ".join(plain.split())


def figures(line: str) -> list[float]:
    return [float(found) for found in FIGURE.findall(line)]


@pytest.mark.parametrize("page", PAGES)
def test_the_readme_leads_to_every_page(page):
    assert f"(docs/{page}.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name
)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_page_of_errors_has_every_exit_code_with_its_meaning():
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {meaning} |" in text for code, meaning in EXIT_CODES.items())


def test_contributing_and_pre_commit_name_the_same_checks():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for check in ("ruff check", "ruff format", "mypy"):
        assert check in text
        assert check in hooks
