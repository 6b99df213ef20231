"""From checkpoints to predictions: folds, seeds and runs averaged as unit vectors, with weights that were checked.

For one caption the ranking under a weighted mean of predictions is the ranking under the weighted sum of their scores, so weights are
searched on score matrices that are computed once: adding a member to a trial ensemble is one addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaggle_kit.errors import DataError, DuplicateError
from kaggle_kit.files import sha256_of
from kaggle_kit.metrics import deal_galleries, dealt_size, gallery_similarities, ranks_from_scores, unit
from kaggle_kit.training.checkpoints import load_translator
from kaggle_kit.training.crossvalidation import OutOfFold

TWIN_CAPTIONS = 5000
"""Captions that are compared to tell twins."""

SAME_COSINE = 0.99999
"""Mean cosine from which two sets of predictions count as the same one."""


def predict_checkpoints(
    folder: Path, checkpoints: Sequence[dict[str, Any]], text: np.ndarray, *, device: str = "cpu"
) -> Tensor:
    """Average the unit predictions of a run's checkpoints.

    Args:
        folder: the run's folder.
        checkpoints: of the run's record: ``file`` relative to the folder, and its ``sha256``.
        text: (n, d_text) float32 text embeddings.

    Returns:
        (n, d_image) float32 unit vectors on the CPU.

    Raises:
        MissingError: a checkpoint is not there.
        DataError: a checkpoint is not the one that the record names, or was made for other dimensions.
    """
    rows = torch.from_numpy(np.array(text, dtype=np.float32))
    total: Tensor | None = None
    for checkpoint in checkpoints:
        path = folder / checkpoint["file"]
        translator = load_translator(path, device)
        if sha256_of(path) != checkpoint["sha256"]:
            raise DataError(
                f"{path} is not the checkpoint that the run recorded", "train the run anew, or restore the file"
            )
        if translator.d_text != rows.shape[1]:
            raise DataError(f"{path} translates {translator.d_text} dimensions, the test captions have {rows.shape[1]}")
        predicted = translator.translate(rows).cpu()
        total = predicted if total is None else total + predicted
    if total is None:
        raise DataError(f"the run in {folder} has no checkpoints", "kk train --resume finishes a run")
    return unit(total)


def combine(predictions: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted mean of sets of unit vectors, scaled to unit length: (n, d) float32."""
    total = torch.zeros(predictions[0].shape, device=predictions[0].device)  # float32, whatever the sets were kept in
    for vectors, weight in zip(predictions, weights, strict=True):
        total += weight * unit(vectors)
    return unit(total)


def combine_out_of_fold(parts: Sequence[OutOfFold], weights: Sequence[float]) -> OutOfFold:
    """The out-of-fold predictions of an ensemble: captions that every part covers, images grouped by their folds in every part.

    Raises:
        DataError: no caption is covered by all parts, or their folds are so different that galleries would be smaller.
    """
    covered = _common(parts)
    return OutOfFold(combine([part.predictions for part in parts], weights), covered, _common_folds(parts))


def refuse_crossed_folds(parts: Sequence[OutOfFold], image_of_caption: np.ndarray, *, gallery_size: int) -> None:
    """Galleries hold images that every part treated alike; crossed folds leave few of those, and small galleries flatter.

    Raises:
        DataError: the parts' folds differ, and together they leave smaller galleries than each part has by itself.
    """
    covered = [np.flatnonzero(part.covered) for part in parts]
    own = min(
        dealt_size(gallery_size, image_of_caption[rows], part.fold_of_image)
        for rows, part in zip(covered, parts, strict=True)
    )
    together = dealt_size(gallery_size, image_of_caption[np.flatnonzero(_common(parts))], _common_folds(parts))
    if together < own:
        raise DataError(
            f"the runs have different folds: their ensemble could be scored in galleries of {together} images only, "
            f"which flatters it (by themselves: {own})",
            "ensemble runs of the same [folds] settings; kk ensemble --from-archive picks such runs",
        )


def _common(parts: Sequence[OutOfFold]) -> np.ndarray:
    covered = np.logical_and.reduce([part.covered for part in parts])
    if not covered.any():
        raise DataError(
            "the runs hold out no caption in common, so their ensemble cannot be scored", "train with the same folds"
        )
    return covered


def _common_folds(parts: Sequence[OutOfFold]) -> np.ndarray:
    """Groups of images that were held out together in every part."""
    folds = np.stack([part.fold_of_image for part in parts])
    return np.unique(folds, axis=1, return_inverse=True)[1].reshape(-1)


def refuse_twins(names: Sequence[str], parts: Sequence[OutOfFold]) -> None:
    """An average of a prediction with itself changes nothing but the look of it.

    Raises:
        DuplicateError: two parts hold the same predictions.
    """
    for later in range(len(parts)):
        for earlier in range(later):
            both = np.flatnonzero(parts[later].covered & parts[earlier].covered)[:TWIN_CAPTIONS]
            one, other = (unit(parts[number].predictions[torch.from_numpy(both)]) for number in (later, earlier))
            cosine = (one * other).sum(1)
            if len(cosine) and float(cosine.mean()) > SAME_COSINE:
                raise DuplicateError(
                    f"{names[later]} and {names[earlier]} hold the same predictions "
                    f"(mean cosine {float(cosine.mean()):.6f})",
                    "leave one of them out",
                )


@dataclass(frozen=True)
class GalleryScores:
    """Each part's similarity of captions to the images of their galleries, for the same galleries.

    Attributes:
        scores: (parts, galleries, size, size) float32; the right image of row i is column i.
        first_half: (galleries,) bool; the images of these galleries are in none of the others.
    """

    scores: Tensor
    first_half: Tensor

    def mrr(self, weights: Tensor, galleries: Tensor | None = None) -> float:
        """MRR of the weighted ensemble, over all galleries or the given ones."""
        chosen = self.scores if galleries is None else self.scores[:, galleries]
        return _mrr((weights.view(-1, 1, 1, 1) * chosen).sum(0))


