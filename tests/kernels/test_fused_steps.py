"""Whole steps by kernels against autocast and the fused optimiser: translators, losses, states, and weights that others change."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("triton")

from kaggle_kit.training.fusable import bears_fusing
from kaggle_kit.training.fused import FusedWeights
from kaggle_kit.training.losses import build_loss
from kaggle_kit.translators import build_translator
from kaggle_kit.translators.stages import Stage

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
D_TEXT, D_IMAGE, BATCH, STEPS = 24, 40, 12, 3
TRANSLATORS = {
    "residual_mlp": {"hidden": 48, "dropout": 0.0},
    "mlp": {"hidden": 48, "dropout": 0.0},
    "dropout_mlp": {"hidden": 48, "dropout": 0.0},
    "residual_blocks": {"width": 48, "dropout": 0.0},
    "geglu": {"width": 32, "blocks": 1, "entry_dropout": 0.0, "block_dropout": 0.0},
    "slot_adapter": {"hidden": 48, "slot_hidden": 16},
}
LOSSES = {
    "infonce": {},
    "infonce_symmetric": {"learnable_temperature": True},
    "siglip": {},
    "triplet": {},
}
QUICK = {("residual_mlp", "infonce"), ("mlp", "infonce_symmetric"), ("geglu", "siglip"), ("slot_adapter", "triplet")}
"""Pairs of the default suite; the interpreter takes seconds for a step of the others."""
PAIRS = [
    pytest.param(translator, loss, marks=() if (translator, loss) in QUICK else pytest.mark.slow)
    for translator in TRANSLATORS
    for loss in LOSSES
]


class Training:
    """A translator that is trained on noise, by kernels or as PyTorch does it."""

    def __init__(self, translator, loss, *, fused, options=None, optimizer=torch.optim.AdamW):
        torch.manual_seed(0)
        self.translator = build_translator(translator, D_TEXT, D_IMAGE, options or TRANSLATORS[translator]).to(DEVICE)
        self.loss = build_loss(loss, LOSSES[loss]).to(DEVICE)
        self.loss.rounded = torch.bfloat16
        weights = [*self.translator.parameters(), *self.loss.parameters()]
        groups = [
            {"params": [w for w in weights if w.ndim >= 2], "weight_decay": 0.01},
            {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        capturable = DEVICE == "cuda"
        self.optimizer = optimizer(groups, lr=torch.full((), 1e-3, device=DEVICE), fused=True, capturable=capturable)
        self.fused = FusedWeights(self.optimizer) if fused else None
        self.loss.fused = fused
        self.generator = torch.Generator().manual_seed(1)

    def batch(self):
        text, images = (torch.randn(BATCH, d, generator=self.generator) for d in (D_TEXT, D_IMAGE))
        return F.normalize(text, dim=1).to(DEVICE), F.normalize(images, dim=1).to(DEVICE)

    def step(self, spoilt=1.0):
        inputs, targets = self.batch()
        images = torch.arange(BATCH, device=DEVICE)
        self.translator.train()
        if self.fused is None:
            loss = self._loss(inputs, targets, images) * spoilt
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            return loss.item()
        with self.fused:
            loss = self._loss(inputs, targets, images) * spoilt
        loss.backward()
        self.skipped = self.fused.descend(loss.detach()).item()
        return loss.item()

    def _loss(self, inputs, targets, images):
        with torch.autocast(DEVICE, torch.bfloat16):
            outputs, extras = self.translator.training_forward(inputs)
        loss = self.loss(outputs, targets, images)
        penalty = self.translator.penalty(extras, outputs, targets, images)
        return loss if penalty is None else loss + penalty

    def weights(self):
        return {**self.translator.state_dict(), **self.loss.state_dict(prefix="loss.")}


def moved(before, after):
    """How far all weights went, one vector."""
    return torch.cat(
        [(after[name] - before[name]).flatten().float() for name in before if before[name].is_floating_point()]
    )


@pytest.mark.parametrize(("translator", "loss"), PAIRS)
def test_training_by_kernels_goes_the_way_of_training_without(translator, loss):
    start = {name: w.clone() for name, w in Training(translator, loss, fused=False).weights().items()}
    ways = []
    for fused in (True, False):
        training = Training(translator, loss, fused=fused)
        assert fused is False or bears_fusing(training.translator, training.loss)
        losses = [training.step() for _ in range(STEPS)]
        ways.append((losses, moved(start, training.weights())))
    # Adam's first steps are as long for a gradient that rounding made as for any: compared are directions
    assert F.cosine_similarity(ways[0][1], ways[1][1], dim=0) > 0.98
    assert ways[0][0] == pytest.approx(ways[1][0], rel=2e-2)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_dropout_is_drawn_from_torchs_generator():
    options = {"hidden": 48, "dropout": 0.5}
    found = []
    for seed in (3, 3, 4):
        training = Training("residual_mlp", "infonce", fused=True, options=options)
        torch.manual_seed(seed)
        for _ in range(2):
            training.step()
        found.append(training.translator.fc1.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_step_that_is_not_finite_changes_nothing_and_is_told():
    training = Training("residual_mlp", "infonce_symmetric", fused=True)
    training.step()
    before = {name: weight.clone() for name, weight in training.weights().items()}
    short = training.fused.short(training.translator.fc1.weight).clone()
    training.step(spoilt=float("nan"))
    assert training.skipped == 1
    assert all(torch.equal(before[name], weight) for name, weight in training.weights().items())
    assert torch.equal(short, training.fused.short(training.translator.fc1.weight))
    training.step()
    assert training.skipped == 0
    assert not torch.equal(before["fc1.weight"], training.translator.fc1.weight)


@pytest.mark.slow
def test_a_training_that_takes_up_a_state_goes_on_to_the_same_weights():
    options = {"hidden": 48, "dropout": 0.3}
    whole = Training("residual_mlp", "infonce_symmetric", fused=True, options=options)
    torch.manual_seed(5)
    for _ in range(2):
        whole.step()
    state = {name: weight.clone() for name, weight in whole.weights().items()}
    kept = {n: {k: t.clone() for k, t in s.items()} for n, s in whole.optimizer.state_dict()["state"].items()}
    random, drawn = (
        torch.get_rng_state() if DEVICE == "cpu" else torch.cuda.get_rng_state(),
        whole.generator.get_state(),
    )
    if DEVICE == "cpu":
        whole.fused.refresh()  # interpreted, kernels cut off the bits that PyTorch rounds
    for _ in range(2):
        whole.step()

    later = Training("residual_mlp", "infonce_symmetric", fused=True, options=options)
    later.step()  # something else came before
    later.translator.load_state_dict({n: w for n, w in state.items() if not n.startswith("loss.")})
    later.loss.load_state_dict({n[5:]: w for n, w in state.items() if n.startswith("loss.")})
    later.optimizer.load_state_dict({"state": kept, "param_groups": later.optimizer.state_dict()["param_groups"]})
    later.fused.refresh()
    torch.set_rng_state(random) if DEVICE == "cpu" else torch.cuda.set_rng_state(random)
    later.generator.set_state(drawn)
    for _ in range(2):
        later.step()
    assert all(torch.equal(weight, later.weights()[name]) for name, weight in whole.weights().items())


def test_a_weight_that_somebody_else_changes_is_rounded_anew():
    training = Training("mlp", "infonce", fused=True)
    training.step()
    weight = training.translator.out.weight
    with torch.no_grad():
        weight.mul_(2)
    assert torch.equal(training.fused.short(weight), weight.detach().bfloat16())


def test_a_network_with_weights_that_are_no_linear_layers_is_left_to_pytorch():
    loss = build_loss("infonce", {})
    network = nn.Sequential(nn.Linear(4, 4), nn.Bilinear(4, 4, 4))
    assert not bears_fusing(network, loss)
    assert bears_fusing(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), loss)


class Elsewhere(nn.Module):
    """A weight that is used twice by a layer and once without one, a norm without a layer, and rows in a third dimension."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.last = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 8, bias=False)

    def forward(self, inputs):
        hidden = self.layer(self.norm(self.layer(inputs)))
        hidden = hidden + torch.tanh(inputs @ self.layer.weight.T)
        return self.last(hidden.view(2, -1, 16)).flatten(0, 1)


