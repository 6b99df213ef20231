"""A stage: a linear layer with what follows it, against the same written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kaggle_kit.translators.stages import ACTIVATIONS, Stage

ROWS, D_IN, D_BRANCH, WIDTH = 6, 5, 4, 7


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("branched", [False, True])
def test_stage_is_layer_norm_branch_and_activation_in_this_order(activation, normed, branched):
    torch.manual_seed(0)
    layer, branch, norm = nn.Linear(D_IN, WIDTH), nn.Linear(D_BRANCH, WIDTH), nn.LayerNorm(WIDTH)
    inputs, others = torch.randn(ROWS, D_IN), torch.randn(ROWS, D_BRANCH)
    expected = inputs @ layer.weight.T + layer.bias
    if normed:
        expected = F.layer_norm(expected, (WIDTH,), norm.weight, norm.bias)
    if branched:
        expected = expected + others @ branch.weight.T + branch.bias
    if activation is not None:
        expected = getattr(F, activation)(expected)
    stage = Stage(layer, norm if normed else None, branch if branched else None, activation)
    torch.testing.assert_close(stage(inputs, others if branched else None), expected)


def test_dropped_numbers_are_zero_and_the_others_grow():
    torch.manual_seed(0)
    layer = nn.Linear(D_IN, 1000)
    whole, thinned = Stage(layer)(torch.ones(1, D_IN)), Stage(layer, share=0.25)(torch.ones(1, D_IN))
    kept = thinned != 0
    torch.testing.assert_close(thinned[kept], whole[kept] / 0.75)
    assert 200 < (~kept).sum() < 300
