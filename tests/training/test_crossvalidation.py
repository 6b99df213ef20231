"""Cross-validation: exact to the bit when stopped and resumed, every caption predicted once, divergence told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import CallAfterEpoch, run, weights_of

from kaggle_kit import files
from kaggle_kit.embeddings import fold_pairs
from kaggle_kit.errors import DataError, InterruptedWork, MissingError, TrainingError
from kaggle_kit.metrics import gallery_mrr
from kaggle_kit.training.checkpoints import load_tensors, load_translator
from kaggle_kit.training.crossvalidation import cross_validate, out_of_fold
from kaggle_kit.training.state import STATE

HERE = Path(__file__).parents[1]


def test_every_caption_is_predicted_once_by_a_translator_that_never_saw_its_image(pairs, settings_of, tmp_path):
    settings = settings_of(epochs=20)
    folds = fold_pairs(pairs, settings.folds)
    result = run(pairs, settings, tmp_path)
    oof = out_of_fold(tmp_path, pairs, folds, settings)
    assert oof.covered.all()
    assert torch.allclose(oof.predictions.norm(dim=1), torch.ones(len(pairs.text)), atol=1e-5)
    for fold in range(3):
        train, held_out = folds.split(fold, pairs.image_of_caption)
        assert not set(pairs.image_of_caption[train]) & set(pairs.image_of_caption[held_out])
        model = load_translator(tmp_path / f"fold-{fold}-seed-0" / "model.safetensors")
        predicted = model.translate(torch.from_numpy(pairs.text[held_out]))
        assert torch.allclose(predicted, oof.predictions[held_out], atol=2e-3), "saved in half precision"
    again = gallery_mrr(
        oof.predictions,
        torch.from_numpy(pairs.images),
        pairs.image_of_caption,
        gallery_size=10,
        draws=10,
        groups=folds.fold_of_image,
    )
    assert result.score.mrr == pytest.approx(again.mrr, abs=1e-12)
    assert result.score.mrr > 0.5, "chance is 0.29"


def test_seeds_of_a_fold_are_averaged(pairs, settings_of, tmp_path):
    result = run(pairs, settings_of(seeds=2, folds=2), tmp_path)
    assert [(m.fold, m.seed_number) for m in result.members] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(set(weights_of(tmp_path).values())) == 4


def test_a_single_holdout_covers_its_images_only(pairs, settings_of, tmp_path):
    settings = settings_of(folds=1)
    run(pairs, settings, tmp_path)
    oof = out_of_fold(tmp_path, pairs, fold_pairs(pairs, settings.folds), settings)
    assert oof.covered.sum() == 6 * 3
    assert not oof.predictions[~torch.from_numpy(oof.covered)].any()


def test_predictions_cut_short_are_named_and_not_used(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2, epochs=1)
    run(pairs, settings, tmp_path)
    path = tmp_path / "fold-0-seed-0" / "predictions.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"fold-0-seed-0.predictions\.npy is damaged") as caught:
        out_of_fold(tmp_path, pairs, fold_pairs(pairs, settings.folds), settings)
    assert "kk train --resume" in caught.value.hint


def test_predictions_that_are_no_numbers_or_gone_are_named(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2, epochs=1)
    run(pairs, settings, tmp_path)
    folds, file = fold_pairs(pairs, settings.folds), tmp_path / "fold-0-seed-0" / "predictions.npy"
    saved = np.load(file)
    saved[1] = np.nan
    np.save(file, saved)
    with pytest.raises(DataError, match=r"fold-0-seed-0.predictions\.npy: 1 of \d+ rows is not finite") as caught:
        out_of_fold(tmp_path, pairs, folds, settings)
    assert f"kk train --resume {tmp_path.name}" in caught.value.hint
    file.unlink()
    with pytest.raises(MissingError, match="no out-of-fold predictions at") as caught:
        out_of_fold(tmp_path, pairs, folds, settings)
    assert f"kk train --resume {tmp_path.name}" in caught.value.hint


@pytest.mark.parametrize("batches", ["captions", "images", "grouped"])
def test_same_seed_same_weights_and_another_seed_others(pairs, settings_of, tmp_path, batches):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(pairs, settings_of(batches=batches, seed=seed, folds=2, epochs=2), tmp_path / folder)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    assert not set(weights_of(tmp_path / "a").values()) & set(weights_of(tmp_path / "c").values())


def test_folds_do_not_depend_on_the_order_in_which_they_run(pairs, settings_of, tmp_path):
    settings = settings_of()
    run(pairs, settings, tmp_path)
    whole = weights_of(tmp_path)
    for name in ("result.json", "model.safetensors"):
        (tmp_path / "fold-0-seed-0" / name).unlink()
    run(pairs, settings, tmp_path)
    assert weights_of(tmp_path) == whole


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_stopped_by_sigterm_and_resumed_equals_an_uninterrupted_one(pairs, settings_of, tmp_path, precision):
    settings = settings_of(
        precision=precision, loss={"name": "infonce_symmetric", "learnable_temperature": True}, optimizer="adamw"
    )
    whole = run(pairs, settings, tmp_path / "whole")
    stop = CallAfterEpoch(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedWork, match="stopped by SIGTERM at epoch 3, step 1; the state is saved"):
        run(pairs, settings, tmp_path / "parts", progress=stop)
    assert (tmp_path / "parts" / "fold-0-seed-0" / STATE).is_file()
    resumed = run(pairs, settings, tmp_path / "parts")
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    assert resumed.score == whole.score
    assert not list((tmp_path / "parts").glob(f"*/{STATE}")), "the state of a finished fold is removed"


def test_ctrl_c_saves_the_state_first(pairs, settings_of, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, settings_of(), tmp_path, progress=CallAfterEpoch(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert (tmp_path / "fold-0-seed-0" / STATE).is_file()


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from small_training import CallAfterEpoch, make_pairs, run
from kaggle_kit.config import Settings
from kaggle_kit.files import read_json
settings = Settings.from_dict(read_json(Path("settings.json")))
run(make_pairs(), settings, Path("killed"), progress=CallAfterEpoch(2, lambda: os.kill(os.getpid(), 9)))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_state(pairs, settings_of, tmp_path, clean_world):
    settings = settings_of(checkpoint_minutes=0.0)
    files.write_json(Path("settings.json"), settings.to_dict())
    died = subprocess.run([sys.executable, "-c", KILLED.format(here=str(HERE))], check=False)
    assert died.returncode == -9
    _, header = load_tensors(Path("killed/fold-0-seed-0") / STATE)
    assert header["state"]["position"]["step"] > 0
    run(pairs, settings, Path("killed"))
    run(pairs, settings, Path("whole"))
    assert weights_of(Path("killed")) == weights_of(Path("whole"))


def test_early_stopping_restores_the_best_weights(pairs, settings_of, tmp_path):
    result = run(pairs, settings_of(epochs=60, patience=3, learning_rate=0.1, folds=2), tmp_path)
    for member in result.members:
        losses = [epoch["validation_loss"] for epoch in member.history]
        assert member.epochs < 60
        assert member.best_epoch == 1 + int(np.argmin(losses))
        assert member.epochs == member.best_epoch + 3


def test_monitoring_mrr_goes_by_mrr(pairs, settings_of, tmp_path):
    result = run(pairs, settings_of(monitor="mrr", epochs=6, folds=2), tmp_path)
    for member in result.members:
        assert member.best_epoch == 1 + int(np.argmax([epoch["validation_mrr"] for epoch in member.history]))


def test_divergence_names_the_step_and_the_setting_to_lower(pairs, settings_of, tmp_path):
    settings = settings_of(
        translator={"name": "mlp", "hidden": 8}, loss={"name": "mse"}, learning_rate=1e30, max_skipped_steps=3
    )
    with pytest.raises(TrainingError, match="training diverged at epoch 1, step") as caught:
        run(pairs, settings, tmp_path)
    assert "lower train.learning_rate (now 1e+30)" in caught.value.hint
    assert caught.value.exit_code == 7


def test_forced_fp16_scales_gradients_and_still_learns(pairs, settings_of, tmp_path):
    result = run(pairs, settings_of(precision="fp16", epochs=20, folds=2), tmp_path)
    assert result.hardware.scales_gradients
    assert result.score.mrr > 0.5


def test_closed_forms_train_without_epochs(pairs, settings_of, tmp_path):
    result = run(pairs, settings_of(translator={"name": "ridge"}), tmp_path)
    assert [member.epochs for member in result.members] == [0, 0, 0]
    assert result.score.mrr > 0.5


def test_a_damaged_state_or_checkpoint_is_named(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2)
    state = tmp_path / "fold-0-seed-0" / STATE
    files.write_bytes(state, b"\0" * 100)
    with pytest.raises(DataError, match=r"state\.safetensors is damaged"):
        run(pairs, settings, tmp_path)
    with pytest.raises(MissingError, match="no checkpoint at"):
        load_translator(tmp_path / "nowhere.safetensors")


def test_a_checkpoint_carries_its_origin_in_json(pairs, settings_of, tmp_path):
    settings = settings_of(folds=2, epochs=1)
    folds = fold_pairs(pairs, settings.folds)
    cross_validate(pairs, folds, settings, tmp_path, header={"run": "r-1", "folds": folds.digest})
    _, header = load_tensors(tmp_path / "fold-1-seed-0" / "model.safetensors")
    assert header["run"] == "r-1"
    assert header["folds"] == folds.digest
    assert (header["translator"], header["fold"], header["d_text"], header["d_image"]) == ("residual_mlp", 1, 8, 12)


class Notes(CallAfterEpoch):
    """What is said beside the progress of epochs."""

    def __init__(self):
        super().__init__(-1, lambda: None)
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"device": "cpu", "precision": "bf16"}, "kernels are for one GPU in bf16, not for cpu in bf16"),
        ({"device": "cpu", "precision": "fp32"}, "kernels are for one GPU in bf16, not for cpu in fp32"),
    ],
)
def test_kernels_that_are_asked_for_in_vain_are_told_of_and_change_nothing(pairs, settings_of, tmp_path, train, reason):
    notes = Notes()
    run(pairs, settings_of(folds=2, epochs=1, kernels=True, **train), tmp_path / "kernels", progress=notes)
    run(pairs, settings_of(folds=2, epochs=1, **train), tmp_path / "plain")
    assert [line for line in notes.lines if "kernels" in line] == [f"train.kernels changes nothing here: {reason}"]
    assert weights_of(tmp_path / "kernels") == weights_of(tmp_path / "plain")


def test_a_temperature_that_runs_away_is_a_training_that_diverged(pairs, settings_of, tmp_path):
    loss = {"name": "infonce_symmetric", "learnable_temperature": True}
    with pytest.raises(TrainingError, match="training diverged"):
        run(pairs, settings_of(folds=2, epochs=3, learning_rate=1000.0, loss=loss), tmp_path)
