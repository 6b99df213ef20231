"""One batch over several ranks: gradients, statistics and decisions are those of one process.

The ranks are threads of this process, each with a real gloo group of its own: the transport between processes, without starting any.
"""

from __future__ import annotations

import math
import signal
import threading
from copy import deepcopy
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.distributed as dist
from small_training import make_pairs

from kaggle_kit.contrast import Mix
from kaggle_kit.embeddings import fold_pairs, split_pairs
from kaggle_kit.errors import InterruptedWork, TrainingError
from kaggle_kit.progress import SILENCE
from kaggle_kit.training.collective import ALONE, Together
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import fold_data
from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.loop import GradientLoop
from kaggle_kit.training.losses import build_loss
from kaggle_kit.training.precision import choose_hardware
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import build_translator

D_TEXT, D_IMAGE = 6, 5


def on_ranks(size, work, kind=Together, *, patience_s=20):
    """``work(collective)`` on each of ``size`` ranks; what they returned or raised, in the order of ranks."""
    store, answers = dist.HashStore(), [None] * size

    def rank(number):
        group = dist.ProcessGroupGloo(store, number, size, timedelta(seconds=patience_s))
        try:
            answers[number] = work(kind(group))
        except (TrainingError, InterruptedWork) as error:
            answers[number] = error

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class GatherWithoutGradient(Together):
    """The classic mistake: outputs of the other ranks, and one's own, come as plain numbers."""

    def gather(self, rows, count):
        return super().gather(rows.detach(), count).requires_grad_()


class OwnPartOnly(Together):
    """Another one: each rank contrasts within its own part, and gradients are averaged."""

    def part_of(self, *tensors):
        return [tensor[self.part(len(tensor))] for tensor in tensors]


NETWORKS = {
    "residual_mlp": {"hidden": 7, "dropout": 0.0},
    "geglu": {"width": 6, "entry_dropout": 0.0, "block_dropout": 0.0},
    "slot_adapter": {"hidden": 7, "slot_hidden": 4, "slots": 3},
}
LOSSES = {
    "cosine": {},
    "infonce": {"learnable_temperature": True},
    "infonce_symmetric": {"learnable_temperature": True, "label_smoothing": 0.1},
    "infonce_multi_positive": {},
    "triplet": {},
    "infonce_triplet": {},
    "siglip": {},
}


def gradients(collective, network, loss_name, count, *, mixed):
    """Gradients of all parameters for one batch of ``count`` captions of few images, as ``collective`` computes them."""
    generator = torch.Generator().manual_seed(count)
    inputs = torch.randn(count, D_TEXT, generator=generator)
    images = torch.arange(count) // 2
    targets = torch.randn(count, D_IMAGE, generator=generator)[images]
    translator, loss = deepcopy(network), build_loss(loss_name, LOSSES[loss_name])
    collective.prepare(translator)
    outputs, extras = collective.training_forward(translator.train(), inputs, 0)
    if isinstance(collective, OwnPartOnly):
        outputs, targets, images = collective.part_of(outputs, targets, images)
    mix = Mix(torch.arange(count).roll(1), 0.7) if mixed else None
    value = loss(outputs, targets, images) if mix is None else loss.mixed(outputs, targets, images, mix)
    penalty = translator.penalty(extras, outputs, targets, images)
    (value if penalty is None else value + penalty).backward()
    parameters = [*translator.parameters(), *loss.parameters()]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    collective.average_gradients(parameters)
    return torch.cat([parameter.grad.flatten() for parameter in parameters])


