"""Losses against naive loops on 2-D angles, in float32 and bfloat16."""

from __future__ import annotations

import math

import pytest
import torch

from kaggle_kit.contrast import Mix
from kaggle_kit.errors import ConfigError, UsageError
from kaggle_kit.training.losses import build_loss, losses


def at_angles(*degrees, dtype=torch.float32):
    radians = torch.tensor([math.radians(d) for d in degrees])
    return torch.stack([radians.cos(), radians.sin()], 1).to(dtype)


OUTPUTS = (0, 50, 110, 115, 200, 290)
TARGETS = (10, 40, 100, 100, 230, 300)
IMAGES = torch.tensor([0, 1, 2, 2, 3, 4])


def naive_infonce(outputs, targets, images, temperature, *, shared, both_ways):
    """A loop over rows; `shared` spreads the target over the captions of one image."""
    o, t = outputs.double(), targets.double()
    n = len(o)

    def one_way(a, b):
        total = 0.0
        for i in range(n):
            logits = [float(a[i] @ b[j] / a[i].norm() / b[j].norm()) / temperature for j in range(n)]
            top = max(logits)
            log_sum = top + math.log(sum(math.exp(v - top) for v in logits))
            right = [j for j in range(n) if images[j] == images[i]] if shared else [i]
            total -= sum(logits[j] - log_sum for j in right) / len(right)
        return total / n

    there = one_way(o, t)
    return (there + one_way(t, o)) / 2 if both_ways else there


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "shared", "both_ways"),
    [("infonce", False, False), ("infonce_symmetric", False, True), ("infonce_multi_positive", True, True)],
)
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_infonce_agrees_with_a_naive_loop(name, shared, both_ways, temperature, dtype):
    outputs, targets = 3 * at_angles(*OUTPUTS, dtype=dtype), at_angles(*TARGETS)
    found = build_loss(name, {"temperature": temperature})(outputs, targets, IMAGES)
    expected = naive_infonce(outputs.float(), targets, IMAGES, temperature, shared=shared, both_ways=both_ways)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_captions_of_one_image_are_no_negatives_of_each_other():
    outputs, targets = at_angles(0, 0, 90), at_angles(0, 0, 90)
    images = torch.tensor([0, 0, 1])
    shared = build_loss("infonce_multi_positive", {"temperature": 0.01})(outputs, targets, images)
    split = build_loss("infonce_symmetric", {"temperature": 0.01})(outputs, targets, images)
    assert float(split) == pytest.approx(2 * math.log(2) / 3, abs=1e-5)
    # spreading the target over two equal rows costs the same entropy, but no gradient pushes the twins apart
    outputs = at_angles(0, 3, 90).requires_grad_()
    build_loss("infonce_multi_positive", {"temperature": 0.01})(outputs, targets, images).backward()
    assert float(outputs.grad[0].abs().max()) < 1e-6
    assert float(shared) == pytest.approx(2 * math.log(2) / 3, abs=1e-5)


def test_cosine_and_mse_have_their_known_values():
    outputs, targets = 2 * at_angles(0, 90), at_angles(60, 90)
    images = torch.arange(2)
    assert float(build_loss("cosine", {})(outputs, targets, images)) == pytest.approx(0.25)
    assert float(build_loss("mse", {})(outputs, targets, images)) == pytest.approx((1.5**2 + 0.75 + 0 + 1) / 4)


def test_learnable_temperature_is_trained_and_clamped():
    loss = build_loss("infonce", {"temperature": 0.05, "learnable_temperature": True})
    (parameter,) = loss.parameters()
    value = loss(at_angles(*OUTPUTS), at_angles(*TARGETS), IMAGES)
    value.backward()
    assert parameter.grad is not None
    with torch.no_grad():
        parameter.fill_(50.0)
    clamped = loss(at_angles(*OUTPUTS), at_angles(*TARGETS), IMAGES)
    expected = build_loss("infonce", {"temperature": 1 / 200})(at_angles(*OUTPUTS), at_angles(*TARGETS), IMAGES)
    assert float(clamped.detach()) == pytest.approx(float(expected), rel=1e-4)


def test_label_smoothing_spreads_the_target_evenly():
    outputs, targets = at_angles(*OUTPUTS), at_angles(*TARGETS)
    plain = build_loss("infonce", {})(outputs, targets, IMAGES)
    smooth = build_loss("infonce", {"label_smoothing": 0.3})(outputs, targets, IMAGES)
    logits = (outputs @ targets.T / 0.07).double()
    uniform = -(logits.log_softmax(1)).mean()
    assert float(smooth) == pytest.approx(0.7 * float(plain) + 0.3 * float(uniform), rel=1e-5)


