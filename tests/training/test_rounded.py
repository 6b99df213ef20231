"""Weights kept in bf16 beside their originals: the same numbers as autocast and the fused optimiser, wherever a weight is used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kaggle_kit.training.rounded import RoundedWeights

OPTIMIZERS = {
    "adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, fused=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, fused=True),
}


class Plain(nn.Module):
    """Two layers, the second without a bias, with a norm between them that stays in float32."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 32, bias=False)

    def forward(self, inputs):
        return self.last(F.gelu(self.norm(self.first(inputs))))


class Twice(Plain):
    """The first layer is used twice."""

    def forward(self, inputs):
        return super().forward(self.first(inputs)[:, :32] + inputs)


class Elsewhere(Plain):
    """A weight is used without ``F.linear``, too."""

    def forward(self, inputs):
        return super().forward(inputs) + torch.tanh(inputs @ self.first.weight.T)[:, :32]


class InFull(Plain):
    """A layer asks for float32."""

    def forward(self, inputs):
        hidden = self.norm(self.first(inputs)).float()
        with torch.autocast("cpu", enabled=False):
            return F.linear(hidden, weight=self.last.weight, bias=None)


class InThree(Plain):
    """Rows lie in a third dimension."""

    def forward(self, inputs):
        return super().forward(inputs.view(4, -1, 32)).flatten(0, 1)


def train(network, optimizer, *, rounded, steps=5):
    """The weights after some steps, and those multiplied with in between."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        inputs, targets = (torch.randn(16, 32, generator=generator) for _ in range(2))
        if rounded is None:
            with torch.autocast("cpu", torch.bfloat16):
                outputs = network(inputs)
        else:
            with torch.autocast("cpu", torch.bfloat16), rounded:
                outputs = network(inputs)
        (outputs.float() - targets).square().sum().backward()
        if rounded is not None:
            rounded.collect()
        optimizer.step()
        if rounded is not None:
            rounded.step()
            rounded.forget()
        optimizer.zero_grad()
    return {**network.state_dict(), "outputs": outputs.detach()}


def made(kind, name):
    torch.manual_seed(0)
    network = kind()
    groups = [
        {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return network, OPTIMIZERS[name](groups)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", [Plain, InFull, InThree])
def test_weights_and_optimizer_are_those_of_autocast_to_the_bit(kind, name):
    network, optimizer = made(kind, name)
    expected = train(network, optimizer, rounded=None)
    other, rounding = made(kind, name)
    found = train(other, rounding, rounded=RoundedWeights(rounding, piece=256))
    for key in expected:
        assert torch.equal(expected[key], found[key]), key
    states = optimizer.state_dict()["state"], rounding.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        for key, value in state.items():
            assert torch.equal(value, states[1][number][key]), (number, key)


@pytest.mark.parametrize("kind", [Twice, Elsewhere])
def test_a_weight_that_is_used_more_than_once_has_all_of_its_gradient(kind):
    """The parts are added in another order and rounded elsewhere than autocast's: as exact, but not to the bit."""
    network, optimizer = made(kind, "adam")
    train(network, optimizer, rounded=None, steps=1)
    other, rounding = made(kind, "adam")
    train(other, rounding, rounded=RoundedWeights(rounding), steps=1)
    for (name, weight), found in zip(network.named_parameters(), other.parameters(), strict=True):
        expected, gradient = (o.state[w]["exp_avg"] for o, w in ((optimizer, weight), (rounding, found)))
        assert (gradient - expected).norm() < 0.01 * expected.norm(), name


@pytest.mark.parametrize("change", ["loaded", "in place"])
def test_a_weight_that_somebody_else_changed_is_multiplied_with_as_it_is(change):
    network, optimizer = made(Plain, "adam")
    rounded = RoundedWeights(optimizer)
    train(network, optimizer, rounded=rounded, steps=1)
    if change == "loaded":
        network.load_state_dict(made(Plain, "adam")[0].state_dict())
    else:
        with torch.no_grad():
            network.first.weight.mul_(0.5)
    inputs = torch.randn(4, 32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(inputs)
        with rounded:
            assert torch.equal(network(inputs), expected)


def test_without_a_gradient_or_autocast_nothing_is_changed():
    network, optimizer = made(Plain, "adam")
    rounded, inputs = RoundedWeights(optimizer), torch.randn(4, 32)
    with rounded:
        outputs = network(inputs)
    assert torch.equal(outputs, network(inputs))
    outputs.sum().backward()
    assert rounded.collect() == []
    with rounded, torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(inputs)
    assert network.first.weight.grad is not None
