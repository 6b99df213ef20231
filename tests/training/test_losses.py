"""Losses against naive loops on 2-D angles, in float32 and bfloat16."""

from __future__ import annotations

import math

import pytest
import torch

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
