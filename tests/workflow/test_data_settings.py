"""The [data] settings as a run sees them: what they change in training, and what the record says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from kaggle_kit.config import Project
from kaggle_kit.embeddings import Folds, cache_folder, load_pairs, write_train_npz
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.workflow.data import find_train, training_pairs
from kaggle_kit.workflow.ensemble import ensemble
from kaggle_kit.workflow.train import train

NETWORK = {
    "translator.name": "residual_mlp",
    "translator.hidden": 16,
    "train.epochs": 4,
    "train.batch_size": 64,
    "train.learning_rate": 1e-3,
    "train.patience": "none",
    "train.precision": "fp32",
}


def add_misleading(project: Project) -> Path:
    """A second npz in which every caption shows the opposite of its image."""
    pairs = load_pairs(find_train(project))
    path = project.root / "extra.npz"
    # captions equal to the competition's would follow their images into a fold
    others = np.array([f"elsewhere {text}" for text in pairs.captions])
    write_train_npz(path, replace(pairs, images=-pairs.images, captions=others))
    return path


@pytest.mark.parametrize("translator", [{"translator.name": "whitened_ridge"}, NETWORK], ids=["closed form", "network"])
def test_weight_of_extra_pairs_decides_how_much_they_change(make_project, translator):
    alone = make_project(**translator)
    add_misleading(alone)
    cv = {"alone": train(alone).cv}
    for weight in (0.01, 1.0, 8.0):
        run = train(make_project(**translator, **{"data.extra": "extra.npz", "data.extra_weight": weight}))
        cv[weight] = run.cv
        [step] = run.record["data"]["report"]["steps"]
        assert (step["step"], step["captions"], step["weight"]) == ("extra", 1200, weight)
        assert run.record["config"]["data"]["extra_weight"] == weight
    assert abs(cv[0.01] - cv["alone"]) < abs(cv[8.0] - cv["alone"])
    assert cv[0.01] > cv[8.0] + 0.02, cv


def test_out_of_fold_predictions_of_an_earlier_run_say_what_is_noisy(make_project, run):
    settings = {"data.drop_noisiest": 0.05, "data.noise_by": "predictions", "data.noise_run": run.id[:17]}
    cleaned, report = training_pairs(make_project(**settings))
    folds, noise = Folds.load(run.folder), np.empty(1200)
    for checkpoint in run.record["checkpoints"]:
        _, held_out = folds.split(checkpoint["fold"], cleaned.image_of_caption)
        predicted = np.load((run.folder / checkpoint["file"]).with_name("predictions.npy"))
        shown = cleaned.images[cleaned.image_of_caption[held_out]]
        lengths = np.linalg.norm(predicted, axis=1) * np.linalg.norm(shown, axis=1)
        noise[held_out] = 1 - (predicted * shown).sum(axis=1) / lengths
    assert np.flatnonzero(~cleaned.is_trained).tolist() == sorted(np.argsort(noise)[-60:].tolist())
    assert report["steps"] == [
        {"step": "drop_noisiest", "by": "predictions", "share": 0.05, "run": run.id, "captions": 60}
    ]


def test_predictions_of_a_run_with_extra_pairs_are_those_of_the_own_captions(make_project):
    add_misleading(make_project())
    first = train(make_project(**{"data.extra": "extra.npz", "data.extra_weight": 0.1, "data.drop_noisiest": 0.1}))
    settings = {"data.drop_noisiest": 0.05, "data.noise_by": "predictions", "data.noise_run": first.id}
    cleaned, _ = training_pairs(make_project(**settings))
    assert (len(cleaned), np.count_nonzero(~cleaned.is_trained)) == (1200, 60)


def test_captions_never_held_out_are_not_noisy(make_project):
    first = train(make_project(**{"folds.count": 1, "folds.holdout": 0.2}))
    settings = {"data.drop_noisiest": 0.9, "data.noise_by": "predictions", "data.noise_run": first.id}
    cleaned, _ = training_pairs(make_project(**settings))
    assert np.count_nonzero(~cleaned.is_trained) == 60 * 4


def test_predictions_of_no_run_of_an_ensemble_and_of_other_data_are_refused(make_project, project, run):
    by = {"data.drop_noisiest": 0.1, "data.noise_by": "predictions"}
    with pytest.raises(UsageError, match="needs out-of-fold predictions"):
        training_pairs(make_project(**by))
    with pytest.raises(MissingError, match="20200101"):
        training_pairs(make_project(**by, **{"data.noise_run": "20200101"}))
    other = train(make_project(**{"translator.name": "procrustes"}))
    both = ensemble(project, [run.id, other.id])
    with pytest.raises(UsageError, match="is an ensemble, which keeps no predictions"):
        training_pairs(make_project(**by, **{"data.noise_run": both.id}))
    linked = project.data_dir / project.settings.competition.slug
    pairs = load_pairs(find_train(project))
    linked.unlink()
    write_train_npz(linked / project.settings.competition.files.train, replace(pairs, images=pairs.images * 2))
    with pytest.raises(DataError, match="was trained on data with sha256"):
        training_pairs(make_project(**by, **{"data.noise_run": run.id}))


def test_near_duplicates_of_test_captions_are_left_out_and_counted(make_project, small_data):
    run = train(make_project(**{"data.drop_near_test": 0.97}))
    [step] = run.record["data"]["report"]["steps"]
    assert step["step"] == "drop_near_test"
    assert step["captions"] == 1200 - run.record["data"]["report"]["trained_captions"]


def test_patience_with_another_reader_and_the_size_of_the_cache_are_settings(make_project, notes):
    project = make_project(**{"data.cache_wait_s": 0})
    pairs = load_pairs(find_train(project))
    linked = project.data_dir / project.settings.competition.slug
    linked.unlink()
    many = np.tile(pairs.images, (16 << 20) // pairs.images.nbytes + 1).reshape(300, -1)
    write_train_npz(linked / project.settings.competition.files.train, replace(pairs, images=many), compress=False)
    training_pairs(project)
    shutil.rmtree(cache_folder() / "pairs")
    with FileLock(next((cache_folder() / "locks").iterdir())):
        training_pairs(project, progress=notes)
    assert "another process has held it for 0 s" in notes
    training_pairs(make_project(**{"data.cache_gb": 0.001}), progress=notes)
    assert "0.001 GB are allowed" in notes
