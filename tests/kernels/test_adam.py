"""The optimiser's kernels against ``torch.optim``."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("triton")

from kaggle_kit.kernels import adam

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MATRICES, VECTORS = 5000, 300
FORMS = {
    "adam": (torch.optim.Adam, 0.0),
    "adam with decay": (torch.optim.Adam, 0.1),
    "adamw": (torch.optim.AdamW, 0.1),
}


def stretch(count, decay, *, short):
    weights = torch.randn(count, device=DEVICE)
    kinds = [torch.zeros(count, device=DEVICE) for _ in range(3)]
    return adam.Stretch(
        weights,
        kinds[0],
        kinds[1],
        kinds[2].bfloat16() if short else kinds[2],
        weights.bfloat16() if short else None,
        torch.full((), decay, device=DEVICE),
        decay > 0,
    )


@pytest.mark.parametrize("form", FORMS)
def test_steps_are_those_of_pytorch_and_a_step_that_is_not_finite_is_left_out(form):
    torch.manual_seed(0)
    kind, decay = FORMS[form]
    matrices, vectors = stretch(MATRICES, decay, short=True), stretch(VECTORS, 0.0, short=False)
    theirs = [torch.nn.Parameter(matrices.weights.clone()), torch.nn.Parameter(vectors.weights.clone())]
    groups = [{"params": [theirs[0]], "weight_decay": decay}, {"params": [theirs[1]], "weight_decay": 0.0}]
    optimizer = kind(groups, lr=1e-2)
    numbers = adam.AdamForm(0.9, 0.999, 1e-8, kind is torch.optim.AdamW)
    logs = torch.tensor([math.log(0.9), math.log(0.999)], dtype=torch.float64, device=DEVICE)
    rate, step, found = (torch.full((), value, device=DEVICE) for value in (1e-2, 0.0, 0.0))
    for number in range(6):
        matrices.gradients.copy_(torch.randn(MATRICES))
        vectors.gradients.copy_(torch.randn(VECTORS))
        loss = torch.ones((), device=DEVICE)
        spoilt = {1: matrices.gradients, 2: vectors.gradients, 3: loss.view(1)}.get(number)
        if spoilt is not None:
            spoilt[-1] = torch.inf if number == 1 else torch.nan
        adam.check(matrices.gradients, vectors.gradients, loss, found)
        adam.move(matrices, vectors, numbers, rate, step, logs, found)
        skipped = adam.conclude(step, found)
        assert skipped.item() == (spoilt is not None)
        if spoilt is None:
            for parameter, mine in zip(theirs, (matrices, vectors), strict=True):
                parameter.grad = mine.gradients.float()
            optimizer.step()
        torch.testing.assert_close(matrices.weights, theirs[0].detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(vectors.weights, theirs[1].detach(), rtol=1e-5, atol=1e-6)
    assert step.item() == 3
    assert found.item() == 0
    # interpreted, the last bits are cut off, not rounded
    torch.testing.assert_close(matrices.short.float(), matrices.weights, rtol=2**-7, atol=1e-6)
