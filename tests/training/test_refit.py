"""Refits: translators trained on all images, which predict the test with those of the folds and change nothing about their score."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from small_training import CallAfterEpoch, run, weights_of

from kaggle_kit.embeddings import fold_pairs
from kaggle_kit.errors import InterruptedWork
from kaggle_kit.training.checkpoints import load_translator
from kaggle_kit.training.crossvalidation import out_of_fold

FIXED = {"restore_best": False, "folds": 2, "epochs": 2}


def test_refits_leave_folds_and_their_score_as_they_were(pairs, settings_of, tmp_path):
    plain = run(pairs, settings_of(**FIXED), tmp_path / "plain")
    settings = settings_of(refit=2, **FIXED)
    refitted = run(pairs, settings, tmp_path / "refitted")
    assert [(m.fold, m.seed_number, m.mrr is None) for m in refitted.members] == [
        (0, 0, False), (1, 0, False), (None, 0, True), (None, 1, True),
    ]  # fmt: skip
    assert refitted.score == plain.score
    before, after = weights_of(tmp_path / "plain"), weights_of(tmp_path / "refitted")
    assert {name: after[name] for name in before} == before
    assert after["refit-seed-0"] != after["refit-seed-1"]
    oof = out_of_fold(tmp_path / "refitted", pairs, fold_pairs(pairs, settings.folds), settings)
    assert oof.covered.all()


def test_a_refit_of_ridge_is_ridge_on_all_captions(pairs, settings_of, tmp_path):
    run(pairs, settings_of({"name": "ridge", "strength": 0.01}, refit=1, folds=2), tmp_path)
    text, images = torch.from_numpy(pairs.text).double(), torch.from_numpy(pairs.images).double()
    x = text / text.norm(dim=1, keepdim=True)
    y = (images / images.norm(dim=1, keepdim=True))[torch.from_numpy(pairs.image_of_caption).long()]
    x, y = x - x.mean(0), y - y.mean(0)
    solved = torch.linalg.solve(x.T @ x + 0.01 * torch.eye(8, dtype=torch.float64), x.T @ y)
    expected = torch.nn.functional.normalize(x @ solved, dim=1)
    found = load_translator(tmp_path / "refit-seed-0" / "model.safetensors").translate(torch.from_numpy(pairs.text))
    assert torch.allclose(found.double(), expected, atol=1e-4)


def test_a_refit_stopped_and_resumed_has_the_same_weights_to_the_bit(pairs, settings_of, tmp_path):
    settings = settings_of(refit=1, **{**FIXED, "epochs": 4})
    run(pairs, settings, tmp_path / "whole")
    stopped = tmp_path / "stopped"

    def interrupt():
        if (stopped / "fold-1-seed-0" / "result.json").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedWork, match="stopped"):
        run(pairs, settings, stopped, progress=CallAfterEpoch(2, interrupt))
    assert (stopped / "refit-seed-0" / "state.safetensors").exists()
    run(pairs, settings, stopped)
    assert weights_of(stopped) == weights_of(tmp_path / "whole")
