"""Kernels of InfoNCE against autograd over the written-out loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")

from kaggle_kit.kernels import scores
from kaggle_kit.training.fused_scores import infonce
from kaggle_kit.training.losses import build_loss

# interpreted, what lies beyond the last column is computed with infinities and then left out
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST = -math.log(0.01)


def drawn(rows, width):
    torch.manual_seed(1)
    outputs = torch.randn(rows, width, device=DEVICE, requires_grad=True)
    targets = F.normalize(torch.randn(rows, width, device=DEVICE), dim=1)
    return outputs, targets


@pytest.mark.parametrize("image_weight", [0.0, 1.0, 0.4])
@pytest.mark.parametrize("rows", [5, 64, 300])
def test_slopes_are_the_gradient_of_the_softmax_over_rows_and_columns(rows, image_weight):
    table = torch.randn(rows, rows, device=DEVICE, requires_grad=True)
    by_row = table.logsumexp(1) - table.diagonal()
    by_column = table.logsumexp(0) - table.diagonal()
    loss = ((by_row + image_weight * by_column) / (1 + image_weight)).mean()
    loss.backward()
    slopes = table.detach().clone()
    found = scores.to_slopes(slopes, table.diagonal().detach().clone(), image_weight)
    torch.testing.assert_close(found.mean(), loss.detach())
    torch.testing.assert_close(slopes, table.grad, rtol=1e-4, atol=1e-7)


def test_the_right_scores_replace_the_rounded_ones():
    table = torch.zeros(4, 4, device=DEVICE)
    found = scores.to_slopes(table, torch.full((4,), 100.0, device=DEVICE), 0.0)
    torch.testing.assert_close(found, torch.zeros(4, device=DEVICE))
    torch.testing.assert_close(table, torch.zeros(4, 4, device=DEVICE))


@pytest.mark.parametrize("log_scale", [2.0, MOST + 1])
def test_rows_of_one_length_and_their_way_back(log_scale):
    outputs, targets = drawn(9, 33)
    scale = torch.tensor(log_scale, device=DEVICE, requires_grad=True)
    expected = F.normalize(outputs, dim=1) * scale.clamp(max=MOST).exp()
    gradient = torch.randn_like(expected)
    (expected * gradient).sum().backward()
    found = scores.scaled(outputs.detach(), targets, scale.detach(), MOST)
    torch.testing.assert_close(found.rows, expected.detach())
    torch.testing.assert_close(found.own, (expected * targets).sum(1).detach(), rtol=1e-5, atol=1e-5)
    back, for_scale = scores.unscaled(
        gradient, found, scale.detach(), MOST, torch.ones((), device=DEVICE), torch.float32
    )
    torch.testing.assert_close(back, outputs.grad, rtol=1e-4, atol=1e-5)
    if log_scale < MOST:
        torch.testing.assert_close(for_scale.sum(), scale.grad, rtol=1e-4, atol=1e-5)


def test_a_row_without_a_direction_is_no_division_by_zero():
    outputs, targets = drawn(4, 16)
    still = outputs.detach().clone()
    still[1] = 0
    found = scores.scaled(still, targets, torch.tensor(1.0, device=DEVICE), MOST)
    back, _ = scores.unscaled(
        torch.ones_like(still),
        found,
        torch.tensor(1.0, device=DEVICE),
        MOST,
        torch.ones((), device=DEVICE),
        torch.float32,
    )
    assert found.rows.isfinite().all()
    assert back.isfinite().all()


@pytest.mark.parametrize("name", ["infonce", "infonce_symmetric"])
def test_loss_by_kernels_is_the_loss(name):
    outputs, targets = drawn(40, 24)
    loss = build_loss(name, {"learnable_temperature": True}).to(DEVICE)
    expected = loss(outputs, targets.bfloat16().float(), torch.arange(40, device=DEVICE))
    expected.backward()
    wanted, outputs.grad = outputs.grad, None
    scale_wanted, loss.log_scale.grad = loss.log_scale.grad, None

    loss.fused = True
    found = loss(outputs, targets, torch.arange(40, device=DEVICE))
    found.backward()
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=5e-3)  # scores are kept in bf16
    difference = (outputs.grad - wanted).norm() / wanted.norm()
    assert difference < 1e-2
    torch.testing.assert_close(loss.log_scale.grad, scale_wanted, rtol=2e-2, atol=1e-3)


def test_a_factor_on_the_loss_goes_into_the_gradient():
    outputs, targets = drawn(16, 24)
    scale = torch.tensor(2.0, device=DEVICE)
    (gradient,) = torch.autograd.grad(infonce(outputs, targets, scale, most=MOST, image_weight=0.0), outputs)
    (larger,) = torch.autograd.grad(4 * infonce(outputs, targets, scale, most=MOST, image_weight=0.0), outputs)
    torch.testing.assert_close(larger, 4 * gradient)


@pytest.mark.parametrize("turned", [lambda x: x.T.contiguous().T, lambda x: torch.stack([x, x], 2)[..., 0]])
def test_rows_may_lie_in_memory_as_they_like(turned):
    outputs, targets = drawn(16, 24)
    scale = torch.tensor(2.0, device=DEVICE)
    plain = infonce(outputs, targets, scale, most=MOST, image_weight=0.5)
    odd = infonce(turned(outputs), turned(targets), scale, most=MOST, image_weight=0.5)
    torch.testing.assert_close(odd, plain)
    wanted, found = (torch.autograd.grad(loss, outputs)[0] for loss in (plain, odd))
    torch.testing.assert_close(found, wanted)


def test_a_temperature_at_its_clamp_can_leave_it():
    outputs, targets = drawn(16, 24)
    scale = torch.tensor(MOST, device=DEVICE, requires_grad=True)
    infonce(outputs, targets, scale, most=MOST, image_weight=0.0).backward()
    assert scale.grad != 0
