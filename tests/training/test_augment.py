"""Mixing, noise, dropped inputs, averaged weights and added-up gradients, each against its definition."""

from __future__ import annotations

import pytest
import torch

from kaggle_kit.embeddings import fold_pairs
from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.augment import augment, draw_share
from kaggle_kit.training.checkpoints import load_translator
from kaggle_kit.training.crossvalidation import cross_validate
from kaggle_kit.translators.dropout import Dropout, dropout


def test_mixing_blends_each_row_with_its_partner():
    torch.manual_seed(0)
    inputs = torch.randn(8, 4)
    settings = TrainSettings(mixup=0.3)
    mixed, mix = augment(inputs, settings, draw_share(settings, epoch=0))
    assert 0.5 <= mix.share <= 1
    assert torch.allclose(mixed, mix.share * inputs + (1 - mix.share) * inputs[mix.partners], atol=1e-6)
    assert torch.allclose(mixed, augment(inputs, settings, torch.tensor(mix.share))[0], atol=1e-6), (
        "a share on the device"
    )
    assert draw_share(TrainSettings(mixup=0.3, mixup_after=3), epoch=2) is None
    assert augment(inputs, settings, None)[1] is None


def test_mixing_shares_follow_the_beta_distribution():
    torch.manual_seed(0)
    shares = [draw_share(TrainSettings(mixup=0.3), epoch=0) for _ in range(3000)]
    drawn = torch.distributions.Beta(0.3, 0.3).sample((200_000,))
    assert sum(shares) / len(shares) == pytest.approx(float(torch.maximum(drawn, 1 - drawn).mean()), abs=0.01)


def test_noise_has_the_length_that_was_asked_for():
    torch.manual_seed(0)
    inputs = torch.randn(500, 64) * 7
    noisy, _ = augment(inputs, TrainSettings(input_noise=0.25), None)
    relative = (noisy - inputs).norm(dim=1) / inputs.norm(dim=1)
    assert float(relative.mean()) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype):
    torch.manual_seed(1)
    x = torch.ones(1000, 200, dtype=dtype)
    thinned = dropout(x, 0.7)
    assert float((thinned == 0).double().mean()) == pytest.approx(0.7, abs=0.01)
    assert float(thinned.double().mean()) == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(thinned, dropout(x, 0.7))
    torch.manual_seed(1)
    assert torch.equal(thinned, dropout(x, 0.7)), "the global generator decides the mask"
    assert Dropout(0.7).eval()(x) is x


def test_added_up_gradients_equal_those_of_the_whole_batch(pairs, settings_of, tmp_path):
    """With a loss that is a mean over rows and no randomness, two half batches are one batch."""
    quiet = {"translator": {"name": "mlp", "hidden": 8, "dropout": 0.0}, "loss": {"name": "cosine"}, "folds": 2}
    weights = []
    for folder, size, times in (("whole", 90, 1), ("halves", 45, 2)):
        settings = settings_of(**quiet, batch_size=size, accumulate=times, epochs=5, schedule="constant")
        cross_validate(pairs, fold_pairs(pairs, settings.folds), settings, tmp_path / folder, header={})
        weights.append(load_translator(tmp_path / folder / "fold-0-seed-0" / "model.safetensors").state_dict())
    for name in weights[0]:
        assert torch.allclose(weights[0][name], weights[1][name], atol=1e-5), name


def test_the_moving_average_is_what_is_kept(pairs, settings_of, tmp_path):
    """A decay of nearly 1 keeps the weights near their start; without it they move far."""
    moved = []
    for folder, decay in (("plain", 0.0), ("averaged", 0.999)):
        settings = settings_of(folds=2, epochs=5, ema_decay=decay, restore_best=False)
        cross_validate(pairs, fold_pairs(pairs, settings.folds), settings, tmp_path / folder, header={})
        short = settings_of(folds=2, epochs=1, learning_rate=1e-12, restore_best=False)
        cross_validate(pairs, fold_pairs(pairs, settings.folds), short, tmp_path / f"{folder}-start", header={})
        end, start = (
            load_translator(tmp_path / place / "fold-0-seed-0" / "model.safetensors").state_dict()
            for place in (folder, f"{folder}-start")
        )
        moved.append(sum(float((end[name] - start[name]).norm()) for name in end))
    assert moved[1] < 0.2 * moved[0]
