"""Small pairs with something to learn, and ways to train, stop and compare on them; shared by the training tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kaggle_kit import files
from kaggle_kit.embeddings import DataFile, Pairs, fold_pairs
from kaggle_kit.progress import Silence
from kaggle_kit.training.crossvalidation import cross_validate


def make_pairs(images: int = 60, captions: int = 3, d_text: int = 8, d_image: int = 12, seed: int = 0) -> Pairs:
    """Images from a latent; captions are noisy views of the same latent."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((images, 6))
    image_of_caption = np.repeat(np.arange(images), captions).astype(np.int32)
    noisy = latent[image_of_caption] + 0.2 * rng.standard_normal((images * captions, 6))
    return Pairs(
        text=(noisy @ rng.standard_normal((6, d_text))).astype(np.float32),
        images=(latent @ rng.standard_normal((6, d_image)) + 0.2).astype(np.float32),
        image_of_caption=image_of_caption,
        caption_ids=np.arange(1, images * captions + 1),
        captions=np.array([f"caption {i}" for i in range(images * captions)]),
        image_names=np.array([f"{i}.jpg" for i in range(images)]),
        file=DataFile(Path("train.npz"), 1, "0" * 64),
    )


class CallAfterEpoch(Silence):
    """A progress that does something when a fold's task reports its n-th epoch."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def start(self, what, total=None, unit=""):
        outer = self

        class Task:
            def update(self, done, **figures):
                if done == outer.epoch and figures:
                    outer.action()

            def finish(self, summary=""):
                pass

        return Task()


def weights_of(folder):
    return {path.parent.name: files.sha256_of(path) for path in sorted(folder.glob("*/model.safetensors"))}


def run(pairs, settings, folder, **kwargs):
    return cross_validate(pairs, fold_pairs(pairs, settings.folds), settings, folder, header={}, **kwargs)
