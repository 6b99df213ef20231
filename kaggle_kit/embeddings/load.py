"""Read the competition's files, checked: a file that loads is one that can be trained on.

All that is wrong with a file's rows is reported at once; what is wrong with its shape is found before anything large
is read.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.competition import TestKeys, TrainKeys
from kaggle_kit.embeddings.captions_file import read_captions
from kaggle_kit.embeddings.inflate import REFETCH
from kaggle_kit.embeddings.labels import check_label_header, read_image_of_caption
from kaggle_kit.embeddings.npz import ArrayHeader, ForeignArray, NpzFile
from kaggle_kit.embeddings.pairs import DataFile, Pairs, TestCaptions
from kaggle_kit.embeddings.rows import name_rows
from kaggle_kit.embeddings.store import MemoryStore, Store
from kaggle_kit.errors import DataError
from kaggle_kit.files import sha256_of
from kaggle_kit.progress import SILENCE, Progress

THREADS = 2
TRAIN_KEYS = TrainKeys()
TEST_KEYS = TestKeys()
ARRAYS = ("text", "images", "image_of_caption", "caption_ids", "captions", "image_names")
SHORTEST, LONGEST = 1e-12, 1e19
"""Between these lie the lengths of rows that float32 can bring to length 1."""
ZEROS = "zeros only, which is no direction"
TOO_SHORT = f"a length below {SHORTEST:g}, which is no direction"
REPAIR = "fix the file, or fetch it again with kk fetch; rows are counted from 0"


def read_pairs(
    path: Path | str, keys: TrainKeys = TRAIN_KEYS, *, store: Store | None = None, progress: Progress = SILENCE
) -> Pairs:
    """Read a training file from its npz, without any cache.

    The label matrix is never held; the peak of memory is little more than the arrays of the result (with a ``store``
    on disk, much less).

    Args:
        path: the npz file.
        keys: names of the arrays in it.
        store: where large arrays go; memory when None.

    Raises:
        MissingError: no such file.
        DataError: what is wrong, with the rows.
    """
    path = Path(path)
    before = path.stat() if path.exists() else None
    task = _Meter(progress, path)
    file = NpzFile(path, watch=task.add)
    headers = _check_train_headers(file, keys)
    store = store or MemoryStore()
    captions, images = headers[keys.caption_embeddings].shape[0], headers[keys.image_embeddings].shape[0]
    jobs: dict[str, Callable[[], Any]] = {
        "text": lambda: _read_floats(file, keys.caption_embeddings, "text", store),
        "image_of_caption": lambda: read_image_of_caption(file, keys.label, captions, images),
        "images": lambda: _read_floats(file, keys.image_embeddings, "images", store),
        "sha256": lambda: sha256_of(path),
        "captions": lambda: _texts_or_numbers(file, keys.caption_texts, captions, "caption {}"),
        "image_names": lambda: _texts_or_numbers(file, keys.image_names, images, "image {}"),
        "caption_ids": lambda: (
            (np.arange(1, captions + 1), []) if keys.caption_ids is None else _read_ids(file, keys.caption_ids)
        ),
    }
    results = _run(jobs)
    image_of_caption, label_problems = results["image_of_caption"]
    ids, id_problems = results["caption_ids"]
    text_problems = _sentences(keys.caption_embeddings, results["text"])
    image_problems = _sentences(keys.image_embeddings, results["images"])
    _refuse(path, [*text_problems, *image_problems, *label_problems, *id_problems])
    after = path.stat()
    if before is None or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path} changed while it was being read", "wait until it is complete, then try again")
    for name, array in (("image_of_caption", image_of_caption), ("caption_ids", ids)):
        store.put(name, array)
    store.put("captions", results["captions"])
    store.put("image_names", results["image_names"])
    _note_metadata(file, captions, images, progress)
    task.finish()
    return pairs_in(store, DataFile(path, after.st_size, results["sha256"]))


def _texts_or_numbers(file: NpzFile, key: str | None, rows: int, form: str) -> np.ndarray:
    """An array of texts; where the file has none, a different one for each row, so that no two count as equal."""
    return read_texts(file, key) if key is not None else np.array([form.format(row) for row in range(1, rows + 1)])


def pairs_in(store: Store, file: DataFile) -> Pairs:
    """The pairs whose arrays a store holds."""
    return Pairs(
        text=store.get("text"),
        images=store.get("images"),
        image_of_caption=store.get("image_of_caption"),
        caption_ids=store.get("caption_ids"),
        captions=store.get("captions"),
        image_names=store.get("image_names"),
        file=file,
    )


def load_test(
    path: Path | str, keys: TestKeys = TEST_KEYS, *, captions_file: Path | None = None, progress: Progress = SILENCE
) -> TestCaptions:
    """Read the test captions.

    Args:
        path: the npz file.
        keys: names of the arrays in it.
        captions_file: the same captions as ``id,caption`` lines: fills in the texts where the npz has none. A file
            that does not fit is noted and left alone.

    Raises:
        MissingError: no such file.
        DataError: what is wrong, with the rows.
    """
    path = Path(path)
    file = NpzFile(path)
    headers = {key: file.header(key) for key in (keys.caption_ids, keys.caption_embeddings)}
    _check_embeddings(file, keys.caption_embeddings, headers[keys.caption_embeddings])
    rows = headers[keys.caption_embeddings].shape[0]
    if rows == 0:
        raise DataError(f"{path} holds no captions ({keys.caption_embeddings} is empty)", "kk fetch gets the file anew")
    _check_rows(file, keys.caption_ids, headers[keys.caption_ids], rows, "iu")
    store = MemoryStore()
    faults = _read_floats(file, keys.caption_embeddings, "text", store)
    # some captions without a direction cost their own score only, and the others must be sent all the same
    lost = {what: faulty for what, faulty in faults.items() if what in (ZEROS, TOO_SHORT) and len(faulty) < rows}
    problems = _sentences(
        keys.caption_embeddings, {what: faulty for what, faulty in faults.items() if what not in lost}
    )
    ids, id_problems = _read_ids(file, keys.caption_ids)
    _refuse(path, [*problems, *id_problems])
    for sentence in _sentences(keys.caption_embeddings, lost):
        progress.note(f"{path.name}: {sentence}; what is predicted for them is worth nothing")
    captions = _test_texts(file, keys.caption_texts, ids, captions_file, progress)
    return TestCaptions(ids, store.get("text"), captions, DataFile(path, path.stat().st_size, sha256_of(path)))


def _test_texts(
    file: NpzFile, key: str | None, ids: np.ndarray, captions_file: Path | None, progress: Progress
) -> np.ndarray:
    listed: dict[int, str] = {}
    if captions_file is not None:
        try:
            listed = read_captions(captions_file)
        except DataError as error:  # another file of that name, perhaps the training captions
            if key is not None and key not in file:
                raise
            progress.note(f"{captions_file.name} is left alone: {error.message}")
    if listed and captions_file is not None and sorted(listed) != sorted(ids.tolist()):
        common = len(set(listed) & set(ids.tolist()))
        progress.note(
            f"{captions_file.name} lists {len(listed):,} captions, of which {common:,} are among the {len(ids):,} test ids"
        )
    if key is not None and key in file:
        _check_rows(file, key, file.header(key), len(ids), "US")
        return read_texts(file, key)
    if not listed and key is None:
        return np.array([f"query {number}" for number in ids])
    if not listed and key is not None:
        file.header(key)  # says which array is missing
    return np.array([listed.get(int(number), "") for number in ids], dtype=str)


def _check_train_headers(file: NpzFile, keys: TrainKeys) -> dict[str, ArrayHeader]:
    """Describe every array and compare their shapes, before anything large is read."""
    headers = {
        key: file.header(key)
        for key in (
            keys.caption_embeddings,
            keys.image_embeddings,
            keys.label,
            keys.caption_ids,
            keys.caption_texts,
            keys.image_names,
        )
        if key is not None
    }
    _check_embeddings(file, keys.caption_embeddings, headers[keys.caption_embeddings])
    _check_embeddings(file, keys.image_embeddings, headers[keys.image_embeddings])
    captions, images = headers[keys.caption_embeddings].shape[0], headers[keys.image_embeddings].shape[0]
    if not captions or not images:
        raise DataError(f"{file.path} holds {captions} captions and {images} images", "kk fetch gets the file anew")
    for key, rows, kinds in (
        (keys.caption_ids, captions, "iu"),
        (keys.caption_texts, captions, "US"),
        (keys.image_names, images, "US"),
    ):
        if key is not None:
            _check_rows(file, key, headers[key], rows, kinds)
    check_label_header(file, keys.label, headers[keys.label], captions, images)
    return headers


def _check_embeddings(file: NpzFile, key: str, header: ArrayHeader) -> None:
    if len(header.shape) != 2 or header.shape[1] == 0 or header.dtype.kind != "f" or header.dtype.itemsize > 8:
        raise DataError(f"{file.path}: {key} is {header}", "expected (rows, dimensions) of float16, float32 or float64")


def _check_rows(file: NpzFile, key: str, header: ArrayHeader, rows: int, kinds: str) -> None:
    if header.shape == (rows,) and header.dtype.kind in kinds:
        return
    kind = "text" if "U" in kinds else "integers"
    raise DataError(f"{file.path}: {key} is {header}", f"expected ({rows},) of {kind}, as many as there are embeddings")


def _read_floats(file: NpzFile, key: str, name: str, store: Store) -> dict[str, np.ndarray]:
    """Read embeddings into the store as float32; the rows that something is wrong with, by what it is."""
    header = file.header(key)
    sink = store.create(name, header.shape, np.dtype(np.float32))
    found: dict[str, list[np.ndarray]] = {}
    first = 0
    try:
        for rows in _row_blocks(file, key, header):
            single = _to_float32(rows)
            for what, faulty in _faults(rows, single).items():
                found.setdefault(what, []).append(first + faulty)
            sink.write(single)
            first += len(rows)
    finally:
        sink.close()
    return {what: np.concatenate(parts) for what, parts in found.items()}


def _faults(rows: np.ndarray, single: np.ndarray) -> dict[str, np.ndarray]:
    """Which of the (n, d) ``rows``, ``single`` as float32, cannot be used, by the reason; one pass while all is well."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", single, single)
        suspects = np.flatnonzero(~((squares >= SHORTEST**2) & (squares <= LONGEST**2)))
        if not len(suspects):
            return {}
        wide = rows[suspects].astype(np.float64)
        lengths = np.sqrt((wide * wide).sum(axis=1))
    finite, fits = np.isfinite(wide).all(axis=1), np.isfinite(single[suspects]).all(axis=1)
    masks = {
        "NaN or infinite values": ~finite,
        "values too large for float32": finite & ~fits,
        f"a length above {LONGEST:g}, which float32 cannot bring to 1": fits & (lengths > LONGEST),
        ZEROS: ~wide.any(axis=1),
        TOO_SHORT: wide.any(axis=1) & (lengths < SHORTEST),
    }
    return {what: suspects[mask] for what, mask in masks.items() if mask.any()}