def test_unknown_loss_and_bad_option_are_named():
    with pytest.raises(UsageError, match="no loss is called 'infonse'") as caught:
        build_loss("infonse", {})
    assert caught.value.hint == "did you mean infonce?"
    with pytest.raises(ConfigError, match="temperature: must be above 0, not -1"):
        build_loss("infonce", {"temperature": -1})
    assert {entry.name for entry in losses} >= {"cosine", "mse", "infonce"}


def naive_triplet(outputs, targets, images, margin):
    """Both ways, the hardest row of another image, summed and averaged."""
    o, t = torch.nn.functional.normalize(outputs.double(), dim=1), targets.double()
    total = 0.0
    for i in range(len(o)):
        others = [j for j in range(len(o)) if images[j] != images[i]]
        right = float(o[i] @ t[i])
        total += max(0.0, margin + max(float(o[i] @ t[j]) for j in others) - right)
        total += max(0.0, margin + max(float(o[j] @ t[i]) for j in others) - right)
    return total / len(o)


@pytest.mark.parametrize(("margin", "scale"), [(0.2, 1.0), (1.164, 25.9)])
def test_hard_triplet_agrees_with_a_naive_loop(margin, scale):
    outputs, targets = 2 * at_angles(*OUTPUTS), at_angles(*TARGETS)
    found = build_loss("triplet", {"margin": margin, "target_scale": scale})(outputs, targets, IMAGES)
    assert float(found) == pytest.approx(naive_triplet(outputs, targets * scale, IMAGES, margin), rel=1e-5)


def test_triplet_mse_adds_the_error_of_unit_vectors():
    outputs, targets = 2 * at_angles(*OUTPUTS), 1.5 * at_angles(*TARGETS)
    found = build_loss("triplet_mse", {"margin": 0.5, "target_scale": 2.0, "mse_weight": 3.0})(outputs, targets, IMAGES)
    squared = (at_angles(*OUTPUTS) - at_angles(*TARGETS)).square().mean()
    expected = naive_triplet(outputs, targets * 2, IMAGES, 0.5) + 3 * float(squared)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_infonce_triplet_is_the_weighted_sum():
    outputs, targets = at_angles(*OUTPUTS), at_angles(*TARGETS)
    loss = build_loss("infonce_triplet", {"temperature": 0.1, "learnable_temperature": False, "margin": 0.3})
    parts = 0.7 * naive_infonce(outputs, targets, IMAGES, 0.1, shared=False, both_ways=True)
    parts += 0.3 * naive_triplet(outputs, targets, IMAGES, 0.3)
    assert float(loss(outputs, targets, IMAGES)) == pytest.approx(parts, rel=1e-5)


def test_siglip_judges_every_pair_on_its_own():
    outputs, targets = at_angles(*OUTPUTS), at_angles(*TARGETS)
    found = build_loss("siglip", {"scale": 5.0, "bias": -2.0})(outputs, targets, IMAGES)
    total = 0.0
    for i in range(6):
        for j in range(6):
            z = 1.0 if IMAGES[i] == IMAGES[j] else -1.0
            total += math.log1p(math.exp(-z * (5.0 * float(outputs[i] @ targets[j]) - 2.0)))
    assert float(found.detach()) == pytest.approx(total / 6, rel=1e-5)


@pytest.mark.parametrize("name", ["infonce_symmetric", "infonce", "triplet", "infonce_multi_positive"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_rows_are_held_to_both_images(name, smoothing):
    outputs, targets, images = at_angles(*OUTPUTS), at_angles(*TARGETS), torch.arange(6)
    loss = build_loss(name, {} if name == "triplet" else {"label_smoothing": smoothing})
    partners, share = torch.arange(6).roll(1), 0.7
    found = loss.mixed(outputs, targets, images, Mix(partners, share))
    expected = 0.7 * loss(outputs, targets, images) + 0.3 * loss(outputs, targets[partners], images[partners])
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_two_directions_are_weighted(weight):
    outputs, targets, images = at_angles(*OUTPUTS), at_angles(*TARGETS), torch.arange(6)
    there = naive_infonce(outputs, targets, images, 0.2, shared=False, both_ways=False)
    both = naive_infonce(outputs, targets, images, 0.2, shared=False, both_ways=True)
    back = 2 * both - there
    found = build_loss("infonce_symmetric", {"temperature": 0.2, "image_weight": weight})(outputs, targets, images)
    assert float(found) == pytest.approx((there + weight * back) / (1 + weight), rel=1e-5)


@pytest.mark.parametrize("name", ["infonce_symmetric", "siglip"])
def test_a_scale_that_went_to_nothing_is_an_infinite_temperature(name):
    loss = build_loss(name, {} if name == "siglip" else {"learnable_temperature": True})
    with torch.no_grad():
        loss.log_scale.fill_(-1e4)
    assert loss.learnt_temperature == float("inf")
