"""Simulated notebooks with and without internet, a server, and the Python of an image that lacks us."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import SECRET, FaultyServer
from simulated import SETTINGS, SLUG, Notebook

from kaggle_kit.embeddings import generate_competition
from kaggle_kit.rehearsal.hosted import HostedCompetition, Rival
from kaggle_kit.rehearsal.kernel_host import BROKEN_PROXY


@pytest.fixture(scope="session")
def competition(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The competition's files, and the answers that its server keeps."""
    folder = tmp_path_factory.mktemp("competition")
    return folder, generate_competition(folder, captions=400, images=80, text_dim=12, image_dim=8, test=40, seed=5)


@pytest.fixture
def offline(tmp_path: Path, competition: tuple[Path, np.ndarray]) -> Notebook:
    """A notebook without internet, the competition attached, settings in place."""
    root = tmp_path / "root"
    for folder in ("kaggle/working", "kaggle/temp", "kaggle/input/competitions", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "no-home").write_bytes(b"")
    (root / "kaggle" / "input" / "competitions" / SLUG).symlink_to(competition[0])
    made = Notebook(
        root, variables=dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), BROKEN_PROXY)
    )
    (made.working / "kk.toml").write_text(SETTINGS)
    return made


@pytest.fixture
def serve(competition: tuple[Path, np.ndarray], tmp_path: Path) -> Iterator[Callable[[], FaultyServer]]:
    """Start the competition's server."""
    opened: list[FaultyServer] = []

    def start() -> FaultyServer:
        played = HostedCompetition(
            slug=SLUG, title="Tiny", files=competition[0], ids=np.arange(1, 41), answers=competition[1], gallery_size=20,
            rivals=(Rival("r", 0.1),),
        )  # fmt: skip
        opened.append(FaultyServer(played, folder=tmp_path / "server", token=SECRET).__enter__())
        return opened[-1]

    yield start
    for server in opened:
        server.__exit__(None, None, None)


@pytest.fixture
def online(offline: Notebook, serve: Callable[[], FaultyServer]) -> Notebook:
    """A notebook with internet, logged in by its own token."""
    url = serve().environ()["KAGGLE_API_ENDPOINT"]
    token = offline.root / "etc" / "secrets" / "kaggle" / "api-v1-token"
    token.parent.mkdir(parents=True)
    token.write_text(SECRET)
    variables = {"KAGGLE_API_ENDPOINT": url, "KAGGLE_API_V1_TOKEN": str(token), "KAGGLE_DATA_PROXY_URL": url}
    return Notebook(offline.root, offline.python, variables)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an image: everything that is installed here, but for kaggle_kit; pip can add to it and take nothing away."""
    folder = tmp_path_factory.mktemp("image")
    packages = folder / "packages"
    packages.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if "kaggle_kit" not in path.name and path.suffix != ".pth" and path.name != "__pycache__":
                (packages / path.name).symlink_to(path)
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    python = folder / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv" / "lib" / version / "site-packages"
    (site / "image.pth").write_text(f"{packages}\n")
    return python


@pytest.fixture
def fresh_image(image: Path) -> Iterator[Path]:
    """The image's Python, without what a test installed into it."""
    yield image
    subprocess.run(
        [image, "-m", "pip", "uninstall", "-q", "-y", "kaggle_kit"], check=True, capture_output=True, timeout=120
    )
