"""Batches: every caption once an epoch, and what each kind promises about images."""

from __future__ import annotations

import pytest
import torch

from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.batches import epoch_batches
from kaggle_kit.training.schedule import learning_rate
from kaggle_kit.training.seeds import derive_seed, generator_for

EVEN = torch.arange(40).repeat_interleave(5)
UNEVEN = torch.tensor([0] * 7 + [1] + [2] * 3 + [5] * 4 + [9] * 2)


@pytest.mark.parametrize("kind", ["captions", "images", "grouped"])
def test_every_caption_comes_once_when_images_have_equally_many(kind):
    batches = epoch_batches(EVEN, 16, kind, generator_for(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(200))


@pytest.mark.parametrize("counts", [EVEN, UNEVEN])
def test_batches_of_images_hold_each_image_once(counts):
    for batch in epoch_batches(counts, 4, "images", generator_for(1)):
        images = counts[batch].tolist()
        assert len(set(images)) == len(images)


@pytest.mark.parametrize("counts", [EVEN, UNEVEN])
def test_grouped_batches_never_part_the_captions_of_an_image(counts):
    batches = epoch_batches(counts, 10, "grouped", generator_for(2))
    homes = [set(counts[batch].tolist()) for batch in batches]
    assert sum(len(home) for home in homes) == len(counts.unique())
    assert sorted(torch.cat(batches).tolist()) == list(range(len(counts)))


def test_batches_are_a_function_of_the_generator():
    first, again, other = (epoch_batches(EVEN, 16, "captions", generator_for(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_last_batch_of_one_is_left_out():
    assert [len(batch) for batch in epoch_batches(torch.arange(9), 4, "captions", generator_for(0))] == [4, 4]


def test_seeds_differ_by_purpose_and_are_stable():
    assert derive_seed(0, "fold", 1) == derive_seed(0, "fold", 1)
    assert len({derive_seed(0, "fold", f, "seed", s) for f in range(5) for s in range(5)}) == 25
    assert derive_seed(0, "batches", 3) == 7057784065625446175


def test_the_learning_rate_warms_up_then_anneals():
    settings = TrainSettings(learning_rate=1.0, warmup_fraction=0.1, final_lr_fraction=0.2)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.6)
    assert rates[99] == pytest.approx(0.2, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
