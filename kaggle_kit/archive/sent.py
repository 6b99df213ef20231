"""What lies in a submission's folder beside its record: the vectors, and the file that was made of them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.files import atomic_writer, sha256_of, write_npy
from kaggle_kit.submission import WritingFormat, WrittenFile, vectors_sha256, write_submission
from kaggle_kit.submission.writer import COMPRESSIONS, member_name

__all__ = [
    "copy_file",
    "keep_file",
    "load_vectors",
    "rebuild_file",
    "same_direction",
    "save_vectors",
    "vectors_sha256",
    "write_file",
]

VECTORS_NAME, IDS_NAME = "vectors.npy", "ids.npy"
FOREIGN_FORMAT = "foreign"
"""Format of a file that our writer did not make: it cannot be written again from the vectors."""
SAME_DIRECTION = 1e-6
"""Cosine distance below which two rows are the same: writing five digits instead of all changes less."""


def save_vectors(folder: Path, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray) -> dict[str, Any]:
    """Keep ids (n,) and vectors (n, d) float32; returns the facts for the record's ``vectors``."""
    for name, array in ((IDS_NAME, np.asarray(ids)), (VECTORS_NAME, np.ascontiguousarray(vectors, dtype=np.float32))):
        write_npy(folder / name, array)
    return {"sha256": vectors_sha256(vectors), "rows": len(vectors), "dimension": int(vectors.shape[1])}


def load_vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The ids (n,) and the vectors (n, d) float32, the vectors mapped read-only from the disk.

    Raises:
        MissingError: one of the files is not there.
        DataError: one of them is damaged.
    """
    ids, vectors = _load(folder / IDS_NAME, None), _load(folder / VECTORS_NAME, "r")
    if vectors.ndim != 2 or vectors.dtype != np.float32 or ids.shape != (len(vectors),):
        raise DataError(
            f"{folder}: ids of shape {ids.shape} and {vectors.dtype} vectors of shape {vectors.shape} do not fit"
        )
    return ids, vectors


def _load(path: Path, mode: Any) -> np.ndarray:
    try:
        return np.load(path, mmap_mode=mode, allow_pickle=False)
    except FileNotFoundError:
        raise MissingError(
            f"the vectors of submission {path.parent.name} are not kept any more (no {path.name})"
        ) from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def write_file(
    folder: Path,
    ids: Sequence[Any] | np.ndarray,
    vectors: np.ndarray,
    columns: SubmissionFormat,
    *,
    digits: int | None,
    compress: str | None,
) -> dict[str, Any]:
    """Write the submission file into ``folder``; returns the facts for the record's ``file``."""
    target = folder / ("submission.csv" + (f".{compress}" if compress else ""))
    return _facts(write_submission(target, ids, vectors, columns, digits=digits, compress=compress), columns)


def copy_file(
    folder: Path, path: Path, ids: Sequence[Any] | np.ndarray, vectors: np.ndarray, columns: SubmissionFormat
) -> dict[str, Any]:
    """Copy a file made elsewhere into ``folder``; returns the facts for the record's ``file``.

    A file that our writer would have made just so can be thrown away and written again later; another one is marked as foreign.
    """
    foreign = keep_file(folder, path)
    target = folder / foreign["name"]
    trial = _trial(target)
    try:
        written = write_submission(
            trial,
            ids,
            vectors,
            columns,
            compress=target.suffix[1:].replace("csv", "") or None,
            member=foreign["member"],
        )
    finally:
        _remove(trial)
    facts = {**_facts(written, columns), "name": target.name, "member": foreign["member"]}
    return facts if foreign["sha256"] == written.sha256 else facts | foreign


def keep_file(folder: Path, path: Path) -> dict[str, Any]:
    """Copy a file made elsewhere into ``folder``, byte for byte; returns the facts for the record's ``file``."""
    suffix = path.suffix.lower() if path.suffix.lower()[1:] in COMPRESSIONS else ""
    target = folder / f"submission.csv{suffix}"
    with open(path, "rb") as source, atomic_writer(target) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    return {
        "name": target.name,
        "member": member_name(path.name),
        "sha256": sha256_of(target),
        "content_sha256": None,
        "size": target.stat().st_size,
        "format": FOREIGN_FORMAT,
    }


def rebuild_file(folder: Path, facts: Mapping[str, Any], target: Path) -> None:
    """Write the file that ``facts`` (a record's ``file``) are of to ``target``: the very same bytes, or nothing.

    Raises:
        MissingError: the vectors are gone.
        DataError: the bytes cannot be made again.
    """
    writing = WritingFormat.from_id(facts.get("format") or "")
    if writing is None:
        raise DataError(
            f"the file of submission {folder.name} was not written by this kaggle_kit ({facts.get('format')})"
        )
    ids, vectors = load_vectors(folder)
    columns = SubmissionFormat(**facts["columns"])
    trial = _trial(target)
    member = facts.get("member") or member_name(facts["name"])
    try:
        written = write_submission(
            trial, ids, vectors, columns, digits=writing.digits, compress=writing.compress, member=member
        )
        if written.sha256 != facts["sha256"]:
            raise DataError(
                f"submission {folder.name}: the file made from the vectors has SHA-256 {written.sha256[:12]}…, "
                f"the one sent had {facts['sha256'][:12]}…",
                "another zlib packs differently" if writing.compress else "the vectors were changed on disk",
            )
        os.replace(trial, target)
    finally:
        _remove(trial)


def same_direction(folder: Path, vectors: np.ndarray) -> bool:
    """Whether each of ``vectors`` (n, d) points where the one kept in ``folder`` does; the first rows decide in nearly every case."""
    try:
        _, kept = load_vectors(folder)
    except (MissingError, DataError):
        return False
    blocks = [slice(0, 4), *(slice(start, start + 256) for start in range(4, len(vectors), 256))]
    return kept.shape == vectors.shape and all(_aligned(kept[block], vectors[block]) for block in blocks)


def _aligned(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return bool(((one * other).sum(axis=1) >= (1 - SAME_DIRECTION) * norms).all())


def _facts(written: WrittenFile, columns: SubmissionFormat) -> dict[str, Any]:
    names = {"id_column": columns.id_column, "embedding_column": columns.embedding_column}
    return {**written.to_dict(), "columns": names}


def _trial(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
