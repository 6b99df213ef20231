"""Write npz files in the competition's layout, member by member and block by block."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.competition import TestKeys, TrainKeys
from kaggle_kit.embeddings.pairs import Pairs, TestCaptions
from kaggle_kit.embeddings.store import npy_header
from kaggle_kit.files import atomic_writer

TRAIN_KEYS = TrainKeys()
TEST_KEYS = TestKeys()
FAST = 1  # deflate level: embeddings hardly shrink at any level, and the label matrix shrinks well at each
BLOCK_BYTES = 1 << 23
# The earliest time that a zip file can name: the same arrays give the same bytes, whenever they are written.
TIMELESS = (1980, 1, 1, 0, 0, 0)


class NpzWriter:
    """An npz file being written: arrays one after the other, each whole or in blocks of rows."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, key: str, array: np.ndarray) -> None:
        """Write a whole array, without a second copy of it."""
        step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
        blocks = (array[first : first + step] for first in range(0, len(array), step))
        self.add_blocks(key, array.shape, array.dtype, blocks)

    def add_blocks(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[np.ndarray]) -> None:
        """Write an array of ``shape`` whose rows come in ``blocks``.

        Raises:
            ValueError: the blocks do not add up to ``shape``.
        """
        info = zipfile.ZipInfo(f"{key}.npy", TIMELESS)
        info.compress_type = self._archive.compression
        rows = 0
        with self._archive.open(info, "w", force_zip64=True) as member:
            member.write(npy_header(shape, dtype))
            for block in blocks:
                rows += len(block)
                member.write(np.ascontiguousarray(block, dtype).tobytes())
        if rows != shape[0]:
            raise ValueError(f"{key}: {rows} rows came for a shape of {shape}")


@contextmanager
def npz_writer(path: Path, *, compress: bool = True) -> Iterator[NpzWriter]:
    """An npz file that is at ``path`` when the block ends well, and never there in part.

    Args:
        path: the file.
        compress: deflate the arrays, as ``np.savez_compressed`` does; otherwise store them, as ``np.savez`` does.

    Raises:
        DiskFullError: no space left.
        UsageError: the folder cannot be written to.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with atomic_writer(path) as file, zipfile.ZipFile(file, "w", method, compresslevel=FAST) as archive:
        yield NpzWriter(archive)


def one_hot_blocks(image_of_caption: np.ndarray, images: int) -> Iterator[np.ndarray]:
    """The label matrix in blocks of rows, (some, images) bool."""
    step = max(1, BLOCK_BYTES // images)
    for first in range(0, len(image_of_caption), step):
        index = image_of_caption[first : first + step]
        block = np.zeros((len(index), images), bool)
        block[np.arange(len(index)), index] = True
        yield block


def write_train_npz(path: Path, pairs: Pairs, keys: TrainKeys = TRAIN_KEYS, *, compress: bool = True) -> None:
    """Write pairs in the layout of the competition's training file; the label matrix never exists as a whole.

    Raises:
        DiskFullError: no space left.
        UsageError: the folder cannot be written to.
    """
    shape = (len(pairs), len(pairs.images))
    with npz_writer(path, compress=compress) as writer:
        write_metadata(
            writer,
            num_captions=shape[0],
            num_images=shape[1],
            embedding_dim_text=pairs.text.shape[1],
            embedding_dim_image=pairs.images.shape[1],
        )
        _add_named(writer, keys.caption_ids, pairs.caption_ids)
        _add_named(writer, keys.caption_texts, pairs.captions)
        writer.add(keys.caption_embeddings, pairs.text)
        writer.add_blocks(keys.label, shape, np.dtype(bool), one_hot_blocks(pairs.image_of_caption, shape[1]))
        _add_named(writer, keys.image_names, pairs.image_names)
        writer.add(keys.image_embeddings, pairs.images)


def write_test_npz(path: Path, test: TestCaptions, keys: TestKeys = TEST_KEYS, *, compress: bool = True) -> None:
    """Write test captions in the layout of the competition's test file.

    Raises:
        DiskFullError: no space left.
        UsageError: the folder cannot be written to.
    """
    with npz_writer(path, compress=compress) as writer:
        write_metadata(writer, num_captions=len(test), embedding_dim_text=test.text.shape[1])
        writer.add(keys.caption_ids, test.ids)
        _add_named(writer, keys.caption_texts, test.captions)
        writer.add(keys.caption_embeddings, test.text)


def _add_named(writer: NpzWriter, key: str | None, array: np.ndarray) -> None:
    """An array that a competition may do without."""
    if key is not None:
        writer.add(key, array)


def write_metadata(writer: NpzWriter, **counts: int) -> None:
    """The ``metadata/*`` members, (1,) int64 each."""
    for name, count in counts.items():
        writer.add(f"metadata/{name}", np.array([count], np.int64))
