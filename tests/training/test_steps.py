"""Steps that are not finite are skipped; and a GPU is never waited for within an epoch, with the same weights to the bit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from small_training import make_pairs
from torch.utils._python_dispatch import TorchDispatchMode

from kaggle_kit.embeddings import fold_pairs, split_pairs
from kaggle_kit.errors import TrainingError
from kaggle_kit.progress import SILENCE
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import fold_data
from kaggle_kit.training.loop import GradientLoop
from kaggle_kit.training.precision import Hardware
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import build_translator

GEGLU = {"name": "geglu", "width": 16, "blocks": 1}
MLP = {"name": "mlp", "hidden": 8, "dropout": 0.0}
"""Without dropout, whose masks begin at a place drawn on the host where the device is the CPU."""


class LikeGpu(Hardware):
    """The CPU, worked with as if looking at a result were expensive."""

    @property
    def defers_checks(self):
        return True


def loop_of(settings, tmp_path, kind=Hardware, poisoned=()):
    """A loop on the first fold; ``poisoned`` training captions are not a number."""
    pairs = make_pairs()
    train, validation = split_pairs(pairs, fold_pairs(pairs, settings.folds), 0)
    text = np.array(pairs.text)
    text[train[list(poisoned)]] = np.nan
    data = fold_data(text, pairs.images, pairs.image_of_caption, train, validation, gallery_size=10)
    torch.manual_seed(0)
    translator = build_translator(settings.translator.name, 8, 12, settings.translator.options)
    hardware = kind("cpu", "cpu", settings.train.precision, 1)
    context = RunContext(settings, hardware, tmp_path)
    states = StateFiles(tmp_path / "member", margin_mb=0, note=pytest.fail)
    return GradientLoop(translator, data, context, seed=0, states=states, task=SILENCE.start("fold"))


def everything(loop):
    """All tensors that a loop trains or gathers, by name."""
    tensors = dict(loop.translator.state_dict(prefix="model.")) | dict(loop.loss.state_dict(prefix="loss."))
    if loop.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in loop.average.state_dict().items()}
    for number, state in loop.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def differing(one, other):
    return [name for name in one.keys() | other.keys() if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 0.5, "ema_decay": 0.9, "optimizer": "adamw", "weight_decay": 0.1},
        {"accumulate": 3, "translator": GEGLU, "ema_decay": 0.9},
        {"precision": "fp16", "translator": GEGLU},
        {"precision": "bf16", "accumulate": 2, "clip_norm": 0.5},
        {"precision": "bf16", "ema_decay": 0.9, "optimizer": "adamw", "weight_decay": 0.1},  # rounded weights, and not
    ],
    ids=["plain", "clipped", "accumulated", "fp16", "bf16", "rounded"],
)
@pytest.mark.parametrize("poisoned", [(), (3,)], ids=["finite", "poisoned"])
def test_checking_on_the_device_gives_the_same_weights_to_the_bit(settings_of, tmp_path, options, poisoned):
    settings = settings_of(loss={"name": "infonce_symmetric", "learnable_temperature": True}, **options)
    loops = [loop_of(settings, tmp_path / kind.__name__, kind, poisoned) for kind in (Hardware, LikeGpu)]
    for loop in loops:
        torch.manual_seed(1)
        loop.run()
    checked, deferred = map(everything, loops)
    assert differing(checked, deferred) == []
    assert all(bool(torch.isfinite(tensor).all()) for tensor in checked.values() if tensor.is_floating_point())
    assert loops[0].position.skipped == loops[1].position.skipped
    assert loops[0].position.skipped >= 4 * len(poisoned), "one batch an epoch"
    losses = [[epoch["train_loss"] for epoch in loop.position.history] for loop in loops]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", [Hardware, LikeGpu])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_that_is_not_finite_changes_nothing(settings_of, tmp_path, kind, where, precision):
    loop = loop_of(settings_of(translator=GEGLU, ema_decay=0.9, precision=precision), tmp_path, kind)
    batches = [batch.clone() for batch in loop._batches(0)]
    loop._step(0, batches[0])
    before = everything(loop)
    clean = loop.objective.forward

    def poisoned(captions, share):
        loss = clean(captions, share)
        if where == "gradient":
            # a finite loss whose slope is not: the square root of nothing
            return loss + (loss - loss.detach()).clamp(min=0).sqrt()
        return loss * torch.inf

    loop.objective.forward = poisoned
    loop._step(1, batches[1])
    assert differing(before, everything(loop)) == []
    loop._read_steps()
    assert loop.position.skipped == 1
    loop.objective.forward = clean
    loop._step(2, batches[2])
    assert "model.layers.0.weight" in differing(before, everything(loop))


def test_divergence_is_told_alike_whenever_it_is_noticed(settings_of, tmp_path):
    settings = settings_of(translator=MLP, loss={"name": "mse"}, learning_rate=1e30, max_skipped_steps=3)
    told = []
    for kind in (Hardware, LikeGpu):
        with pytest.raises(TrainingError, match="3 steps in a row had a loss or gradient that is not finite") as caught:
            loop_of(settings, tmp_path / kind.__name__, kind).run()
        told.append(caught.value.message)
    assert told[0] == told[1]


class Waits(TorchDispatchMode):
    """Counts the operations for which a program waits for its device."""

    NAMES = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        if name.startswith(self.NAMES):
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


def waits_of(settings, tmp_path, kind, epochs):
    loop = loop_of(settings, tmp_path, kind)
    batches = [loop._batches(number) for number in range(epochs)]
    loop._batches = batches.__getitem__  # dealt on the CPU, whatever the device
    with Waits() as waits:
        for _ in range(epochs):
            for number, batch in enumerate(batches[loop.position.epoch]):
                loop._step(number, batch)
            loop._read_steps()
    return loop.position.step, waits.seen


@pytest.mark.parametrize("loss", ["infonce", "infonce_multi_positive", "infonce_triplet", "triplet_mse", "siglip"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_no_step_waits_for_a_gpu(settings_of, tmp_path, loss, precision):
    counts = []
    for batch_size in (40, 10):
        settings = settings_of(
            translator=MLP, loss={"name": loss}, precision=precision, batch_size=batch_size,
            ema_decay=0.9, clip_norm=1.0, accumulate=2,
        )  # fmt: skip
        counts.append(waits_of(settings, tmp_path, LikeGpu, 1))
    (few, waits_of_few), (many, waits_of_many) = counts
    assert (few, many) == (3, 12)
    assert waits_of_few == waits_of_many, "waiting does not grow with the number of steps"
    assert not waits_of_many


def test_the_control_of_the_count_sees_steps_that_are_looked_at(settings_of, tmp_path):
    steps, waits = waits_of(settings_of(), tmp_path, Hardware, 1)
    assert waits["_local_scalar_dense"] + waits["is_nonzero"] >= steps
