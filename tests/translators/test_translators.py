"""Translators: closed forms on data with a known answer, networks against the formula written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kaggle_kit.errors import UsageError
from kaggle_kit.metrics import gallery_mrr, unit
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


SMALLER = {"random_feature_ridge": {"features": 64}}
"""Where the defaults take seconds on any data: the eigendecomposition of 4,096 features."""


@pytest.mark.parametrize("name", [entry.name for entry in translators])
def test_every_translator_predicts_unit_vectors_and_leaves_the_mode_alone(name):
    torch.manual_seed(0)
    text, images = torch.randn(60, 12), torch.randn(20, 10)
    translator = build_translator(name, 12, 10, SMALLER.get(name, {}))
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


def shifted_pairs(scale=1.0):
    """Images with a large common mean and one loud direction that captions know nothing of."""
    generator = torch.Generator().manual_seed(4)
    latent = torch.randn(300, 8, generator=generator)
    loud = 4 * torch.randn(300, 1, generator=generator) * torch.randn(1, 20, generator=generator)
    images = latent @ torch.randn(8, 20, generator=generator) + loud + 5
    index = torch.arange(300).repeat_interleave(3)
    text = latent[index] @ torch.randn(8, 12, generator=generator) + 0.5 * torch.randn(900, 12, generator=generator)
    return pairs_of(scale * text, scale * images, index)


def score_of(translator, data):
    return gallery_mrr(translator.translate(data.text), data.images, data.image_of_caption.numpy(), draws=3).mrr


def test_whitening_divides_the_loud_direction_out():
    data = shifted_pairs()
    plain, whitened = build_translator("ridge", 12, 20, {}), build_translator("whitened_ridge", 12, 20, {})
    for translator in (plain, whitened):
        translator.prepare(data)
    assert score_of(whitened, data) > score_of(plain, data) + 0.05


@pytest.mark.parametrize("name", ["whitened_ridge", "random_feature_ridge"])
def test_choices_do_not_depend_on_the_scale_of_the_data(name):
    maps = []
    for scale in (1.0, 50.0):
        translator = build_translator(name, 12, 20, {"features": 16} if name.startswith("random") else {})
        data = shifted_pairs(scale)
        translator.prepare(data)
        maps.append(translator.translate(data.text))
    assert torch.allclose(maps[0], maps[1], atol=1e-3)


def test_whitened_ridge_is_ridge_times_a_power_of_the_covariance():
    data = shifted_pairs()
    translator = build_translator("whitened_ridge", 12, 20, {"strength": 0.1, "exponent": 0.5, "lift": 0.2})
    translator.prepare(data)
    x, y = unit(data.text).double(), unit(data.images).double()
    x, spread = x - x.mean(0), y - y.mean(0)
    targets = (y - y[data.image_of_caption].mean(0))[data.image_of_caption]
    gram = x.T @ x
    ridge = torch.linalg.solve(gram + 0.1 * gram.diagonal().mean() * torch.eye(12).double(), x.T @ targets)
    values, axes = torch.linalg.eigh(spread.T @ spread / 300)
    whiten = axes @ torch.diag((values + 0.2 * values.mean()) ** -0.5) @ axes.T
    expected = unit(x @ ridge @ whiten)
    assert torch.allclose(translator.translate(data.text).double(), expected.double(), atol=1e-4)


def test_orthogonal_linear_is_the_polar_factor_of_least_squares():
    generator = torch.Generator().manual_seed(2)
    text, images = torch.randn(400, 6, generator=generator), torch.randn(400, 9, generator=generator)
    translator = build_translator("orthogonal_linear", 6, 9, {})
    translator.prepare(pairs_of(text, images + text @ torch.randn(6, 9, generator=generator)))
    x, y = unit(text).double(), unit(images).double()
    gram = translator.weight @ translator.weight.T
    assert torch.allclose(gram, torch.eye(6), atol=1e-5)
    data = pairs_of(text, images)
    translator.prepare(data)
    solution = torch.linalg.lstsq(x - x.mean(0), y - y.mean(0)).solution
    left, _, right = torch.linalg.svd(solution, full_matrices=False)
    assert torch.allclose(translator.weight.double(), left @ right, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("procrustes", {}),
        ("orthogonal_linear", {}),
        ("ridge", {"add_mean": True}),
        ("whitened_ridge", {"strength": 0.1, "exponent": 0.5}),
        ("random_feature_ridge", {"strength": 0.1, "exponent": 0.5, "features": 16}),
    ],
)
def test_a_caption_of_weight_three_is_one_seen_three_times(name, options):
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(300, 20, generator=generator) + 0.5
    index = torch.arange(900) % 300
    text = images[index] @ torch.randn(20, 12, generator=generator) + torch.randn(900, 12, generator=generator)
    data = pairs_of(text, images, index)
    times = 1 + torch.arange(900) % 3
    again = torch.arange(900).repeat_interleave(times)
    repeated = pairs_of(data.text[again], data.images, data.image_of_caption[again])
    weighted = FitData(data.text, data.images, data.image_of_caption, 0, times.float())
    shown = []
    for part in (repeated, weighted, data):
        translator = build_translator(name, 12, 20, options)
        translator.prepare(part)
        shown.append(translator.translate(data.text[:50]))
    assert torch.allclose(shown[0], shown[1], atol=1e-4)
    assert not torch.allclose(shown[0], shown[2], atol=1e-3)


@pytest.mark.parametrize("name", ["whitened_ridge", "subspace_mlp"])
def test_weights_of_captions_count_where_strength_and_exponent_are_chosen(name):
    data = shifted_pairs()
    heavy = torch.where(torch.arange(900) % 2 == 0, 1e-6, 1.0)
    light = FitData(data.text, data.images, data.image_of_caption, 0, heavy)
    half = torch.arange(1, 900, 2)
    maps = []
    for part in (light, pairs_of(data.text[half], data.images, data.image_of_caption[half])):
        translator = build_translator(name, 12, 20, {"lift": 1.0})
        translator.prepare(part)
        maps.append(translator)
    assert torch.allclose(maps[0].text_mean, maps[1].text_mean, atol=1e-5)


def test_subspace_targets_keep_the_ranking_of_a_gallery():
    """With all directions kept, scores against projected targets order a gallery as raw unit images do."""
    data = shifted_pairs()
    translator = build_translator("subspace_mlp", 12, 20, {"hidden": 8, "ridge": 0, "hub_correction": 0})
    translator.prepare(data)
    translator.finish(data)
    inputs = translator.encode_text(data.text[:50])
    outputs = translator.eval()(inputs)
    inside = outputs @ translator.encode_images(data.images).T
    outside = translator.translate(data.text[:50]) @ unit(data.images).T
    assert torch.equal(inside.argsort(1)[:, -5:], outside.argsort(1)[:, -5:])


def test_the_hub_correction_adds_the_mean_prediction():
    data = shifted_pairs()
    corrected, plain = (build_translator("subspace_mlp", 12, 20, {"hidden": 8, "hub_correction": c}) for c in (1.5, 0))
    plain.load_state_dict(corrected.state_dict())
    for translator in (corrected, plain):
        translator.eval().prepare(data)
        translator.finish(data)
    inputs = plain.encode_text(data.text)
    raw = plain.decode(plain(inputs), inputs)
    assert torch.allclose(corrected.bias, 1.5 * raw.mean(0), atol=1e-5)
    assert torch.allclose(corrected.translate(data.text), unit(raw + 1.5 * raw.mean(0)), atol=1e-5)


def test_vae_predicts_the_decoded_mean_and_pays_for_divergence():
    torch.manual_seed(0)
    model = build_translator("vae", 6, 5, {"width": 8, "kl_weight": 0.5, "dropout": 0.0})
    x = torch.randn(7, 6)
    outputs, extras = model.training_forward(x)
    mean, log_variance = extras["mean"], extras["log_variance"]
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)).sum(1).mean()
    assert torch.allclose(model.penalty(extras, outputs, outputs, torch.arange(7)), 0.5 * kl, atol=1e-5)
    assert torch.equal(model(x), model.decoder(mean))


def test_slot_adapter_penalty_agrees_with_a_naive_loop():
    torch.manual_seed(1)
    model = build_translator("slot_adapter", 6, 5, {"hidden": 8, "slot_hidden": 8, "slots": 3})
    outputs, extras = model.training_forward(torch.randn(5, 6))
    targets, images = unit(torch.randn(5, 5)), torch.tensor([0, 1, 1, 2, 3])
    slots = unit(extras["slots"])
    scores = torch.stack([torch.stack([max(s @ t for s in slots[i]) for t in targets]) for i in range(5)])
    expected = 0.0
    for i in range(5):
        others = [j for j in range(5) if images[j] != images[i]]
        expected += max(0, 0.2 + max(scores[i, j] for j in others) - scores[i, i]) / 5
        expected += max(0, 0.2 + max(scores[j, i] for j in others) - scores[i, i]) / 5
    logits = scores / 0.09
    expected += 0.15 * (F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))) / 2
    pairs = [(0, 1), (0, 2), (1, 2)]
    crowd = torch.stack([(slots[i, a] @ slots[i, b] - 0.55).clamp(min=0) for i in range(5) for a, b in pairs]).mean()
    own = torch.stack([slots[i, torch.stack([s @ targets[i] for s in slots[i]]).argmax()] for i in range(5)])
    expected += 0.02 * crowd + 0.05 * (1 - (unit(outputs) * own).sum(1)).mean()
    found = model.penalty(extras, outputs, targets, images)
    assert torch.allclose(found, torch.as_tensor(expected) / 0.3, atol=1e-5)


def test_geglu_block_is_the_formula():
    model = build_translator("geglu", 6, 5, {"width": 8, "blocks": 1}).eval()
    x = torch.randn(4, 6)
    entry, norm, block = model.layers[0], model.layers[1], model.layers[4]
    stream = F.gelu(norm(entry(x)))
    u, v = block.gates(stream).chunk(2, dim=1)
    stream = stream + block.norm(F.gelu(u) * v)
    assert torch.allclose(model(x), model.layers[7](F.gelu(model.layers[5](stream))), atol=1e-6)


@pytest.mark.parametrize("name", [entry.name for entry in translators])
@pytest.mark.parametrize("images", [2, 5, 30])
def test_every_translator_prepares_on_very_little_data(name, images):
    torch.manual_seed(0)
    text, vectors = torch.randn(images, 12), torch.randn(images, 10)
    translator = build_translator(name, 12, 10, SMALLER.get(name, {}))
    translator.prepare(pairs_of(text, vectors))
    translator.eval().finish(pairs_of(text, vectors))
    assert torch.isfinite(translator.translate(text)).all()
