"""Steps that are recorded and replayed on a GPU: the weights of steps computed as they come, to the bit. Skipped where there is no GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kaggle_kit import kernels
from kaggle_kit.config import Settings
from kaggle_kit.errors import InterruptedWork
from kaggle_kit.progress import SILENCE
from kaggle_kit.training.bench import noise_pairs
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import fold_data
from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.loop import GradientLoop
from kaggle_kit.training.precision import choose_hardware
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import build_translator

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

D_TEXT, D_IMAGE, CAPTIONS = 32, 48, 330
LEARNABLE = {"name": "infonce_symmetric", "learnable_temperature": True}
CASES = {
    "residual": ({}, {"name": "residual_mlp", "hidden": 64}, {"name": "infonce"}),
    "fp32": ({"precision": "fp32"}, {"name": "mlp", "hidden": 64}, {"name": "cosine"}),
    "fp16": (
        {"precision": "fp16", "clip_norm": 0.5, "ema_decay": 0.9, "optimizer": "adamw", "weight_decay": 0.1},
        {"name": "geglu", "width": 32, "blocks": 1},
        LEARNABLE,
    ),
    "mixed": (
        {"mixup": 0.3, "mixup_after": 1, "input_noise": 0.1, "input_dropout": 0.1, "ema_decay": 0.9},
        {"name": "subspace_mlp", "hidden": 64},
        LEARNABLE,
    ),
    "vae": ({}, {"name": "vae", "width": 32}, {"name": "infonce_triplet"}),
    "slots": ({}, {"name": "slot_adapter", "hidden": 32, "slot_hidden": 16}, {"name": "triplet"}),
    "dropout": ({}, {"name": "dropout_mlp", "hidden": 32}, {"name": "triplet_mse"}),
    "blocks": ({}, {"name": "residual_blocks", "width": 32}, {"name": "infonce_multi_positive"}),
    "siglip": ({}, {"name": "residual_mlp", "hidden": 32}, {"name": "siglip"}),
    "kernels": ({"kernels": True}, {"name": "residual_mlp", "hidden": 64}, {"name": "infonce"}),
    "kernels, mixed": (
        {"kernels": True, "mixup": 0.3, "mixup_after": 1, "ema_decay": 0.9, "optimizer": "adamw", "weight_decay": 0.1},
        {"name": "subspace_mlp", "hidden": 64},
        LEARNABLE,
    ),
}


def loop_of(folder, train, translator, loss, stop=None):
    """A loop over three epochs of batches of 100, the last of an epoch smaller."""
    common = {"device": "cuda", "epochs": 3, "batch_size": 100, "patience": "none"}
    settings = Settings.from_dict({"translator": translator, "loss": loss, "train": {**common, **train}})
    pairs = noise_pairs(CAPTIONS, D_TEXT, D_IMAGE)
    places = np.arange(len(pairs.text))
    data = fold_data(
        pairs.text, pairs.images, pairs.image_of_caption, places[:CAPTIONS], places[CAPTIONS:], gallery_size=10
    )
    torch.manual_seed(0)
    made = build_translator(settings.translator.name, D_TEXT, D_IMAGE, settings.translator.options)
    made.prepare(data.fit_data(0, "cpu"))
    context = RunContext(settings, choose_hardware("cuda", settings.train.precision), folder)
    context = context if stop is None else replace(context, stop=stop)
    states = StateFiles(folder / "member", margin_mb=0, note=pytest.fail)
    return GradientLoop(made.to("cuda"), data, context, seed=0, states=states, task=SILENCE.start("fold"))


def run(loop):
    """Train, with dropout and noise from one seed whatever was trained before."""
    torch.manual_seed(1)
    loop.run()


def weights_of(loop):
    run(loop)
    return {**loop.translator.state_dict(), **loop.loss.state_dict(prefix="loss.")}


def differing(one, other):
    return [name for name in one.keys() | other.keys() if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_give_the_weights_of_steps_that_are_not(tmp_path, case):
    recorded, direct = (loop_of(tmp_path / kind, *CASES[case]) for kind in ("recorded", "direct"))
    direct.recorded = None
    assert differing(weights_of(recorded), weights_of(direct)) == []
    assert recorded.recorded.refused is None
    assert (recorded.fused is not None) == (case.startswith("kernels") and kernels.usable())
    assert recorded.position.history[-1]["train_loss"] == direct.position.history[-1]["train_loss"]


def test_kernels_come_to_the_losses_of_pytorch(tmp_path):
    train, translator, loss = CASES["kernels"]
    translator = {**translator, "dropout": 0.0}  # each way draws its own
    ways = [loop_of(tmp_path / str(chosen), {**train, "kernels": chosen}, translator, loss) for chosen in (True, False)]
    for way in ways:
        run(way)
    losses = [[epoch["train_loss"] for epoch in way.position.history] for way in ways]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("case", CASES)
def test_tables_that_are_rounded_once_give_the_same_weights(tmp_path, case):
    once, in_each_step = (loop_of(tmp_path / kind, *CASES[case]) for kind in ("once", "each"))
    in_each_step.objective.inputs, in_each_step.objective.targets = in_each_step.fold.inputs, in_each_step.fold.targets
    assert differing(weights_of(once), weights_of(in_each_step)) == []


def test_a_step_that_waits_for_the_device_is_computed_as_it_comes(tmp_path):
    loops = [loop_of(tmp_path / kind, *CASES["residual"]) for kind in ("waits", "direct")]
    loops[1].recorded = None
    for loop in loops:
        loop.translator.register_forward_pre_hook(lambda _, inputs: float(inputs[0].sum()) and None)
    assert differing(*map(weights_of, loops)) == []
    assert "synchronizing" in loops[0].recorded.refused


class StopAfter(StopRequest):
    """Asks to stop once so many steps are done."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def before(self, *works):
        self.left -= 1
        self.out_of_time = self.left <= 0
        return self.out_of_time

    def raise_stop(self, where):
        raise InterruptedWork(where, "")


def test_a_recorded_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    whole = weights_of(loop_of(tmp_path / "whole", *CASES["mixed"]))
    with pytest.raises(InterruptedWork):
        run(loop_of(tmp_path / "parts", *CASES["mixed"], stop=StopAfter(6)))
    assert differing(whole, weights_of(loop_of(tmp_path / "parts", *CASES["mixed"]))) == []
