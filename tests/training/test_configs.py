"""Every shipped configuration loads, trains a step on small data, and its run resumes to the bit."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from small_training import CallAfterEpoch, weights_of

from kaggle_kit.config import shipped_configs
from kaggle_kit.embeddings import fold_pairs
from kaggle_kit.errors import InterruptedWork
from kaggle_kit.training.crossvalidation import cross_validate
from kaggle_kit.translators import translators
from kaggle_kit.workflow.project import load_project

CONFIGS = sorted(shipped_configs())
SMALL = {"train.epochs": 3, "train.min_steps": 0, "train.batch_size": 64, "folds.count": 2, "train.threads": 1,
         "train.seeds": 1, "train.accumulate": 1, "competition.gallery_size": 10, "data.drop_noisiest": 0.0}  # fmt: skip
NARROW = {"hidden": 16, "width": 16, "slot_hidden": 16, "features": 32}


def small_project(name, tmp_path):
    project = load_project(tmp_path, config=name, overrides=SMALL)
    options = dict(project.settings.translator.options)
    narrow = {key: value for key, value in NARROW.items() if key in options}
    choice = replace(project.settings.translator, options=options | narrow)
    return replace(project.settings, translator=choice)


def test_every_recipe_of_a_translator_is_shipped():
    assert {entry.recipe for entry in translators if entry.recipe} <= set(CONFIGS)


def test_the_fast_preset_trains_one_translator_a_fold_and_nothing_else(tmp_path):
    """Its translator's recipe is the default's, whose seeds and refits it must not take over."""
    train = load_project(tmp_path, config="fast").settings.train
    assert (train.seeds, train.refit) == (1, 0)
    assert load_project(tmp_path, config="default").settings.train.refit > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_configuration_trains(name, pairs, tmp_path):
    settings = small_project(name, tmp_path)
    result = cross_validate(pairs, fold_pairs(pairs, settings.folds), settings, tmp_path / "run", header={})
    assert 0 < result.score.mrr <= 1
    assert result.score.images == 60


@pytest.mark.parametrize("name", ["default", "vae", "vsepp", "geglu"])
def test_a_shipped_configuration_resumes_to_the_bit(name, pairs, tmp_path):
    settings = small_project(name, tmp_path)
    folds = fold_pairs(pairs, settings.folds)
    cross_validate(pairs, folds, settings, tmp_path / "whole", header={})
    stop = CallAfterEpoch(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedWork, match="state is saved"):
        cross_validate(pairs, folds, settings, tmp_path / "parts", header={}, progress=stop)
    cross_validate(pairs, folds, settings, tmp_path / "parts", header={})
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
