"""Timing of training: the competitors do the same work, and figures follow from the rounds. No figure itself is judged."""

from __future__ import annotations

import statistics

import pytest
import torch
import torch.nn.functional as F

from kaggle_kit.config import Settings, load_project
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.errors import KaggleKitError, UsageError
from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.bench import Apart, Orders, ReferenceModel, Spread, interleave
from kaggle_kit.training.losses import build_loss
from kaggle_kit.training.precision import Hardware
from kaggle_kit.translators import build_translator
from kaggle_kit.workflow.bench import _original_settings, bench
from kaggle_kit.workflow.schemas import training_schemas

SMALL = {"batch": 16, "samples": 64, "rounds": 2}
QUICK = {"train.threads": 1, "train.precision": "fp32", "translator": "residual_mlp", "train.batch_size": 16}


@pytest.fixture
def project(clean_world):
    """A project whose data is of 8 to 12 dimensions."""
    generate_competition(clean_world / "data", captions=40, images=8, text_dim=8, image_dim=12, test=4)
    return lambda **overrides: load_project(overrides={**QUICK, **overrides}, schemas=training_schemas)


def test_original_recipe_is_the_reference_model_and_loss():
    """The same network, number for number, the same loss, optimiser and batch as the original loop's."""
    torch.manual_seed(0)
    settings = _original_settings(TrainSettings(), batch=256)
    ours = build_translator(settings.translator.name, 1024, 1536, settings.translator.options)
    reference = ReferenceModel(1024, 1536)
    ours.load_state_dict(reference.state_dict())
    text, image = F.normalize(torch.randn(8, 1024), dim=1), F.normalize(torch.randn(8, 1536), dim=1)
    outputs = reference.eval()(text)
    torch.testing.assert_close(ours.eval()(ours.encode_text(text)), outputs)
    expected = F.cross_entropy(F.normalize(outputs, dim=1) @ image.T / 0.07, torch.arange(8))
    found = build_loss(settings.loss.name, settings.loss.options)(outputs, ours.encode_images(image), torch.arange(8))
    torch.testing.assert_close(found, expected)
    train = settings.train
    assert (train.optimizer, train.learning_rate, train.batch_size, train.weight_decay) == ("adam", 1e-4, 256, 0.0)
    assert (ours.dropout.share, reference.dropout.p) == (0.2, 0.2)


def test_figures_are_medians_of_rounds_that_lay_beside_each_other(project):
    found = bench(project(), **SMALL)
    ours, loop, floor = (found.rounds[name] for name in ("ours", "reference_fp32", "floor"))
    assert len(ours) == len(loop) == len(floor) == 2
    assert found.ours == Spread(statistics.median(ours), min(ours), max(ours))
    assert found.ratio.median == pytest.approx(statistics.median([a / b for a, b in zip(ours, loop, strict=True)]))
    assert found.floor_share.high == pytest.approx(max(a / b for a, b in zip(ours, floor, strict=True)))
    assert found.reference_same_dtype == found.reference_fp32  # the very same rounds, not timed twice
    assert (found.batch, found.samples, found.d_text, found.d_image) == (16, 64, 8, 12)
    assert (found.translator.name, found.translator.batch) == ("residual_mlp", 16)


@pytest.mark.slow
def test_another_precision_is_timed_beside_fp32(project):
    found = bench(project(**{"train.precision": "bf16"}), **SMALL)
    assert set(found.rounds) == {"reference_fp32", "reference_same_dtype", "floor", "ours"}
    assert found.to_dict()["dtype"] == "bf16"


@pytest.mark.slow
def test_a_closed_form_is_fitted_once(project):
    found = bench(project(translator="ridge"), **SMALL)
    assert found.translator.seconds > 0
    assert found.translator.batch is None


@pytest.mark.slow
def test_time_to_a_goal_ends_at_the_goal_or_at_the_recipes_end(project):
    easy = bench(project(**{"train.epochs": 4}), **SMALL, time_to=0.1, images=40).time_to
    assert easy.reached
    assert easy.epochs < 4
    hard = bench(project(**{"train.epochs": 3, "train.patience": "none"}), **SMALL, time_to=1.0, images=40).time_to
    assert not hard.reached
    assert hard.epochs == 3
    assert 0 < hard.best_mrr < 1


def test_numbers_without_sense_are_refused(project):
    with pytest.raises(UsageError, match="8 samples make no batch of 16"):
        bench(project(), batch=16, samples=8)
    with pytest.raises(UsageError, match="rounds must be at least 1, not 0"):
        bench(project(), rounds=0)


def orders(settings, what="training"):
    return Orders(what, Hardware("cpu", "cpu", "fp32", 1), 40, 20, 6, 8, settings=Settings.from_dict(settings))


NETWORK = {
    "translator": {"name": "residual_mlp", "hidden": 8},
    "train": {"threads": 1, "epochs": 3, "batch_size": 20, "precision": "fp32"},
    "folds": {"count": 1},
}


def test_training_stands_still_between_rounds_and_ends_when_closed():
    with Apart(orders(NETWORK)) as training:
        assert training.samples == 40
        speeds = interleave({"ours": training}, 2)
        assert len(speeds["ours"]) == 2
        assert all(speed > 0 for speed in speeds["ours"])
        assert training.mrr is None
        process = training._process
        assert process.poll() is None
    assert process.returncode is not None
    with Apart(orders({"translator": "ridge", "train": {"threads": 1}, "folds": {"count": 1}})) as closed:
        assert closed.figures() is None
        assert 0 < closed.mrr <= 1


def test_an_error_of_the_training_is_raised_where_the_round_was_asked_for():
    settings = {"translator": "no_such", "train": {"threads": 1}, "folds": {"count": 1}}
    with Apart(orders(settings)) as training, pytest.raises(UsageError, match="no translator is called 'no_such'"):
        training.round()


def test_a_process_that_was_killed_is_told_with_its_exit_code():
    with Apart(orders(NETWORK)) as training:
        training.round()
        training._process.kill()
        with pytest.raises(KaggleKitError, match="the process that times the training ended with exit code -9"):
            training.round()
