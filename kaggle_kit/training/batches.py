"""Which captions meet in a batch: index tensors over data that is resident on the device, no worker processes, no copies."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_SHARE = 256
"""Images that a batch may hold however few there are."""


def epoch_batches(
    image_of_caption: Tensor, batch_size: int, kind: str, generator: torch.Generator, weight: Tensor | None = None
) -> list[Tensor]:
    """The batches of one pass over all captions.

    Args:
        image_of_caption: (n,) int64 on the CPU, the image of each training caption.
        batch_size: captions in a batch; the last may be smaller, a last batch of one is left out (it has no negatives). Batches of
            images are of even size, and of a quarter of all images at most.
        kind: ``captions`` at random; ``images``: each batch holds different images, one random caption of each; ``grouped``: all
            captions of a batch's images together.
        generator: CPU generator; the batches are a function of its state.
        weight: (n,) float32; a caption of weight w comes w times an epoch on average, whatever the loss. None: once.

    Returns:
        Index tensors (batch,) int64 into the captions.
    """
    if weight is not None:
        chosen = _weighted(weight, generator)
        return [chosen[batch] for batch in epoch_batches(image_of_caption[chosen], batch_size, kind, generator)]
    if kind == "grouped":
        batches = _grouped(image_of_caption, batch_size, generator)
    elif kind == "images":
        batches = [batch for deal in _deals(image_of_caption, generator) for batch in _even_parts(deal, batch_size)]
    else:
        batches = list(torch.randperm(len(image_of_caption), generator=generator).split(batch_size))
    return [batch for batch in batches if len(batch) > 1]


def _even_parts(deal: Tensor, batch_size: int) -> list[Tensor]:
    """Batches of nearly equal size, about ``batch_size`` but a quarter of the images at most: else every batch were nearly the same."""
    size = min(batch_size, max(SMALLEST_SHARE, len(deal) // 4))
    return list(deal.tensor_split(max(1, round(len(deal) / size))))


def _weighted(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Captions as often as their weight says, its fraction decided by a draw."""
    times = weight.floor() + (torch.rand(len(weight), generator=generator) < weight - weight.floor())
    return torch.arange(len(weight)).repeat_interleave(times.long())


def _by_image(image_of_caption: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Captions in random order within random order of images, and the number of captions of each image in that order."""
    shuffle = torch.randperm(len(image_of_caption), generator=generator)
    images, counts = image_of_caption.unique(return_counts=True)
    place = torch.empty(int(images[-1]) + 1, dtype=torch.int64)
    order = torch.randperm(len(images), generator=generator)
    place[images[order]] = torch.arange(len(images))
    captions = shuffle[torch.argsort(place[image_of_caption[shuffle]], stable=True)]
    return captions, counts[order]


def _grouped(image_of_caption: Tensor, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    captions, counts = _by_image(image_of_caption, generator)
    images_a_batch = max(2, round(batch_size / float(counts.double().mean())))
    sizes = [int(part.sum()) for part in counts.split(images_a_batch)]
    return list(captions.split(sizes))


def _deals(image_of_caption: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Choices of one caption for each image, about as many as images have captions; with equal counts each caption comes once."""
    captions, counts = _by_image(image_of_caption, generator)
    starts = counts.cumsum(0) - counts
    rounds = max(1, round(float(counts.double().mean())))
    deals = [captions[starts + (number % counts)] for number in range(rounds)]
    return [deal[torch.randperm(len(deal), generator=generator)] for deal in deals]
