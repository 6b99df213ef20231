"""The label matrix reduced to one image index a caption, block by block.

The matrix is (captions, images) with a single one in each row: 3.1 GB of zeros around 125,000 ones. It is read as
8-byte words, the few words that are not zero are looked into, and nothing else is kept.
"""

from __future__ import annotations

import numpy as np

from kaggle_kit.embeddings.npz import ArrayHeader, NpzFile
from kaggle_kit.embeddings.rows import name_rows
from kaggle_kit.errors import DataError

WORD_BYTES = 8
NONE = -1


def read_image_of_caption(file: NpzFile, key: str, captions: int, images: int) -> tuple[np.ndarray, list[str]]:
    """For each caption the row of its image, from a one-hot matrix or an index.

    Args:
        file: the training file.
        key: a (captions, images) matrix of bool, integers or floats that are 0 or 1, or (captions,) integers.
        captions: how many captions there must be.
        images: how many images there must be.

    Returns:
        (captions,) int32, -1 where a row has no image, and one sentence for each thing that is wrong.

    Raises:
        DataError: a shape or type that is neither of the two.
    """
    header = file.header(key)
    check_label_header(file, key, header, captions, images)
    if len(header.shape) == 1:
        return _index(file, key, images)
    return _reduce_matrix(file, key, header)


def check_label_header(file: NpzFile, key: str, header: ArrayHeader, captions: int, images: int) -> None:
    """Refuse a label of the wrong shape or type before anything large is read.

    Raises:
        DataError: with both shapes.
    """
    is_index = header.shape == (captions,) and header.dtype.kind in "iu"
    is_matrix = header.shape == (captions, images) and (
        header.dtype.kind in "bui" or header.dtype.newbyteorder("=") in (np.float32, np.float64)
    )
    if is_index or is_matrix:
        return
    hint = f"expected one-hot ({captions}, {images}) of bool, or ({captions},) of integers"
    if header.shape == (images, captions) and images != captions:
        hint += "; this one is transposed"
    raise DataError(f"{file.path}: {key} is {header}", hint)


def _index(file: NpzFile, key: str, images: int) -> tuple[np.ndarray, list[str]]:
    index = file.read(key)
    outside = np.flatnonzero((index < 0) | (index >= images))
    problems = []
    if len(outside):
        problems.append(f"{key}: {name_rows(outside)} an image number that is not from 0 to {images - 1}")
    return np.where((index < 0) | (index >= images), NONE, index).astype(np.int32), problems


def _reduce_matrix(file: NpzFile, key: str, header: ArrayHeader) -> tuple[np.ndarray, list[str]]:
    captions = header.shape[0]
    image_of_caption = np.full(captions, NONE, np.int32)
    ones = np.zeros(captions, np.int32)
    odd_rows: list[np.ndarray] = []
    first = 0
    for block in file.blocks(key, multiple_of=WORD_BYTES):
        places, values = nonzero(block, header.dtype)
        rows, columns = _coordinates(places + first, header)
        image_of_caption[rows] = columns
        np.add.at(ones, rows, 1)
        odd_rows.append(rows[values != 1])
        first += len(block) // header.dtype.itemsize
    return image_of_caption, _row_problems(key, ones, np.unique(np.concatenate([*odd_rows, np.empty(0, np.int64)])))


def nonzero(block: bytes, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Where a block of numbers is not zero, and the numbers there.

    Looks at eight bytes at a time, and only into the words that are not zero: an eighth of the comparisons that
    ``np.nonzero`` makes on bool.

    Args:
        block: numbers of ``dtype``, one after the other.
        dtype: bool, integers or floats of 1, 2, 4 or 8 bytes.

    Returns:
        positions (n,) int64 in numbers from the block's start, rising, and values (n,).
    """
    if len(block) % WORD_BYTES:  # the last block of a matrix
        block = block + bytes(-len(block) % WORD_BYTES)
    words = np.frombuffer(block, np.uint64)
    hits = np.flatnonzero(words != 0)
    per_word = WORD_BYTES // dtype.itemsize
    numbers = words[hits].view(np.uint8 if dtype.kind == "b" else dtype).reshape(-1, per_word)
    word, inside = np.nonzero(numbers)
    return hits[word] * per_word + inside, numbers[word, inside]


def _coordinates(flat: np.ndarray, header: ArrayHeader) -> tuple[np.ndarray, np.ndarray]:
    captions, images = header.shape
    if header.fortran_order:
        return flat % captions, flat // captions
    return flat // images, flat % images


def _row_problems(key: str, ones: np.ndarray, odd: np.ndarray) -> list[str]:
    without, several = np.flatnonzero(ones == 0), np.flatnonzero(ones > 1)
    problems = []
    if len(without):
        problems.append(f"{key}: {name_rows(without)} no image")
    if len(several):
        problems.append(f"{key}: {name_rows(several)} more than one image")
    if len(odd):
        problems.append(f"{key}: {name_rows(odd)} a value other than 0 and 1")
    return problems