def _sentences(key: str, faults: dict[str, np.ndarray]) -> list[str]:
    return [f"{key}: {name_rows(rows)} {what}" for what, rows in faults.items()]


def _to_float32(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # looked for and named by the caller
        return rows.astype(np.float32, copy=False)


def _row_blocks(file: NpzFile, key: str, header: ArrayHeader) -> Iterable[np.ndarray]:
    if header.fortran_order:  # columns lie one after the other: no row is complete before the end
        yield file.read(key)
        return
    width = header.shape[1]
    for block in file.blocks(key, multiple_of=width * header.dtype.itemsize):
        yield np.frombuffer(block, header.dtype).reshape(-1, width)


def read_texts(file: NpzFile, key: str) -> np.ndarray:
    """An array of text; bytes are taken for UTF-8.

    Raises:
        DataError: bytes that are not UTF-8, or numbers that are no characters.
    """
    texts = file.read(key)
    if texts.dtype.kind == "U":
        points = texts.view(np.uint32) if texts.itemsize else np.zeros(0, np.uint32)  # (rows * longest,)
        if points.max(initial=0) > sys.maxunicode:
            rows = np.flatnonzero((points.reshape(len(texts), -1) > sys.maxunicode).any(axis=1))
            raise DataError(f"{file.path}: {key}: {name_rows(rows)} characters that do not exist", REFETCH)
        return texts
    try:
        return np.array([text.decode("utf-8") for text in texts.tolist()], dtype=str).reshape(texts.shape)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.path}: {key} holds bytes that are not UTF-8 ({error.reason})", "save it as str"
        ) from None