def difference(found, wanted):
    """The largest difference of two gradients, as a share of the largest gradient where that is above 1."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def build(name):
    with BUILDING:  # the ranks of these tests are threads, and share torch's one generator
        torch.manual_seed(3)
        return build_translator(name, D_TEXT, D_IMAGE, NETWORKS[name])


BUILDING = threading.Lock()

CASES = [
    *(("residual_mlp", loss, 10, False) for loss in LOSSES),
    *(("residual_mlp", loss, 7, True) for loss in ("infonce_symmetric", "infonce_triplet", "cosine")),
    *((network, "infonce_symmetric", 9, False) for network in ("geglu", "slot_adapter")),
    ("residual_mlp", "infonce_symmetric", 3, False),  # fewer rows than ranks
]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_gradients_over_ranks_are_those_of_one_process(size):
    networks = {name: build(name) for name in NETWORKS}
    wanted = [gradients(ALONE, networks[case[0]], *case[1:3], mixed=case[3]) for case in CASES]

    def work(collective):
        return [gradients(collective, networks[case[0]], *case[1:3], mixed=case[3]) for case in CASES]

    for found in on_ranks(size, work):
        for case, mine, single in zip(CASES, found, wanted, strict=True):
            assert difference(mine, single) < 1e-5, case


@pytest.mark.parametrize("kind", [GatherWithoutGradient, OwnPartOnly])
def test_the_check_of_gradients_notices_a_gather_without_gradient(kind):
    network = build("residual_mlp")
    wanted = gradients(ALONE, network, "infonce_symmetric", 10, mixed=False)
    for found in on_ranks(2, lambda one: gradients(one, network, "infonce_symmetric", 10, mixed=False), kind):
        assert difference(found, wanted) > 1e-2


@pytest.mark.parametrize("count", [1, 3, 10, 12])
def test_each_row_of_a_validation_is_computed_once(count):
    inputs = torch.arange(float(count)).unsqueeze(1)

    def work(collective):
        seen = []

        def translator(rows):
            seen.extend(rows[:, 0].tolist())
            return rows * 2

        with torch.no_grad():
            return collective.forward(translator, inputs), seen

    answers = on_ranks(4, work)
    assert sorted(row for _, seen in answers for row in seen) == list(range(count))
    assert all(torch.equal(outputs, inputs * 2) for outputs, _ in answers)
    sizes = [len(seen) for _, seen in answers]
    assert max(sizes) - min(sizes) <= 1


def test_all_ranks_begin_with_the_weights_of_the_first():
    def work(collective):
        translator = build("residual_mlp")
        with torch.no_grad():
            translator.fc1.weight += collective.rank
        collective.prepare(translator)
        return translator.fc1.weight

    assert all(torch.equal(weight, build("residual_mlp").fc1.weight) for weight in on_ranks(3, work))


@pytest.fixture
def train_on(settings_of, tmp_path):
    """Train one fold with a collective; its loop. Keyword arguments override the [train] section."""

    def train(collective, *, translator=None, stop=None, task=None, **changes):
        settings = settings_of(translator, {"name": "infonce_symmetric", "learnable_temperature": True}, **changes)
        pairs = make_pairs()
        folds = fold_pairs(pairs, settings.folds)
        data = fold_data(
            pairs.text, pairs.images, pairs.image_of_caption, *split_pairs(pairs, folds, 0), gallery_size=10
        )
        hardware = choose_hardware("cpu", settings.train.precision, 1)
        stop = StopRequest() if stop is None else stop  # one that nobody made yet is false
        if isinstance(collective, Together):
            stop = collective.agreeing(stop)
        context = RunContext(settings, hardware, tmp_path, {}, stop, SILENCE, collective)
        network = deepcopy(built[str(translator)])
        collective.prepare(network)
        folder = tmp_path / f"{collective.rank} of {collective.size}"
        states = StateFiles(folder, margin_mb=0, note=SILENCE.note)
        loop = GradientLoop(network, data, context, seed=5, states=states, task=task or SILENCE.start(""))
        loop.run()
        return loop

    torch.manual_seed(1)  # here, and not on the ranks: threads share the global generator
    options = {"hidden": 16, "dropout": 0.0, "output_norm": False, "output_activation": False}
    built = {
        "None": build_translator("residual_mlp", 8, 12, options),
        str(GEGLU): build_translator("geglu", 8, 12, {k: v for k, v in GEGLU.items() if k != "name"}),
    }
    return train


GEGLU = {"name": "geglu", "width": 8, "entry_dropout": 0.0, "block_dropout": 0.0}
EXTRAS = {"ema_decay": 0.9, "clip_norm": 0.5, "accumulate": 2, "epochs": 3, "batch_size": 14}


@pytest.mark.parametrize(("translator", "changes"), [(None, EXTRAS), (GEGLU, {"ema_decay": 0.5, "epochs": 2})])
def test_training_over_ranks_follows_training_in_one_process(train_on, translator, changes):
    single = train_on(ALONE, translator=translator, **changes)
    loops = on_ranks(3, lambda collective: train_on(collective, translator=translator, **changes))
    for loop in loops:
        assert loop.position.step == single.position.step
        for name, weight in single.translator.state_dict().items():
            assert torch.allclose(loop.translator.state_dict()[name], weight, atol=2e-4), name
        for mine, wanted in zip(loop.position.history, single.position.history, strict=True):
            assert mine["validation_mrr"] == pytest.approx(wanted["validation_mrr"], abs=0.02)
            for figure in ("train_loss", "validation_loss"):
                assert mine[figure] == pytest.approx(wanted[figure], abs=1e-3)
    for name, weight in loops[0].translator.state_dict().items():
        assert all(torch.equal(loop.translator.state_dict()[name], weight) for loop in loops), "ranks never drift apart"


def test_fp16_and_its_skipped_steps_are_decided_alike(train_on):
    loops = on_ranks(2, lambda collective: train_on(collective, precision="fp16", epochs=2))
    assert loops[0].scaler.state_dict() == loops[1].scaler.state_dict()
    assert loops[0].position.skipped == loops[1].position.skipped
    assert np.isfinite(loops[0].position.history[-1]["validation_loss"])


def test_divergence_is_told_by_all_ranks_at_the_same_step(train_on):
    errors = on_ranks(2, lambda one: train_on(one, learning_rate=1e30, max_skipped_steps=2, epochs=3))
    assert all(isinstance(error, TrainingError) for error in errors)
    assert errors[0].message == errors[1].message
    assert "training diverged at epoch" in errors[0].message


def test_a_stop_at_one_rank_stops_all_at_one_step_and_the_first_saves(train_on, tmp_path):
    def work(collective):
        stop = StopRequest()

        class StopsTheLast:
            def update(self, done, **figures):
                if collective.rank == 2:
                    stop.note(signal.SIGTERM, None)

            def finish(self, summary=""):
                pass

        return train_on(collective, stop=stop, task=StopsTheLast(), epochs=50)

    errors = on_ranks(3, work)
    assert {str(error) for error in errors} == {"stopped by SIGTERM at epoch 2, step 1; the state is saved"}
    assert [path.parent.name for path in tmp_path.glob("*/state.safetensors")] == ["0 of 3"]


def test_a_rank_that_is_gone_is_an_error_and_no_endless_wait():
    def work(collective):
        if collective.rank == 0:
            return math.nan
        with pytest.raises(RuntimeError, match=r"(?i)closed|reset|timed out|peer"):
            collective.any(False)
        return None

    on_ranks(2, work, patience_s=1)