def _mrr(scores: Tensor) -> float:
    truth = torch.arange(scores.shape[-1]).expand(scores.shape[:-1])
    return float((1.0 / ranks_from_scores(scores, truth).double()).mean())


def gallery_scores(
    parts: Sequence[OutOfFold],
    images: Tensor,
    image_of_caption: np.ndarray,
    *,
    gallery_size: int,
    draws: int = 2,
    seed: int = 0,
) -> GalleryScores:
    """Score every part in the same random galleries; each image is in one half of the galleries only (first half, second half).

    Args:
        parts: out-of-fold predictions of the same captions.
        images: (images, d_image) float32.
        image_of_caption: (captions,) integer.
    """
    covered, folds = np.flatnonzero(_common(parts)), _common_folds(parts)
    rows = unit(images)
    # two disjoint sets of images, so that weights chosen on one half can be checked on the other
    side = np.random.default_rng(seed).permutation(len(images)) % 2
    collected: list[list[Tensor]] = [[] for _ in parts]
    halves: list[int] = []
    size = gallery_size
    for half in (0, 1):
        captions = covered[side[image_of_caption[covered]] == half]
        dealt = deal_galleries(image_of_caption[captions], gallery_size=size, draws=draws, seed=seed, groups=folds)
        for picks, shown in dealt:
            size = shown.shape[1]
            halves += [half] * len(shown)
            for part, into in zip(parts, collected, strict=True):
                into.append(gallery_similarities(part.predictions, rows, captions[picks], shown)[0])
    smallest = min(block.shape[-1] for block in collected[0])
    scores = torch.stack([torch.cat([b[:, :smallest, :smallest] for b in blocks]) for blocks in collected])
    return GalleryScores(scores, torch.tensor(halves) == 0)


@dataclass(frozen=True)
class ChosenWeights:
    """Weights of an ensemble, and what they are worth on images that did not choose them.

    Attributes:
        weights: one a part, summing to 1.
        chosen_mrr: MRR of the weights chosen on all galleries, on those same galleries: optimistic.
        held_out_mrr: MRR when weights are chosen on one half of the images and scored on the other, both ways.
        equal_mrr: MRR of equal weights on the same galleries.
        best_alone_mrr: MRR of the best part alone, chosen on one half and scored on the other, too.
        overfitted: the chosen weights did no better than equal ones on held-out images, so ``weights`` are equal.
    """

    weights: list[float]
    chosen_mrr: float
    held_out_mrr: float
    equal_mrr: float
    best_alone_mrr: float
    overfitted: bool

    @property
    def worth_it(self) -> bool:
        """Whether the ensemble beats its best part on images that chose neither."""
        return max(self.held_out_mrr, self.equal_mrr) > self.best_alone_mrr


def choose_weights(scores: GalleryScores, *, steps: int = 50) -> ChosenWeights:
    """Greedy selection with replacement, checked on held-out images; equal weights when it does not hold there.

    Source: Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004.
    """
    parts, galleries = scores.scores.shape[:2]
    equal = torch.full((parts,), 1.0 / parts)
    halves = (scores.first_half, ~scores.first_half)
    both_ways = (halves, halves[::-1])
    held_out = float(np.mean([scores.mrr(_greedy(scores, chosen, steps), other) for chosen, other in both_ways]))
    best_alone = float(np.mean([scores.mrr(_greedy(scores, chosen, 1), other) for chosen, other in both_ways]))
    equal_mrr = float(np.mean([scores.mrr(equal, side) for side in halves]))
    chosen = _greedy(scores, torch.ones(galleries, dtype=torch.bool), steps)
    overfitted = held_out <= equal_mrr
    return ChosenWeights(
        weights=(equal if overfitted else chosen).tolist(),
        chosen_mrr=scores.mrr(chosen),
        held_out_mrr=held_out,
        equal_mrr=equal_mrr,
        best_alone_mrr=best_alone,
        overfitted=overfitted,
    )


def _greedy(scores: GalleryScores, galleries: Tensor, steps: int) -> Tensor:
    """Add the part that helps most, again and again; the counts at the best step are the weights."""
    chosen = scores.scores[:, galleries]
    counts, total = torch.zeros(len(chosen)), torch.zeros_like(chosen[0])
    best, best_mrr = counts, -1.0
    for _ in range(steps):
        values = [_mrr(total + part) for part in chosen]
        pick = int(np.argmax(values))
        counts = counts.clone()
        counts[pick] += 1
        total = total + chosen[pick]
        if values[pick] > best_mrr:
            best, best_mrr = counts, values[pick]
    return best / best.sum()


def contributions(
    parts: Sequence[OutOfFold], weights: Sequence[float], score: Callable[[OutOfFold], float]
) -> list[dict[str, float]]:
    """What each part scores alone, and what the ensemble would lose without it.

    Args:
        parts: out-of-fold predictions of the same captions.
        weights: one a part; without a part of weight 0 the ensemble loses nothing.
        score: of predictions; in the same galleries each time, where all parts hold out the same captions in the same folds.
    """

    used = {number: weight for number, weight in enumerate(weights) if weight}

    def scored(numbers: Iterable[int]) -> float:
        chosen = list(numbers)
        return score(combine_out_of_fold([parts[n] for n in chosen], [used[n] for n in chosen])) if chosen else 0.0

    whole, told = scored(used), []
    for number, part in enumerate(parts):
        adds = whole - scored(n for n in used if n != number) if number in used else 0.0
        told.append({"alone": score(part), "adds": adds})
    return told
