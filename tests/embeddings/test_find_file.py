"""A competition's file is found in the layouts that people have, and the places are listed when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_kit.embeddings import closest, file_if_there, find_file
from kaggle_kit.errors import MissingError

NAME = "train/train/train.npz"
SLUG = "aml-competition"


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("folder", [SLUG, "."])
@pytest.mark.parametrize("layout", ["train/train/train.npz", "train/train.npz", "train.npz"])
def test_each_layout_of_a_laptop_is_recognised(tmp_path: Path, folder: str, layout: str) -> None:
    path = _touch(tmp_path / "data" / folder / layout)
    assert find_file(NAME, slug=SLUG, data_dir=tmp_path / "data", environ={}) == path


def test_the_folder_of_the_slug_wins(tmp_path: Path) -> None:
    _touch(tmp_path / "data" / NAME)
    path = _touch(tmp_path / "data" / SLUG / "train.npz")
    assert find_file(NAME, slug=SLUG, data_dir=tmp_path / "data", environ={}) == path


@pytest.mark.parametrize("mount", [f"competitions/{SLUG}", SLUG])
def test_both_mounts_of_a_notebook_are_found(tmp_path: Path, mount: str) -> None:
    path = _touch(tmp_path / "kaggle/input" / mount / NAME)
    environ = {"KK_NOTEBOOK_ROOT": str(tmp_path)}
    assert find_file(NAME, slug=SLUG, data_dir=tmp_path / "data", environ=environ) == path


def test_in_a_notebook_the_last_part_is_enough_and_the_best_folders_win(tmp_path: Path) -> None:
    _touch(tmp_path / "kaggle/input/datasets/someone/old/train.npz")
    path = _touch(tmp_path / "kaggle/input/datasets/someone/z-mirror/train/train.npz")
    environ = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KK_NOTEBOOK_ROOT": str(tmp_path)}
    assert find_file(NAME, slug=SLUG, data_dir=Path("data"), environ=environ) == path


def test_outside_a_notebook_nothing_is_searched_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"train/train/train\.npz of aml-competition is not there") as caught:
        find_file(NAME, slug=SLUG, data_dir=tmp_path / "data", environ={})
    assert "looked for" in caught.value.message
    assert "anywhere below" not in caught.value.message


def test_none_stands_for_a_file_that_is_nowhere(tmp_path: Path) -> None:
    assert file_if_there(NAME, slug=SLUG, data_dir=tmp_path / "data", environ={}) is None


def test_all_places_are_listed_when_the_file_is_nowhere(tmp_path: Path) -> None:
    environ = {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KK_NOTEBOOK_ROOT": str(tmp_path)}
    with pytest.raises(MissingError, match=r"is not there") as caught:
        find_file(NAME, slug=SLUG, data_dir=tmp_path / "data", environ=environ)
    assert "train/train/train.npz or train/train.npz or train.npz in" in caught.value.message
    for folder in (f"data/{SLUG}", "data", f"kaggle/input/competitions/{SLUG}", f"kaggle/input/{SLUG}"):
        assert f"\n  {tmp_path / folder}\n" in caught.value.message
    assert "anywhere below" in caught.value.message
    assert "kk fetch" in caught.value.hint


def test_a_name_without_doubled_folders_has_two_layouts(tmp_path: Path) -> None:
    path = _touch(tmp_path / "data" / "b.npz")
    assert find_file("a/b.npz", slug="s", data_dir=tmp_path / "data", environ={}) == path


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("a/b.npz", ["b.npz", "a/b.npz"], "a/b.npz"),
        ("a/a/b.npz", ["x/b.npz", "a/b.npz"], "a/b.npz"),
        ("a/b.npz", ["b.npz"], "b.npz"),
        ("a/b.npz", ["x/b.npz", "y/b.npz"], None),
        ("a/b.npz", ["c.npz"], None),
        ("a/b.npz", [], None),
    ],
)
def test_closest_name_shares_most_of_the_last_parts(name: str, names: list[str], found: str | None) -> None:
    assert closest(name, names) == found
