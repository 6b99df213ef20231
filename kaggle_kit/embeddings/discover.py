"""What the arrays of an unknown npz are, told from their shapes, types and names: the keys of a competition's description."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kaggle_kit.competition import TestKeys, TrainKeys
from kaggle_kit.embeddings.npz import ArrayHeader, ForeignArray, NpzFile

TEXT_WORDS = ("caption", "text", "query", "sentence", "word", "prompt")
IMAGE_WORDS = ("image", "img", "photo", "picture", "target", "vision")
ID_WORDS = ("id", "ids", "index", "key")
LABEL_WORDS = ("label", "target", "match", "image", "pair", "index")
Keys = TypeVar("Keys", TrainKeys, TestKeys)


@dataclass(frozen=True)
class FoundKeys:
    """The keys of both files as far as they could be told, and what could not.

    Attributes:
        train: keys of the training file; None when it is not there.
        test: keys of the test file; None when it is not there.
        unclear: one sentence for each array that was not found.
    """

    train: TrainKeys | None
    test: TestKeys | None
    unclear: list[str]


def discover_keys(train: Path | None, test: Path | None) -> FoundKeys:
    """The arrays of the training and the test file by what they hold; headers are read, and of integers the values.

    The test file settles which embeddings are the texts: it has no others. A one-hot matrix settles which rows are captions and which
    images.

    Raises:
        DataError: a file is no npz.
    """
    unclear: list[str] = []
    of_test = None
    if test is not None:
        of_test = _filled(TestKeys(), _test_arrays(NpzFile(test)), test, unclear)
    of_train = None
    if train is not None:
        of_train = _filled(TrainKeys(), _train_arrays(NpzFile(train), of_test), train, unclear)
    return FoundKeys(of_train, of_test, unclear)


def _filled(keys: Keys, found: Mapping[str, str | None], path: Path, unclear: list[str]) -> Keys:
    for field in dataclasses.fields(keys):
        if found.get(field.name) is None and field.name not in _optional(keys):
            unclear.append(f"{path.name} has no array that must be {field.name} ({field.metadata['meaning']})")
    optional = _optional(keys)
    known: dict[str, Any] = {name: key for name, key in found.items() if key is not None or name in optional}
    return dataclasses.replace(keys, **known)


def _optional(keys: TrainKeys | TestKeys) -> set[str]:
    """The arrays that a competition may do without."""
    return {"caption_ids", "caption_texts", "image_names"} if isinstance(keys, TrainKeys) else {"caption_texts"}


def _headers(file: NpzFile) -> dict[str, ArrayHeader]:
    """The headers of all arrays but those that nothing here could read."""
    headers: dict[str, ArrayHeader] = {}
    for key in file.keys:
        with suppress(ForeignArray):
            headers[key] = file.header(key)
    return headers


def _test_arrays(file: NpzFile) -> dict[str, str | None]:
    headers = _headers(file)
    embeddings = _named(_matrices(headers), TEXT_WORDS)
    rows = headers[embeddings].shape[0] if embeddings else None
    return {
        "caption_embeddings": embeddings,
        "caption_ids": _named(_integers(file, headers, rows, unique=True), ID_WORDS),
        "caption_texts": _named(_texts(headers, rows), TEXT_WORDS),
    }


def _train_arrays(file: NpzFile, test: TestKeys | None) -> dict[str, str | None]:
    headers = _headers(file)
    matrices = _matrices(headers)
    one_hot = next((key for key, header in headers.items() if _is_one_hot(header, headers, matrices)), None)
    matrices = [key for key in matrices if key != one_hot]
    captions = _caption_embeddings(matrices, headers, headers[one_hot].shape if one_hot else None, test)
    images = _named([key for key in matrices if key != captions], IMAGE_WORDS)
    rows = headers[captions].shape[0] if captions else None
    image_rows = headers[images].shape[0] if images else None
    ids = _named(_integers(file, headers, rows, unique=True), ID_WORDS)
    index = [key for key in _integers(file, headers, rows, unique=False, below=image_rows) if key != ids]
    texts = _named(_texts(headers, rows), TEXT_WORDS)
    return {
        "caption_embeddings": captions,
        "image_embeddings": images,
        "caption_ids": ids,
        "label": one_hot or _named(index, LABEL_WORDS),
        "caption_texts": texts,
        "image_names": _named([key for key in _texts(headers, image_rows) if key != texts], IMAGE_WORDS),
    }


def _matrices(headers: Mapping[str, ArrayHeader]) -> list[str]:
    return [key for key, header in headers.items() if len(header.shape) == 2 and header.dtype.kind == "f"]


def _is_one_hot(header: ArrayHeader, headers: Mapping[str, ArrayHeader], matrices: Iterable[str]) -> bool:
    """Whether a matrix has a row for each row of one embedding matrix and a column for each row of another."""
    rows = {headers[key].shape[0] for key in matrices if headers[key] is not header}
    return len(header.shape) == 2 and header.dtype.kind in "bui" and set(header.shape) <= rows


def _caption_embeddings(
    matrices: list[str], headers: Mapping[str, ArrayHeader], label: tuple[int, ...] | None, test: TestKeys | None
) -> str | None:
    if test is not None and test.caption_embeddings in matrices:
        return test.caption_embeddings
    if label is not None and label[0] != label[1]:
        matrices = [key for key in matrices if headers[key].shape[0] == label[0]]
    return _named(matrices, TEXT_WORDS, rows={key: headers[key].shape[0] for key in matrices})


def _integers(
    file: NpzFile, headers: Mapping[str, ArrayHeader], rows: int | None, *, unique: bool, below: int | None = None
) -> list[str]:
    """The integer vectors of that many rows, whose values are different ones, or all below a number."""
    fitting = []
    for key, header in headers.items():
        if header.shape == (rows,) and header.dtype.kind in "iu":
            values = file.read(key)
            if unique and len(np.unique(values)) < len(values):
                continue
            if below is not None and len(values) and not 0 <= int(values.min()) <= int(values.max()) < below:
                continue
            fitting.append(key)
    return fitting


def _texts(headers: Mapping[str, ArrayHeader], rows: int | None) -> list[str]:
    return [key for key, header in headers.items() if header.shape == (rows,) and header.dtype.kind in "US"]


def _named(keys: list[str], words: Iterable[str], *, rows: Mapping[str, int] | None = None) -> str | None:
    """The key with most of ``words`` in its name; among equals the one of most rows, else the first."""

    def rank(key: str) -> tuple[int, int]:
        return sum(word in key.lower() for word in words), rows[key] if rows else 0

    return max(keys, key=rank, default=None)