def test_gradients_of_all_uses_of_a_weight_are_added():
    gradients = []
    for fused in (True, False):
        torch.manual_seed(0)
        network = Elsewhere().to(DEVICE)
        weights = list(network.parameters())
        groups = [{"params": [w for w in weights if w.ndim >= 2]}, {"params": [w for w in weights if w.ndim < 2]}]
        # a plain first step of Adam goes along the sign alone: a huge epsilon makes it go along the gradient
        optimizer = torch.optim.Adam(
            groups, lr=torch.full((), 1e4, device=DEVICE), eps=1e4, fused=True, capturable=DEVICE == "cuda"
        )
        keeper = FusedWeights(optimizer) if fused else None
        before = [weight.detach().clone() for weight in weights]
        inputs = torch.randn(10, 16, generator=torch.Generator().manual_seed(2)).to(DEVICE)
        with torch.autocast(DEVICE, torch.bfloat16):
            if keeper is None:
                loss = network(inputs).float().square().sum()
            else:
                with keeper:
                    loss = network(inputs).float().square().sum()
        loss.backward()
        keeper.descend(loss.detach()) if keeper is not None else optimizer.step()
        gradients.append(torch.cat([(w.detach() - b).flatten() for w, b in zip(weights, before, strict=True)]))
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 2e-2


