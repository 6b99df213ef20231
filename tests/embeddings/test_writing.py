"""What is written can be read by NumPy and by us, and is the same for the same seed."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.competition import CompetitionFiles, TestKeys, TrainKeys
from kaggle_kit.embeddings import (
    Pairs,
    TestCaptions,
    generate_competition,
    load_pairs,
    load_test,
    read_captions,
    write_test_npz,
    write_train_npz,
)
from kaggle_kit.embeddings.write import npz_writer, one_hot_blocks
from kaggle_kit.errors import DiskFullError, UsageError
from kaggle_kit.files import sha256_of, write_npy


@pytest.mark.parametrize("compress", [True, False])
def test_numpy_reads_what_is_written(tmp_path: Path, pairs: Pairs, compress: bool) -> None:
    write_train_npz(tmp_path / "train.npz", pairs, compress=compress)
    with np.load(tmp_path / "train.npz", allow_pickle=False) as written:
        assert written["metadata/num_captions"].tolist() == [200]
        assert written["metadata/embedding_dim_image"].tolist() == [12]
        assert written["captions/label"].dtype == bool
        assert (written["captions/label"].sum(axis=1) == 1).all()
        np.testing.assert_array_equal(written["captions/label"].argmax(axis=1), pairs.image_of_caption)
        np.testing.assert_array_equal(written["captions/embeddings"], pairs.text)
        np.testing.assert_array_equal(written["images/names"], pairs.image_names)


def test_pairs_survive_writing_and_reading(tmp_path: Path, pairs: Pairs) -> None:
    keys = TrainKeys(
        caption_ids="a", caption_texts="b", caption_embeddings="c", label="d", image_names="e", image_embeddings="f"
    )
    write_train_npz(tmp_path / "train.npz", pairs, keys)
    read = load_pairs(tmp_path / "train.npz", keys)
    for name in ("text", "images", "image_of_caption", "caption_ids", "captions", "image_names"):
        np.testing.assert_array_equal(getattr(read, name), getattr(pairs, name))


def test_test_captions_survive_writing_and_reading(tmp_path: Path, pairs: Pairs) -> None:
    test = TestCaptions(np.arange(7, 27), pairs.text[:20], pairs.captions[:20], pairs.file)
    write_test_npz(tmp_path / "test.npz", test, TestKeys("i", "t", "e"))
    read = load_test(tmp_path / "test.npz", TestKeys("i", "t", "e"))
    np.testing.assert_array_equal(read.ids, test.ids)
    np.testing.assert_array_equal(read.text, test.text)
    np.testing.assert_array_equal(read.captions, test.captions)


def test_the_label_comes_in_blocks_that_add_up() -> None:
    index = np.random.default_rng(0).integers(0, 9000, 3000)
    blocks = list(one_hot_blocks(index, 9000))
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate([block.argmax(axis=1) for block in blocks]), index)


def test_blocks_that_do_not_add_up_leave_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"a: 2 rows came for a shape of \(3, 2\)"),
        npz_writer(tmp_path / "a.npz") as writer,
    ):
        writer.add_blocks("a", (3, 2), np.dtype(np.float32), [np.zeros((2, 2), np.float32)])
    assert list(tmp_path.glob("*.npz")) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, pairs: Pairs) -> None:
    path = tmp_path / "train.npz"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=r"disk full while writing .*train\.npz") as caught:
            write_train_npz(path, pairs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["train.npz"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("made")
    return folder, generate_competition(folder)


def test_a_generated_competition_has_the_exact_layout(made: tuple[Path, np.ndarray]) -> None:
    folder, answers = made
    pairs = load_pairs(folder / "train/train/train.npz")
    test = load_test(folder / "test/test/test.clean.npz")
    assert (pairs.text.shape, pairs.images.shape, answers.shape) == ((6000, 128), (1200, 192), (600, 192))
    assert set(pairs.captions_of_image) == {5}
    assert (np.diff(pairs.image_of_caption) >= 0).all()
    assert sorted(pairs.image_names.tolist()) != pairs.image_names.tolist()
    assert test.ids.tolist() == list(range(1, 601))
    norms = np.linalg.norm(pairs.images, axis=1)
    assert 24 < norms.mean() < 28
    assert min(len(caption.split()) for caption in pairs.captions.tolist()) >= 3
    with np.load(folder / "train/train/train.npz", allow_pickle=False) as written:
        assert written["captions/label"].shape == (6000, 1200)


def test_the_generated_captions_file_is_as_broken_as_the_real_one(made: tuple[Path, np.ndarray]) -> None:
    folder, _ = made
    path = folder / "test/test/captions.txt"
    assert path.read_text().count('"""') > 50
    test = load_test(folder / "test/test/test.clean.npz")
    assert read_captions(path) == dict(zip(test.ids.tolist(), test.captions.tolist(), strict=True))


def _mrr(predictions: np.ndarray, images: np.ndarray) -> float:
    """A naive mean reciprocal rank in galleries of 100."""
    predictions, images = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (predictions, images))
    ranks = []
    for first in range(0, len(images), 100):
        scores = predictions[first : first + 100] @ images[first : first + 100].T
        ranks += (scores >= np.diag(scores)[:, None]).sum(axis=1).tolist()
    return float(np.mean(1 / np.array(ranks)))


def test_a_linear_map_gets_some_of_a_generated_competition_and_less_of_its_last_third(
    made: tuple[Path, np.ndarray],
) -> None:
    folder, answers = made
    pairs, test = load_pairs(folder / "train/train/train.npz"), load_test(folder / "test/test/test.clean.npz")
    inputs = np.c_[pairs.text, np.ones(len(pairs))]
    solution = np.linalg.lstsq(inputs, pairs.images[pairs.image_of_caption], rcond=None)[0]
    predictions = np.c_[test.text, np.ones(len(test))] @ solution
    assert 0.2 < _mrr(predictions, answers) < 0.5
    assert _mrr(predictions[:400], answers[:400]) > 1.5 * _mrr(predictions[400:], answers[400:])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    small = {"captions": 23, "images": 10, "text_dim": 4, "image_dim": 5, "test": 6}
    answers = [
        generate_competition(tmp_path / name, seed=seed, **small) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    hashes = [[sha256_of(file) for file in sorted((tmp_path / name).rglob("*.*"))] for name in "abc"]
    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])
    np.testing.assert_array_equal(answers[0], answers[1])


def test_captions_are_spread_evenly_and_other_names_are_used(tmp_path: Path) -> None:
    files = CompetitionFiles(train="t.npz", test="s.npz", test_captions=None, images=None)
    keys = TrainKeys(label="l")
    generate_competition(
        tmp_path / "c", captions=23, images=10, text_dim=4, image_dim=5, test=6, files=files, train_keys=keys
    )
    assert sorted(file.name for file in (tmp_path / "c").iterdir()) == ["s.npz", "t.npz"]
    assert load_pairs(tmp_path / "c/t.npz", keys).captions_of_image.tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("wrong", [{"captions": 5, "images": 6}, {"images": 0}, {"test": 0}, {"text_dim": 0}])
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"captions of \d+ images"):
        generate_competition(tmp_path / "c", **wrong)
    assert not (tmp_path / "c").exists()


def test_an_array_that_the_disk_cuts_short_is_told_and_the_older_file_stays(tmp_path: Path) -> None:
    """What np.save itself does not notice."""
    path = tmp_path / "a.npy"
    write_npy(path, np.arange(10))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(DiskFullError, match=r"disk full while writing .*a\.npy"):
            write_npy(path, np.arange(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    np.testing.assert_array_equal(np.load(path), np.arange(10))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["a.npy"]
