"""Files that are not what they should be, and disks that are full: what is said, and that nothing else is touched."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kaggle_kit.embeddings import generate_competition
from kaggle_kit.files import sha256_of
from kaggle_kit.training.checkpoints import load_tensors

TRAIN, TEST = "data/tiny/train/train/train.npz", "data/tiny/test/test/test.clean.npz"

NETWORK = """
competition = "tiny"
[folds]
count = 2
[translator]
name = "residual_mlp"
hidden = 8
[train]
epochs = 3
batch_size = 32
patience = "none"
precision = "fp32"
threads = 1
checkpoint_minutes = 0
"""


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> Path:
    """The files of a small competition."""
    folder = tmp_path_factory.mktemp("competition")
    generate_competition(folder, captions=400, images=100, text_dim=8, image_dim=48, test=30)
    return folder


@pytest.fixture
def project(made_up, clean_world, write) -> Path:
    """A project with the data in place and a network that is trained in a second."""
    write("kk.toml", NETWORK)
    shutil.copytree(made_up, clean_world / "data" / "tiny")
    return clean_world


def tree(folder: Path) -> dict[str, str]:
    """The hash of every file below ``folder``, locks and the index of records left out."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".sqlite")
    }


Damage = Callable[[bytes], bytes]


def changed(path: str, **changes: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Write the npz at ``path`` anew with some arrays changed; ``a__b`` stands for ``a/b``."""

    def act(content: bytes) -> bytes:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        for key, change in changes.items():
            arrays[key.replace("__", "/")] = change(arrays[key.replace("__", "/")])
        np.savez_compressed(path, **arrays)
        return Path(path).read_bytes()

    return act


def flipped(content: bytes) -> bytes:
    """One bit of the largest member's middle is another one."""
    with zipfile.ZipFile(TRAIN) as archive:
        largest = max(archive.infolist(), key=lambda info: info.compress_size)
    place = largest.header_offset + largest.compress_size // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def emptied(array: np.ndarray) -> np.ndarray:
    return array[:0]


def with_row(row: int, columns: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    def change(label: np.ndarray) -> np.ndarray:
        label[row] = False
        label[row, columns] = True
        return label

    return change


BAD_TRAIN: dict[str, tuple[Damage, str]] = {
    "truncated": (lambda content: content[:-1000], "is cut short"),
    "bit-flipped": (flipped, "is damaged: its member"),
    "empty": (lambda content: b"", "is empty"),
    "pickled": (
        changed(TRAIN, captions__text=lambda a: a.astype(object)),
        "captions/text holds pickled Python objects, which are never loaded",
    ),
    "wrong dtype": (
        changed(TRAIN, captions__embeddings=lambda a: a.astype(np.int32)),
        "captions/embeddings is int32 (400, 8)",
    ),
    "wrong shape": (changed(TRAIN, captions__label=lambda a: a.T), "captions/label is bool (100, 400)"),
    "LFS pointer": (lambda content: b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "HTML page": (lambda content: b"<!doctype html><html>sign in</html>", "is an HTML page"),
    "row without image": (changed(TRAIN, captions__label=with_row(7, [])), "row 7 has no image"),
    "row with two images": (changed(TRAIN, captions__label=with_row(7, [1, 2])), "row 7 has more than one image"),
    "NaN": (changed(TRAIN, images__embeddings=lambda a: a * np.float32("nan")), "have NaN or infinite values"),
    "duplicate ids": (changed(TRAIN, captions__ids=lambda a: a // 2), "an id that an earlier row has"),
}


@pytest.mark.parametrize("kind", BAD_TRAIN)
@pytest.mark.parametrize("command", ["train", "data"])
def test_bad_training_file_is_3_says_why_and_touches_nothing(project, kk, command, kind):
    damage, said = BAD_TRAIN[kind]
    path = project / TRAIN
    path.write_bytes(damage(path.read_bytes()))
    before = tree(project)
    outcome = kk(command, "--json")
    assert (outcome.code, outcome.json["error"]["kind"]) == (3, "data"), outcome.err
    assert said in outcome.json["error"]["message"]
    assert outcome.json["error"]["hint"]
    assert "Traceback" not in outcome.err
    assert tree(project) == before
    assert not (project / "models_archive").exists()


BAD_TEST: dict[str, tuple[Damage, str]] = {
    "empty": (
        changed(TEST, captions__ids=emptied, captions__text=emptied, captions__embeddings=emptied),
        "holds no captions",
    ),
    "duplicate ids": (changed(TEST, captions__ids=lambda a: a * 0 + 5), "an id that an earlier row has"),
    "other rows": (changed(TEST, captions__ids=lambda a: a[1:]), "captions/ids is int64 (29,)"),
    "no file of its kind": (lambda content: b"id,caption\n", "is not an npz (zip) file"),
    "truncated": (lambda content: content[:-100], "is cut short"),
}


@pytest.mark.parametrize("kind", BAD_TEST)
def test_bad_test_file_is_3_and_leaves_an_older_prediction_alone(project, kk, write, kind):
    assert kk("train", "--translator", "ridge", "-q").code == 0
    write("submission.csv", "mine")
    damage, said = BAD_TEST[kind]
    path = project / TEST
    path.write_bytes(damage(path.read_bytes()))
    before = tree(project)
    outcome = kk("predict")
    assert outcome.code == 3
    assert said in outcome.err
    assert tree(project) == before


# -- full disks, by a limit on the size of files ---------------------------------------------------------------------


def limited(*arguments: str, limit: int) -> subprocess.CompletedProcess[str]:
    """Run ``kk`` in a process that can write no file longer than ``limit`` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "kaggle_kit", *arguments],
        capture_output=True, text=True, check=False, timeout=120, env=os.environ,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip


def assert_same_weights(one: Path, other: Path) -> None:
    """Both runs have the same members, with the same numbers to the bit."""
    paths = sorted(one.glob("*/model.safetensors"))
    assert len(paths) == 2
    for path in paths:
        first, second = (load_tensors(folder / path.parent.name / path.name)[0] for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


LARGEST = {
    "state.safetensors": 'name = "residual_mlp"\nhidden = 8',
    "model.safetensors": 'name = "random_feature_ridge"\nfeatures = 512',
    "predictions.npy": 'name = "mlp"\nhidden = 2',
}
"""Translators by the file that is the largest one of their folds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGEST)
def test_disk_that_fills_up_in_training_is_75_and_resumable_to_the_same_weights(project, kk, write, name):
    write("kk.toml", NETWORK.replace('name = "residual_mlp"\nhidden = 8', LARGEST[name]))
    whole = Path(kk("train", "-q", "--json").json["folder"])
    sizes = {path.name: path.stat().st_size for path in whole.glob("fold-0-seed-0/*")}
    largest = max(sizes.values())
    assert sizes.get(name, largest) == largest
    before = tree(whole)
    done = limited("train", "--json", limit=int(largest * 0.9) if name in sizes else largest + 500)
    assert done.returncode == 75, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "disk_full"
    assert error["message"].startswith("disk full while writing")
    assert name in error["message"]
    assert "Traceback" not in done.stderr
    resumed = kk("train", "--resume", "-q", "--json")
    assert resumed.code == 0, resumed.err
    assert_same_weights(Path(resumed.json["folder"]), whole)
    assert not list(project.rglob("*.tmp"))
    assert tree(whole) == before


def test_disk_that_is_full_from_the_start_leaves_no_run(project, kk):
    assert kk("train", "--translator", "ridge", "-q").code == 0
    before = tree(project)
    done = limited("train", "--translator", "ridge", "--json", limit=100)
    assert done.returncode == 75, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "disk_full"
    after = tree(project)
    assert {name: after[name] for name in before} == before
    assert len(kk("runs", "list", "--json").json) == 1


@pytest.mark.slow
def test_disk_that_fills_up_in_a_cache_costs_the_cache_only(project, kk, tmp_path):
    """A file large enough to be cached, in a process that can write none of its size."""
    rng = np.random.default_rng(0)
    with np.load(project / TRAIN) as file:
        arrays = {key: file[key] for key in file.files}
    arrays["captions/embeddings"] = rng.standard_normal((400, 11_000), dtype=np.float32)
    np.savez(project / TRAIN, **arrays)
    Path(project / TEST).unlink()
    before = tree(project)
    done = limited("data", "--json", limit=1_000_000)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["train"]["text_dim"] == 11_000
    assert "without the cache" in done.stderr
    assert tree(project) == before
    assert kk("cache", "--json").json["entries"] == []
    assert kk("data", "-q").code == 0
    assert len(kk("cache", "--json").json["entries"]) == 1


@pytest.mark.slow
def test_disk_that_fills_up_in_a_figure_keeps_the_older_one(project, write):
    pytest.importorskip("matplotlib")
    write("d.svg", "mine")
    done = limited("data", "--figure", "d.svg", limit=10_000)
    assert done.returncode == 75, done.stderr
    assert Path("d.svg").read_text() == "mine"


def test_disk_that_fills_up_in_made_up_data_leaves_nothing(clean_world):
    done = limited("demo", "--write", "big", "--captions", "500", "--images", "100", limit=200_000)
    assert done.returncode == 75, done.stderr
    assert "disk full while writing big/train/train/train.npz" in done.stderr
    assert [path for path in Path("big").rglob("*") if path.is_file()] == []


def test_file_in_place_of_the_folder_of_runs_is_told(project, kk, write):
    write("models_archive", "I am a file")
    outcome = kk("train", "--translator", "ridge")
    assert outcome.code == 2
    assert "models_archive" in outcome.err
    assert Path("models_archive").read_text() == "I am a file"
