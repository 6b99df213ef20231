"""Captions better not trained on, and captions from elsewhere.

What is left out of training keeps its place with a weight of 0: it is still validated on, so that scores of runs with
and without cleaning compare. Nothing is copied for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.competition import TrainKeys
from kaggle_kit.embeddings.load import TRAIN_KEYS, read_pairs
from kaggle_kit.embeddings.neighbours import BLOCK_ROWS, find_near_copies, sum_units, unit_rows
from kaggle_kit.embeddings.npz import NPY_MAGIC
from kaggle_kit.embeddings.pairs import Pairs, TestCaptions
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.files import sha256_of
from kaggle_kit.settings import DataSettings

Loader = Callable[[Path, TrainKeys], Pairs]


def apply_data_settings(
    pairs: Pairs,
    settings: DataSettings,
    *,
    test: TestCaptions | None = None,
    predictions: np.ndarray | None = None,
    root: Path = Path(),
    keys: TrainKeys = TRAIN_KEYS,
    load: Loader = read_pairs,
) -> tuple[Pairs, dict[str, Any]]:
    """What the ``[data]`` settings make of the training pairs, and a report of it for the run's record.

    Args:
        pairs: the competition's training pairs.
        settings: what to do; by default nothing.
        test: the test captions, for ``drop_near_test``.
        predictions: (captions, d_image) float32 out-of-fold predictions of all captions, for ``noise_by =
            "predictions"``.
        root: where relative files start.
        keys: names of the arrays of ``extra``.
        load: how ``extra`` is read.

    Returns:
        The pairs and, as plain data, what each step left out or added.

    Raises:
        UsageError: a setting needs the test captions or predictions, and they were not given.
        MissingError, DataError: a file that the settings name is not there or not what it should be.
    """
    steps: list[dict[str, Any]] = []
    cleaned = pairs if settings.share == 1 else replace(pairs, share=settings.share, share_seed=settings.share_seed)
    for rows, step in _left_out(pairs, settings, test, predictions, root):
        cleaned = without_training_on(cleaned, rows)
        steps.append({**step, "captions": len(rows)})
    if settings.extra is not None:
        extra = load(root / settings.extra, keys)
        cleaned = add_pairs(cleaned, extra, settings.extra_weight)
        steps.append({"step": "extra", **extra.file.to_dict(), "captions": len(extra), "weight": settings.extra_weight})
    report = {
        "file": pairs.file.to_dict(),
        "captions": len(cleaned),
        "images": len(cleaned.images),
        "trained_captions": int(np.count_nonzero(cleaned.is_trained)),
        "steps": steps,
    }
    return cleaned, report


def _left_out(
    pairs: Pairs, settings: DataSettings, test: TestCaptions | None, predictions: np.ndarray | None, root: Path
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """For each step that leaves captions out of training, their rows and what the record says of it."""
    if settings.drop_captions is not None:
        path = root / settings.drop_captions
        rows = read_caption_rows(path, len(pairs))
        yield rows, {"step": "drop_captions", "file": path.name, "sha256": sha256_of(path)}
    if settings.drop_noisiest:
        rows = noisiest(_noise(pairs, settings, predictions), settings.drop_noisiest)
        step = {"step": "drop_noisiest", "by": settings.noise_by, "share": settings.drop_noisiest}
        yield rows, step | ({"run": settings.noise_run} if settings.noise_by == "predictions" else {})
    if settings.drop_near_test is not None:
        if test is None:
            raise UsageError("data.drop_near_test needs the test captions", "fetch the test file, or unset the setting")
        rows = np.flatnonzero(find_near_copies(pairs.text, test.text, settings.drop_near_test))
        yield rows, {"step": "drop_near_test", "cosine": settings.drop_near_test}


def without_training_on(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """The pairs with a weight of 0 at the captions ``rows`` (integers or a bool mask)."""
    weight = np.ones(len(pairs), np.float32) if pairs.weight is None else pairs.weight.copy()
    weight[rows] = 0
    return replace(pairs, weight=weight)


def _noise(pairs: Pairs, settings: DataSettings, predictions: np.ndarray | None) -> np.ndarray:
    if settings.noise_by == "centroid":
        return centroid_noise(pairs)
    if predictions is None:
        raise UsageError(
            'data.noise_by = "predictions" needs out-of-fold predictions',
            'set data.noise_run to a finished run (kk runs list), or data.noise_by = "centroid"',
        )
    return prediction_noise(pairs, predictions)


def noisiest(noise: np.ndarray, share: float) -> np.ndarray:
    """The rows of the largest ``noise`` (n,), int64 rising: ``share`` of all, NaN (not known) never among them."""
    known = np.flatnonzero(~np.isnan(noise))
    count = min(round(share * len(noise)), len(known))
    order = known[np.argsort(-noise[known], kind="stable")]
    return np.sort(order[:count])


def centroid_noise(pairs: Pairs) -> np.ndarray:
    """Cosine distance of each caption to the centroid of its image's other captions, (captions,) float32.

    NaN where a caption is its image's only one.
    """
    sums = sum_units(pairs.text, pairs.image_of_caption, len(pairs.images))
    noise = np.full(len(pairs), np.nan, np.float32)
    for first in range(0, len(pairs), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        units = unit_rows(pairs.text[rows])
        others = unit_rows(sums[pairs.image_of_caption[rows]] - units)
        noise[rows] = 1 - np.einsum("nd,nd->n", units, others)
    noise[pairs.captions_of_image[pairs.image_of_caption] < 2] = np.nan
    return noise


def prediction_noise(pairs: Pairs, predictions: np.ndarray) -> np.ndarray:
    """Cosine distance of each caption's prediction to its image, (captions,) float32; NaN where the prediction is all
    zeros.

    Raises:
        DataError: not one prediction a caption, or of another dimension.
    """
    expected = (len(pairs), pairs.images.shape[1])
    if predictions.shape != expected:
        raise DataError(
            f"out-of-fold predictions are {predictions.shape}, expected {expected}", "use a run on this data"
        )
    noise = np.empty(len(pairs), np.float32)
    for first in range(0, len(pairs), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        images = unit_rows(pairs.images[pairs.image_of_caption[rows]])
        noise[rows] = 1 - np.einsum("nd,nd->n", unit_rows(predictions[rows]), images)
        noise[rows][~predictions[rows].any(axis=1)] = np.nan
    return noise


def add_pairs(pairs: Pairs, extra: Pairs, weight: float = 1.0) -> Pairs:
    """The pairs with those of another file behind them, to be trained on with ``weight`` and never validated on.

    The extra captions' ids follow the largest id that is there.

    Raises:
        DataError: other dimensions.
    """
    dims, extra_dims = ((p.text.shape[1], p.images.shape[1]) for p in (pairs, extra))
    if dims != extra_dims:
        raise DataError(
            f"{extra.file.path} maps {extra_dims[0]} to {extra_dims[1]} dimensions, {pairs.file.path.name} {dims[0]} to {dims[1]}",
            "extra pairs must come from the same encoders",
        )
    ones = np.ones(len(pairs), np.float32) if pairs.weight is None else pairs.weight
    return replace(
        pairs,
        text=np.concatenate([pairs.text, extra.text]),
        images=np.concatenate([pairs.images, extra.images]),
        image_of_caption=np.concatenate([pairs.image_of_caption, extra.image_of_caption + np.int32(len(pairs.images))]),
        caption_ids=np.concatenate([pairs.caption_ids, pairs.caption_ids.max() + 1 + np.arange(len(extra))]),
        captions=np.concatenate([pairs.captions, extra.captions]),
        image_names=np.concatenate([pairs.image_names, extra.image_names]),
        weight=np.concatenate([ones, np.full(len(extra), weight, np.float32)]),
        own_images=int(np.count_nonzero(pairs.is_own)),
    )


def read_caption_rows(path: Path, captions: int) -> np.ndarray:
    """Caption rows from a file: integers one a line (``#`` starts a comment), or a ``.npy`` array; int64, rising,
    each once.

    Raises:
        MissingError: no such file.
        DataError: something else than integers from 0 to ``captions`` - 1.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingError(f"no such file: {path}", "data.drop_captions names a file of caption rows") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", "data.drop_captions names a file of caption rows"
        ) from None
    try:
        if content.startswith(NPY_MAGIC):
            rows = np.load(path, allow_pickle=False)
        else:
            lines = (line.partition("#")[0].strip() for line in content.decode("utf-8-sig").splitlines())
            rows = np.array([int(line) for line in lines if line], dtype=np.int64)
    except (ValueError, OverflowError, EOFError) as error:
        raise DataError(f"{path} does not hold caption rows: {error}", "expected one integer a line") from None
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        raise DataError(f"{path} holds {rows.dtype} {rows.shape}", "expected a list of integers")
    rows = np.unique(rows.astype(np.int64))
    if len(rows) and not (rows[0] >= 0 and rows[-1] < captions):
        wrong = rows[0] if rows[0] < 0 else rows[-1]
        raise DataError(f"{path} names row {wrong}", f"rows are counted from 0 to {captions - 1}")
    return rows
