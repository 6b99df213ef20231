"""Translators: closed forms on data with a known answer, networks against the formula written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kaggle_kit.errors import UsageError
from kaggle_kit.metrics import unit
from kaggle_kit.translators import FitData, build_translator, translators


def pairs_of(text, images, image_of_caption=None):
    index = torch.arange(len(text)) if image_of_caption is None else image_of_caption
    return FitData(text=text, images=images, image_of_caption=index, seed=0)


@pytest.mark.parametrize(("d_text", "d_image"), [(6, 6), (6, 9)])
def test_procrustes_finds_the_rotation_that_made_the_data(d_text, d_image):
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(d_image, d_image, generator=generator))[0][:d_text]
    text = unit(torch.randn(500, d_text, generator=generator))
    translator = build_translator("procrustes", d_text, d_image, {})
    translator.prepare(pairs_of(text, text @ rotation))
    assert torch.allclose(translator.weight, rotation, atol=1e-4)


@pytest.mark.parametrize(("d_text", "d_image"), [(6, 9), (9, 6)])
def test_procrustes_is_orthonormal_on_its_shorter_side(d_text, d_image):
    translator = build_translator("procrustes", d_text, d_image, {})
    translator.prepare(pairs_of(torch.randn(80, d_text), torch.randn(80, d_image)))
    weight = translator.weight
    gram = weight @ weight.T if d_text <= d_image else weight.T @ weight
    assert torch.allclose(gram, torch.eye(min(d_text, d_image)), atol=1e-5)


def test_ridge_solves_the_normal_equations():
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(200, 5, generator=generator)
    images = torch.randn(40, 7, generator=generator)
    index = torch.arange(200) % 40
    translator = build_translator("ridge", 5, 7, {"strength": 0.5})
    translator.prepare(pairs_of(text, images, index))
    x = unit(text).double() - unit(text).double().mean(0)
    y = unit(images).double()[index]
    y = y - y.mean(0)
    expected = torch.linalg.inv(x.T @ x + 0.5 * torch.eye(5, dtype=torch.float64)) @ x.T @ y
    assert torch.allclose(translator.weight.double(), expected, atol=1e-5)
    predicted = translator.translate(text[:3])
    assert torch.allclose(predicted, unit((x[:3] @ expected).float()), atol=1e-5)


def test_ridge_adds_the_mean_back_only_when_asked():
    text, images = torch.randn(50, 4), torch.randn(50, 6) + 3
    without, with_mean = (build_translator("ridge", 4, 6, {"add_mean": flag}) for flag in (False, True))
    for translator in (without, with_mean):
        translator.prepare(pairs_of(text, images))
    assert not without.offset.any()
    assert torch.allclose(with_mean.offset, unit(images).mean(0), atol=1e-6)


def test_mlp_is_the_baseline():
    translator = build_translator("mlp", 1024, 1536, {})
    assert [tuple(p.shape) for p in translator.parameters()] == [(4096, 1024), (4096,), (1536, 4096), (1536,)]
    small = build_translator("mlp", 4, 3, {"hidden": 8}).eval()
    x = torch.randn(5, 4)
    expected = F.relu(unit(x) @ small.hidden.weight.T + small.hidden.bias) @ small.out.weight.T + small.out.bias
    assert torch.allclose(small(small.encode_text(x)), expected, atol=1e-6)


def test_residual_mlp_is_the_original_final_model():
    model = build_translator("residual_mlp", 1024, 1536, {})
    assert sum(p.numel() for p in model.parameters()) == (
        (1024 * 2048 + 2048) + 2 * 2048 + (2048 * 1536 + 1536) + 2 * 1536 + (1024 * 1536 + 1536)
    )
    small = build_translator("residual_mlp", 4, 3, {"hidden": 8}).eval()
    x = unit(torch.randn(5, 4))
    hidden = F.gelu(F.layer_norm(small.fc1(x), (8,)))
    expected = F.gelu(F.layer_norm(small.fc2(hidden), (3,)) + small.projection(x))
    assert torch.allclose(small(x), expected, atol=1e-6)


def test_each_detail_of_the_residual_mlp_can_be_switched():
    options = {"hidden": 8, "hidden_norm": False, "output_norm": False, "skip": False, "output_activation": False}
    model = build_translator("residual_mlp", 4, 3, options).eval()
    x = unit(torch.randn(5, 4))
    assert torch.allclose(model(x), model.fc2(F.gelu(model.fc1(x))), atol=1e-6)
    assert model.projection is None


@pytest.mark.parametrize("name", [entry.name for entry in translators])
def test_every_translator_predicts_unit_vectors_and_leaves_the_mode_alone(name):
    torch.manual_seed(0)
    text, images = torch.randn(60, 12), torch.randn(20, 10)
    translator = build_translator(name, 12, 10, {})
    translator.prepare(pairs_of(text, images, torch.arange(60) % 20))
    translator.train()
    first, second = translator.translate(text), translator.translate(text)
    assert translator.training
    assert torch.equal(first, second), "dropout must be off in a prediction"
    assert torch.allclose(first.norm(dim=1), torch.ones(60), atol=1e-5)
    assert first.shape == (60, 10)
    assert translator.translate(text[:0]).shape == (0, 10)


def test_unknown_translator_names_the_nearest():
    with pytest.raises(UsageError, match="no translator is called 'residul_mlp'") as caught:
        build_translator("residul_mlp", 4, 4, {})
    assert caught.value.hint == "did you mean residual_mlp?"
