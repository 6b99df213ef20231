"""What classes say of themselves holds for their own methods, and not for those that somebody else wrote over them."""

from __future__ import annotations

import pytest

from kaggle_kit.training.losses import build_loss, losses
from kaggle_kit.translators import build_translator, translators
from kaggle_kit.translators.networks import Mlp, MlpOptions


@pytest.mark.parametrize("name", [entry.name for entry in translators if not entry.item.closed_form])
def test_every_shipped_network_bears_recording(name):
    made = build_translator(name, 4, 6, {})
    assert made.bears_recording
    assert made.rounds_inputs == made.takes_short_inputs


@pytest.mark.parametrize("name", [entry.name for entry in losses])
def test_every_shipped_loss_bears_recording(name):
    assert build_loss(name, {}).bears_recording


@pytest.mark.parametrize(
    ("name", "options", "rounds"),
    [
        ("infonce", {}, True),
        ("infonce_symmetric", {}, True),
        ("infonce_multi_positive", {}, True),
        ("infonce_symmetric", {"label_smoothing": 0.1}, False),
        ("infonce_triplet", {}, False),
        ("triplet", {}, False),
        ("cosine", {}, False),
        ("siglip", {}, False),
    ],
)
def test_losses_that_use_targets_otherwise_get_them_whole(name, options, rounds):
    assert build_loss(name, options).rounds_targets is rounds


def test_what_a_subclass_does_itself_is_not_what_its_base_said():
    class Skips(Mlp):
        def forward(self, inputs):
            return super().forward(inputs) + inputs.sum()

    class Again(Skips):
        recordable = takes_short_inputs = True

    class Aims(losses["infonce"]):
        def forward(self, outputs, targets, images):
            return (outputs * targets).mean()

    options = MlpOptions()
    assert [
        (one.bears_recording, one.rounds_inputs) for one in (kind(4, 6, options) for kind in (Mlp, Skips, Again))
    ] == [
        (True, True),
        (False, False),
        (True, True),
    ]
    aims = Aims(Aims.Options())
    assert (aims.bears_recording, aims.rounds_targets) == (False, False)
