"""Losses of batches that are scored in tiles: values and gradients of the plain computation, in bounded memory."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from small_training import run
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kaggle_kit import files
from kaggle_kit.contrast import Mix
from kaggle_kit.training.losses import Loss, build_loss

ROWS, WIDTH, IMAGES = 23, 6, 9
TILE = 5
TEMPERED = {"temperature": 0.1, "learnable_temperature": True}
CASES = {
    "infonce": ("infonce", TEMPERED),
    "infonce, smoothed": ("infonce", {**TEMPERED, "label_smoothing": 0.2}),
    "symmetric": ("infonce_symmetric", TEMPERED),
    "symmetric, weighted, smoothed": ("infonce_symmetric", {**TEMPERED, "image_weight": 0.3, "label_smoothing": 0.1}),
    "captions only": ("infonce_symmetric", {**TEMPERED, "image_weight": 0.0}),
    "multi-positive": ("infonce_multi_positive", TEMPERED),
    "multi-positive, smoothed": ("infonce_multi_positive", {**TEMPERED, "label_smoothing": 0.1}),
    "triplet": ("triplet", {"margin": 0.4, "target_scale": 3.0}),
    "infonce + triplet": ("infonce_triplet", {"temperature": 0.1, "margin": 0.3}),
    "siglip": ("siglip", {}),
}


@pytest.fixture
def batch():
    """Outputs, targets that are no unit vectors, and images of which some have several captions."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(IMAGES, (ROWS,), generator=generator)
    return torch.randn(ROWS, WIDTH, generator=generator), torch.randn(ROWS, WIDTH, generator=generator), images


def graded(name, options, batch, mix=None):
    """Value, and gradients to outputs, targets and the loss's own parameters, of a batch."""
    loss = build_loss(name, options)
    outputs, targets, images = (part.clone() for part in batch)
    outputs.requires_grad_()
    targets.requires_grad_()
    value = loss(outputs, targets, images) if mix is None else loss.mixed(outputs, targets, images, mix)
    value.backward()
    return [value.detach(), outputs.grad, targets.grad, *(parameter.grad for parameter in loss.parameters())]


def naive(name, options, batch, mix=None):
    """The same in float64 from the textbook's formulas over the whole matrix."""
    outputs, targets, images = batch[0].double(), batch[1].double(), batch[2]
    outputs.requires_grad_()
    targets.requires_grad_()
    own = [-math.log(options.get("temperature", 0.1))] if name != "siglip" else [math.log(10.0), -10.0]
    own = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in own]
    args = (name, options, outputs, own)
    value = naive_value(*args, targets, images)
    if mix is not None:
        other = naive_value(*args, targets[mix.partners], images[mix.partners])
        value = mix.share * value + (1 - mix.share) * other
    value.backward()
    return [value.detach(), outputs.grad, targets.grad, *(part.grad for part in own if part.grad is not None)]


def naive_value(name, options, outputs, own, targets, images):
    cosines = F.normalize(outputs, dim=1) @ targets.T
    same = images[:, None] == images
    if name == "siglip":
        return F.softplus(-torch.where(same, 1.0, -1.0) * (own[0].exp() * cosines + own[1])).sum() / len(images)
    if name == "triplet":
        return naive_hinge(cosines * options["target_scale"], same, options["margin"])
    logits, smoothing = cosines * own[0].exp(), options.get("label_smoothing", 0.0)
    wanted = same / same.sum(1, keepdim=True) if "positive" in name else torch.eye(len(images))
    wanted = wanted.double() * (1 - smoothing) + smoothing / len(images)
    there, back = (-(wanted * side.log_softmax(1)).sum(1).mean() for side in (logits, logits.T))
    weight = 0.0 if name == "infonce" else options.get("image_weight", 1.0)
    value = (there + weight * back) / (1 + weight)
    if name == "infonce_triplet":
        hinge = naive_hinge(F.normalize(outputs, dim=1) @ F.normalize(targets, dim=1).T, same, options["margin"])
        return 0.7 * value + 0.3 * hinge
    return value


def naive_hinge(scores, same, margin):
    wrong, right = scores.masked_fill(same, -torch.inf), scores.diagonal()
    hinges = [(margin + wrong.amax(dim) - right).clamp(min=0) for dim in (0, 1)]
    return (hinges[0] + hinges[1]).mean()


def close(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("case", CASES)
def test_tiles_give_the_plain_value_and_gradients(case, mixed, batch):
    name, options = CASES[case]
    mix = Mix(torch.arange(ROWS).roll(1), 0.7) if mixed else None
    tiled = graded(name, {**options, "block": TILE}, batch, mix)
    close(tiled, graded(name, {**options, "block": ROWS}, batch, mix))
    close(tiled, naive(name, options, batch, mix))


@pytest.mark.parametrize("case", CASES)
def test_rounded_products_stay_close_and_leave_no_setting_behind(case, batch, monkeypatch):
    """On a processor without bf16 they are not rounded at all."""
    name, options = CASES[case]
    exact = graded(name, {**options, "block": ROWS}, batch)
    monkeypatch.setattr(Loss, "rounded", torch.bfloat16)
    before = torch.get_float32_matmul_precision()
    for block in (ROWS, TILE):
        close(graded(name, {**options, "block": block}, batch), exact, tolerance=0.05)
    assert torch.get_float32_matmul_precision() == before


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return made


@pytest.mark.parametrize("case", CASES)
def test_no_operation_of_a_tiled_batch_sees_the_whole_matrix(case):
    name, options = CASES[case]
    rows, width, tile = 96, 4, 16
    batch = torch.randn(rows, width), torch.randn(rows, width), torch.arange(rows) // 2
    with Largest() as tiled:
        graded(name, {**options, "block": tile}, batch)
    with Largest() as plain:
        graded(name, {**options, "block": rows}, batch)
    assert plain.numbers == rows * rows
    assert tiled.numbers <= max(tile * tile, rows * width)


def test_a_caption_without_a_negative_costs_nothing_in_tiles_too():
    batch = torch.randn(7, 3), torch.randn(7, 3), torch.zeros(7, dtype=torch.int64)
    for value in graded("triplet", {"block": 2}, batch):
        assert float(value.abs().max()) == 0


@pytest.mark.parametrize("name", ["infonce_symmetric", "siglip"])
def test_training_in_tiles_is_training(name, pairs, settings_of, tmp_path):
    """A batch larger than ``loss.block`` goes through the tiles, and comes to the same losses."""
    curves = []
    for block in (16, 2048):
        settings = settings_of(loss={"name": name, "block": block}, folds=2, epochs=2, batch_size=64)
        run(pairs, settings, tmp_path / str(block))
        result = files.read_json(tmp_path / str(block) / "fold-0-seed-0" / "result.json")
        curves.append([epoch["train_loss"] for epoch in result["history"]])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert curves[0][1] < curves[0][0]
