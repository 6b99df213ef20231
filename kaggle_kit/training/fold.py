"""The data of one fold as a translator sees it, resident on the device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from kaggle_kit.metrics import GalleryScore, gallery_mrr
from kaggle_kit.training.precision import Hardware
from kaggle_kit.translators import FitData, Translator


@dataclass(frozen=True)
class HeldOut:
    """What a fold is scored against.

    Attributes:
        images: (m, d_image) float32, CPU, the held-out images alone.
        image_of_caption: (v,) int64 index into ``images``.
    """

    images: Tensor
    image_of_caption: np.ndarray


@dataclass(frozen=True)
class FoldData:
    """Text and images of all pairs, and which captions this fold trains on and which it holds out.

    Attributes:
        text: (captions, d_text) float32, CPU.
        images: (images, d_image) float32, CPU.
        image_of_caption: (captions,) int64, CPU.
        train: (t,) int64, captions to train on.
        validation: (v,) int64, captions of held-out images.
        gallery_size: rows of one gallery of the competition.
        weight: (t,) float32, how much each training caption counts; None: all the same.
    """

    text: Tensor
    images: Tensor
    image_of_caption: Tensor
    train: Tensor
    validation: Tensor
    gallery_size: int
    weight: Tensor | None = None

    def fit_data(self, seed: int, device: str) -> FitData:
        """The training part alone, images renumbered from 0."""
        used, renumbered = self.image_of_caption[self.train].unique(return_inverse=True)
        return FitData(
            text=self.text[self.train].to(device),
            images=self.images[used].to(device),
            image_of_caption=renumbered.to(device),
            seed=seed,
            weight=None if self.weight is None else self.weight.to(device),
        )

    @cached_property
    def held_out(self) -> HeldOut:
        """The images of the validation captions, renumbered from 0."""
        used, renumbered = self.image_of_caption[self.validation].unique(return_inverse=True)
        return HeldOut(self.images[used], renumbered.numpy())

    def score(self, predictions: Tensor, *, draws: int, seed: int) -> GalleryScore:
        """MRR in galleries of held-out images for (v, d_image) predictions of the validation captions."""
        return gallery_mrr(
            predictions,
            self.held_out.images.to(predictions.device),
            self.held_out.image_of_caption,
            gallery_size=self.gallery_size,
            draws=draws,
            seed=seed,
        )


@dataclass(frozen=True)
class EncodedFold:
    """What the training loop touches: everything encoded once, on the device.

    Attributes:
        inputs: (t, d_in) encoded training captions, in the precision of the network.
        targets: (images, d_out) encoded images, one row an image.
        image: (t,) int64, row of ``targets`` for each training caption.
        validation_inputs: (v, d_in) encoded held-out captions.
        validation_image: (v,) int64, row of ``targets`` for each held-out caption.
    """

    inputs: Tensor
    targets: Tensor
    image: Tensor
    validation_inputs: Tensor
    validation_image: Tensor


@torch.no_grad()
def encode_fold(data: FoldData, translator: Translator, hardware: Hardware) -> EncodedFold:
    """Encode both sides once, after ``translator.prepare``; inputs in the precision in which they will be multiplied."""
    device, dtype = hardware.device, hardware.dtype
    return EncodedFold(
        inputs=translator.encode_text(data.text[data.train].to(device)).to(dtype),
        targets=translator.encode_images(data.images.to(device)),
        image=data.image_of_caption[data.train].to(device),
        validation_inputs=translator.encode_text(data.text[data.validation].to(device)),
        validation_image=data.image_of_caption[data.validation].to(device),
    )


def fold_data(
    text: np.ndarray,
    images: np.ndarray,
    image_of_caption: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    gallery_size: int,
    weight: np.ndarray | None = None,
) -> FoldData:
    """``FoldData`` from NumPy arrays, without copying the large ones; ``weight`` is one a caption, (captions,)."""
    return FoldData(
        text=_as_tensor(text),
        images=_as_tensor(images),
        image_of_caption=torch.from_numpy(image_of_caption.astype(np.int64)),
        train=torch.from_numpy(np.asarray(train, dtype=np.int64)),
        validation=torch.from_numpy(np.asarray(validation, dtype=np.int64)),
        gallery_size=gallery_size,
        weight=None if weight is None else torch.from_numpy(weight[train].astype(np.float32)),
    )


def _as_tensor(array: np.ndarray) -> Tensor:
    """A float32 tensor over the array's memory; a read-only (memory-mapped) array is copied, for torch may not share it."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
