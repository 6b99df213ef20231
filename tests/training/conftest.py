"""A small set of pairs with something to learn, and settings that train it in a second."""

from __future__ import annotations

import pytest
from small_training import make_pairs

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import Pairs


@pytest.fixture
def pairs() -> Pairs:
    return make_pairs()


@pytest.fixture
def settings_of():
    """Settings for a quick run; keyword arguments override the [train] section, ``translator`` and ``loss`` whole tables.

    ``cluster`` is the table of that name.
    """

    def build(translator=None, loss=None, folds=3, cluster=None, **train) -> Settings:
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
                "cluster": cluster or {},
                "competition": {"gallery_size": 10},
            }
        )

    return build
