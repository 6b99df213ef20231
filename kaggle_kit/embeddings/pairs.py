"""The competition's data as plain arrays: captions with their images, and captions to be translated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class DataFile:
    """Which file data came from: enough to tell, later, whether it was the same one."""

    path: Path
    size: int
    sha256: str

    def to_dict(self) -> dict[str, object]:
        """As plain data for a record; the path's last part only, so that records name no machine's folders."""
        return {"name": self.path.name, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class Pairs:
    """Captions and the images that they describe.

    Attributes:
        text: text embeddings, (captions, d_text) float32.
        images: image embeddings, (images, d_image) float32.
        image_of_caption: row in ``images`` of each caption, (captions,) int32.
        caption_ids: (captions,) int64.
        captions: (captions,) str.
        image_names: (images,) str.
        file: where the data came from.
        weight: how much a caption counts in training, (captions,) float32; None: all the same. A caption of weight 0
            is validated on and not trained on.
        own_images: how many of the first images are the competition's own; the others came from elsewhere, are
            trained on and never validated on. None: all of them.
        share: share of the images of a split's training side that are trained on.
        share_seed: seed of that choice.
    """

    text: np.ndarray
    images: np.ndarray
    image_of_caption: np.ndarray
    caption_ids: np.ndarray
    captions: np.ndarray
    image_names: np.ndarray
    file: DataFile
    weight: np.ndarray | None = None
    own_images: int | None = None
    share: float = 1.0
    share_seed: int = 0

    def __len__(self) -> int:
        return len(self.image_of_caption)

    def __repr__(self) -> str:
        shapes = f"{len(self):,} captions x {self.text.shape[1]}, {len(self.images):,} images x {self.images.shape[1]}"
        return f"Pairs({shapes}, from {self.file.path.name})"

    @property
    def captions_of_image(self) -> np.ndarray:
        """How many captions each image has, (images,) int64."""
        return np.bincount(self.image_of_caption, minlength=len(self.images))

    @property
    def is_own(self) -> np.ndarray:
        """Whether each image is the competition's own, (images,) bool."""
        return np.arange(len(self.images)) < (len(self.images) if self.own_images is None else self.own_images)

    @property
    def is_trained(self) -> np.ndarray:
        """Whether each caption may be trained on, (captions,) bool."""
        return np.ones(len(self), bool) if self.weight is None else self.weight > 0

    def take_captions(self, rows: np.ndarray) -> Pairs:
        """The captions ``rows`` (int64 positions or a bool mask), with every image kept."""
        return replace(
            self,
            text=self.text[rows],
            image_of_caption=self.image_of_caption[rows],
            caption_ids=self.caption_ids[rows],
            captions=self.captions[rows],
            weight=None if self.weight is None else self.weight[rows],
        )

    def take_images(self, images: np.ndarray) -> Pairs:
        """The images ``images`` (rising int64 positions or a bool mask) with their captions; rows are counted anew."""
        chosen = np.arange(len(self.images))[images]
        new_row = np.full(len(self.images), -1, np.int32)
        new_row[chosen] = np.arange(len(chosen), dtype=np.int32)
        kept = self.take_captions(new_row[self.image_of_caption] >= 0)
        return replace(
            kept,
            images=self.images[chosen],
            image_names=self.image_names[chosen],
            image_of_caption=new_row[kept.image_of_caption],
            own_images=None if self.own_images is None else int(np.count_nonzero(chosen < self.own_images)),
        )


@dataclass(frozen=True)
class TestCaptions:
    """Captions whose image embeddings are asked for.

    Attributes:
        ids: (captions,) int64, in the order of the submission.
        text: text embeddings, (captions, d_text) float32.
        captions: (captions,) str.
        file: where the data came from.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    ids: np.ndarray
    text: np.ndarray
    captions: np.ndarray
    file: DataFile

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"TestCaptions({len(self):,} captions x {self.text.shape[1]}, from {self.file.path.name})"