def _read_ids(file: NpzFile, key: str) -> tuple[np.ndarray, list[str]]:
    ids = file.read(key)
    # as Python's integers: NumPy before 2 compares unsigned and signed ones as floats, which cannot tell these apart
    if ids.dtype.kind == "u" and ids.size and int(ids.max()) > np.iinfo(np.int64).max:
        return ids.astype(np.int64), [f"{key}: ids above {np.iinfo(np.int64).max}"]
    ids = ids.astype(np.int64)
    _, first_rows = np.unique(ids, return_index=True)
    repeated = np.setdiff1d(np.arange(len(ids)), first_rows)
    return ids, [f"{key}: {name_rows(repeated)} an id that an earlier row has"] if len(repeated) else []


def _run(jobs: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Do the jobs side by side, in the given order (the longest first); the first error ends it."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="kk-read") as pool:
        futures = {name: pool.submit(job) for name, job in jobs.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        lines = problems[0] if len(problems) == 1 else "\n  " + "\n  ".join(problems)
        raise DataError(f"{path}: {lines}", REPAIR)


def _note_metadata(file: NpzFile, captions: int, images: int, progress: Progress) -> None:
    """Metadata is optional and never relied upon; where it contradicts the arrays that is worth a line."""
    for key, actual in (("metadata/num_captions", captions), ("metadata/num_images", images)):
        with suppress(ForeignArray):
            if key not in file or file.header(key).dtype.kind not in "iu":
                continue
            if (said := file.read(key).reshape(-1).tolist())[:1] != [actual]:
                progress.note(f"{file.path.name}: {key} says {said}, the arrays hold {actual}")


class _Meter:
    """Counts bytes read on several threads into one progress task."""

    def __init__(self, progress: Progress, path: Path) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._task = progress.start(f"reading {path.name}", path.stat().st_size if path.exists() else None, "B")

    def add(self, count: int) -> None:
        """``count`` more bytes were read."""
        with self._lock:
            self._done += count
            self._task.update(self._done)

    def finish(self) -> None:
        """All is read."""
        self._task.finish()
