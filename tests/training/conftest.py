"""A small set of pairs with something to learn, and settings that train it in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import DataFile, Pairs


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


@pytest.fixture
def pairs() -> Pairs:
    return make_pairs()


@pytest.fixture
def settings_of():
    """Settings for a quick run; keyword arguments override the [train] section, ``translator`` and ``loss`` whole tables."""

    def build(translator=None, loss=None, folds=3, **train) -> Settings:
        quick = {
            "epochs": 4,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "patience": None,
            "precision": "fp32",
            "threads": 1,
        }
        return Settings.from_dict(
            {
                "translator": translator
                or {"name": "residual_mlp", "hidden": 16, "output_norm": False, "output_activation": False},
                "loss": loss or {"name": "infonce"},
                "folds": {"count": folds},
                "train": {**quick, **train},
                "competition": {"gallery_size": 10},
            }
        )

    return build