def test_state_is_that_of_the_optimizer_without_it():
    """So that a run begun with kernels can go on without them."""
    training, plain = (Training("mlp", "infonce", fused=fused) for fused in (True, False))
    training.step()
    plain.step()
    mine, theirs = (some.optimizer.state_dict()["state"] for some in (training, plain))
    assert mine.keys() == theirs.keys()
    for number, state in theirs.items():
        assert mine[number].keys() == state.keys()
        assert mine[number]["step"] == state["step"] == 1
        assert mine[number]["exp_avg"].shape == state["exp_avg"].shape


class Sometimes(nn.Module):
    """One layer of two is used, and a third one never."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 8) for _ in range(3))
        self.used = 0

    def forward(self, inputs):
        return self.layers[self.used](inputs)


def test_weights_without_a_gradient_stay_where_they_are():
    torch.manual_seed(0)
    network = Sometimes().to(DEVICE)
    groups = [
        {"params": [layer.weight for layer in network.layers], "weight_decay": 0.1},
        {"params": [layer.bias for layer in network.layers]},
    ]
    rate = torch.full((), 1e-2, device=DEVICE)
    keeper = FusedWeights(torch.optim.AdamW(groups, lr=rate, fused=True, capturable=DEVICE == "cuda"))
    before = [[weight.detach().clone() for weight in layer.parameters()] for layer in network.layers]
    inputs = torch.randn(6, 16, device=DEVICE)
    for used in (0, 1, 1):
        network.used = used
        with keeper, torch.autocast(DEVICE, torch.bfloat16):
            loss = network(inputs).float().square().sum()
        loss.backward()
        keeper.descend(loss.detach())
        if used == 0:
            first = [weight.detach().clone() for weight in network.layers[0].parameters()]
    assert all(torch.equal(*pair) for pair in zip(network.layers[0].parameters(), first, strict=True))
    assert all(torch.equal(*pair) for pair in zip(network.layers[2].parameters(), before[2], strict=True))
    assert not torch.equal(network.layers[0].weight, before[0][0])
    assert torch.equal(keeper.short(network.layers[2].weight), network.layers[2].weight.detach().bfloat16())


class Changed(nn.Module):
    """What a layer was given is changed afterwards."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, inputs):
        hidden = self.first(inputs)
        out = self.last(hidden)
        hidden.mul_(0)
        return out


class Double(nn.Module):
    """The layer of a stage is its branch, too."""

    def __init__(self, normed):
        super().__init__()
        self.layer, self.norm = nn.Linear(16, 16), nn.LayerNorm(16) if normed else None

    def forward(self, inputs):
        return Stage(self.layer, self.norm, self.layer, "gelu")(inputs, inputs.flip(1))


def gradient_by_kernels(network, inputs):
    """How all weights move, along their gradients: a huge epsilon takes Adam's scaling away."""
    weights = list(network.parameters())
    groups = [{"params": [w for w in weights if w.ndim >= 2]}, {"params": [w for w in weights if w.ndim < 2]}]
    rate = torch.full((), 1e4, device=DEVICE)
    keeper = FusedWeights(torch.optim.Adam(groups, lr=rate, eps=1e4, fused=True, capturable=DEVICE == "cuda"))
    before = [weight.detach().clone() for weight in weights]
    with keeper, torch.autocast(DEVICE, torch.bfloat16):
        loss = network(inputs).float().square().sum()
    loss.backward()
    keeper.descend(loss.detach())
    return torch.cat([(b - w.detach()).flatten() for w, b in zip(weights, before, strict=True)])


def test_what_is_changed_in_place_afterwards_is_an_error_as_ever():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradient_by_kernels(Changed().to(DEVICE), torch.randn(6, 16, device=DEVICE))


@pytest.mark.parametrize("normed", [False, True])
def test_a_layer_that_is_its_own_branch_has_both_gradients(normed):
    torch.manual_seed(0)
    network, inputs = Double(normed).to(DEVICE), torch.randn(6, 16, device=DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        network(inputs).float().square().sum().backward()
    wanted = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    network.zero_grad()
    found = gradient_by_kernels(network, inputs)
    assert F.cosine_similarity(found, wanted, dim=0) > 0.999
    assert found.norm() / wanted.norm() == pytest.approx(1, rel=2e-2)
